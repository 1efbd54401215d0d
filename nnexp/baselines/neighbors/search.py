"""The exact k nearest training rows of every query, at about the price of one matrix product.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features.

Euclidean neighbours of pixels, and of other whole numbers that span no more, are found by products
of bytes, which round nothing (:mod:`nnexp.baselines.neighbors.integers`), where the device is good
at these. All others are found by rough products and then proved
(:mod:`nnexp.baselines.neighbors.ranking`). Every order is by (distance, row), so that among equal
distances the lowest row comes first, and both ways give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nnexp.baselines.neighbors import integers
from nnexp.baselines.neighbors.metrics import METRICS
from nnexp.baselines.neighbors.ranking import PAIR_BYTES, Ranking
from nnexp.errors import ConfigError, DataError, did_you_mean

MEMORY_BYTES = 2**29


def least_memory(num_rows: int) -> int:
    """The least ``memory_bytes`` of :func:`nearest` for so many training rows."""
    return num_rows * PAIR_BYTES


def nearest(
    train: Tensor,
    queries: Tensor,
    k: int,
    *,
    metric: str = "euclidean",
    memory_bytes: int = MEMORY_BYTES,
) -> tuple[Tensor, Tensor]:
    """The k nearest of ``train`` [N, D] for each of ``queries`` [Q, D], in exact arithmetic.

    Returns float64 distances [Q, k], ascending, and int64 indices of training rows [Q, k]. Rows at
    equal distances come in the order of their indices. The result is the same, bit for bit, for
    every ``memory_bytes``, device and number of threads.

    Both inputs are float32, or both uint8, and on one device, which does the work. ``memory_bytes``
    bounds what is allocated besides the result and one copy of the training rows (in float64 where
    float32 cannot tell all neighbours apart).

    Raises ``ConfigError`` for an unknown metric, a ``k`` that is not in 1 to N and a memory bound
    below what one query needs, ``DataError`` for numbers that are not finite and for different
    numbers of features, ``TypeError`` for numbers that are neither float32 nor uint8.
    """
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS)
        raise ConfigError(f"metric={metric}{hint}: use one of {', '.join(METRICS)}")
    check_k(k, len(train))
    if memory_bytes < (least := least_memory(len(train))):
        raise ConfigError(
            f"{memory_bytes / 2**20:.3g} MiB of memory: KNN needs at least {least / 2**20:.3g} MiB "
            f"for {len(train)} training samples"
        )
    _check_shapes(train, queries)
    low, high = _extremes(train, queries)
    with torch.no_grad(), _full_precision():
        if metric == "euclidean" and high - low <= integers.SPAN:
            found = _nearest_by_bytes(train, queries, k, low, memory_bytes)
            if found is not None:
                return found
        ranking = Ranking(METRICS[metric](train.float(), queries.float(), memory_bytes), k)
        ranking.run()
        return ranking.metric.distance(ranking.keys), ranking.indices


def check_k(k: int, num_train: int) -> None:
    """Raise ``ConfigError`` if there cannot be ``k`` neighbours among ``num_train`` rows."""
    if not 1 <= k <= num_train:
        raise ConfigError(f"k={k}: must be from 1 to {num_train}, the number of training samples")


def _check_shapes(train: Tensor, queries: Tensor) -> None:
    if train.dtype != queries.dtype or train.dtype not in (torch.float32, torch.uint8):
        raise TypeError(f"float32 or uint8 rows expected, got {train.dtype} and {queries.dtype}")
    if train.shape[1:] != queries.shape[1:] or train.shape[1] == 0:
        raise DataError(
            f"KNN needs rows of equally many features, at least one: the training rows have "
            f"{train.shape[1]}, the queries {queries.shape[1]}"
        )


def _extremes(train: Tensor, queries: Tensor) -> tuple[float, float]:
    """The least and the largest number of both. Raises ``DataError`` if one is not finite."""
    if train.dtype == torch.uint8:
        return 0.0, 255.0
    tables = [rows for rows in (train, queries) if len(rows)]
    extremes = torch.stack([bound for rows in tables for bound in rows.aminmax()]).tolist()
    if not all(map(math.isfinite, extremes)):
        for name, rows in (("training row", train), ("query", queries)):
            for row, column in (~rows.isfinite()).nonzero()[:1].tolist():
                raise DataError(
                    f"{name} {row}, feature {column} is {float(rows[row, column])}: "
                    "KNN needs finite numbers"
                )
    return min(extremes), max(extremes)


def _nearest_by_bytes(
    train: Tensor, queries: Tensor, k: int, low: float, memory_bytes: int
) -> tuple[Tensor, Tensor] | None:
    """As :func:`nearest`; None where floats serve better, or numbers are not whole."""
    if not integers.usable(train.shape[1], train.device):
        return None
    layout = integers.Layout.of(len(train), k, train.device, memory_bytes)
    if layout is None:
        return None
    if train.is_floating_point():
        whole = torch.stack([integers.all_whole(rows) for rows in (train, queries)])
        if not bool(whole.all()):
            return None
    search = integers.IntegerSearch(integers.to_bytes(train, low), layout)
    squares, rows = search.run(integers.to_bytes(queries, low), k)
    return squares.double().sqrt_(), rows


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products in float32 (not TF32, not bfloat16), whatever the program has set."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
