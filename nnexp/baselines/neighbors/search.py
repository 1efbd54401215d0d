"""The exact k nearest training rows of every query: rough scores, and the proof of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nnexp.baselines.neighbors import integers
from nnexp.baselines.neighbors.metrics import METRICS, Metric
from nnexp.baselines.neighbors.scans import (
    DOUBLE,
    IN_FLOAT32,
    IN_FLOAT64,
    IN_TF32,
    Arithmetic,
    Scan,
    blocks,
)
from nnexp.errors import ConfigError, DataError, did_you_mean

# --------------------------------------------------------------------------------------------------
# Neighbours by rough scores, and the proof that they are the nearest.
#
# Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``P`` pairs of a query and a
# row.
#
# 1. A float32 scan keeps, for every query, the ``k + SPARE`` rows of the lowest scores, and float64
# keys order these. If the highest score kept is beyond the reach of the k-th key, then no row that
#    was left out can matter, and the query is done. On CUDA a scan in TF32 with more to spare does
#    the same before, and only queries that it leaves open are scanned in float32.
# 2. For the other queries (many equal distances, or rows closer together than float32 can tell) a
#    float64 scan finds *all* rows within reach of the k-th key, and float64 keys order those.
# 3. In both steps, neighbours whose keys differ by less than rounding can do are ordered by exact
#    fractions, unless they are equal rows, or numbers so short that nothing was rounded.
#
# Scores, keys and their error bounds: :mod:`nnexp.baselines.neighbors.metrics`.
# --------------------------------------------------------------------------------------------------

# Candidates beyond k: on MNIST and Fashion-MNIST no query needs a second scan.
SPARE, SPARE_IN_TF32 = 8, 24
PAIR_BYTES = 192  # of index, key and sorting buffers while a pair is being ranked


class Ranking:
    """Fills ``keys`` and ``indices`` [Q, k] of the neighbours, some queries at a time."""

    def __init__(self, metric: Metric, k: int) -> None:
        self.metric, self.k, self.memory_bytes = metric, k, metric.memory_bytes
        self.device = metric.train.device
        shape = (len(metric.queries), k)
        self.keys = torch.empty(shape, dtype=DOUBLE, device=self.device)
        self.indices = torch.empty(shape, dtype=torch.int64, device=self.device)

    def run(self) -> None:
        pending, cutoffs = torch.arange(len(self.keys), device=self.device), self.keys[:, 0]
        for arithmetic, spare in self.rough_scans():
            if len(pending) == 0:
                return
            pending, cutoffs = self.among_candidates(
                self.metric.scan(arithmetic), pending, self.k + spare
            )
        if len(pending):
            self.among_all(self.metric.scan(IN_FLOAT64), pending, cutoffs)

    def rough_scans(self) -> list[tuple[Arithmetic, int]]:
        """From the cheapest on, each with the number of its spare candidates."""
        in_float32 = (IN_FLOAT32, SPARE)
        if self.metric.by_products and self.device.type == "cuda":
            return [(IN_TF32, SPARE_IN_TF32), in_float32]
        return [in_float32]

    def among_candidates(self, scan: Scan, asked: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Rank the ``count`` rows of the lowest scores, for the queries ``asked`` [A].

        Returns the queries [U] for which rows that were left out may matter, and the keys [U] that
        such rows have at most.
        """
        num_rows = len(self.metric.train)
        count = min(count, num_rows)
        group = math.isqrt(num_rows // count)
        width = math.ceil(num_rows / group) * group
        query_bytes = 6 * width + count * (16 * group + PAIR_BYTES)
        parts = list(blocks(len(asked), self.memory_bytes // query_bytes))
        buffer = torch.empty(parts[0].stop, width, device=self.device)
        buffer[:, num_rows:] = torch.inf
        pending, cutoffs = [], []
        for part in parts:
            query = asked[part]
            queries, scores = self.metric.queries[query], buffer[: len(query)]
            scan.scores(queries, out=scores[:, :num_rows])
            candidates, highest = _lowest(scores, count, group)
            cutoff = self.rank_evenly(query, candidates.sort(1).values)
            unproved = highest <= scan.reach(queries, cutoff)
            pending.append(query[unproved])
            cutoffs.append(cutoff[unproved])
        return torch.cat(pending), torch.cat(cutoffs)

    def among_all(self, scan: Scan, pending: Tensor, cutoffs: Tensor) -> None:
        """Rank all rows that can have keys of at most ``cutoffs`` [U], for ``pending`` [U]."""
        num_rows = len(self.metric.train)
        for part in blocks(len(pending), self.memory_bytes // (40 * num_rows)):
            queries = self.metric.queries[pending[part]]
            scores = torch.empty((len(queries), num_rows), dtype=DOUBLE, device=self.device)
            scan.scores(queries, out=scores)
            within = scores <= scan.reach(queries, cutoffs[part]).unsqueeze(1)
            del scores
            for some in _batches(within.sum(1).tolist(), self.memory_bytes // (2 * PAIR_BYTES)):
                query, rows = within[some].nonzero(as_tuple=True)
                self.rank(pending[part][some][query], rows)

    def rank_evenly(self, query: Tensor, rows: Tensor) -> Tensor:
        """As ``rank``, of as many ``rows`` [Q, M] for each ``query`` [Q]."""
        keys, order = self.metric.keys(query, rows).sort(dim=1, stable=True)
        rows = rows.gather(1, order)
        kth = keys[:, self.k - 1].clone()
        slack = self.metric.slack(kth)
        relevant = keys <= (kth + 4 * slack).unsqueeze(1)
        pairs = query.repeat_interleave(rows.shape[1])
        self.settle(pairs, rows.view(-1), keys.view(-1), relevant.view(-1))
        self.keys[query], self.indices[query] = keys[:, : self.k], rows[:, : self.k]
        return kth + 5 * slack

    def rank(self, query: Tensor, rows: Tensor) -> Tensor:
        """Find the k nearest among the given pairs of ``query`` [P] and ``rows`` [P], ascending.

        Returns a key for each query: a row whose exact key is greater cannot change the outcome.
        """
        keys = self.metric.keys(query, rows.unsqueeze(1)).squeeze(1)
        order = keys.argsort(stable=True)
        order = order[query[order].argsort(stable=True)]
        keys, rows = keys[order], rows[order]
        queries, counts = torch.unique_consecutive(query, return_counts=True)
        first = counts.cumsum(0) - counts
        kth = keys[first + self.k - 1]
        slack = self.metric.slack(kth)
        # Of candidates farther than the k-th, only those that rounding may have put there count:
        # all of these are at hand, whichever scan found them.
        relevant = keys <= (kth + 4 * slack).repeat_interleave(counts)
        self.settle(query, rows, keys, relevant)
        chosen = first.unsqueeze(1) + torch.arange(self.k, device=self.device)
        self.keys[queries], self.indices[queries] = keys[chosen], rows[chosen]
        return kth + 5 * slack

    def settle(self, query: Tensor, rows: Tensor, keys: Tensor, relevant: Tensor) -> None:
        """Put in exact order, in place, what ``keys`` leave in doubt; all are [P] and sorted."""
        slack = self.metric.slack(keys)
        close = (query[1:] == query[:-1]) & relevant[1:]
        close &= keys[1:] - keys[:-1] <= slack[1:] + slack[:-1]
        left = close.nonzero().squeeze(1)
        left = left[~self.metric.surely_tied(query[left], rows[left], rows[left + 1])]
        both = torch.cat([left, left + 1])
        exact = self.metric.unrounded(query[both], rows[both]).view(2, -1).all(0)
        doubtful = left[~exact]
        if len(doubtful) == 0:
            return
        run = torch.cat(
            [doubtful.new_zeros(1), (~close).cumsum(0)]
        )  # pairs close in a row: one run
        numbers = torch.unique_consecutive(run[doubtful])
        starts = torch.searchsorted(run, numbers)
        stops = torch.searchsorted(run, numbers, right=True)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            exact_keys = self.metric.exact_keys(int(query[start]), rows[start:stop])
            ranked = sorted(zip(exact_keys, rows[start:stop].tolist(), strict=True))
            keys[start:stop] = torch.tensor([float(key) for key, _ in ranked], dtype=DOUBLE)
            rows[start:stop] = torch.tensor([row for _, row in ranked])


def _lowest(scores: Tensor, count: int, group: int) -> tuple[Tensor, Tensor]:
    """Columns [Q, count] of the lowest ``scores`` [Q, W] of each query, and the highest of these.

    They lie in the ``count`` groups of the lowest minima, so that most scores are read just once,
    for the minimum of their group. ``group`` is the size of a group and divides W.
    """
    if group > 1:
        minima = scores.view(len(scores), group, -1).amin(1)
        columns = minima.topk(count, largest=False, sorted=False).indices
        strides = torch.arange(0, scores.shape[1], minima.shape[1], device=scores.device)
        columns = (columns.unsqueeze(1) + strides.unsqueeze(1)).flatten(1)
        scores = scores.gather(1, columns)
    values, chosen = scores.topk(count, largest=False, sorted=False)
    return (columns.gather(1, chosen) if group > 1 else chosen), values.amax(1)


def _batches(counts: list[int], limit: int) -> Iterator[slice]:
    """Slices of ``counts`` whose sums are at most ``limit``, or of a single count."""
    start = total = 0
    for stop, count in enumerate(counts):
        if total + count > limit and stop > start:
            yield slice(start, stop)
            start, total = stop, 0
        total += count
    yield slice(start, len(counts))


# --------------------------------------------------------------------------------------------------
# The exact k nearest training rows of every query, at about the price of one matrix product.
#
# Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features.
#
# Euclidean neighbours of pixels, and of other whole numbers that span no more, are found by
# products of bytes, which round nothing (:mod:`nnexp.baselines.neighbors.integers`), where the
# device is good at these. All others are found by rough products and then proved
# (:mod:`nnexp.baselines.neighbors.search`). Every order is by (distance, row), so that among equal
# distances the lowest row comes first, and both ways give the same bits.
# --------------------------------------------------------------------------------------------------

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
