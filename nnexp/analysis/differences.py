"""Estimates of every learner on a task, and paired differences between learners."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from nnexp.analysis.held_out_predictions import Floats, HeldOut, RowScores, mean_of
from nnexp.analysis.measure import Measure, points
from nnexp.analysis.records import Entry, Outcome, TaskFacts
from nnexp.analysis.statistics import (
    Uncertainty,
    holm,
    holm_levels,
    interval,
    num_better,
    uncertainty,
)
from nnexp.analysis.types import Difference, Estimate
from nnexp.metrics import metric_bounds

Error = tuple[Difference, Uncertainty]
"""A difference and what its error is made of: more splits would make it smaller."""


@dataclass(frozen=True, eq=False)
class Guess:
    """The accuracy of the best that can be said without a look at the features."""

    share: float
    name: str  # of what guesses, in words
    right: Floats | None = None  # of each test row [N], where they are the same for all


class Measures:
    """Of the learners on one task.

    Test rows that stay are read from ``predictions.npz``; a task whose rows are drawn anew needs
    no files, but for the labels of one split where nothing else tells what guessing gives.
    """

    def __init__(self, facts: TaskFacts, entries: Sequence[Entry], measure: Measure) -> None:
        self._facts = facts
        self._measure = measure
        self._step = measure.step(facts.task.num_test)
        self._entries = entries
        self.held_out = HeldOut(measure)
        self._scores: dict[str, dict[str, RowScores]] = {}
        if facts.task.same_test_rows:
            # Networks first, so that baselines are looked up in what has been read.
            ordered = sorted(entries, key=lambda entry: not entry.is_network)
            self._scores = {entry.learner: self.held_out.scores(entry) for entry in ordered}

    def test_score(self, entry: Entry) -> Estimate | None:
        """Mean test score over the splits."""
        by_row = self._by_row(entry, lambda scores: scores.score)
        values = [choice.test_score for choice in entry.choices if choice.test_score is not None]
        return self._of_scores(entry, values, step=self._step, by_row=by_row)

    def val_score(self, entry: Entry) -> Estimate | None:
        """Mean validation score of what was chosen; it is what the choice was made by."""
        values = [c.val_score for c in entry.choices if c.val_score is not None]
        return self._of_scores(entry, values)

    def test_clipped_loss(self, entry: Entry) -> Estimate | None:
        """Mean clipped log-loss; None unless all splits have it."""
        by_row = self._by_row(entry, lambda scores: scores.clipped_loss)
        return self._of_rows(entry, [o.test_clipped_loss for o in entry.outcomes], math.inf, by_row)

    def test_brier(self, entry: Entry) -> Estimate | None:
        """Mean Brier score; None unless all splits have it."""
        by_row = self._by_row(entry, lambda scores: scores.brier)
        return self._of_rows(entry, [o.test_brier for o in entry.outcomes], 2.0, by_row)

    def test_metrics(self, entry: Entry) -> dict[str, Estimate | None]:
        """The mean of each other metric by name; None unless all splits have it."""
        names = dict.fromkeys(name for outcome in entry.outcomes for name in outcome.test_metrics)
        return {name: self._test_metric(entry, name) for name in names}

    def _test_metric(self, entry: Entry, name: str) -> Estimate | None:
        values = [outcome.test_metrics.get(name) for outcome in entry.outcomes]
        low, high = metric_bounds(name)
        step = 1 / self._facts.task.num_test if self._facts.task.num_test else 0.0
        return self._of_rows(entry, values, high, None, low=low, step=step)

    def unread(self) -> list[str]:
        """A warning for every learner whose predictions of test rows that stay lack."""
        if not self._facts.task.same_test_rows:
            return []
        ran = [entry for entry in self._entries if entry.outcomes and not entry.is_selection]
        problems = {
            entry.learner: problem
            for entry in ran
            if not self._scores[entry.learner]
            if (problem := self.held_out.problem(entry)) is not None
        }
        problems |= {
            entry.learner: f"{self._measure.label} cannot be computed of a part of them"
            + ("" if entry.is_network else ", or no probabilities are recorded")
            for entry in ran
            if self._scores[entry.learner]
            and self._by_row(entry, lambda scores: scores.score) is None
        }
        rest = f"on {self._facts.task.name}: its intervals do not cover the choice of test samples"
        return [f"{learner} {rest}: {problem}" for learner, problem in problems.items()]

    def over(self, values: Sequence[float]) -> Estimate | None:
        """Mean of scores that are given, one a split."""
        return self._of_scores(None, values)

    def _of_scores(
        self,
        entry: Entry | None,
        values: Sequence[float],
        *,
        step: float = 0.0,
        by_row: Floats | None = None,
    ) -> Estimate | None:
        low, high = self._measure.bounds
        return self._estimate(
            entry, values, high, low=low, step=step, by_row=by_row,
            in_groups=not self._measure.is_accuracy,
        )  # fmt: skip

    def _by_row(self, entry: Entry, column: Callable[[RowScores], Floats | None]) -> Floats | None:
        """Of each test row [N], the mean over the splits; None where it is not known."""
        return mean_of([column(s) for s in self._scores.get(entry.learner, {}).values()])

    def _of_rows(
        self,
        entry: Entry,
        values: Sequence[float | None],
        high: float,
        by_row: Floats | None,
        *,
        low: float = 0.0,
        step: float = 0.0,
    ) -> Estimate | None:
        """On test rows that stay there is an interval only where the error of each is known."""
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        found = self._estimate(entry, known, high, low=low, step=step, by_row=by_row)
        if found is not None and by_row is None and self._facts.task.same_test_rows:
            return replace(found, interval=None)
        return found

    def _estimate(
        self,
        entry: Entry | None,
        values: Sequence[float],
        high: float,
        *,
        low: float = 0.0,
        step: float = 0.0,
        by_row: Floats | None = None,
        in_groups: bool = False,
    ) -> Estimate | None:
        """Of numbers from ``low`` to ``high``."""
        if not values:
            return None
        error = uncertainty(
            values,
            overlap=self._facts.overlap,
            step=step,
            by_row=by_row,
            in_groups=in_groups,
            one_fit=entry is not None and entry.one_fit,
        )
        mean = fmean(values)
        return Estimate(mean=mean, interval=interval(mean, error, low, high), values=tuple(values))

    def difference(self, entry: Entry, other: Entry) -> Error:
        """``entry`` minus ``other``, on the splits that both have.

        A baseline that was fitted once stands against every seed of a network.
        """
        pairs = _pairs(entry, other)
        values = [
            round((mine.choice.test_score or 0) - (theirs.choice.test_score or 0), 12)
            for mine, theirs in pairs
        ]
        by_row = None
        own, its = self._scores.get(entry.learner), self._scores.get(other.learner)
        if own and its and pairs:
            scores = [
                (own[mine.choice.split].score, its[theirs.choice.split].score)
                for mine, theirs in pairs
            ]
            by_row = mean_of(
                [None if a is None or b is None else a - b for a, b in scores],
            )
        return self._difference(entry, other, values, by_row)

    def guess(self) -> Guess:
        """The most frequent class by the labels of the test rows, else one of the classes.

        Splits are stratified: those of one tell the shares of all.
        """
        labels = self.held_out.labels(self._entries)
        if labels is None:
            classes = f"one of {self._facts.task.num_classes} classes"
            name = f"{classes} (no run records class frequencies)"
            return Guess(1 / self._facts.task.num_classes, name)
        counts = np.bincount(labels)
        share = float(counts.max() / len(labels))
        name = f"the most frequent class ({points(share)} % of the test set)"
        stays = self._facts.task.same_test_rows
        right = (labels == counts.argmax()).astype(np.float64) if stays else None
        return Guess(share, name, right)

    def over_guessing(self, entry: Entry, guess: Guess) -> Error:
        """A learner's test accuracy minus that of guessing; not for other metrics."""
        values = [(choice.test_score or 0) - guess.share for choice in entry.choices]
        by_row = self._by_row(entry, lambda scores: scores.score)
        if by_row is not None:
            by_row = by_row - (guess.share if guess.right is None else guess.right)
        return self._difference(entry, None, values, by_row)

    def _difference(
        self, entry: Entry, other: Entry | None, values: Sequence[float], by_row: Floats | None
    ) -> Error:
        """``other`` is None for guessing, which needs no fit."""
        fits = [entry] if other is None else [entry, other]
        once = [fitted for fitted in fits if fitted.one_fit]
        error = uncertainty(
            values,
            overlap=self._facts.overlap,
            step=self._step,
            by_row=by_row,
            in_groups=not self._measure.is_accuracy,
            one_fit=len(once) == len(fits) and bool(values),
        )
        span, sign = self._measure.span, self._measure.sign
        mean = fmean(values) if values else 0.0
        told = Difference(
            learner=entry.learner,
            other="guessing" if other is None else other.learner,
            task=self._facts.task.name,
            mean=mean,
            interval=interval(mean, error, -span, span),
            num_pairs=len(values),
            num_better=None
            if error.one_fit or not values
            else num_better([sign * v for v in values]),
            p_value=error.p_value(mean) if error.is_known else None,
            p_adjusted=None,
            method=_method(error, once),
            one_fit=bool(once),
        )
        return told, error


_DRAWING = ("forest",)  # baselines that another draw would make others of, on the same rows


def _pairs(entry: Entry, other: Entry) -> list[tuple[Outcome, Outcome]]:
    mine, theirs = entry.by_split, other.by_split
    if entry.one_fit != other.one_fit:
        return [(a, b) for a in entry.outcomes for b in other.outcomes]
    return [(mine[split], theirs[split]) for split in mine if split in theirs]


def _method(error: Uncertainty, once: Sequence[Entry]) -> str:
    told = error.method
    if not error.is_known or not once:
        return told
    if not error.one_fit:
        told += "; the baseline is one fit"
    if any(entry.baseline in _DRAWING for entry in once):
        told += "; how another fit of the forest would differ is not covered"
    return told


def adjusted(family: Sequence[Error]) -> list[Error]:
    """With Holm's correction over the comparisons of one family that have a p value."""
    tested = [i for i, (difference, _) in enumerate(family) if difference.p_value is not None]
    raw = [family[i][0].p_value or 0.0 for i in tested]
    corrected = list(family)
    for i, p, level in zip(tested, holm(raw), holm_levels(raw), strict=True):
        difference, error = family[i]
        corrected[i] = replace(difference, p_adjusted=p, level=level), error
    return corrected
