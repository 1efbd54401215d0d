"""The target of a regression: the quantity of every row, and how it is standardised.

Axes: ``M`` rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnexp.config.dataset_schema import ColumnsConfig
from nnexp.data.encoder import Column, declared_among
from nnexp.data.number_formats import NumberFormat, find_number_format, looks_missing
from nnexp.data.source import Doubles, Indices, Source, quoted
from nnexp.data.table import Cells, Table, Texts, cell_text
from nnexp.errors import DataError


@dataclass(frozen=True)
class TargetScaling:
    """``(value - mean) / std``, with the mean and the standard deviation of the training rows."""

    mean: float
    std: float

    def restored(self, standardised: Doubles) -> Doubles:
        """Return predictions in the unit of the target, of any shape."""
        return np.asarray(standardised, np.float64) * self.std + self.mean


def fit_target(source: Source, train: Indices) -> TargetScaling:
    """Return the scaling of a regression's target.

    Raises:
        DataError: all training rows have one value, or the values are beyond float64's squares.
    """
    values = source.y[train].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(values.mean()), float(values.std())
    if not math.isfinite(std):
        raise DataError(f"{source.name}: the target's values are too large to be standardised")
    # Rounding leaves a hundred equal values of 0.1 a deviation of 1e-17.
    if std <= 1e-12 * abs(mean) or values.min() == values.max():
        raise DataError(
            f"{source.name}: the target is {values[0]:g} in all training rows: there is nothing "
            "to predict"
        )
    return TargetScaling(mean, std)


def target_format(cells: Cells, config: ColumnsConfig) -> NumberFormat:
    """Return how the numbers of a target are written."""
    if not isinstance(cells, Texts):
        return NumberFormat()
    texts = cells.values
    known = [
        text
        for text, declared in zip(texts, declared_among(texts, config.missing), strict=True)
        if not declared and not looks_missing(text)
    ]
    return find_number_format(known, config.decimal, config.thousands).format


def read_target(
    table: Table, target: int, number_format: NumberFormat, config: ColumnsConfig
) -> Doubles:
    """Return every row's quantity [M].

    Raises:
        DataError: a cell is missing or is no number, or all are one number.
    """
    cells = table.columns[target]
    column = Column(table.title(target), "numeric", number_format)

    def where(row: int) -> str:
        return f"{table.where(row, target)}: task=regression"

    values = column.numbers(cells, config.missing, where)
    for row in np.flatnonzero(np.isnan(values))[:1].tolist():
        cell = quoted(cell_text(cells, row))
        raise DataError(f"{table.where(row, target)}: the target is missing ({cell})")
    if len(values) and values.min() == values.max():
        raise DataError(
            f"{table.path}: target {quoted(table.title(target))} is {values[0]:g} in all rows: "
            "there is nothing to predict"
        )
    return values
