"""Scans: rough scores of every pair of a query and a training row, with a bound of their error.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from nnexp.baselines.neighbors.rounding import DOUBLE, Arithmetic, blocks, gamma
from nnexp.devices import Precision, products

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
        with products(Precision(self.points.dtype, self.arithmetic.tf32)):
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
