"""The structure of a network, and where its parameters lie in a flat buffer.

Axes: R runs, P numbers in a run's row of a flat buffer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the main process of a sweep goes without torch
    from torch import Tensor

# Rows of flat buffers, and the tensors in them, start at multiples of 16 float32 numbers (64
# bytes, a cache line), and rows of activations hold multiples of 32. So the same number of one
# run is always met by the same lane of the same vector instruction, however many runs are
# trained beside it: the reason why company changes no bit on CPU.
_ALIGN = 16
_LANES = 32


@dataclass(frozen=True)
class Structure:
    """All of a multilayer perceptron but its numbers: what runs that train together share."""

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
        step = math.lcm(*(_LANES // math.gcd(width, _LANES) for width in self.hidden))
        return -(-rows // step) * step

    def flops_per_row(self) -> int:
        """Multiplications and additions of one row's forward and backward matrix products."""
        return 6 * sum(a * b for a, b in pairwise(self.widths))


@dataclass(frozen=True)
class Slot:
    """One tensor's place in a flat row."""

    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """One past the last number."""
        return self.start + math.prod(self.shape)


class Layout:
    """Named tensors laid end to end in a flat row, each starting on a cache line."""

    def __init__(self, shapes: Iterator[tuple[str, tuple[int, ...]]]) -> None:
        self.slots: dict[str, Slot] = {}
        end = 0
        for name, shape in shapes:
            self.slots[name] = slot = Slot(end, shape)
            end = -(-slot.stop // _ALIGN) * _ALIGN
        self.size = -(-end // _LANES) * _LANES  # P

    @property
    def num_numbers(self) -> int:
        """How many numbers the tensors hold, padding left out."""
        return sum(math.prod(slot.shape) for slot in self.slots.values())

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors by name as views [R, *shape] of ``flat`` [R, P]."""
        runs = flat.shape[0]
        return {
            name: flat[:, slot.start : slot.stop].view(runs, *slot.shape)
            for name, slot in self.slots.items()
        }


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
