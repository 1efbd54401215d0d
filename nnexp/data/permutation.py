"""A random order of any number of rows that is computed, not stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnexp.data.source import Indices
from nnexp.rng import Bits, mix, stream_seed

_ROUNDS = 4  # of a Feistel network: a strong pseudorandom permutation (Luby and Rackoff 1988)


@dataclass(frozen=True)
class Permutation:
    """A bijection of 0 to ``size - 1``, drawn from (seed, purpose, number).

    A Feistel network permutes the numbers below the next power of four; what lands outside of the
    range is permuted again until it is inside (cycle walking, Black and Rogaway 2002).
    """

    size: int
    seed: int
    purpose: str
    number: int = 0

    def at(self, places: Indices) -> Indices:
        """What stands at places [n]; each is computed by itself."""
        found = self._walked(places.astype(np.uint64))
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            again = self._walked(found[outside])
            found[outside] = again
            outside = outside[again >= self.size]
        return found.astype(np.int64)

    @cached_property
    def _half(self) -> int:
        return max(1, ((self.size - 1).bit_length() + 1) // 2)

    @cached_property
    def _keys(self) -> list[int]:
        return [stream_seed(self.seed, self.purpose, self.number, r) for r in range(_ROUNDS)]

    def _walked(self, places: Bits) -> Bits:
        bits, mask = np.uint64(self._half), np.uint64((1 << self._half) - 1)
        left, right = places >> bits, places & mask
        for key in self._keys:
            left, right = right, left ^ (mix(right + np.uint64(key)) & mask)
        return (left << bits) | right
