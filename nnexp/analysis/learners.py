"""Learners: which one a run is of, baselines among them, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnexp.analysis.majority import MajorityClass, MajorityScores
from nnexp.analysis.measure import OF_ACCURACY, Measure
from nnexp.analysis.names import (
    NAMING,
    NOT_THE_LEARNER,
    canonical,
    component_names,
    flatten,
    is_under,
    order,
    unique_names,
)
from nnexp.analysis.records import Entry, Outcome, RunRecord, TaskFacts, Tried
from nnexp.analysis.types import Choice, LearnerOnTask, Setting, Task
from nnexp.baselines.base import labels
from nnexp.metrics import metric_key
from nnexp.runs.record import RunResult
from nnexp.tasks import TASKS

# --------------------------------------------------------------------------------------------------
# Which learner a run is of, and with which setting.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BaselineLearner:
    """A baseline with one config; another list of values to try is another learner."""

    learner: str
    name: str  # in result.json


@dataclass(frozen=True, kw_only=True)
class Learners:
    """Of every run, by its place in the records."""

    networks: Mapping[int, str]
    settings: Mapping[int, Setting]
    baselines: Mapping[int, Mapping[str, BaselineLearner]]  # by name in result.json
    network_names: tuple[str, ...]  # sorted
    baseline_names: tuple[str, ...]
    num_without_config: int
    families: Mapping[str, str]
    """Of every network by its name: model, number of hidden layers and optimizer. Networks of one
    family differ in what tuning could select."""


def find_learners(
    records: Sequence[RunRecord], indices: Sequence[int], tuned: Sequence[str]
) -> Learners:
    """The learners of the runs at ``indices``.

    A run that was recorded without its config is of the learner that its arm names, with nothing
    tuned. A key of ``tuned`` stands for all below it; of these, a setting tells those that vary.
    """
    flat = {i: flatten(records[i].result.config) for i in indices}
    own = {
        i: {k: v for k, v in flat[i].items() if not is_under(k, (*NOT_THE_LEARNER, *tuned))}
        for i in indices
    }
    names = unique_names(
        {i: _network_key(records[i], own[i]) for i in indices},
        {i: _network_base(records[i], own[i]) for i in indices},
        {i: {k: v for k, v in own[i].items() if k not in NAMING} for i in indices},
    )
    baselines = _baselines(records, indices, flat)
    found = {learner.learner: learner for _, told in baselines for learner in told.values()}
    places = list(labels())
    return Learners(
        networks=names,
        settings=_settings(names, flat, tuned),
        baselines=dict(baselines),
        network_names=tuple(sorted(set(names.values()))),
        baseline_names=tuple(
            sorted(
                found,
                key=lambda n: (
                    places.index(found[n].name) if found[n].name in places else len(places),
                    n,
                ),
            )
        ),
        num_without_config=sum(not records[i].result.config for i in indices),
        families={name: _family(name, records[i], own[i]) for i, name in names.items()},
    )


def _network_key(record: RunRecord, own: Mapping[str, Any]) -> str:
    return canonical(own) if record.result.config else record.result.arm


def _network_base(record: RunRecord, own: Mapping[str, Any]) -> str:
    if not record.result.config:
        return record.result.arm
    return component_names(own) or "network"  # both are tuned


def _family(name: str, record: RunRecord, own: Mapping[str, Any]) -> str:
    if not record.result.config:  # nothing tells what it shares with others
        return name
    hidden = own.get("model.hidden")
    depth = len(hidden) if isinstance(hidden, list | tuple) else None
    return canonical({**{key: own.get(key) for key in NAMING}, "depth": depth})


def _settings(
    names: Mapping[int, str], flat: Mapping[int, Mapping[str, Any]], tuned: Sequence[str]
) -> dict[int, Setting]:
    """Of each run what is tuned: keys that are named, and of those below a named one what varies
    among the runs of its learner."""
    values = {i: {k: v for k, v in keys.items() if is_under(k, tuned)} for i, keys in flat.items()}
    keys = {key for setting in values.values() for key in setting}
    seen: dict[tuple[str, str], set[str]] = {}
    for i, setting in values.items():
        for key in keys:
            text = canonical({"": setting[key]}) if key in setting else ""
            seen.setdefault((names[i], key), set()).add(text)
    return {
        i: {k: setting[k] for k in sorted(setting) if k in tuned or len(seen[names[i], k]) > 1}
        for i, setting in values.items()
    }


def _baselines(
    records: Sequence[RunRecord], indices: Sequence[int], flat: Mapping[int, Mapping[str, Any]]
) -> list[tuple[int, dict[str, BaselineLearner]]]:
    """Baselines by run; the config of each decides which learner it is."""
    told = list(_baseline_configs(records, indices, flat))
    learners: dict[tuple[int, str], str] = {}
    for name in dict.fromkeys(name for _, name, _ in told):
        mine = {i: config for i, other, config in told if other == name}
        unique = unique_names(
            {i: canonical(config) for i, config in mine.items()},
            dict.fromkeys(mine, labels().get(name, name.replace("_", " "))),
            mine,
        )
        learners |= {(i, name): learner for i, learner in unique.items()}
    found: dict[int, dict[str, BaselineLearner]] = {i: {} for i in indices}
    for i, name, _ in told:
        found[i][name] = BaselineLearner(learner=learners[i, name], name=name)
    return list(found.items())


def _baseline_configs(
    records: Sequence[RunRecord], indices: Sequence[int], flat: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for i in indices:
        for name in records[i].result.baselines:
            prefix = f"baseline.{name}."
            yield (
                i,
                name,
                {
                    key.removeprefix(prefix): value
                    for key, value in flat[i].items()
                    if key.startswith(prefix) and not key.endswith(".memory_mb")
                },
            )


# --------------------------------------------------------------------------------------------------
# Baselines as learners: what runs recorded of them, once a split.
# --------------------------------------------------------------------------------------------------

_MEASURED = (
    "val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier", "calibration",
    "tried", "settings", "edges", "rows", "seconds", "note", "skipped", "failed",
)  # fmt: skip


def baseline_entry(
    learner: str,
    name: str,
    facts: TaskFacts,
    runs: Sequence[tuple[str, RunRecord]],
    majority: MajorityClass,
    measure: Measure,
) -> Entry:
    """A baseline on a task, from the runs (split, record) that tell of it; there is at least one.

    Runs that share a split tell the same, as baselines are computed once a split: the first that
    has numbers is taken. Where the split stays and seeds vary it is one fit, and one outcome.

    A baseline that failed on a split scores what the majority class does, as a network would. It
    failed if its record says so; in older ones, if it was left out there and not on other splits.
    """
    by_split: dict[str, list[RunRecord]] = {}
    draws: dict[str, str] = {}
    failed: dict[str, bool] = {}  # left out on a split: whether as it failed, not by a rule
    notes: list[str] = []
    for split, record in runs:
        told = record.result.baselines[name]
        place = facts.only_draw or split
        draws[place] = split if facts.only_draw is None else next(iter(facts.draws.values()))
        keys = (measure.val_key, measure.test_key) if record.has_validation else (measure.test_key,)
        if all(told.get(key) is not None for key in keys):
            by_split.setdefault(place, []).append(record)
        elif told.get("test/acc") is not None:
            notes.append(f"{measure.label} was not recorded or undefined")
        reason = told.get("skipped")
        if reason:
            failed[place] = failed.get(place, False) or bool(told.get("failed"))
            notes.append(f"{'failed' if told.get('failed') else 'left out'}: {reason}")
        notes += [str(told["note"])] if told.get("note") else []
    splits = facts.task.splits if facts.only_draw is None else (facts.only_draw,)
    outcomes = []
    for split in splits:
        if split in by_split:
            outcomes.append(_outcome(name, split, by_split[split], measure))
        elif split in failed and (failed[split] or by_split):
            outcomes.append(_failed(split, majority.on(draws[split])))
    return Entry(
        learner=learner,
        task=facts.task.name,
        baseline=name,
        outcomes=tuple(outcomes),
        num_runs=len(outcomes),
        notes=tuple(dict.fromkeys(notes)),
        one_fit=facts.only_draw is not None,
    )


def _outcome(name: str, split: str, records: Sequence[RunRecord], measure: Measure) -> Outcome:
    told = records[0].result.baselines[name]
    tried = _tried(told, measure, has_validation=records[0].has_validation)
    chosen = _setting(told, tried[0].setting if tried else {})
    tried = tuple(
        replace(one, val_score=told[measure.val_key])
        if one.val_score is None and one.setting == chosen
        else one
        for one in tried
    )
    calibration = told.get("calibration")
    seconds = told.get("seconds")
    return Outcome(
        choice=Choice(
            split=split,
            setting=chosen,
            val_score=told[measure.val_key],
            test_score=told[measure.test_key],
            folders=(),
        ),
        records=tuple(records),
        tried=tried,
        test_clipped_loss=told.get("test/clipped_loss"),
        test_brier=told.get("test/brier"),
        test_metrics=_further(name, records, measure),
        calibrations=() if calibration is None else (calibration,),
        train_seconds=told.get("seconds/train"),
        predict_seconds=told.get("seconds/predict"),
        tune_seconds=seconds,
    )


def _failed(split: str, scores: MajorityScores) -> Outcome:
    return Outcome(
        choice=Choice(
            split=split,
            setting={},
            val_score=None,
            test_score=scores.test_score,
            folders=(),
            failed=True,
        ),
        records=(),
        tried=(),
        test_clipped_loss=scores.test_clipped_loss,
        test_brier=scores.test_brier,
        num_failed=1,
        failed_val_score=scores.val_score,
        counted_as=scores.counted_as,
    )


def beside(result: RunResult, measure: Measure) -> list[str]:
    """The metrics that a run records beside the primary one, that of its task among them."""
    names = [TASKS[result.task].metric, *result.further]
    return [name for name in names if name != measure.name]


def _further(name: str, records: Sequence[RunRecord], measure: Measure) -> dict[str, float | None]:
    """Metrics beside the primary one by name, each from the first run that has it: not all need ask
    for it."""
    found: dict[str, float | None] = {}
    for result in (record.result for record in records):
        for metric in beside(result, measure):
            if found.get(metric) is None:
                found[metric] = result.baselines[name].get(metric_key(metric, "test"))
    return found


def _tried(told: Mapping[str, Any], measure: Measure, *, has_validation: bool) -> tuple[Tried, ...]:
    """What was tried (the first results have accuracies by k); without a list what was chosen.

    A setting failed that has no score; one that lacks the primary metric alone was selected by
    another.
    """
    by_k = told.get("val/acc by k") or {}
    listed = told.get("tried") or [{"k": int(k), "val/acc": acc} for k, acc in by_k.items()]
    if not listed:
        keys = ("val/acc", measure.val_key)
        listed = [{**_setting(told, None), **{key: told.get(key) for key in keys}}]
    tried = [
        Tried(
            setting={key: value for key, value in item.items() if not _is_measured(key)},
            num_runs=1,
            num_failed=int(has_validation and _has_no_score(item, measure)),
            val_score=item.get(measure.val_key),
        )
        for item in listed
    ]
    return tuple(sorted(tried, key=lambda t: order(t.setting)))


def _has_no_score(item: Mapping[str, Any], measure: Measure) -> bool:
    return item.get("val/acc") is None and item.get(measure.val_key) is None


def _setting(told: Mapping[str, Any], like: Setting | None) -> Setting:
    """What was chosen, by the keys that were tried; by all that is no measurement if unknown."""
    if like:
        return {key: told.get(key) for key in like}
    return {} if like is not None else {k: v for k, v in told.items() if not _is_measured(k)}


def _is_measured(key: str) -> bool:
    return key in _MEASURED or "/" in key


# --------------------------------------------------------------------------------------------------
# The order in which learners of a task are told.
# --------------------------------------------------------------------------------------------------


def best_first(
    results: Iterable[LearnerOnTask], task: Task, measure: Measure = OF_ACCURACY
) -> list[LearnerOnTask]:
    """Best mean test score first: learners with all splits of the task, then the others.

    Means over different splits are not to be ranked: an easy split would make a learner better.
    """
    return sorted(results, key=lambda r: (*_place(r, task, measure), r.learner))


def lacking(result: LearnerOnTask, task: Task) -> int:
    """On how many of the task's splits the learner has no result.

    A baseline is fitted once where the split stays and the seeds of networks vary.
    """
    if task.unit == "seed" and not result.is_network:
        return 0
    return max(0, len(task.splits) - len(result.choices))


def splits_in_order(result: LearnerOnTask, task: Task) -> str:
    """``3 of 5 splits``, or seeds, where some are lacking, else nothing."""
    total = len(task.splits)
    missing = lacking(result, task)
    return f"{total - missing} of {total} {task.unit}s" if missing and result.choices else ""


def _place(result: LearnerOnTask, task: Task, measure: Measure) -> tuple[bool, bool, float]:
    if result.test_score is None:
        return True, True, 0.0
    return False, lacking(result, task) > 0, measure.badness(result.test_score.mean)
