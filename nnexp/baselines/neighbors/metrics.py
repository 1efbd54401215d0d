"""Euclidean, Manhattan and cosine distances, and how far rounding can carry each of them.

Axis legend: ``N`` training rows, ``Q`` queries, ``M`` rows a query, ``D`` features.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from nnexp.baselines.neighbors.metric import Metric
from nnexp.baselines.neighbors.rounding import DOUBLE, Arithmetic, blocks, fold, gamma, halvings
from nnexp.baselines.neighbors.scans import ManhattanScan, ProductScan, Scan


class Euclidean(Metric):
    """``|x - q|``; the key is its square."""

    def scan(self, arithmetic: Arithmetic) -> Scan:
        dtype, scale = arithmetic.dtype, self._scale()
        origin = self._origin().to(dtype) * scale

        def to_points(rows: Tensor) -> tuple[Tensor, Tensor]:
            points = rows.to(dtype, copy=True).mul_(scale).sub_(origin)
            return points, self._squared_norms(points)

        return ProductScan(self.train, to_points, lambda keys: keys * scale**2, arithmetic)

    def _origin(self) -> Tensor:
        """About the median of each feature [D]: any origin will do, a near one rounds less."""
        sample = self.train[:: max(1, len(self.train) // 64)].sort(0).values
        return sample[len(sample) // 2]

    def _keys(self, rows: Tensor, queries: Tensor) -> Tensor:
        return fold(rows.sub_(queries).square_())

    def slack(self, keys: Tensor) -> Tensor:
        return keys * gamma(halvings(self.width) + 8, DOUBLE)

    def distance(self, keys: Tensor) -> Tensor:
        return keys.sqrt()

    def _exact_key(self, row: Any, query: Any) -> Fraction:
        return Fraction(((row - query) ** 2).sum())


class Manhattan(Metric):
    """``sum |x - q|``; the key is the distance itself."""

    by_products = False
    key_degree = 1

    def scan(self, arithmetic: Arithmetic) -> Scan:
        return ManhattanScan(self.train, self._scale(), arithmetic.dtype)

    def _keys(self, rows: Tensor, queries: Tensor) -> Tensor:
        return fold(rows.sub_(queries).abs_())

    def slack(self, keys: Tensor) -> Tensor:
        return keys * gamma(halvings(self.width) + 8, DOUBLE)

    def distance(self, keys: Tensor) -> Tensor:
        return keys

    def _exact_key(self, row: Any, query: Any) -> Fraction:
        return Fraction(abs(row - query).sum())


class Cosine(Metric):
    """``1 - x·q / (|x| |q|)``, and 1 where either is a zero vector, as in scikit-learn.

    The key is ``-cos |cos|``, a fraction of integers wherever the data are integers. Distances
    that rounding cannot tell from 0 are given as 0.
    """

    exact_bits = 16  # then different keys differ by a relative 2^-48 or more, far above rounding
    key_degree = 0

    def scan(self, arithmetic: Arithmetic) -> Scan:
        """Points on the unit sphere, whose squared distance is ``1 + 1 - 2 cos``.

        Zero vectors stay zero, but count as of norm 1 like all others: then cos is 0.
        """

        def to_points(rows: Tensor) -> tuple[Tensor, Tensor]:
            points = torch.empty(rows.shape, dtype=arithmetic.dtype, device=rows.device)
            for part in blocks(len(rows), self.block_bytes // (24 * self.width)):
                vectors = rows[part].to(DOUBLE)
                norms = fold(vectors.square()).sqrt_().unsqueeze(1)
                points[part] = vectors.div_(norms).nan_to_num_(nan=0.0)
            return points, torch.ones(len(rows), dtype=DOUBLE, device=rows.device)

        return ProductScan(
            self.train, to_points, lambda keys: 2 * self._one_minus_cos(keys), arithmetic
        )

    def _keys(self, rows: Tensor, queries: Tensor) -> Tensor:
        row_norms, query_norms = fold(rows.square()), fold(queries.square())
        products = fold(rows.mul_(queries))
        return (products * -products.abs() / row_norms / query_norms).nan_to_num_(nan=0.0)

    def slack(self, keys: Tensor) -> Tensor:
        return torch.full_like(keys, gamma(4 * halvings(self.width) + 16, DOUBLE))

    def _one_minus_cos(self, keys: Tensor) -> Tensor:
        return 1 + keys.sign() * keys.abs().sqrt()

    def distance(self, keys: Tensor) -> Tensor:
        distances = self._one_minus_cos(keys)
        return distances.masked_fill_(keys <= self.slack(keys) - 1, 0)

    def _unrounded(self, rows: Tensor, queries: Tensor) -> Tensor:
        """Also true where no product differs from 0: vectors without a common feature."""
        return super()._unrounded(rows, queries) | (rows * queries == 0).all(1)

    def _exact_key(self, row: Any, query: Any) -> Fraction:
        product, norms = (row * query).sum(), (row**2).sum() * (query**2).sum()
        return Fraction(-product * abs(product), norms or 1)


METRICS: dict[str, type[Metric]] = {
    "euclidean": Euclidean,
    "manhattan": Manhattan,
    "cosine": Cosine,
}
