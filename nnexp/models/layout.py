"""The structure of a network, and where its parameters lie in a flat buffer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nnexp.models.protocol import RowMemory
from nnexp.registry import component

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nnexp.config.schema import ModelConfig
    from nnexp.models.mlp import MLP

# --------------------------------------------------------------------------------------------------
# Where named tensors of a run lie in its row of a flat buffer.
#
# Axes: R runs, P elements of a run's row, each of 4 bytes.
# --------------------------------------------------------------------------------------------------

# Rows of flat buffers, and the tensors in them, start at multiples of 16 float32 numbers (64
# bytes, a cache line), and rows of activations hold multiples of 32. So the same number of one
# run is always met by the same lane of the same vector instruction, however many runs are
# trained beside it: the reason why company changes no bit on CPU.
ALIGN = 16
LANES = 32
_ELEMENT = 4  # bytes


@dataclass(frozen=True)
class Slot:
    """One tensor's place in a flat row."""

    start: int
    shape: tuple[int, ...]
    dtype: str = "float32"  # by its name in torch
    itemsize: int = _ELEMENT  # bytes

    @property
    def stop(self) -> int:
        """One past the last element."""
        return self.start - (-math.prod(self.shape) * self.itemsize // _ELEMENT)


class Layout:
    """Named tensors laid end to end in a flat row, each starting on a cache line.

    Args:
        shapes: names and shapes; with the name of a dtype and its bytes where that is not float32.
    """

    def __init__(
        self, shapes: Iterable[tuple[str, tuple[int, ...]] | tuple[str, tuple[int, ...], str, int]]
    ) -> None:
        self.slots: dict[str, Slot] = {}
        end = 0
        for name, *about in shapes:
            self.slots[name] = slot = Slot(end, *about)
            end = -(-slot.stop // ALIGN) * ALIGN
        self.size = -(-end // LANES) * LANES  # P

    @property
    def num_elements(self) -> int:
        """How many numbers the tensors hold, padding left out."""
        return sum(math.prod(slot.shape) for slot in self.slots.values())

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors by name as views [R, *shape] of ``flat`` [R, P]."""
        runs = flat.shape[0]
        return {
            name: _typed(flat[:, slot.start : slot.stop], slot).view(runs, *slot.shape)
            for name, slot in self.slots.items()
        }

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors of one run's row [P] by name, on the CPU.

        Side by side in one new buffer, which a file has as one record; but those that are not
        float32 each by itself, for ``torch.save`` knows no buffer of two types.
        """
        import torch

        slots = self.slots.values()
        if not slots:
            return {}
        parts = [flat[slot.start : slot.stop] for slot in slots]
        sizes = [len(part) for part in parts]
        together = torch.split(torch.cat(parts).cpu(), sizes)
        return {
            name: elements.view(slot.shape)
            if slot.dtype == "float32"
            else _typed(elements[None], slot).clone().view(slot.shape)
            for (name, slot), elements in zip(self.slots.items(), together, strict=True)
        }


def _typed(part: Tensor, slot: Slot) -> Tensor:
    """Elements [R, E] as numbers [R, N] of the slot's type, bit for bit."""
    if slot.dtype == "float32":
        return part
    import torch

    dtype = getattr(torch, slot.dtype)
    if part.storage_offset() * _ELEMENT % slot.itemsize:
        part = part.clone()
    return part.view(dtype)[:, : math.prod(slot.shape)]


# --------------------------------------------------------------------------------------------------
# The structure of a multilayer perceptron, and where its parameters lie in a flat buffer.
#
# Axes: R runs, D inputs, C classes, P and S numbers in a run's row of the flat buffers.
# --------------------------------------------------------------------------------------------------

_FLOAT32, _BFLOAT16 = 4, 2  # bytes


@dataclass(frozen=True)
class Structure:
    """All of a multilayer perceptron but its numbers: what runs that train together share.

    The ``Network`` of the built-in models; its passes are written by hand (``nnexp.models.mlp``).
    """

    num_features: int
    hidden: tuple[int, ...]
    num_classes: int
    activation: str = "relu"
    norm: str = "none"
    residual: bool = False
    bias: bool = True

    @property
    def widths(self) -> tuple[int, ...]:
        """From the features over the hidden layers to the classes."""
        return (self.num_features, *self.hidden, self.num_classes)

    def skips(self, layer: int) -> bool:
        """Whether hidden layer ``layer`` adds its input to its output."""
        return self.residual and layer > 0 and self.hidden[layer - 1] == self.hidden[layer]

    def padded_rows(self, rows: int) -> int:
        """The least number of rows, at least ``rows``, that fills whole vectors in each layer."""
        step = math.lcm(*(LANES // math.gcd(width, LANES) for width in self.hidden))
        return -(-rows // step) * step

    def flops_per_row(self) -> int:
        """Multiplications and additions of one row's forward and backward matrix products."""
        return 6 * sum(a * b for a, b in pairwise(self.widths))

    # ── as in ``Network`` ─────────────────────────────────────────────────────────────────────

    @property
    def parameters(self) -> Layout:
        """Weights and biases."""
        return parameter_layout(self)

    @property
    def statistics(self) -> Layout:
        """Of batch norm."""
        return statistics_layout(self)

    @property
    def num_layers(self) -> int:
        """Matrix products of a forward pass."""
        return len(self.hidden) + 1

    @property
    def summary(self) -> str:
        """``64-128-10``."""
        return "-".join(map(str, self.widths))

    @property
    def why_solo(self) -> None:
        """Any runs can be batched."""
        return

    @property
    def refuses_one_row(self) -> str | None:
        """Batch norm."""
        return "model.norm=batch cannot normalise" if self.norm == "batch" else None

    @property
    def by_torch(self) -> bool:
        """Its operations are chosen so that they do not depend on the number of threads."""
        return False

    @property
    def can_be_captured(self) -> bool:
        """Nothing in a step needs the host."""
        return True

    def options(self) -> Mapping[str, object]:
        """The fields."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def bytes_per_row(self) -> int:
        """Inputs, outputs and their gradients."""
        inputs, *others = self.widths
        return _FLOAT32 * (inputs + 2 * sum(others))

    def row_memory(self, model: ModelConfig, *, is_half: bool) -> RowMemory:
        """In the buffers of all hidden layers, and what a step takes and gives back."""
        drops = model.dropout > 0
        return RowMemory(
            _kept(self, is_half=is_half, drops=drops), _passing(self, is_half=is_half, drops=drops)
        )

    def initial(self, model: ModelConfig, seed: int) -> tuple[Tensor, Tensor]:
        """As ``initial_parameters`` and ``initial_statistics``."""
        from nnexp.models.init import initial_parameters, initial_statistics

        return initial_parameters(self, model, seed), initial_statistics(self)

    def build(
        self,
        params: Tensor,
        stats: Tensor,
        seeds: Sequence[int],
        models: Sequence[ModelConfig],
        dtype: torch.dtype,
        *,
        trains: bool = True,
    ) -> MLP:
        """R networks; the buffers are taken over."""
        from nnexp.models.layers import Dropout
        from nnexp.models.mlp import MLP

        rates = [model.dropout for model in models]
        dropout = None
        if trains and any(rates):
            dropout = Dropout(seeds, rates, self.hidden, params.device)
        return MLP(self, params, stats, dropout, dtype, trains=trains)

    def as_module(self, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """As ``nnexp.models.module.as_module``, without dropout."""
        from nnexp.models.module import as_module

        return as_module(self, tensors)

    def tensors(self, params: Tensor, stats: Tensor) -> dict[str, Tensor]:
        """By their names in the layouts."""
        return self.parameters.unpack(params) | self.statistics.unpack(stats)

    def saved(self) -> dict[str, Any]:
        """The fields, as a checkpoint has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_saved(cls, fields: Mapping[str, Any]) -> Structure:
        """Of what ``saved`` returned."""
        return cls(**{**fields, "hidden": tuple(fields["hidden"])})


def parameter_layout(structure: Structure) -> Layout:
    """The trained tensors, named as in the ``torch.nn.Module`` that ``module.as_module`` builds."""

    def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
        widths = structure.widths
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            prefix = f"hidden.{layer}." if layer < len(structure.hidden) else "output."
            linear = prefix + "linear." if layer < len(structure.hidden) else prefix
            yield linear + "weight", (outputs, inputs)
            if structure.bias:
                yield linear + "bias", (outputs,)
            if layer < len(structure.hidden) and structure.norm != "none":
                yield prefix + "norm.weight", (outputs,)
                yield prefix + "norm.bias", (outputs,)

    return Layout(shapes())


def statistics_layout(structure: Structure) -> Layout:
    """What is kept of a run but not trained: the running statistics of batch norm."""

    def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
        if structure.norm == "batch":
            for layer, width in enumerate(structure.hidden):
                yield f"hidden.{layer}.norm.running_mean", (width,)
                yield f"hidden.{layer}.norm.running_var", (width,)

    return Layout(shapes())


def _kept(structure: Structure, *, is_half: bool, drops: bool) -> int:
    """Bytes of a row in the buffers of all hidden layers: sums, outputs, gradients."""
    number = _BFLOAT16 if is_half else _FLOAT32
    kept = 0
    for layer, width in enumerate(structure.hidden):
        keeps_input = component("activation", structure.activation).saves_input
        flats = 2 + keeps_input + (drops or structure.skips(layer))
        kept += flats * number * width
    return kept


def _passing(structure: Structure, *, is_half: bool, drops: bool) -> int:
    """Bytes of a row that are taken and given back within a step."""
    units, widest = sum(structure.hidden), max(structure.hidden, default=0)
    taken = 5 * _FLOAT32 * structure.num_classes  # logits, their logarithms, gradients
    if is_half:
        taken += _BFLOAT16 * structure.num_features
    if drops:  # masks, and the hashes that they come from
        taken += (_FLOAT32 + 4 + (_BFLOAT16 if is_half else 0)) * units
    if structure.norm != "none":  # normalised sums, and what becomes of a layer's
        taken += _FLOAT32 * (units + 3 * widest)
    return taken
