"""Rough scores of all pairs, and how far rounding can carry them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.device import Precision, matmul_precision

# --------------------------------------------------------------------------------------------------
# How far rounding can carry a sum, and a sum whose rounding is the same everywhere.
#
# Rounding errors are bounded as in Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
# ed., chapter 3: ``n`` roundings with unit roundoff ``u`` multiply a number by a factor within ``1
# ± gamma(n)``, ``gamma(n) = n u / (1 - n u)``; so a sum of D products changes by at most
# ``gamma(D) * sum |a_i b_i| <= gamma(D) |a| |b|``, in whatever order it is added up: the bound
# holds for every BLAS, on every device, with and without fused multiply-add.
# --------------------------------------------------------------------------------------------------

DOUBLE = torch.float64


@dataclass(frozen=True)
class Arithmetic:
    """In what a scan stores numbers and multiplies them."""

    dtype: torch.dtype
    tf32: bool = False
    """On CUDA, let tensor cores multiply float32: they read the upper 11 of 24 significant bits."""

    def error_of_sums(self, roundings: int) -> float:
        """The relative error of a sum of products whose terms pass through so many roundings.

        As ``gamma``; in TF32, where both factors may be cut off, which takes at most 2^-10 of each,
        and sums too: products that are added at once lose what is beyond the last bits of the
        largest of them. Four times the roundings cover that.
        """
        if not self.tf32:
            return gamma(roundings, self.dtype)
        return (1 + 2.0**-10) ** 2 * (1 + gamma(4 * roundings, self.dtype)) - 1


IN_FLOAT32, IN_TF32, IN_FLOAT64 = (
    Arithmetic(torch.float32), Arithmetic(torch.float32, tf32=True), Arithmetic(DOUBLE)
)  # fmt: skip


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices that cover ``range(count)``, each of at most ``size``, or of 1 if that is less."""
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def gamma(roundings: int, dtype: torch.dtype) -> float:
    """Higham's ``gamma(n)``: the relative error that ``n`` roundings can add up to."""
    error = roundings * torch.finfo(dtype).eps / 2
    return error / (1 - error)


def halvings(width: int) -> int:
    """How many additions a term passes through in :func:`fold`."""
    return math.ceil(math.log2(width))


def fold(terms: Tensor) -> Tensor:
    """Sum over the last axis by halving; overwrites ``terms``.

    Elementwise additions alone, so the sum of a row depends on nothing but the row: not on the
    other rows, the device or the number of threads.
    """
    while (width := terms.shape[-1]) > 1:
        half = (width + 1) // 2
        terms[..., : width - half] += terms[..., half:]
        terms = terms[..., :half]
    return terms.squeeze(-1)


# --------------------------------------------------------------------------------------------------
# Scans: rough scores of every pair of a query and a training row, with a bound of their error.
#
# Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features.
# --------------------------------------------------------------------------------------------------

_UNDERFLOW = 2.0**-110  # a feature: 2^-126 for each flushed number of size 4 or less, and to spare


class Scan(ABC):
    """Scores of all training rows for some queries, in one arithmetic."""

    @abstractmethod
    def scores(self, queries: Tensor, out: Tensor) -> None:
        """Write the scores of ``queries`` [Q, D] into ``out`` [Q, N]."""

    @abstractmethod
    def reach(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Float64 scores [Q]: a row with a greater score has an exact key above ``keys`` [Q]."""


class ProductScan(Scan):
    """Lower bounds of squared Euclidean distances between points, by one matrix product.

    A score is ``|a|^2 - 2 a·b`` for the points a of a row and b of a query. Rounding changes it by
    at most ``g (|a|^2 + 2 |a||b|) <= 2g |a|^2 + g |b|^2``, where g is the relative error of sums
    whose terms pass through as many roundings. With the squared norms multiplied by ``1 - 2g``
    beforehand, score + ``|b|^2`` is therefore never above the exact squared distance. The bound of
    a row depends on its own norm alone: one row that is far away does not spoil it for the others.
    """

    _rows_at_a_time = 2048  # CPU: the part of ``out`` that is being written stays in cache

    def __init__(
        self,
        rows: Tensor,
        to_points: Callable[[Tensor], tuple[Tensor, Tensor]],
        to_squares: Callable[[Tensor], Tensor],
        arithmetic: Arithmetic,
    ) -> None:
        """``to_points`` gives points and their squared norms, ``to_squares`` distances of keys."""
        self.to_points, self.to_squares, self.arithmetic = to_points, to_squares, arithmetic
        self.points, squared_norms = to_points(rows)
        width = rows.shape[1]
        # D additions, as many in a norm, and fewer than 16: of points, products and norms when they
        # are stored, and of ``reach``. Norms are float64: beside float32 points, one of the 16.
        in_norms = width if self.points.dtype == DOUBLE else 0
        self.shrink = 1 - 2 * arithmetic.error_of_sums(width + in_norms + 16)
        self.norms = (squared_norms * self.shrink).to(self.points.dtype)

    def scores(self, queries: Tensor, out: Tensor) -> None:
        points, _ = self.to_points(queries)
        step = self._rows_at_a_time if out.device.type == "cpu" else out.shape[1]
        with matmul_precision(Precision(self.points.dtype, self.arithmetic.tf32)):
            for part in blocks(out.shape[1], step):
                rows = self.points[part]
                torch.addmm(self.norms[part], points, rows.T, alpha=-2, out=out[:, part])

    def reach(self, queries: Tensor, keys: Tensor) -> Tensor:
        _, squared_norms = self.to_points(queries)
        underflow = _UNDERFLOW * queries.shape[1]
        return self.to_squares(keys) - self.shrink * squared_norms + underflow


class ManhattanScan(Scan):
    """Manhattan distances of scaled rows: sums of D terms of one sign, off by gamma(D + 2)."""

    _rows_at_a_time = 256  # CPU: the training rows being visited stay in cache

    def __init__(self, rows: Tensor, scale: float, dtype: torch.dtype) -> None:
        self.rows, self.scale = rows.to(dtype, copy=True).mul_(scale), scale
        self.growth = 1 + 2 * gamma(rows.shape[1] + 16, dtype)

    def scores(self, queries: Tensor, out: Tensor) -> None:
        queries = queries.to(self.rows.dtype) * self.scale
        step = self._rows_at_a_time if out.device.type == "cpu" else out.shape[1]
        for part in blocks(out.shape[1], step):
            out[:, part] = torch.cdist(queries, self.rows[part], p=1)

    def reach(self, queries: Tensor, keys: Tensor) -> Tensor:
        return keys * (self.scale * self.growth) + _UNDERFLOW * queries.shape[1]


class MinkowskiScan(Scan):
    """Sums of ``|d|^1.5`` of scaled rows, feature by feature: off by gamma(D + 4)."""

    _elements_at_a_time = 2**15  # CPU: the differences of one feature stay in a core's own cache
    _least = 2.0**-120  # a difference: the roots of zeros take eight times as long

    def __init__(self, rows: Tensor, scale: float, dtype: torch.dtype, memory_bytes: int) -> None:
        """Besides the rows, blocks of pairs take a quarter of ``memory_bytes`` at most."""
        self.most = max(1, memory_bytes // (4 * 3 * dtype.itemsize))
        self.columns, self.scale = rows.to(dtype, copy=True).mul_(scale).T.contiguous(), scale
        self.growth = 1 + 2 * gamma(rows.shape[1] + 16, dtype)

    def scores(self, queries: Tensor, out: Tensor) -> None:
        queries = queries.to(self.columns.dtype) * self.scale
        on_cpu = out.device.type == "cpu"
        most = min(self.most, self._elements_at_a_time) if on_cpu else self.most
        step = min(out.shape[1], 1024 if on_cpu else most)
        for some in blocks(len(queries), most // step):
            for part in blocks(out.shape[1], step):
                self._block(queries[some], self.columns[:, part], out[some, part])

    def _block(self, queries: Tensor, columns: Tensor, out: Tensor) -> None:
        total = columns.new_zeros(len(queries), columns.shape[1])
        apart, root = torch.empty_like(total), torch.empty_like(total)
        for feature, column in enumerate(columns):
            torch.sub(queries[:, feature, None], column, out=apart)
            torch.sqrt(apart.abs_().clamp_min_(self._least), out=root)
            total.addcmul_(apart, root)
        out.copy_(total)

    def reach(self, queries: Tensor, keys: Tensor) -> Tensor:
        underflow = _UNDERFLOW * queries.shape[1]
        return keys * (self.scale * math.sqrt(self.scale) * self.growth) + underflow
