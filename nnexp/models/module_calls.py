"""A module as a function of its tensors, with its dropout masks from outside."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nnexp.rng import stream_seed

if TYPE_CHECKING:
    from nnexp.models.layout import Layout
    from nnexp.models.module_network import ModuleNetwork

# --------------------------------------------------------------------------------------------------
# Dropout inside of any module: masks from outside in place of random numbers.
#
# Axes: R runs, M rows of a batch.
# --------------------------------------------------------------------------------------------------

# Of the input's dimensions, without those of rows and channels: Dropout2d drops channels of
# [B, C, H, W], and of [B, C, L] as well.
_SPATIAL: dict[type[nn.Module], tuple[int, ...]] = {
    nn.Dropout1d: (1,),
    nn.Dropout2d: (2, 1),
    nn.Dropout3d: (3,),
}


class MaskSource:
    """Hands masks to the dropout layers of one module, in the order in which they are called."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], float]] = []  # shape of the mask, and rate
        self._masks: Iterator[Tensor] | None = None

    def give(self, masks: Sequence[Tensor]) -> None:
        """Masks, without the run axis, for the next forward pass."""
        self._masks = iter(masks)

    def record(self) -> None:
        """Note what is asked for, from now on, and drop nothing."""
        self.calls, self._masks = [], None

    def take(self, like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor:
        """The next mask."""
        if self._masks is None:
            self.calls.append((shape, rate))
            return like.new_ones(shape)
        return next(self._masks)


class MaskedDropout(nn.Module):
    """In place of ``nn.Dropout`` and its relatives that drop channels."""

    def __init__(self, replaced: nn.Module, source: MaskSource) -> None:
        super().__init__()
        self.p = float(replaced.p)  # type: ignore[arg-type]
        self._spatial = _SPATIAL.get(type(replaced))
        self._source = source

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        return x * self._source.take(x, self._mask_shape(x), self.p)

    def _mask_shape(self, x: Tensor) -> tuple[int, ...]:
        if self._spatial is None:
            return tuple(x.shape)
        channels = 2 if x.dim() - 2 in self._spatial else 1
        return (*x.shape[:channels], *(1,) * (x.dim() - channels))


def with_masks(module: nn.Module) -> tuple[nn.Module, MaskSource]:
    """A copy of the module in training mode, whose layers of dropout take masks from the source."""
    source = MaskSource()
    module = copy.deepcopy(module)
    replaced: dict[int, MaskedDropout] = {}  # by the layer that stood there, maybe several times
    kinds = {nn.Dropout, *_SPATIAL}
    if type(module) in kinds:
        module = nn.Sequential(module)
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and type(child) in kinds:
                if id(child) not in replaced:
                    replaced[id(child)] = MaskedDropout(child, source)
                parent._modules[name] = replaced[id(child)]
    return module.train(), source


# --------------------------------------------------------------------------------------------------
# A module as a function of its tensors, and its first ones.
#
# Axes: M rows of a batch, D inputs, C outputs, P and S elements of a run's flat rows.
# --------------------------------------------------------------------------------------------------

Tensors = Mapping[str, Tensor]
Call = Callable[[Tensors, Tensor, Sequence[Tensor]], tuple[Tensor, dict[str, Tensor]]]


def caller(module: nn.Module, source: MaskSource) -> Call:
    """The module as a function of one run's tensors, batch [M, D] and masks.

    It returns the logits [M, C], and by name the buffers that the module has replaced by others;
    those that it changes in place have changed.
    """

    ties = _ties(module)

    def call(
        tensors: Tensors, x: Tensor, masks: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        source.give(masks)
        used = {**tensors, **{other: tensors[name] for other, name in ties.items()}}
        logits = functional_call(module, used, (x,), tie_weights=False)
        changed = {n: used[n].detach() for n, t in tensors.items() if used[n] is not t}
        return logits, changed

    return call


def _ties(module: nn.Module) -> dict[str, str]:
    """Further names of parameters and buffers that have several, and the first one of each."""
    first: dict[int, str] = {}
    ties = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if first.setdefault(id(tensor), name) != name:
                ties[name] = first[id(tensor)]
    return ties


def gradients(logits: Tensor, leaves: Sequence[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
    """Of the leaves; zero for those that the logits do not depend on."""
    return torch.autograd.grad(logits, leaves, grad, allow_unused=True, materialize_grads=True)


@contextlib.contextmanager
def seeded(
    seed: int, purpose: str, *counters: int, device: torch.device | None = None
) -> Iterator[None]:
    """Have the global generators of torch, NumPy and Python at the start of a stream, inside."""
    key = stream_seed(seed, purpose, *counters)
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda = [device] if device is not None and device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(key)
            for one in cuda:
                with torch.cuda.device(one):
                    torch.cuda.manual_seed(key)
            random.seed(key)
            np.random.seed(key % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def initial(network: ModuleNetwork, seed: int) -> tuple[Tensor, Tensor]:
    """A run's first parameters [P] and statistics [S], float32 on the CPU.

    The factory draws them from the global generators, which are seeded for it and then put back.
    """
    with seeded(seed, "init"):
        module = network.make()
    return flat_rows(network.parameters, network.statistics, module)


def flat_rows(parameters: Layout, statistics: Layout, module: nn.Module) -> tuple[Tensor, Tensor]:
    """A module's tensors as flat rows [P] and [S]."""
    own: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    rows = []
    for layout in (parameters, statistics):
        flat = torch.zeros(1, layout.size)
        for name, view in layout.views(flat).items():
            view[0] = own[name].detach()
        rows.append(flat[0])
    return rows[0], rows[1]
