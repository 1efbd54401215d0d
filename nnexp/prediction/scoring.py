"""Metrics of predictions on rows that have labels, block by block.

Axes: ``M`` rows of a block, ``N`` all rows with a known label, ``C`` classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnexp.data.encoder import Encoder, is_declared, label_codes
from nnexp.data.source import quoted
from nnexp.data.table import Table, Texts
from nnexp.metrics import measured
from nnexp.scoring_rules import clipped_losses

_MOST_NAMED = 5


def labels_in(table: Table, encoder: Encoder, target: str | None) -> Texts | None:
    """Return the labels [M] of a table as text, or None if it has no such column.

    Args:
        target: the column that holds them; None: that of training.

    Raises:
        ConfigError: ``target`` is given, and there is no such column.
    """
    if target is None:
        return encoder.labels(table)
    return encoder.labels_of(table.columns[table.find(target, "target")])


class Scores:
    """Sums over the rows seen so far.

    Args:
        class_names: [C]
        metrics: names of further ones. For them all probabilities are kept, 4 bytes each.
        missing: labels that mean no label.
    """

    def __init__(
        self, class_names: Sequence[str], metrics: Sequence[str], missing: Sequence[str]
    ) -> None:
        self._class_names, self._metrics, self._missing = class_names, metrics, missing
        self.num_rows = 0  # N
        self.unlabelled = 0
        self.unknown: Counter[str] = Counter()  # labels that are none of the classes
        self._right = 0
        self._sums = {"loss": 0.0, "clipped_loss": 0.0, "brier": 0.0}
        self._kept: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []

    def add(self, probabilities: Tensor, logs: Tensor, labels: Texts) -> None:
        """Count a block.

        Args:
            probabilities: [M, C] float32.
            logs: their logarithms [M, C], float64.
            labels: [M], as ``labels_in`` returns them.
        """
        codes = label_codes(labels, self._class_names)
        is_missing = [is_declared(value, self._missing) for value in labels.values]
        absent = np.array([*is_missing, True])[labels.codes]
        absent &= codes < 0  # a class may be called ?
        self.unlabelled += int(absent.sum())
        counts = np.bincount(labels.codes[(codes < 0) & ~absent], minlength=len(labels.values))
        for place in np.flatnonzero(counts).tolist():
            self.unknown[labels.values[place]] += int(counts[place])
        known = np.flatnonzero(codes >= 0)
        y, p = codes[known], probabilities.numpy()[known]
        every = np.arange(len(y))
        self.num_rows += len(y)
        self._right += int((p.argmax(1) == y).sum())
        self._sums["loss"] -= float(logs.numpy()[known][every, y].sum())
        self._sums["clipped_loss"] += float(clipped_losses(p[every, y]).sum())
        differences = p.astype(np.float64)
        differences[every, y] -= 1
        self._sums["brier"] += float((differences**2).sum())
        if self._metrics:
            self._kept.append((p, y))

    def values(self) -> dict[str, float | None]:
        """Return loss, accuracy and the others by name; empty where no row has a known label."""
        if not self.num_rows:
            return {}
        means = {name: total / self.num_rows for name, total in self._sums.items()}
        found: dict[str, float | None] = {
            "loss": means["loss"] if math.isfinite(means["loss"]) else None,
            "acc": self._right / self.num_rows,
            "clipped_loss": means["clipped_loss"],
            "brier": means["brier"],
        }
        if self._metrics:
            p, y = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
            found |= measured(self._metrics, p, y, "the predictions")
        return found

    def lines(self) -> list[str]:
        """Return what is to be said of rows that do not count, in a line each."""
        found = []
        if self.unlabelled:
            found.append(f"{self.unlabelled:,} rows have no label and do not count")
        if self.unknown:
            named = ", ".join(
                f"{quoted(label)} ({count:,})"
                for label, count in self.unknown.most_common(_MOST_NAMED)
            )
            more = len(self.unknown) - _MOST_NAMED
            total = sum(self.unknown.values())
            found.append(
                f"{total:,} rows have labels that are none of the network's classes and do not "
                f"count: {named}" + (f" and {more:,} more labels" if more > 0 else "")
            )
        return found
