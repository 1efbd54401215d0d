"""Training curves of chosen runs, by epoch and by second.

Axes: R runs, G points of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from nnexp.comparison.estimates import LEVEL
from nnexp.comparison.types import Band, Curves
from nnexp.errors import DataError
from nnexp.results.record import read_metrics

TAGS = ("train/loss", "val/loss", "train/acc", "val/acc")
_MOST_POINTS = 200

Floats = NDArray[np.float64]
Epochs = list[dict[str, float | None]]


class Histories:
    """``metrics.jsonl`` of runs, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, Epochs] = {}

    def of(self, folder: Path) -> Epochs:
        """The epochs of a run; none if the file cannot be read."""
        if folder not in self._known:
            try:
                self._known[folder] = read_metrics(folder)
            except DataError:
                self._known[folder] = []
        return self._known[folder]


def curves(
    histories: Sequence[Epochs], group_sizes: Sequence[int], overlap: float
) -> Curves | None:
    """Mean and interval over runs; None if no run has a history.

    Of the seconds of runs that trained together each run counts an equal share, as in ``cost``.

    Args:
        group_sizes: how many runs trained together with each, itself included.
    """
    by_epoch = _bands(histories, "epoch", [1] * len(histories), overlap)
    by_second = _bands(histories, "seconds", group_sizes, overlap)
    return Curves(by_epoch=by_epoch, by_second=by_second) if by_epoch or by_second else None


def _bands(
    histories: Sequence[Epochs], axis: str, divisors: Sequence[int], overlap: float
) -> dict[str, Band]:
    found = {}
    for tag in TAGS:
        measured = [_series(history, axis, tag) for history in histories]
        series = [(x / by, y) for (x, y), by in zip(measured, divisors, strict=True) if len(x)]
        if series:
            most = 1.0 if tag.endswith("acc") else np.inf
            found[tag] = _band(series, overlap, most, whole=axis == "epoch")
    return found


def _series(history: Epochs, axis: str, tag: str) -> tuple[Floats, Floats]:
    """The places and values of a tag, where it was measured."""
    known = [(line.get(axis), line.get(tag)) for line in history]
    kept = [(x, y) for x, y in known if x is not None and y is not None]
    return np.array([x for x, _ in kept], np.float64), np.array([y for _, y in kept], np.float64)


def _band(
    series: Sequence[tuple[Floats, Floats]], overlap: float, most: float, *, whole: bool
) -> Band:
    """Of values from 0 to ``most``. A run that stopped earlier than others keeps its last value."""
    first, last = max(x[0] for x, _ in series), max(x[-1] for x, _ in series)
    first = min(first, last)
    num_points = max(1, min(_MOST_POINTS, round(last - first) + 1 if whole else _MOST_POINTS))
    grid = np.linspace(first, last, num_points)
    if whole:
        grid = np.unique(np.round(grid))
    values = np.stack([np.interp(grid, x, y) for x, y in series])  # [R, G]
    mean, half = values.mean(0), np.zeros(len(grid))
    num = len(series)
    if num > 1:
        error = values.std(0, ddof=1) * np.sqrt(1 / num + overlap)
        half = float(stdtrit(num - 1, (1 + LEVEL) / 2)) * error
    return Band(
        x=_numbers(grid),
        mean=_numbers(mean),
        low=_numbers(np.maximum(mean - half, 0)),
        high=_numbers(np.minimum(mean + half, most)),
    )


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
