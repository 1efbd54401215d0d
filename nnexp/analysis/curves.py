"""Training curves of selected runs, their costs, and the worth of a tuning budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtrit

from nnexp.analysis.measure import OF_ACCURACY, Measure
from nnexp.analysis.records import Entry, Outcome, RunRecord
from nnexp.analysis.statistics import LEVEL
from nnexp.analysis.types import Band, Cost, Curves, Estimate, TargetStatus
from nnexp.errors import DataError
from nnexp.runs.record import read_metrics

# --------------------------------------------------------------------------------------------------
# Training curves of chosen runs, by epoch and by second.
#
# Axes: R runs, G points of the grid.
# --------------------------------------------------------------------------------------------------

TAGS = ("train/loss", "val/loss", "train/acc", "val/acc")
"""Beside the primary metric on validation samples, where epochs have it."""
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
    histories: Sequence[Epochs],
    group_sizes: Sequence[int],
    overlap: float,
    measure: Measure = OF_ACCURACY,
) -> Curves | None:
    """Mean and interval over runs; None if no run has a history.

    Of the seconds of runs that trained together each run counts an equal share, as in ``cost``.

    Args:
        group_sizes: how many runs trained together with each, itself included.
    """
    by_epoch = _bands(histories, "epoch", [1] * len(histories), overlap, measure)
    by_second = _bands(histories, "seconds", group_sizes, overlap, measure)
    return Curves(by_epoch=by_epoch, by_second=by_second) if by_epoch or by_second else None


def _bands(
    histories: Sequence[Epochs],
    axis: str,
    divisors: Sequence[int],
    overlap: float,
    measure: Measure,
) -> dict[str, Band]:
    found = {}
    for tag in dict.fromkeys((*TAGS, measure.val_key)):
        measured = [_series(history, axis, tag) for history in histories]
        series = [(x / by, y) for (x, y), by in zip(measured, divisors, strict=True) if len(x)]
        if series:
            bounds = (0.0, 1.0 if tag.endswith("acc") else math.inf)
            bounds = measure.bounds if tag == measure.val_key else bounds
            found[tag] = _band(series, overlap, bounds, whole=axis == "epoch")
    return found


def _series(history: Epochs, axis: str, tag: str) -> tuple[Floats, Floats]:
    """The places and values of a tag, where it was measured."""
    known = [(line.get(axis), line.get(tag)) for line in history]
    kept = [(x, y) for x, y in known if x is not None and y is not None]
    return np.array([x for x, _ in kept], np.float64), np.array([y for _, y in kept], np.float64)


def _band(
    series: Sequence[tuple[Floats, Floats]],
    overlap: float,
    bounds: tuple[float, float],
    *,
    whole: bool,
) -> Band:
    """Of values within the bounds. A run that stopped earlier than others keeps its last value."""
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
        low=_numbers(np.maximum(mean - half, bounds[0])),
        high=_numbers(np.minimum(mean + half, bounds[1])),
    )


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


# --------------------------------------------------------------------------------------------------
# What learners cost: medians over chosen runs.
# --------------------------------------------------------------------------------------------------

TARGET_SHARE = 0.98
"""Of the best; of a metric of which less is better the best over it."""


def target_score(
    entries: Sequence[Entry], reference: str | None, measure: Measure
) -> tuple[float | None, str | None]:
    """A task's target, and whose mean validation score it is: the reference's, so that adding a
    learner does not move it.

    Without a reference on the task it is ``TARGET_SHARE`` of the best mean of any learner, and
    nobody's.
    """
    means = {
        entry.learner: sum(scores) / len(scores)
        for entry in entries
        if (scores := [c.val_score for c in entry.choices if c.val_score is not None])
    }
    if reference in means:
        return means[reference], reference
    best = min(means.values(), key=measure.badness, default=None)
    if best is None or (measure.greater_is_better and best <= 0):
        return None, None
    return best * TARGET_SHARE**measure.sign, None


def cost(entry: Entry, target: float | None, histories: Histories, measure: Measure) -> Cost:
    """Of a network from its chosen runs; of a baseline from what runs recorded of it.

    Of the seconds of runs that trained together each run counts an equal share.
    A baseline has no epochs, so there is no moment at which it reaches the target.
    """
    records = []
    if entry.is_network:
        records = [record for outcome in entry.outcomes for record in outcome.records]
    status, reached = _target(entry, records, target, histories, measure)
    return Cost(
        num_parameters=_whole(_median(record.result.num_parameters for record in records)),
        train_seconds=_median(outcome.train_seconds for outcome in entry.outcomes),
        target_seconds=reached,
        predict_seconds=_median(outcome.predict_seconds for outcome in entry.outcomes),
        tune_seconds=_median(outcome.tune_seconds for outcome in entry.outcomes),
        shared=any(record.result.group_size > 1 for record in records),
        largest_group=max((record.result.group_size for record in records), default=1),
        target=status,
    )


def _target(
    entry: Entry,
    records: Sequence[RunRecord],
    target: float | None,
    histories: Histories,
    measure: Measure,
) -> tuple[TargetStatus, float | None]:
    """Whether the chosen runs' median reaches the target, and after how many seconds."""
    if not entry.is_network:
        return "no epochs", None
    told = [record for record in records if histories.of(record.folder)]
    if not measure.is_accuracy:  # which is of every record, if only as null
        told = [r for r in told if any(measure.val_key in e for e in histories.of(r.folder))]
    if target is None or not told:
        return "unknown", None
    reached = median(
        _reached(histories.of(record.folder), target, measure) / record.result.group_size
        for record in told
    )
    return ("reached", reached) if math.isfinite(reached) else ("not reached", None)


def _reached(history: Epochs, target: float, measure: Measure) -> float:
    """When the validation score first was the target or better; infinite if it never was."""
    for line in history:
        score, seconds = line.get(measure.val_key), line.get("seconds")
        if score is None or seconds is None:
            continue
        if measure.badness(score) <= measure.badness(target):
            return seconds
    return math.inf


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


# --------------------------------------------------------------------------------------------------
# Expected best validation score against the number of settings tried.
#
# Axes: S settings, n splits.
# --------------------------------------------------------------------------------------------------


def expected_maximum(values: Sequence[float]) -> Floats:
    """The expected largest of m of the S values, drawn without replacement, for m = 1 ... S [S].

    Unbiased for the expected best of m settings of their distribution (Dodge et al. 2019, whose
    own estimator draws with replacement and is biased down, as Tang et al. 2020 show). The i-th
    smallest is the largest of m in C(i - 1, m - 1) of C(S, m) draws.
    """
    ascending = np.sort(np.asarray(values, np.float64))
    total = len(ascending)
    place = np.arange(1, total + 1)  # i
    drawn = place[:, None]  # m
    ways = _log_choose(np.maximum(place, drawn) - 1, drawn - 1)
    weights = np.where(place >= drawn, np.exp(ways - _log_choose(total, drawn)), 0.0)  # [m, i]
    expected: Floats = weights @ ascending
    return expected


def expected_best(
    outcomes: Sequence[Outcome],
    estimate: Callable[[Sequence[float]], Estimate | None],
    measure: Measure,
) -> Band | None:
    """Per split, then the mean over splits; None where fewer than two settings were tried, or the
    metric is not known of one. A setting that failed counts as the majority class.

    Args:
        estimate: mean and interval of one value a split.
    """
    tried = [one for outcome in outcomes for one in outcome.tried]
    if any(one.val_score is None and not one.num_failed for one in tried):
        return None
    sign = measure.sign
    curves = [
        sign
        * expected_maximum(
            [
                sign * (outcome.failed_val_score if t.val_score is None else t.val_score)
                for t in outcome.tried
            ]
        )
        for outcome in outcomes
        if outcome.tried
    ]
    length = min(map(len, curves), default=0)
    if length < 2:
        return None
    found = [estimate([float(curve[m]) for curve in curves]) for m in range(length)]
    known = [point for point in found if point is not None]
    return Band(
        x=tuple(float(m) for m in range(1, length + 1)),
        mean=tuple(point.mean for point in known),
        low=tuple(point.interval.low if point.interval else point.mean for point in known),
        high=tuple(point.interval.high if point.interval else point.mean for point in known),
    )


def _log_choose(n: NDArray[np.int64] | int, k: NDArray[np.int64]) -> Floats:
    chosen: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
