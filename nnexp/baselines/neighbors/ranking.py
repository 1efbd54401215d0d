"""Neighbours by rough scores, and the proof that they are the nearest.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``P`` pairs of a query and a row.

1. A float32 scan keeps, for every query, the ``k + SPARE`` rows of the lowest scores, and float64
   keys order these. If the highest score kept is beyond the reach of the k-th key, then no row that
   was left out can matter, and the query is done. On CUDA a scan in TF32 with more to spare does
   the same before, and only queries that it leaves open are scanned in float32.
2. For the other queries (many equal distances, or rows closer together than float32 can tell) a
   float64 scan finds *all* rows within reach of the k-th key, and float64 keys order those.
3. In both steps, neighbours whose keys differ by less than rounding can do are ordered by exact
   fractions, unless they are equal rows, or numbers so short that nothing was rounded.

Scores, keys and their error bounds: :mod:`nnexp.baselines.neighbors.metric`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from nnexp.baselines.neighbors.metric import Metric
from nnexp.baselines.neighbors.rounding import (
    DOUBLE,
    IN_FLOAT32,
    IN_FLOAT64,
    IN_TF32,
    Arithmetic,
    blocks,
)
from nnexp.baselines.neighbors.scans import Scan

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
        left = left[~self.metric.same_rows(rows[left], rows[left + 1])]
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
