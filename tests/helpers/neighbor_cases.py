"""Rows of many kinds, and their neighbours by exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

ALL_METRICS = ("euclidean", "manhattan", "minkowski_1.5", "cosine")


def of_scikit_learn(metric: str) -> dict[str, Any]:
    """The options of scikit-learn's that mean the metric."""
    name, _, power = metric.partition("_")
    return {"metric": name, "p": float(power)} if power else {"metric": name}


def exact_key(row: list[Fraction], query: list[Fraction], metric: str) -> Fraction:
    """A number that grows with the distance, without any rounding."""
    pairs = list(zip(row, query, strict=True))
    if metric == "euclidean":
        return sum(((a - b) ** 2 for a, b in pairs), Fraction(0))
    if metric == "manhattan":
        return sum((abs(a - b) for a, b in pairs), Fraction(0))
    if metric == "minkowski_1.5":
        return sum((to_the_1_5(abs(a - b)) for a, b in pairs), Fraction(0))
    product = sum((a * b for a, b in pairs), Fraction(0))
    norms = sum(a * a for a in row) * sum(b * b for b in query)
    return -product * abs(product) / norms if norms else Fraction(0)


def to_the_1_5(number: Fraction) -> Fraction:
    """To a relative 2**-400."""
    if number == 0:
        return number
    cube = number**3
    places = 400 + max(0, cube.denominator.bit_length() - cube.numerator.bit_length())
    root = math.isqrt((cube.numerator << 2 * places) // cube.denominator)
    return Fraction(root, 2**places)


def exact_nearest(
    train: Tensor, queries: Tensor, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices by brute force in fractions; ties to the lowest row."""
    rows = [[Fraction(value) for value in row] for row in train.tolist()]
    keys, indices = [], []
    for query in ([Fraction(value) for value in row] for row in queries.tolist()):
        ranked = sorted((exact_key(row, query, metric), i) for i, row in enumerate(rows))[:k]
        keys.append([key for key, _ in ranked])
        indices.append([index for _, index in ranked])
    to_distance: dict[str, Callable[[Fraction], float]] = {
        "euclidean": lambda key: math.sqrt(key),
        "manhattan": lambda key: float(key),
        "minkowski_1.5": lambda key: float(key) ** (2 / 3),
        "cosine": lambda key: 1 + math.copysign(math.sqrt(abs(key)), key),
    }
    return np.vectorize(to_distance[metric], otypes=[float])(keys), np.array(indices)


def grid(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.integers(0, 4, shape).astype(float)


def permutations(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Rows of the same numbers in another order: equal sums that are rounded differently."""
    return rng.permuted(np.tile(np.linspace(0.1, 1.7, shape[1]) ** 2, (shape[0], 1)), axis=1)


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.normal(size=shape) * (rng.random(shape) < 0.2)


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "grid": grid,
    "thirds": lambda rng, shape: grid(rng, shape) / 3,
    "duplicates": lambda rng, shape: rng.normal(size=(6, shape[1]))[rng.integers(0, 6, shape[0])],
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "permutations": permutations,
    "parallel": lambda rng, shape: np.outer(rng.integers(1, 9, shape[0]), np.ones(shape[1]) / 7),
    "sparse, zero rows": sparse,
    "far from the origin": lambda rng, shape: 1e4 + 1e-2 * rng.normal(size=shape),
    "neighbours in float32": lambda rng, shape: 1 + 2.0**-23 * grid(rng, shape),
    "one outlier": lambda rng, shape: np.vstack([[1e6] * shape[1], rng.normal(size=shape)[1:]]),
    "1e-44 to 1e36": lambda rng, shape: (
        rng.normal(size=shape) * 10.0 ** rng.integers(-44, 37, shape)
    ),
    "1e37": lambda rng, shape: 1e37 * rng.normal(size=shape),
    "thirds of 1e-30": lambda rng, shape: 1e-30 * grid(rng, shape) / 3,
    "subnormal": lambda rng, shape: 2.0**-149 * grid(rng, shape),
}


def draw(kind: str, num_rows: int, num_features: int, seed: int) -> Tensor:
    values = KINDS[kind](np.random.default_rng(seed), (num_rows, num_features))
    return torch.from_numpy(values.astype(np.float32))


def assert_same_bits(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that torch held of what it allocated during ``work``."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        work()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak
