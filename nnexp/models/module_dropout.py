"""Dropout inside of any module: masks from outside in place of random numbers.

Axes: R runs, M rows of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

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
