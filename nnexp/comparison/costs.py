"""What learners cost: medians over chosen runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from nnexp.comparison.curves import Epochs, Histories
from nnexp.comparison.entries import Entry
from nnexp.comparison.types import Cost

TARGET_SHARE = 0.98


def target_acc(entries: Sequence[Entry]) -> float | None:
    """A task's target: 98 % of the best mean validation accuracy that any learner has."""
    means = [
        sum(accs) / len(accs)
        for entry in entries
        if (accs := [c.val_acc for c in entry.choices if c.val_acc is not None])
    ]
    return TARGET_SHARE * max(means) if means else None


def cost(entry: Entry, target: float | None, histories: Histories) -> Cost:
    """Of a network from its chosen runs; of a baseline from what runs recorded of it.

    Of the seconds of runs that trained together each run counts an equal share.
    A baseline has reached the target, if it does, when it has been trained: where the record does
    not part training from tuning, this is not known.
    """
    if not entry.is_network:
        reaches = [
            outcome.train_seconds
            if outcome.train_seconds is not None and (outcome.choice.val_acc or 0) >= (target or 2)
            else math.inf
            for outcome in entry.outcomes
        ]
        records = []
    else:
        records = [record for outcome in entry.outcomes for record in outcome.records]
        reaches = [
            _reached(histories.of(record.folder), target) / record.result.group_size
            for record in records
        ]
    reached = median(reaches) if reaches else math.inf
    return Cost(
        num_parameters=_whole(_median(record.result.num_parameters for record in records)),
        train_seconds=_median(outcome.train_seconds for outcome in entry.outcomes),
        target_seconds=reached if math.isfinite(reached) else None,
        predict_seconds=_median(outcome.predict_seconds for outcome in entry.outcomes),
        tune_seconds=_median(outcome.tune_seconds for outcome in entry.outcomes),
        shared=any(record.result.group_size > 1 for record in records),
        largest_group=max((record.result.group_size for record in records), default=1),
    )


def _reached(history: Epochs, target: float | None) -> float:
    """When the validation accuracy first was the target; infinite if it never was."""
    for line in history:
        acc, seconds = line.get("val/acc"), line.get("seconds")
        if target is not None and acc is not None and seconds is not None and acc >= target:
            return seconds
    return math.inf


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
