"""Predictions of the test rows, read for chosen runs alone, where all splits have the same rows.

Axes: n splits, N test rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnexp.comparison.entries import Entry, Outcome
from nnexp.errors import DataError
from nnexp.probabilities import clipped_losses
from nnexp.results.predictions import Predictions, read_predictions
from nnexp.results.record import PREDICTIONS_FILE

Floats = NDArray[np.float64]
_RUNS_ASKED = 3  # of those that tell of a baseline, before it counts as not recorded


@dataclass(frozen=True, eq=False)
class RowScores:
    """Of each test row [N], the mean over a learner's runs on one split."""

    correct: Floats
    clipped_loss: Floats | None  # None for a baseline, of which classes alone are recorded
    brier: Floats | None


class HeldOut:
    """What learners said of a task's test rows.

    Args:
        num_classes: C; a split on which all failed counts as guessing one of them.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._known: dict[Path, Predictions | None] = {}
        self._problems: dict[Path, str] = {}
        self._rows: NDArray[np.int32] | None = None

    def scores(self, entry: Entry) -> dict[str, RowScores]:
        """By split. Empty unless all is known of the same rows."""
        found = {o.choice.split: self._scores(entry, o) for o in entry.outcomes}
        known = [told for told in found.values() if told is not None]
        failed = {o.choice.split for o in entry.outcomes if o.choice.failed}
        if not known or any(told is None and split not in failed for split, told in found.items()):
            return {}
        guessed = self._guessed(len(known[0].correct))
        return {split: told or guessed for split, told in found.items()}

    def predictions(self, folder: Path) -> Predictions | None:
        """Of one run; None if they cannot be read, or are of other rows than the first's."""
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    def labels(self, entries: Sequence[Entry]) -> NDArray[np.int32] | None:
        """The right classes [N] of the test rows, from the first chosen runs of each network."""
        for entry in entries:
            if entry.is_network:
                for record in [r for o in entry.outcomes for r in o.records][:_RUNS_ASKED]:
                    told = self.predictions(record.folder)
                    if told is not None and len(told.labels):
                        return told.labels
        return None

    def problem(self, entry: Entry) -> str | None:
        """Why ``scores`` are empty: the first file that lacks, and how many more do."""
        folders = list(dict.fromkeys(r.folder for o in entry.outcomes for r in o.records))
        lacking = [self._problems[folder] for folder in folders if folder in self._problems]
        if not lacking:
            if entry.baseline is None or not folders:
                return None
            return f"{folders[0] / PREDICTIONS_FILE} has none of {entry.learner}"
        more = len(lacking) - 1
        return lacking[0] + (f" (and {more} more file{'s' if more > 1 else ''})" if more else "")

    def _read(self, folder: Path) -> Predictions | None:
        try:
            read = read_predictions(folder)
        except DataError as error:
            self._problems[folder] = str(error)
            return None
        if self._rows is None:
            self._rows = read.rows
        if np.array_equal(read.rows, self._rows):
            return read
        path = folder / PREDICTIONS_FILE
        self._problems[folder] = f"{path} has other test samples than those that were read first"
        return None

    def _scores(self, entry: Entry, outcome: Outcome) -> RowScores | None:
        folders = [record.folder for record in outcome.records]
        if entry.baseline is None:
            read = [self.predictions(folder) for folder in folders]
            known = [_of_network(told) for told in read if told is not None]
            return _mean(known) if known and len(known) == len(read) else None
        # Those that were read for networks first.
        folders.sort(key=lambda folder: folder not in self._known)
        for folder in folders[:_RUNS_ASKED]:
            told = self.predictions(folder)
            if told is not None and entry.baseline in told.baselines:
                right = told.baselines[entry.baseline] == told.labels
                return RowScores(right.astype(np.float64), None, None)
        return None

    def _guessed(self, num_rows: int) -> RowScores:
        """As a failed run counts: see ``selection``."""
        share = 1 / self._num_classes
        numbers = (share, math.log(self._num_classes), 1 - share)
        correct, loss, brier = (np.full(num_rows, number) for number in numbers)
        return RowScores(correct, loss, brier)


def _of_network(told: Predictions) -> RowScores:
    """As :mod:`nnexp.probabilities` has them, row by row."""
    rows = np.arange(len(told.labels))
    differences = told.probabilities.astype(np.float64)
    differences[rows, told.labels] -= 1
    return RowScores(
        correct=(told.predicted == told.labels).astype(np.float64),
        clipped_loss=clipped_losses(told.probabilities[rows, told.labels]),
        brier=(differences**2).sum(1),
    )


def _mean(runs: Sequence[RowScores]) -> RowScores:
    """Of one run or more of a network."""
    return RowScores(
        correct=np.mean([run.correct for run in runs], axis=0),
        clipped_loss=np.mean([r.clipped_loss for r in runs if r.clipped_loss is not None], axis=0),
        brier=np.mean([run.brier for run in runs if run.brier is not None], axis=0),
    )
