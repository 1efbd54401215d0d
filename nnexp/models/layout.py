"""Where named tensors of a run lie in its row of a flat buffer.

Axes: R runs, P elements of a run's row, each of 4 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the main process of a sweep goes without torch
    from torch import Tensor

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
    def num_numbers(self) -> int:
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
