"""Euclidean, Manhattan, Minkowski and cosine distance: scores, keys, exact keys of pairs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.baselines.neighbors.scans import (
    DOUBLE,
    Arithmetic,
    ManhattanScan,
    MinkowskiScan,
    ProductScan,
    Scan,
    blocks,
    fold,
    gamma,
    halvings,
)

# --------------------------------------------------------------------------------------------------
# What a metric offers the search: scores, keys and exact keys of pairs.
#
# Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``P`` pairs of a query and a
# row.
#
# A metric is evaluated in three ways, from cheap and rough to dear and exact:
#
# 1. A scan gives every pair a *score*, in TF32, float32 or float64. ``Scan.reach`` turns a key
#    into the score beyond which a row is certainly farther away than that key.
# 2. ``Metric.keys`` gives chosen pairs a *key* that grows with the distance, in float64 and summed
#    in one fixed order: the same bits on every device and for every chunk size. ``Metric.slack``
#    bounds its rounding error.
# 3. ``Metric.exact_keys`` gives keys as fractions, for the few pairs that 2. cannot order.
# --------------------------------------------------------------------------------------------------

_CACHE_BYTES = 16 * 2**20  # CPU: repeated elementwise passes over so much rarely go to memory
_PAIRS_CACHE_BYTES = 4 * 2**20  # CPU: those of ``Metric.keys`` stay in a core's own cache


class Metric(ABC):
    """One metric between given training rows and queries."""

    exact_bits = 51  # then (|x| + |q|)^2 <= 2 (|x|^2 + |q|^2) < 2^53, an integer in float64
    by_products = True  # a scan is a matrix product, which tensor cores are quick at
    key_degree = 2  # keys grow with this power of the unit of the data

    def __init__(self, train: Tensor, queries: Tensor, memory_bytes: int) -> None:
        """``train`` [N, D] and ``queries`` [Q, D]: finite float32, on one device."""
        self.train, self.queries, self.memory_bytes = train, queries, memory_bytes
        self.width = train.shape[1]
        on_cpu = train.device.type == "cpu"
        self.block_bytes = min(memory_bytes // 4, _CACHE_BYTES if on_cpu else memory_bytes)
        self.pairs_bytes = min(self.block_bytes, _PAIRS_CACHE_BYTES if on_cpu else memory_bytes)

    @abstractmethod
    def scan(self, arithmetic: Arithmetic) -> Scan:
        """A scan of the training rows in this arithmetic."""

    @abstractmethod
    def slack(self, keys: Tensor) -> Tensor:
        """How far each of ``keys`` can be from its exact value, of the same shape."""

    @abstractmethod
    def distance(self, keys: Tensor) -> Tensor:
        """The distances that belong to ``keys`` [Q, k], which ascend; of the same shape."""

    @abstractmethod
    def _keys(self, rows: Tensor, queries: Tensor) -> Tensor:
        """Keys [Q, M] of float64 ``rows`` [Q, M, D], which it may overwrite, and ``queries``
        [Q, 1, D]."""

    @abstractmethod
    def _exact_key(self, row: Any, query: Any) -> Fraction:
        """The key of two arrays of Python integers."""

    def keys(self, query_index: Tensor, row_index: Tensor) -> Tensor:
        """Float64 keys [Q, M] of the queries ``query_index`` [Q] and, for each of them, the rows
        ``row_index`` [Q, M]."""
        keys = torch.empty(row_index.shape, dtype=DOUBLE, device=row_index.device)
        num_queries, num_rows = row_index.shape
        size = self.pairs_bytes // (40 * self.width)
        for part in blocks(num_queries, size // num_rows):
            queries = self.queries[query_index[part]].to(DOUBLE).unsqueeze(1)
            for columns in blocks(num_rows, size):
                index = row_index[part, columns]
                rows = self.train.index_select(0, index.flatten()).to(DOUBLE)
                keys[part, columns] = self._keys(rows.view(*index.shape, self.width), queries)
        return keys

    def surely_tied(self, query_index: Tensor, row_index: Tensor, other_index: Tensor) -> Tensor:
        """Whether two training rows are equally far from a query for all rounding, [P] bool.

        That the rows are the same numbers is enough.
        """
        same = torch.empty(row_index.shape, dtype=torch.bool, device=row_index.device)
        for part in blocks(len(same), self.block_bytes // (9 * self.width)):
            same[part] = (self.train[row_index[part]] == self.train[other_index[part]]).all(1)
        return same

    def unrounded(self, query_index: Tensor, row_index: Tensor) -> Tensor:
        """Whether the order of keys is exact among pairs of a query for which this is true, [P].

        True where there was nothing to round: all numbers of the pair are multiples of one power of
        two, and in that unit the squared norms of both together are below ``2 ** exact_bits``.
        """
        result = torch.empty(row_index.shape, dtype=torch.bool, device=row_index.device)
        for part in blocks(len(result), self.block_bytes // (60 * self.width)):
            rows, queries = self.train[row_index[part]], self.queries[query_index[part]]
            result[part] = self._unrounded(rows.to(DOUBLE), queries.to(DOUBLE))
        return result

    def _unrounded(self, rows: Tensor, queries: Tensor) -> Tensor:
        numbers = torch.cat([rows, queries], dim=1)
        _, bits = torch.frexp(numbers.square().sum(1, keepdim=True))
        shift = (self.exact_bits - bits.long()) // 2
        in_units = numbers * ((1023 + shift) << 52).view(DOUBLE)  # the float64 2^shift
        return (in_units == in_units.round()).all(1)

    def exact_keys(self, query: int, row_index: Tensor) -> list[Fraction]:
        """Exact keys of one query and the training rows ``row_index`` [P]."""
        rows, original = np.unique(self.train[row_index].cpu().numpy(), axis=0, return_inverse=True)
        numbers = np.vstack([self.queries[query].cpu().numpy(), rows])
        mantissas, exponents = np.frexp(numbers.astype(np.float64))
        lowest = int(exponents.min())
        integers = (mantissas * 2**24).astype(np.int64).astype(object)
        integers = integers << (exponents - lowest).astype(object)
        unit = self._key_of_unit(lowest - 24)
        keys = [self._exact_key(row, integers[0]) * unit for row in integers[1:]]
        return [keys[i] for i in original.reshape(-1)]

    def _key_of_unit(self, exponent: int) -> Fraction:
        """What keys are multiplied by where the data are in units of ``2 ** exponent``."""
        return (Fraction(2) ** exponent) ** self.key_degree

    def _scale(self) -> float:
        """The power of two that brings the largest number of train and queries to about 1."""
        extremes = [bound for rows in (self.train, self.queries) for bound in rows.aminmax()]
        largest = float(torch.stack(extremes).abs().max())
        return 2.0 ** min(100, max(-126, -math.frexp(largest)[1]))

    def _squared_norms(self, rows: Tensor) -> Tensor:
        """Float64 squared norms [N] of ``rows`` [N, D]."""
        norms = torch.empty(len(rows), dtype=DOUBLE, device=rows.device)
        for part in blocks(len(rows), self.block_bytes // (16 * self.width)):
            norms[part] = rows[part].to(DOUBLE).square().sum(1)
        return norms


# --------------------------------------------------------------------------------------------------
# Euclidean, Manhattan and cosine distances, and how far rounding can carry each of them.
#
# Axis legend: ``N`` training rows, ``Q`` queries, ``M`` rows a query, ``D`` features.
# --------------------------------------------------------------------------------------------------


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


class Minkowski(Metric):
    """``(sum |x - q|^1.5)^(2/3)``, between Manhattan and Euclidean; the key is the sum.

    ``|d|^1.5`` is computed as ``|d| sqrt(|d|)``: IEEE 754 rounds both operations correctly, so that
    the bits are the same on every device, which powers do not promise. Exact keys are sums of
    square roots of integers, rounded to far more digits than two different ones could share.
    """

    by_products = False

    def scan(self, arithmetic: Arithmetic) -> Scan:
        return MinkowskiScan(self.train, self._scale(), arithmetic.dtype, self.memory_bytes)

    def _keys(self, rows: Tensor, queries: Tensor) -> Tensor:
        apart = rows.sub_(queries).abs_()
        return fold(apart.mul_(apart.sqrt()))

    def slack(self, keys: Tensor) -> Tensor:
        return keys * gamma(halvings(self.width) + 8, DOUBLE)

    def distance(self, keys: Tensor) -> Tensor:
        """Ascending even where the roots of two keys are rounded the other way."""
        return _cube_root(keys).square_().cummax(1).values

    def surely_tied(self, query_index: Tensor, row_index: Tensor, other_index: Tensor) -> Tensor:
        """Also true of rows on either side of the query, as 4 and 6 are of 5."""
        tied = torch.empty(row_index.shape, dtype=torch.bool, device=row_index.device)
        for part in blocks(len(tied), self.block_bytes // (48 * self.width)):
            query = self.queries[query_index[part]].to(DOUBLE)
            row, other = (self.train[i[part]].to(DOUBLE) for i in (row_index, other_index))
            apart, other_apart = row - query, other - query
            exact = (query + apart == row) & (row - apart == query)
            exact &= (query + other_apart == other) & (other - other_apart == query)
            tied[part] = ((apart.abs() == other_apart.abs()) & exact | (row == other)).all(1)
        return tied

    def _unrounded(self, rows: Tensor, queries: Tensor) -> Tensor:
        """Roots round."""
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)

    def _exact_key(self, row: Any, query: Any) -> Fraction:
        total = sum(math.isqrt(abs(d) ** 3 << 2 * _ROOT_BITS) for d in (row - query).tolist())
        return Fraction(_without_last_bits(total), 2 ** (_ROOT_BITS - _GUARD_BITS))

    def _key_of_unit(self, exponent: int) -> Fraction:
        root = Fraction(math.isqrt(2 << 2 * _ROOT_BITS), 2**_ROOT_BITS) if exponent % 2 else 1
        return Fraction(2) ** (exponent + exponent // 2) * root


def _cube_root(numbers: Tensor) -> Tensor:
    """Of float64 numbers, none of them negative, to a few last bits.

    Halley's iteration, from a third of the exponent: additions, products and quotients alone, which
    are the same bits on every device and at every place of a tensor, as powers are not.
    """
    root = (numbers.view(torch.int64) // 3 + 0x2A9F_7893_0000_0000).view(DOUBLE)
    for _ in range(4):
        cube = root * root * root
        root = root * ((cube + numbers + numbers) / (cube + cube + numbers))
    return root.masked_fill_(numbers == 0, 0)


_ROOT_BITS, _GUARD_BITS = 320, 64  # binary places of a root; those that its error may reach


def _without_last_bits(number: int) -> int:
    """Rounded, so that equal sums of different roots stay equal: 8^1.5 is eight times 2^1.5."""
    return (number + (1 << _GUARD_BITS - 1)) >> _GUARD_BITS


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
    "minkowski_1.5": Minkowski,
    "cosine": Cosine,
}
