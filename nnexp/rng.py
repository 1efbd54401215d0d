"""Independent random streams from one seed.

A stream is keyed by (seed, purpose, counters), for example (3, "order", epoch). It depends on
nothing else: not on other streams, not on what ran before, not on a run's place in a group. The
global generators of torch, numpy and Python are never touched.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch

Bits = npt.NDArray[np.uint64]


def stream_seed(seed: int, purpose: str, *counters: int) -> int:
    """The 64-bit key of a stream, from 0 to 2**64 - 1.

    The key is a BLAKE2b hash, so that neighbouring seeds share nothing; 0 is a seed like any other.
    """
    key = repr((int(seed), purpose, *map(int, counters)))  # no two keys have the same repr
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A torch generator on the CPU at the start of the stream.

    torch's CPU generator keeps 32 bits of its seed: two streams out of 2**32 coincide.
    """
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *counters))


def random_bits(count: int, seed: int, purpose: str, *counters: int) -> Bits:
    """The first ``count`` 64-bit words of the stream; the i-th does not depend on ``count``.

    The words are SplitMix64's (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
    generators"): plain integer arithmetic, so that they are the same on every platform and under
    every version of numpy and torch.
    """
    words = np.arange(1, count + 1, dtype=np.uint64)
    words *= np.uint64(0x9E3779B97F4A7C15)  # arithmetic is modulo 2**64
    words += np.uint64(stream_seed(seed, purpose, *counters))
    return mix(words)


def words_at(places: Bits, key: int) -> Bits:
    """The words of the stream with this key at any places, counted from 0, as ``random_bits``."""
    words = places + np.uint64(1)
    words *= np.uint64(0x9E3779B97F4A7C15)
    words += np.uint64(key)
    return mix(words)


def mix(words: Bits) -> Bits:
    """SplitMix64's bijection of 64-bit words, in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def uniform(bits: Bits) -> npt.NDArray[np.float64]:
    """Uniform numbers in (0, 1), one a word: its upper 52 bits and a half, never 0."""
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(count: int, seed: int, purpose: str, *counters: int) -> npt.NDArray[np.float64]:
    """Standard normal numbers (Box and Muller 1958), equal on all platforms but for last bits."""
    words = uniform(random_bits(2 * count, seed, purpose, *counters))
    radius = np.sqrt(-2.0 * np.log(words[:count]))
    return radius * np.cos(2.0 * np.pi * words[count:])
