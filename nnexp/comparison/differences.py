"""Estimates of every learner on a task, and paired differences between learners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from nnexp.comparison.entries import Entry, Outcome
from nnexp.comparison.estimates import (
    Uncertainty,
    holm,
    interval,
    p_better,
    uncertainty,
)
from nnexp.comparison.held_out import Floats, HeldOut
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import Difference, Estimate

Error = tuple[Difference, Uncertainty]
"""A difference and what its error is made of: more splits would make it smaller."""


class Measures:
    """Of the learners on one task.

    Test rows that stay are read from ``predictions.npz``; a task whose rows are drawn anew needs
    no files.
    """

    def __init__(self, facts: TaskFacts, entries: Sequence[Entry]) -> None:
        self._facts = facts
        self._step = 1 / facts.task.num_test if facts.task.num_test else 0.0
        self.held_out = HeldOut(facts.guess)
        self._correct: Mapping[str, dict[str, Floats]] = {}
        if facts.task.same_test_rows:
            # Networks first, so that baselines are looked up in what has been read.
            ordered = sorted(entries, key=lambda entry: not entry.is_network)
            self._correct = {entry.learner: self.held_out.correct(entry) for entry in ordered}

    def test_acc(self, entry: Entry) -> Estimate | None:
        """Mean test accuracy over the splits."""
        by_row = None
        correct = self._correct.get(entry.learner)
        if correct:
            by_row = np.mean([correct[choice.split] for choice in entry.choices], axis=0)
        values = [choice.test_acc for choice in entry.choices if choice.test_acc is not None]
        return self._estimate(values, 0.0, 1.0, step=self._step, by_row=by_row)

    def val_acc(self, entry: Entry) -> Estimate | None:
        """Mean validation accuracy of what was chosen; it is what the choice was made by."""
        values = [c.val_acc for c in entry.choices if c.val_acc is not None]
        return self._estimate(values, 0.0, 1.0)

    def of(
        self, entry: Entry, value: Callable[[Outcome], float | None], high: float
    ) -> Estimate | None:
        """Mean of another number from 0 to ``high``; None unless all splits have it."""
        values = [v for outcome in entry.outcomes if (v := value(outcome)) is not None]
        complete = len(values) == len(entry.outcomes)
        return self._estimate(values, 0.0, high) if complete else None

    def over(self, values: Sequence[float]) -> Estimate | None:
        """Mean of accuracies that are given, one a split."""
        return self._estimate(values, 0.0, 1.0)

    def _estimate(
        self,
        values: Sequence[float],
        low: float,
        high: float,
        *,
        step: float = 0.0,
        by_row: Floats | None = None,
    ) -> Estimate | None:
        if not values:
            return None
        error = uncertainty(values, overlap=self._facts.overlap, step=step, by_row=by_row)
        mean = fmean(values)
        return Estimate(mean=mean, interval=interval(mean, error, low, high), values=tuple(values))

    def difference(self, entry: Entry, other: Entry) -> Error:
        """``entry`` minus ``other``, on the splits that both have."""
        mine, theirs = entry.by_split, other.by_split
        splits = [split for split in mine if split in theirs]
        values = [
            round((mine[split].choice.test_acc or 0) - (theirs[split].choice.test_acc or 0), 12)
            for split in splits
        ]
        by_row = None
        right, wrong = self._correct.get(entry.learner), self._correct.get(other.learner)
        if right and wrong and splits:
            by_row = np.mean([right[split] - wrong[split] for split in splits], axis=0)
        return self._difference(entry.learner, other.learner, values, by_row)

    def over_guessing(self, entry: Entry, share: float) -> Error:
        """A learner's test accuracy minus ``share``, which is known."""
        values = [(choice.test_acc or 0) - share for choice in entry.choices]
        by_row = None
        correct = self._correct.get(entry.learner)
        if correct:
            by_row = np.mean([correct[choice.split] for choice in entry.choices], axis=0) - share
        return self._difference(entry.learner, "guessing", values, by_row)

    def _difference(
        self, learner: str, other: str, values: Sequence[float], by_row: Floats | None
    ) -> Error:
        error = uncertainty(values, overlap=self._facts.overlap, step=self._step, by_row=by_row)
        mean = fmean(values) if values else 0.0
        told = Difference(
            learner=learner,
            other=other,
            task=self._facts.task.name,
            mean=mean,
            interval=interval(mean, error, -1.0, 1.0),
            num_pairs=len(values),
            p_better=p_better(values) if values else 0.5,
            p_value=error.p_value(mean) if len(values) > 1 else None,
            p_adjusted=None,
            method=error.method if len(values) > 1 else "no interval from a single pair",
        )
        return told, error


def adjusted(family: Sequence[Error]) -> list[Error]:
    """With Holm's correction over the comparisons of one family that have a p value."""
    tested = [i for i, (difference, _) in enumerate(family) if difference.p_value is not None]
    p_values = holm([family[i][0].p_value or 0.0 for i in tested])
    corrected = list(family)
    for i, p in zip(tested, p_values, strict=True):
        difference, error = family[i]
        corrected[i] = replace(difference, p_adjusted=p), error
    return corrected
