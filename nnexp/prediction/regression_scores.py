"""Metrics of predicted quantities on rows that have the right ones, block by block.

Axes: ``M`` rows of a block, ``N`` all rows whose quantity is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnexp.data.encoder import Encoder
from nnexp.data.source import Doubles
from nnexp.data.table import Table
from nnexp.metrics import measured

_ALWAYS = ("rmse", "mae", "r2")


def quantities_in(table: Table, encoder: Encoder, target: str | None) -> Doubles | None:
    """Return the right quantities [M] of a table, or None if it has no such column.

    Args:
        target: the column that holds them; None: that of training.

    Raises:
        ConfigError: ``target`` is given, and there is no such column.
        DataError: a cell that is no number as those of training.
    """
    return encoder.quantities(table, None if target is None else table.find(target, "target"))


class RegressionScores:
    """The rows seen so far, 16 bytes each; see :class:`~nnexp.prediction.scoring.Scores`."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = tuple(dict.fromkeys((*_ALWAYS, *metrics)))
        self.num_rows = 0  # N
        self.unlabelled = 0
        self._kept: list[tuple[Doubles, Doubles]] = []

    def add(self, predicted: Doubles, right: Doubles) -> None:
        """Count a block: quantities [M] in the unit of the target, NaN where the right one is not
        known."""
        known = ~np.isnan(right)
        self.unlabelled += int((~known).sum())
        self.num_rows += int(known.sum())
        self._kept.append((predicted[known], right[known]))

    def values(self) -> dict[str, float | None]:
        """Return the metrics by name; empty where no row has a known quantity."""
        if not self.num_rows:
            return {}
        predicted, right = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        return measured(self._metrics, predicted, right, "the predictions")

    def lines(self) -> list[str]:
        """Return what is to be said of rows that do not count, in a line each."""
        if not self.unlabelled:
            return []
        return [f"{self.unlabelled:,} rows have no value of the target and do not count"]
