"""Baselines as learners: what runs recorded of them, once a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnexp.comparison.config_keys import order
from nnexp.comparison.entries import Entry, Outcome, Tried
from nnexp.comparison.records import RunRecord
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import Choice, Setting

_MEASURED = (
    "val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier", "calibration",
    "tried", "rows", "seconds", "note", "skipped",
)  # fmt: skip


def baseline_entry(
    learner: str, name: str, facts: TaskFacts, runs: Sequence[tuple[str, RunRecord]]
) -> Entry:
    """A baseline on a task, from the runs (split, record) that tell of it; there is at least one.

    Runs that share a split tell the same, as baselines are computed once a split: the first that
    has numbers is taken. Where the split stays and seeds vary it is one fit, and one outcome.
    """
    by_split: dict[str, list[RunRecord]] = {}
    notes: list[str] = []
    for split, record in runs:
        told = record.result.baselines[name]
        if told.get("val/acc") is not None and told.get("test/acc") is not None:
            by_split.setdefault(facts.only_draw or split, []).append(record)
        reason = told.get("skipped")
        notes += [f"left out: {reason}"] if reason else []
        notes += [str(told["note"])] if told.get("note") else []
    splits = facts.task.splits if facts.only_draw is None else (facts.only_draw,)
    outcomes = [_outcome(name, split, by_split[split]) for split in splits if split in by_split]
    return Entry(
        learner=learner,
        task=facts.task.name,
        baseline=name,
        outcomes=tuple(outcomes),
        num_runs=len(outcomes),
        notes=tuple(dict.fromkeys(notes)),
        one_fit=facts.only_draw is not None,
    )


def _outcome(name: str, split: str, records: Sequence[RunRecord]) -> Outcome:
    told = records[0].result.baselines[name]
    tried = _tried(told)
    calibration = told.get("calibration")
    seconds = told.get("seconds")
    return Outcome(
        choice=Choice(
            split=split,
            setting=_setting(told, tried[0].setting if tried else {}),
            val_acc=told["val/acc"],
            test_acc=told["test/acc"],
            folders=(),
        ),
        records=tuple(records),
        tried=tried,
        test_clipped_loss=told.get("test/clipped_loss"),
        test_brier=told.get("test/brier"),
        test_metrics=_further(name, records),
        calibrations=() if calibration is None else (calibration,),
        train_seconds=told.get("seconds/train"),
        predict_seconds=told.get("seconds/predict"),
        tune_seconds=seconds,
    )


def _further(name: str, records: Sequence[RunRecord]) -> dict[str, float | None]:
    """Further metrics by name, each from the first run that has it: not all need ask for it."""
    found: dict[str, float | None] = {}
    for result in (record.result for record in records):
        for metric in result.further:
            if found.get(metric) is None:
                found[metric] = result.baselines[name].get(f"test/{metric}")
    return found


def _tried(told: Mapping[str, Any]) -> tuple[Tried, ...]:
    """What was tried (the first results have accuracies by k); without a list what was chosen."""
    by_k = told.get("val/acc by k") or {}
    listed = told.get("tried") or [{"k": int(k), "val/acc": acc} for k, acc in by_k.items()]
    if not listed:
        listed = [{**_setting(told, None), "val/acc": told["val/acc"]}]
    tried = [
        Tried(
            setting={key: value for key, value in item.items() if not _is_measured(key)},
            num_runs=1,
            num_failed=int(item.get("val/acc") is None),
            val_acc=item.get("val/acc"),
        )
        for item in listed
    ]
    return tuple(sorted(tried, key=lambda t: order(t.setting)))


def _setting(told: Mapping[str, Any], like: Setting | None) -> Setting:
    """What was chosen, by the keys that were tried; by all that is no measurement if unknown."""
    if like:
        return {key: told.get(key) for key in like}
    return {} if like is not None else {k: v for k, v in told.items() if not _is_measured(k)}


def _is_measured(key: str) -> bool:
    return key in _MEASURED or "/" in key
