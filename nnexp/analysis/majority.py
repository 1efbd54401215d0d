"""What a model that failed on a split counts as: what the majority class scores there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis.measure import Measure
from nnexp.analysis.records import RunRecord, TaskFacts
from nnexp.errors import DataError
from nnexp.runs.predictions import read_predictions
from nnexp.scoring_rules import clipped_losses

MAJORITY = "majority"  # the baseline's name in result.json
CONSTANTS = {MAJORITY: "the most frequent class", "constant": "a constant"}
"""Baselines that look at no feature, by name in result.json, and what they predict."""
_RUNS_ASKED = 3  # for labels, before they count as not recorded


@dataclass(frozen=True, kw_only=True)
class MajorityScores:
    """Scores of a model that gives every sample the frequencies of the classes."""

    val_score: float
    test_score: float
    test_clipped_loss: float | None
    test_brier: float | None
    counted_as: Literal["majority", "equally frequent", "worst"] = "majority"
    """Whose scores they are: see ``Outcome.counted_as``."""


class MajorityClass:
    """The majority class on each draw of a task's rows.

    As the majority-class baseline measured it on that draw, else by the labels of its test
    samples, else by those of another draw: draws are stratified. Of the predictions of a run that
    is read for this, the labels alone are looked at. A metric that cannot be computed of class
    frequencies is the worst of what any model of the task came to.
    """

    def __init__(
        self, facts: TaskFacts, records: Mapping[int, RunRecord], measure: Measure
    ) -> None:
        self._measure = measure
        self._num_classes = facts.task.num_classes
        self._by_draw: dict[str, list[RunRecord]] = {}
        for i, record in records.items():
            self._by_draw.setdefault(facts.draws[i], []).append(record)
        self._known: dict[str, MajorityScores] = {}

    def on(self, draw: str) -> MajorityScores:
        """Its scores on one draw."""
        if draw not in self._known:
            scores = self._scores(draw)
            self._known[draw] = (
                scores if self._measure.is_accuracy else self._in_metric(draw, scores)
            )
        return self._known[draw]

    def _in_metric(self, draw: str, scores: MajorityScores) -> MajorityScores:
        """The same in a metric other than accuracy: as measured, of labels, or the worst."""
        keys = self._measure.val_key, self._measure.test_key
        own = self._by_draw.get(draw, [])  # what diverged has recorded its baselines too
        for told in (r.result.baselines.get(name, {}) for name in CONSTANTS for r in own):
            val, test = (told.get(key) for key in keys)
            if val is not None and test is not None:
                return replace(scores, val_score=val, test_score=test, counted_as="majority")
        for other in (draw, *self._by_draw):
            labels = self._labels(other)
            if labels is not None:
                told_all = np.tile(class_shares(labels), (len(labels), 1))
                value = self._measure.of_rows(told_all, labels)
                if value is not None:
                    return replace(scores, val_score=value, test_score=value, counted_as="majority")
                break
        val, test = (self._worst(key) for key in keys)
        return replace(scores, val_score=val, test_score=test, counted_as="worst")

    def _worst(self, key: str) -> float:
        """Of all runs that were completed, and of their baselines."""
        results = [r.result for of_draw in self._by_draw.values() for r in of_draw]
        told = [result.metrics for result in results if result.status == "completed"]
        told += [baseline for result in results for baseline in result.baselines.values()]
        known = [value for values in told if (value := values.get(key)) is not None]
        worst = self._measure.worst if self._measure.is_bounded else 0.0
        return max(known, key=self._measure.badness, default=worst)

    def _scores(self, draw: str) -> MajorityScores:
        ordered = [draw, *(other for other in self._by_draw if other != draw)]
        of_draw = self._by_draw.get(draw, [])
        measured = (_measured(record.result.baselines.get(MAJORITY, {})) for record in of_draw)
        by_labels = (found for other in ordered if (found := self._by_labels(other)))
        for scores in (*measured, next(by_labels, None)):
            if scores is not None:
                return scores
        uniform = np.full(self._num_classes, 1 / self._num_classes)
        return replace(_of_shares(uniform), counted_as="equally frequent")

    def _by_labels(self, draw: str) -> MajorityScores | None:
        labels = self._labels(draw)
        return None if labels is None else _of_shares(class_shares(labels))

    def _labels(self, draw: str) -> NDArray[np.integer[Any]] | None:
        """The classes of the test samples of a draw, where a run recorded them."""
        completed = [r for r in self._by_draw.get(draw, ()) if r.result.status == "completed"]
        for record in completed[:_RUNS_ASKED]:
            try:
                labels = read_predictions(record.folder).labels
            except DataError:
                continue
            if len(labels) and labels.dtype.kind in "iu":
                return labels
        return None


def class_shares(labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The frequency of each class [C] among labels [N]."""
    return np.bincount(labels) / len(labels)


def prior_scores(shares: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-loss and Brier score [C] of predicting these frequencies, by the class of a sample."""
    return clipped_losses(shares), 1 - 2 * shares + (shares**2).sum()


def _measured(told: Mapping[str, Any]) -> MajorityScores | None:
    keys = ("val/acc", "test/acc", "test/clipped_loss", "test/brier")
    values: Sequence[float | None] = [told.get(key) for key in keys]
    known = [value for value in values if value is not None]
    if len(known) < len(keys):
        return None
    val_score, test_score, loss, brier = known
    return MajorityScores(
        val_score=val_score, test_score=test_score, test_clipped_loss=loss, test_brier=brier
    )


def _of_shares(shares: NDArray[np.float64]) -> MajorityScores:
    kept = shares[shares > 0]
    losses, briers = prior_scores(kept)
    most = float(shares.max())
    return MajorityScores(
        val_score=most,
        test_score=most,
        test_clipped_loss=float(kept @ losses),
        test_brier=float(kept @ briers),
    )
