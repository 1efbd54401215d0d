"""Predictions of the test rows, read for chosen runs alone, where all splits have the same rows.

Axes: n splits, N test rows, C classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnexp.comparison.entries import Entry, Outcome
from nnexp.errors import DataError
from nnexp.results.predictions import Predictions, read_predictions

Floats = NDArray[np.float64]
_RUNS_ASKED = 3  # of those that tell of a baseline, before it counts as not recorded


class HeldOut:
    """What learners got right on a task's test rows.

    Args:
        guess: the share of rows that guessing gets right; for splits on which all failed.
    """

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._known: dict[Path, Predictions | None] = {}
        self._rows: NDArray[np.int32] | None = None

    def correct(self, entry: Entry) -> dict[str, Floats]:
        """By split, the share [N] of an entry's runs that got each row right.

        Empty unless all is known of the same rows.
        """
        found: dict[str, Floats] = {}
        for outcome in entry.outcomes:
            right = self._failed if outcome.choice.failed else self._right(entry, outcome)
            if right is None:
                return {}
            found[outcome.choice.split] = right
        known = {split: right for split, right in found.items() if right.size}
        if not known:
            return {}
        (num_rows,) = {len(right) for right in known.values()}
        guessed = np.full(num_rows, self._guess)
        return {split: known.get(split, guessed) for split in found}

    def predictions(self, folder: Path) -> Predictions | None:
        """Of one run; None if they cannot be read, or are of other rows than the first's."""
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    _failed: Floats = np.empty(0)  # its length is not known yet

    def _read(self, folder: Path) -> Predictions | None:
        try:
            read = read_predictions(folder)
        except DataError:
            return None
        if self._rows is None:
            self._rows = read.rows
        return read if np.array_equal(read.rows, self._rows) else None

    def _right(self, entry: Entry, outcome: Outcome) -> Floats | None:
        folders = [record.folder for record in outcome.records]
        if entry.baseline is None:
            read = [self.predictions(folder) for folder in folders]
            right = [r.predicted == r.labels for r in read if r is not None]
            if not right or len(right) < len(read):
                return None
            return np.asarray(np.mean(right, axis=0), np.float64)
        # Those that were read for networks first.
        folders.sort(key=lambda folder: folder not in self._known)
        for folder in folders[:_RUNS_ASKED]:
            told = self.predictions(folder)
            if told is not None and entry.baseline in told.baselines:
                return np.asarray(told.baselines[entry.baseline] == told.labels, np.float64)
        return None
