"""Streams are fixed for ever, independent of each other, and touch no global generator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nnexp.rng import generator, normal, random_bits, stream_seed, uniform


@pytest.mark.parametrize(
    ("key", "golden"),
    [
        ((0, "split"), 13761250934428746483),
        ((1, "split"), 9798136137108311138),
        ((0, "order", 0), 4188667365335418757),
        ((0, "order", 1), 4004135407344543170),
        ((2**63, "init"), 11235984101592113180),
    ],
)
def test_stream_seeds_never_change(key: tuple[int, str], golden: int) -> None:
    assert stream_seed(*key) == golden


def test_every_part_of_the_key_counts() -> None:
    keys = [
        *((seed, purpose, *counters)
          for seed in (0, 1, -1, 2, 12)
          for purpose in ("split", "order", "order/1", "")
          for counters in ((), (0,), (1,), (1, 0), (0, 1), (10,), (12, 3), (1, 23))),
    ]  # fmt: skip
    assert len({stream_seed(*key) for key in keys}) == len(keys)


def test_numpy_integers_are_integers() -> None:
    assert stream_seed(np.int64(3), "order", np.int32(4)) == stream_seed(3, "order", 4)


def test_random_bits_are_splitmix64() -> None:
    """Against the algorithm in Python's integers; its words for state 1234567 are published."""

    def splitmix64(state: int) -> int:
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    step = 0x9E3779B97F4A7C15
    # The first three outputs for seed 1234567, as in the tests of Rosetta Code's SplitMix64.
    assert [splitmix64((1234567 + i * step) % 2**64) for i in (1, 2, 3)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423,
    ]  # fmt: skip
    start = stream_seed(5, "split", 2)
    expected = [splitmix64((start + i * step) % 2**64) for i in range(1, 101)]
    assert random_bits(100, 5, "split", 2).tolist() == expected


def test_a_longer_stream_begins_as_a_shorter_one() -> None:
    assert np.array_equal(random_bits(1000, 0, "split")[:10], random_bits(10, 0, "split"))


def test_uniform_numbers_lie_inside_the_unit_interval() -> None:
    ends = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert ends.tolist() == [2.0**-53, 1 - 2.0**-53]
    numbers = uniform(random_bits(200_000, 0, "test"))
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 43.8  # 0.1 % point of chi-square with 19 degrees of freedom


def test_normal_numbers_are_standard_normal() -> None:
    numbers = normal(200_000, 0, "test")
    assert abs(numbers.mean()) < 4 / np.sqrt(200_000)
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2 / 200_000)
    assert abs((numbers**3).mean()) < 4 * np.sqrt(15 / 200_000)
    assert abs((np.abs(numbers) > 1.959964).mean() - 0.05) < 0.002


def test_neighbouring_streams_are_uncorrelated() -> None:
    streams = [normal(10_000, seed, "split", count) for seed in range(3) for count in range(3)]
    for a, b in itertools.combinations(streams, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.05


def test_generator_repeats_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is the one to leave alone
    first = torch.rand(5, generator=generator(0, "init"))
    assert torch.equal(first, torch.rand(5, generator=generator(0, "init")))
    assert not torch.equal(first, torch.rand(5, generator=generator(0, "init", 0)))
    normal(10, 0, "test")
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_generator_takes_every_64_bit_seed() -> None:
    """torch refuses seeds outside its range; keys fill all 64 bits."""
    large = [seed for seed in range(20) if stream_seed(seed, "init") >= 2**63]
    assert large
    for seed in large:
        generator(seed, "init")
