"""Dropout masks from a counter, so that a run's masks depend on its seed and step alone.

A mask is a hash of (run, step, layer, place), computed elementwise for the whole group: no
generator has a state to keep, any step can be drawn again, CPU and CUDA draw the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnexp.randomness import stream_seed

_LAYERS = 1 << 10  # more than any network has; keeps (step, layer) apart


class Dropout:
    """Masks of R runs with rates ``rates`` [R], keyed by their seeds.

    Masks are scaled by 1 / (1 - rate), as ``torch.nn.Dropout``, so evaluation needs no scaling.
    """

    def __init__(self, seeds: Sequence[int], rates: Sequence[float], device: torch.device) -> None:
        words = [stream_seed(seed, "dropout") for seed in seeds]
        self._keys = [
            torch.tensor([_signed(w >> shift) for w in words], dtype=torch.int32, device=device)
            for shift in (0, 32)
        ]
        rate = torch.tensor(rates, dtype=torch.float64)
        # A hash is uniform over the 2^32 values of int32: rate of them lie below the threshold.
        threshold = (rate * 2**32).round().clamp(max=2**32 - 1) - 2**31
        self._threshold = threshold.to(torch.int32).to(device).view(-1, 1)
        self._scale = (1 / (1 - rate)).to(torch.float32).to(device).view(-1, 1, 1)

    def mask(self, step: int, layer: int, rows: int, width: int) -> Tensor:
        """The mask [R, rows, width] of one layer at one step: 0 or 1 / (1 - rate)."""
        device = self._scale.device
        place = torch.arange(rows * width, dtype=torch.int32, device=device)
        counter = step * _LAYERS + layer
        first = _mix(self._keys[0] ^ _signed(counter)).view(-1, 1)
        second = _mix(self._keys[1] + _signed(counter >> 32)).view(-1, 1)
        keep = _mix(_mix(place ^ first).add_(second)) >= self._threshold
        return keep.view(-1, rows, width) * self._scale


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
