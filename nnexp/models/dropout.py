"""Dropout masks from a counter, so that a run's masks depend on its seed and step alone.

A mask is a hash of (run, step, place), computed elementwise for the whole group: no generator has a
state to keep, any step can be drawn again, CPU and CUDA draw the same bits.

Axes: R runs, M rows, H units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnexp.randomness import stream_seed

_LEVELS = 1 << 16  # a rate is a multiple of 1 / 65536: every hash of 32 bits serves two places


class Dropout:
    """Masks for the hidden layers of R runs with rates ``rates`` [R], keyed by their seeds.

    Masks are scaled by 1 / (1 - rate), as ``torch.nn.Dropout``, so evaluation needs no scaling.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        rates: Sequence[float],
        widths: Sequence[int],
        device: torch.device,
    ) -> None:
        words = [stream_seed(seed, "dropout") for seed in seeds]
        self._keys = [
            torch.tensor([_signed(w >> shift) for w in words], dtype=torch.int32, device=device)
            for shift in (0, 32)
        ]
        self._widths = widths
        threshold, scale = _threshold_and_scale(rates)
        self._threshold = threshold.to(device).view(-1, 1)
        self._scale = scale.to(device).view(-1, 1)
        self._places: dict[int, Tensor] = {}

    def masks(self, step: int | Tensor, rows: int) -> list[Tensor]:
        """The masks [R, rows, H] of the layers at one step: 0 or 1 / (1 - rate).

        ``step`` may be an int64 tensor [1] on the device.
        """
        total = rows * sum(self._widths)
        if rows not in self._places:
            places = torch.arange(-(-total // 2), dtype=torch.int32, device=self._scale.device)
            self._places[rows] = places
        first = _mix(self._keys[0] ^ _word(step)).view(-1, 1)
        second = _mix(self._keys[1] + _word(step >> 32)).view(-1, 1)
        # The first key alone would give all runs the same hashes in another order.
        words = _mix(self._places[rows] ^ first).add_(second).mul_(_signed(0x9E3779B1))
        words.bitwise_xor_(_shift(words, 16))
        mask = (words.view(torch.int16)[:, :total] >= self._threshold) * self._scale
        # All layers' units of a row side by side: padding rows shift nobody's mask.
        return list(torch.split(mask.view(len(mask), rows, -1), list(self._widths), dim=2))


class LayeredDropout(Dropout):
    """Masks for layers with rates of their own, the same in all runs, for one number of rows.

    Where all layers drop out of tensors [M, ...] the hashes are those of ``Dropout``.

    Args:
        seeds: of the R runs.
        layers: shape of the mask and rate, below 1, of each.
        rows: M.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        layers: Sequence[tuple[tuple[int, ...], float]],
        rows: int,
        device: torch.device,
    ) -> None:
        self._rows = rows if all(shape[:1] == (rows,) for shape, _ in layers) else 1
        self._shapes = [shape for shape, _ in layers]
        widths = [math.prod(shape) // self._rows for shape in self._shapes]
        super().__init__(seeds, [rate for _, rate in layers], widths, device)
        repeats = torch.tensor(widths, device=device)
        for name in ("_threshold", "_scale"):  # of a layer, for each place instead [1, places]
            of_a_row = getattr(self, name)[:, 0].repeat_interleave(repeats)
            setattr(self, name, of_a_row.repeat(self._rows).unsqueeze(0))

    def draw(self, step: int | Tensor) -> list[Tensor]:
        """The masks [R, *shape] of the layers at one step: 0 or 1 / (1 - rate)."""
        masks = self.masks(step, self._rows)
        runs = len(self._keys[0])
        return [mask.reshape(runs, *s) for mask, s in zip(masks, self._shapes, strict=True)]


def _threshold_and_scale(rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The int16 below which a place is dropped, and the float32 that the others are scaled by."""
    # Of the 65536 values of an int16, so many lie below the threshold.
    dropped = (torch.tensor(rates, dtype=torch.float64) * _LEVELS).round()
    dropped.clamp_(max=_LEVELS - 1)
    threshold = (dropped - _LEVELS // 2).to(torch.int16)
    return threshold, (_LEVELS / (_LEVELS - dropped)).to(torch.float32)


def _word(number: int | Tensor) -> int | Tensor:
    """The low 32 bits, as int32."""
    return _signed(number) if isinstance(number, int) else number.to(torch.int32)


def _signed(word: int) -> int:
    """The low 32 bits as the int32 with the same bits."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def _mix(x: Tensor) -> Tensor:
    """Wellons' lowbias32, a 32-bit hash with near-ideal avalanche (hash-prospector, 2018)."""
    x = x ^ _shift(x, 16)
    x.mul_(0x7FEB352D)
    x.bitwise_xor_(_shift(x, 15))
    x.mul_(_signed(0x846CA68B))
    return x.bitwise_xor_(_shift(x, 16))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: int32 has only the arithmetic one."""
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)
