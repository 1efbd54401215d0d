"""Predictions of the test rows, and what they say: ensembles, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis.jackknife import pseudo_values
from nnexp.analysis.majority import class_shares, prior_scores
from nnexp.analysis.measure import Measure
from nnexp.analysis.records import Entry, Outcome
from nnexp.analysis.types import Ensemble, Reliability
from nnexp.errors import DataError
from nnexp.runs.folder import PREDICTIONS_FILE
from nnexp.runs.predictions import Predictions, read_predictions
from nnexp.scoring_rules import clipped_losses

# --------------------------------------------------------------------------------------------------
# Predictions of the test rows, read for chosen runs alone, where all splits have the same rows.
#
# Axes: n splits, N test rows, C classes, G groups of them.
# --------------------------------------------------------------------------------------------------

Floats = NDArray[np.float64]
_RUNS_ASKED = 3  # of those that tell of a baseline, before it counts as not recorded


@dataclass(frozen=True, eq=False)
class RowScores:
    """The mean over a learner's runs on one split."""

    score: Floats | None
    """Of accuracy, whether each test row is right [N]; of another metric its pseudo-values [G], see
    ``jackknife``. None where it cannot be computed."""
    clipped_loss: Floats | None  # of each row [N]; None for a baseline
    brier: Floats | None


class HeldOut:
    """What learners said of a task's test rows."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._pseudo_values: dict[Path, Floats | None] = {}
        self._known: dict[Path, Predictions | None] = {}
        self._problems: dict[Path, str] = {}
        self._rows: NDArray[np.int32] | None = None
        self._labels: NDArray[np.int32] | None = None

    def scores(self, entry: Entry) -> dict[str, RowScores]:
        """By split. Empty unless all is known of the same rows."""
        found = {o.choice.split: self._scores(entry, o) for o in entry.outcomes}
        known = [told for told in found.values() if told is not None]
        failed = {o.choice.split for o in entry.outcomes if o.choice.failed}
        if not known or any(told is None and split not in failed for split, told in found.items()):
            return {}
        majority = self._majority() if len(known) < len(found) else known[0]
        return {split: told or majority for split, told in found.items()}

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
            self._rows, self._labels = read.rows, read.labels
        if np.array_equal(read.rows, self._rows):
            return read
        path = folder / PREDICTIONS_FILE
        self._problems[folder] = f"{path} has other test samples than those that were read first"
        return None

    def _scores(self, entry: Entry, outcome: Outcome) -> RowScores | None:
        folders = [record.folder for record in outcome.records]
        if entry.baseline is None:
            read = [self.predictions(folder) for folder in folders]
            known = [
                self._of_network(folder, told)
                for folder, told in zip(folders, read, strict=True)
                if told is not None
            ]
            return _mean(known) if known and len(known) == len(read) else None
        # Those that were read for networks first.
        folders.sort(key=lambda folder: folder not in self._known)
        for folder in folders[:_RUNS_ASKED]:
            told = self.predictions(folder)
            if told is not None and entry.baseline in told.baselines:
                return RowScores(self._of_baseline(told, entry.baseline), None, None)
        return None

    def _of_network(self, folder: Path, told: Predictions) -> RowScores:
        if self._measure.is_accuracy:
            return _of_network(told, (told.predicted == told.labels).astype(np.float64))
        if folder not in self._pseudo_values:
            found = pseudo_values(self._measure, told.probabilities, told.labels)
            self._pseudo_values[folder] = found
        return _of_network(told, self._pseudo_values[folder])

    def _of_baseline(self, told: Predictions, name: str) -> Floats | None:
        """Older files have no probabilities of baselines; of numbers there are none."""
        if self._measure.is_accuracy:
            right: Floats = (told.baselines[name] == told.labels).astype(np.float64)
            return right
        outputs: NDArray[Any] | None = told.baseline_probabilities.get(name)
        if told.labels.dtype.kind == "f":
            outputs = told.baselines[name].astype(np.float64)[:, None]
        return None if outputs is None else pseudo_values(self._measure, outputs, told.labels)

    def _majority(self) -> RowScores:
        """As a failed run counts: the majority class, with the frequencies of the classes."""
        assert self._labels is not None  # a file was read
        labels = self._labels
        if labels.dtype.kind not in "iu":
            return RowScores(None, None, None)
        shares = class_shares(labels)
        losses, briers = prior_scores(shares)
        if self._measure.is_accuracy:
            score: Floats | None = (labels == shares.argmax()).astype(np.float64)
        else:
            score = pseudo_values(self._measure, np.tile(shares, (len(labels), 1)), labels)
        return RowScores(score, losses[labels], briers[labels])


def _of_network(told: Predictions, score: Floats | None) -> RowScores:
    """As :mod:`nnexp.scoring_rules` has them, row by row; numbers have none of these scores."""
    if told.labels.dtype.kind not in "iu":
        return RowScores(score, None, None)
    rows = np.arange(len(told.labels))
    differences = told.probabilities.astype(np.float64)
    differences[rows, told.labels] -= 1
    return RowScores(
        score=score,
        clipped_loss=clipped_losses(told.probabilities[rows, told.labels]),
        brier=(differences**2).sum(1),
    )


def _mean(runs: Sequence[RowScores]) -> RowScores:
    """Of one run or more of a network."""
    return RowScores(
        score=mean_of([run.score for run in runs]),
        clipped_loss=mean_of([run.clipped_loss for run in runs]),
        brier=mean_of([run.brier for run in runs]),
    )


def mean_of(columns: Sequence[Floats | None]) -> Floats | None:
    """The mean of columns; None where one is not known, and of none."""
    known = [column for column in columns if column is not None]
    return np.mean(known, axis=0) if known and len(known) == len(columns) else None


# --------------------------------------------------------------------------------------------------
# More from probabilities: the ensemble of a learner's runs, and how reliable they are.
#
# Axes: M members, N test rows, C classes.
# --------------------------------------------------------------------------------------------------


def ensemble(entry: Entry, held_out: HeldOut, measure: Measure) -> Ensemble | None:
    """The mean of the members' probabilities, on test rows that all of them have.

    None for a baseline, fewer than two members, where a member's predictions are not there, or the
    metric is undefined on them.
    """
    records = [record for outcome in entry.outcomes for record in outcome.records]
    if not entry.is_network or len(records) < 2:
        return None
    predictions = [held_out.predictions(record.folder) for record in records]
    known = [told for told in predictions if told is not None]
    if len(known) < len(records):
        return None
    labels = known[0].labels
    mean = np.stack([told.probabilities for told in known]).mean(0, dtype=np.float64)  # [N, C]
    found = [measure.of_rows(told.probabilities, told.labels) for told in known]
    scores = [score for score in found if score is not None]
    test_score = measure.of_rows(mean, labels)
    if test_score is None or len(scores) < len(found):
        return None
    badness = [measure.badness(record.result.metrics.get(measure.val_key)) for record in records]
    loss = None
    if labels.dtype.kind in "iu":
        loss = float(clipped_losses(mean[np.arange(len(labels)), labels]).mean())
    return Ensemble(
        num_members=len(known),
        test_score=test_score,
        test_clipped_loss=loss,
        best_member_score=scores[int(np.argmin(badness))],
        mean_member_score=float(np.mean(scores)),
    )


def reliability(entry: Entry) -> Reliability | None:
    """Bins pooled over splits; None where no run recorded them.

    The expected calibration error is the mean over predictions of their bin's difference between
    accuracy and confidence (Naeini et al. 2015).
    """
    totals: dict[int, tuple[float, float, int]] = {}
    for calibration in (told for outcome in entry.outcomes for told in outcome.calibrations):
        columns = (calibration[key] for key in ("count", "confidence", "accuracy"))
        for place, (count, confidence, accuracy) in enumerate(zip(*columns, strict=True)):
            if count:
                before = totals.get(place, (0.0, 0.0, 0))
                more = (confidence * count, accuracy * count, count)
                totals[place] = (before[0] + more[0], before[1] + more[1], before[2] + more[2])
    if not totals:
        return None
    bins = [totals[place] for place in sorted(totals)]
    confidence = [total / count for total, _, count in bins]
    accuracy = [right / count for _, right, count in bins]
    counts = [count for _, _, count in bins]
    gaps = _weighted(zip(confidence, accuracy, counts, strict=True))
    return Reliability(
        confidence=tuple(confidence),
        accuracy=tuple(accuracy),
        count=tuple(counts),
        expected_calibration_error=gaps / sum(counts),
    )


def _weighted(bins: Iterable[tuple[float, float, int]]) -> float:
    return sum(abs(accuracy - confidence) * count for confidence, accuracy, count in bins)
