"""What the majority class scores on a split: what a model that failed there counts as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis.records import RunRecord, TaskFacts
from nnexp.errors import DataError
from nnexp.runs.predictions import read_predictions
from nnexp.scoring_rules import clipped_losses

MAJORITY = "majority"  # the baseline's name in result.json
_RUNS_ASKED = 3  # for labels, before they count as not recorded


@dataclass(frozen=True, kw_only=True)
class MajorityScores:
    """Scores of a model that gives every sample the frequencies of the classes."""

    val_score: float
    test_score: float
    test_clipped_loss: float
    test_brier: float
    is_recorded: bool = True
    """False: no run records class frequencies, and all classes are taken to be as frequent."""


class MajorityClass:
    """The majority class on each draw of a task's rows.

    As the majority-class baseline measured it on that draw, else by the labels of its test
    samples, else by those of another draw: draws are stratified. Of the predictions of a run that
    is read for this, the labels alone are looked at.
    """

    def __init__(self, facts: TaskFacts, records: Mapping[int, RunRecord]) -> None:
        self._num_classes = facts.task.num_classes
        self._by_draw: dict[str, list[RunRecord]] = {}
        for i, record in records.items():
            self._by_draw.setdefault(facts.draws[i], []).append(record)
        self._known: dict[str, MajorityScores] = {}

    def on(self, draw: str) -> MajorityScores:
        """Its scores on one draw."""
        if draw not in self._known:
            self._known[draw] = self._scores(draw)
        return self._known[draw]

    def _scores(self, draw: str) -> MajorityScores:
        ordered = [draw, *(other for other in self._by_draw if other != draw)]
        of_draw = self._by_draw.get(draw, [])
        measured = (_measured(record.result.baselines.get(MAJORITY, {})) for record in of_draw)
        by_labels = (found for other in ordered if (found := self._by_labels(other)))
        for scores in (*measured, next(by_labels, None)):
            if scores is not None:
                return scores
        uniform = np.full(self._num_classes, 1 / self._num_classes)
        return _of_shares(uniform, is_recorded=False)

    def _by_labels(self, draw: str) -> MajorityScores | None:
        completed = [r for r in self._by_draw.get(draw, ()) if r.result.status == "completed"]
        for record in completed[:_RUNS_ASKED]:
            try:
                labels = read_predictions(record.folder).labels
            except DataError:
                continue
            if len(labels):
                return _of_shares(class_shares(labels))
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


def _of_shares(shares: NDArray[np.float64], *, is_recorded: bool = True) -> MajorityScores:
    kept = shares[shares > 0]
    losses, briers = prior_scores(kept)
    most = float(shares.max())
    return MajorityScores(
        val_score=most,
        test_score=most,
        test_clipped_loss=float(kept @ losses),
        test_brier=float(kept @ briers),
        is_recorded=is_recorded,
    )
