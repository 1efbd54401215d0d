"""From records of runs to learners on tasks, hyperparameters selected on validation rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from nnexp.analysis.learners import Learners, baseline_entry, beside, find_learners
from nnexp.analysis.majority import MajorityClass, MajorityScores
from nnexp.analysis.measure import OF_ACCURACY, Measure
from nnexp.analysis.names import SEPARATOR, canonical, order
from nnexp.analysis.records import Entry, Outcome, RunRecord, TaskFacts, Tried, find_tasks
from nnexp.analysis.types import Choice, FailedRun, Options, Setting
from nnexp.errors import did_you_mean
from nnexp.metrics import metric_key
from nnexp.runs.folder import short
from nnexp.runs.record import RunResult, precedence

# --------------------------------------------------------------------------------------------------
# Settings chosen by the validation rows of each split; test numbers of the chosen runs alone.
#
# The choice is nested: on every split the setting with the best mean validation score on that very
# split is taken, then lower validation loss, then the smaller setting. A setting with a run
# that failed on the split ranks below all without. Only then are test numbers read (Cawley and
# Talbot 2010 on what happens otherwise). What failed altogether scores what the
# majority class does.
# --------------------------------------------------------------------------------------------------

_MOST_NAMED = 5  # folders in a warning
NOT_RUN = "interrupted"  # says nothing against the learner: the setting counts as not tried


@dataclass(frozen=True)
class PlacedRun:
    """A run of one learner on one task."""

    record: RunRecord
    split: str
    draw: str  # the draw of rows; the same for many splits where seeds stand for splits
    setting: Setting
    measure: Measure = OF_ACCURACY

    @property
    def completed(self) -> bool:
        """Whether there is a score to choose by and one to report."""
        return self.record.result.status == "completed" and has_scores(self.record, self.measure)

    @property
    def status(self) -> str:
        """``completed``, or why it does not count as such."""
        status = self.record.result.status
        return "failed" if status == "completed" and not self.completed else status


def has_scores(record: RunRecord, measure: Measure) -> bool:
    """Whether the metric is recorded of a run, on test samples and on those to validate, if any."""
    metrics = record.result.metrics
    keys = (measure.val_key, measure.test_key) if record.has_validation else (measure.test_key,)
    return all(metrics.get(key) is not None for key in keys)


def without_unrecorded(
    records: Sequence[RunRecord], measure: Measure
) -> tuple[list[RunRecord], list[str]]:
    """The runs, but for those that were completed without recording the metric, and a warning that
    names these.

    Where ``error`` says why there are no test metrics it is no lack of the record, and accuracy is
    of every record: such a run failed.
    """
    lacking = [
        record
        for record in records
        if not measure.is_accuracy
        and record.result.status == "completed"
        and record.result.error is None
        and not has_scores(record, measure)
    ]
    if not lacking:
        return list(records), []
    names = ", ".join(short(record.folder) for record in lacking[:_MOST_NAMED])
    more = len(lacking) - _MOST_NAMED
    count = len(lacking)
    told = (
        f"{_runs(count)} left out, without {measure.val_key} or {measure.test_key}, which "
        f"{'was' if count == 1 else 'were'} not recorded or undefined: {names}"
    )
    left_out = set(map(id, lacking))
    kept = [record for record in records if id(record) not in left_out]
    return kept, [told + (f" and {more:,} more" if more > 0 else "")]


def network_entry(
    learner: str,
    facts: TaskFacts,
    runs: Sequence[PlacedRun],
    majority: MajorityClass,
    measure: Measure,
) -> Entry:
    """What a learner's runs on a task amount to; ``runs`` is not empty."""
    outcomes: dict[str, Outcome] = {}
    for draw in dict.fromkeys(run.draw for run in runs):
        peers = [run for run in runs if run.draw == draw and run.status != NOT_RUN]
        chosen = choose(peers, measure)
        for split in dict.fromkeys(run.split for run in peers):
            mine = [run for run in peers if run.split == split]
            outcome = _outcome(split, mine, chosen, partial(majority.on, draw), measure)
            if outcome is not None:
                outcomes[split] = outcome
    return Entry(
        learner=learner,
        task=facts.task.name,
        baseline=None,
        outcomes=tuple(outcomes[split] for split in facts.task.splits if split in outcomes),
        num_runs=len(runs),
        num_failed=dict(Counter(run.status for run in runs if run.status != "completed")),
    )


def choose(runs: Iterable[PlacedRun], measure: Measure) -> Setting | None:
    """The setting that the validation rows choose among runs on one draw; None: all failed."""
    ranked = []
    for setting, members in _by_setting(runs):
        completed = [run.record.result.metrics for run in members if run.completed]
        if completed:
            values = [value for m in completed if (value := m[measure.val_key]) is not None]
            losses = [m.get("val/loss") for m in completed]
            loss = fmean(math.inf if value is None else value for value in losses)
            failed = len(completed) < len(members)
            # Without validation rows there is one setting.
            badness = measure.badness(fmean(values)) if values else 0.0
            ranked.append((failed, badness, loss, order(setting), setting))
    return min(ranked, key=lambda r: r[:4])[4] if ranked else None


def _by_setting(runs: Iterable[PlacedRun]) -> list[tuple[Setting, list[PlacedRun]]]:
    groups: dict[str, list[PlacedRun]] = {}
    for run in runs:
        groups.setdefault(canonical(run.setting), []).append(run)
    return [(members[0].setting, members) for members in groups.values()]


def _outcome(
    split: str,
    runs: Sequence[PlacedRun],
    chosen: Setting | None,
    majority: Callable[[], MajorityScores],
    measure: Measure,
) -> Outcome | None:
    """Of one split; None if the chosen setting was not run on it."""
    settings = [_tried(*group, measure) for group in _by_setting(runs)]
    tried = tuple(sorted(settings, key=lambda t: order(t.setting)))
    members = [run for run in runs if chosen is not None and run.setting == chosen]
    if chosen is not None and not members:
        return None
    results = [run.record.result for run in members if run.completed]
    num_failed = len(members) - len(results) if chosen is not None else 1
    counted: dict[str, float | None] = {}
    scores: MajorityScores | None = None
    if num_failed or any(told.val_score is None and told.num_failed for told in tried):
        scores = majority()
        counted = {
            measure.val_key: scores.val_score,
            measure.test_key: scores.test_score,
            "test/clipped_loss": scores.test_clipped_loss,
            "test/brier": scores.test_brier,
        }

    def mean(key: str, of: Sequence[Mapping[str, float | None]]) -> float | None:
        values = [metrics.get(key) for metrics in of] + [counted.get(key)] * num_failed
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    metrics = [result.metrics for result in results]
    further = dict.fromkeys(name for result in results for name in beside(result, measure))
    return Outcome(
        choice=Choice(
            split=split,
            setting=dict(chosen or {}),
            val_score=mean(measure.val_key, metrics) if results else None,
            test_score=mean(measure.test_key, metrics) or 0.0,
            folders=tuple(str(run.record.folder) for run in members if run.completed),
            failed=not results,
        ),
        records=tuple(run.record for run in members if run.completed),
        tried=tried,
        test_clipped_loss=mean("test/clipped_loss", metrics),
        test_brier=mean("test/brier", metrics),
        test_metrics={name: mean(metric_key(name, "test"), metrics) for name in further},
        calibrations=tuple(r.calibration for r in results if r.calibration is not None),
        train_seconds=_mean_known(map(_train_seconds, results)),
        predict_seconds=_mean_known(result.seconds.get("predict") for result in results),
        tune_seconds=_tune_seconds(runs),
        val_loss=mean("val/loss", metrics),
        num_failed=num_failed,
        failed_val_score=0.0 if scores is None else scores.val_score,
        counted_as="majority" if scores is None else scores.counted_as,
    )


def _tried(setting: Setting, runs: Sequence[PlacedRun], measure: Measure) -> Tried:
    values = [run.record.result.metrics[measure.val_key] for run in runs if run.completed]
    return Tried(
        setting=setting,
        num_runs=len(runs),
        num_failed=len(runs) - len(values),
        val_score=_mean_known(values),
    )


def _tune_seconds(runs: Iterable[PlacedRun]) -> float | None:
    """Of all settings."""
    shares = [_train_seconds(run.record.result) for run in runs]
    known = [share for share in shares if share is not None]
    return sum(known) if known else None


def _train_seconds(result: RunResult) -> float | None:
    """Runs that trained together each tell the time of all: an equal share counts."""
    seconds = result.seconds.get("train")
    return None if seconds is None else seconds / result.group_size


def _mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


# --------------------------------------------------------------------------------------------------
# From records of runs to learners on tasks.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class GroupedRuns:
    """All learners on all tasks."""

    tasks: tuple[TaskFacts, ...]
    learners: tuple[str, ...]  # networks first
    entries: tuple[Entry, ...]  # by task, networks first
    failed: tuple[FailedRun, ...]
    warnings: tuple[str, ...]
    families: Mapping[str, str]  # of networks by name: see ``Learners.families``

    def on(self, task: str) -> list[Entry]:
        """The learners of one task."""
        return [entry for entry in self.entries if entry.task == task]


def group_runs(records: Sequence[RunRecord], options: Options) -> GroupedRuns:
    """Runs by learner, task and split; settings chosen.

    Of runs that repeat one another in all (learner, setting, data, split and seed) one counts: see
    ``precedence``.
    """
    measure = options.measure
    tasks = find_tasks(records)
    task_of = {i: facts for facts in tasks for i in facts.splits}
    placed = sorted(task_of)
    learners = find_learners(records, placed, options.tuned)
    untuned = _untuned(records, placed, task_of, learners)
    if untuned:
        options = replace(options, tuned=())
        learners = find_learners(records, placed, options.tuned)
    runs: dict[tuple[str, str], list[int]] = {}
    told: dict[tuple[str, str], list[int]] = {}
    counted = _without_repetitions(records, placed, task_of, learners)
    for i in placed:
        task = task_of[i].task.name
        if i in counted:
            runs.setdefault((task, learners.networks[i]), []).append(i)
        for baseline in learners.baselines[i].values():
            told.setdefault((task, baseline.learner), []).append(i)
    idle = {
        place: mine
        for place, mine in runs.items()
        if all(records[i].result.epochs == 0 for i in mine)
    }
    refused = _refused(records, task_of, learners)
    baseline_keys = {b.learner: b.name for of in learners.baselines.values() for b in of.values()}
    entries = []
    for facts in tasks:
        majority = MajorityClass(facts, {i: records[i] for i in facts.splits}, measure)
        for learner in learners.network_names:
            mine = runs.get((facts.task.name, learner))
            if mine and (facts.task.name, learner) not in idle:
                own = [_placed_run(i, records, facts, learners, measure) for i in mine]
                entry = network_entry(learner, facts, own, majority, measure)
                entries.append(_with_refused(entry, len(refused.get((entry.task, learner), ()))))
        for learner in learners.baseline_names:
            mine = told.get((facts.task.name, learner))
            if mine:
                pairs = [(facts.splits[i], records[i]) for i in mine]
                name = baseline_keys[learner]
                entries.append(baseline_entry(learner, name, facts, pairs, majority, measure))
    compared = {entry.learner for entry in entries}
    return GroupedRuns(
        tasks=tuple(tasks),
        learners=tuple(
            name for name in (*learners.network_names, *learners.baseline_names) if name in compared
        ),
        entries=tuple(entries),
        failed=_failed(records, task_of),
        families=learners.families,
        warnings=(
            *untuned,
            *_idle(records, idle),
            *_never_trained(records, task_of, refused),
            *_warnings(task_of, learners, options, len(placed) - len(counted)),
        ),
    )


def _untuned(
    records: Sequence[RunRecord],
    placed: Sequence[int],
    task_of: dict[int, TaskFacts],
    learners: Learners,
) -> list[str]:
    """A warning for each task on which settings were tried that no validation rows can choose
    from: then nothing is tuned, and every setting is a model of its own."""
    found: dict[tuple[str, str], set[str]] = {}
    for i in placed:
        if not records[i].has_validation:
            place = (task_of[i].task.name, learners.networks[i])
            found.setdefault(place, set()).add(canonical(learners.settings[i]))
    tasks = dict.fromkeys(task for (task, _), settings in found.items() if len(settings) > 1)
    return [
        f"{task}: without validation samples nothing can be tuned, so that every setting is a "
        "model of its own"
        for task in tasks
    ]


def _without_repetitions(
    records: Sequence[RunRecord],
    placed: Sequence[int],
    task_of: dict[int, TaskFacts],
    learners: Learners,
) -> set[int]:
    counted: dict[tuple[str, ...], int] = {}
    for i in sorted(placed, key=lambda i: precedence(records[i].result)):
        identity = (
            task_of[i].task.name,
            learners.networks[i],
            canonical(learners.settings[i]),
            task_of[i].draws[i],
            str(records[i].result.seed),
        )
        counted.setdefault(identity, i)
    return set(counted.values())


def _placed_run(
    i: int, records: Sequence[RunRecord], facts: TaskFacts, learners: Learners, measure: Measure
) -> PlacedRun:
    setting = learners.settings[i]
    return PlacedRun(records[i], facts.splits[i], facts.draws[i], setting, measure)


def _refused(
    records: Sequence[RunRecord], task_of: dict[int, TaskFacts], learners: Learners
) -> dict[tuple[str, str], list[int]]:
    """Runs whose config was refused, by the task and learner that they would have been of.

    All that is known of them are the names of model, optimizer and data set, with which their arm
    begins if they were composed at all. Where these are of one learner on one task alone, it is it.
    """
    known: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for i, facts in task_of.items():
        place = (facts.task.name, learners.networks[i])
        known.setdefault(_parts(records[i]), set()).add(place)
    found: dict[tuple[str, str], list[int]] = {}
    for i, record in enumerate(records):
        places = known.get(_parts(record), set())
        refused = i not in task_of and not record.result.config and _is_composed(record)
        if refused and len(places) == 1:
            found.setdefault(next(iter(places)), []).append(i)
    return found


def _parts(record: RunRecord) -> tuple[str, ...]:
    result = record.result
    return result.model, result.optimizer, result.dataset.name


def _is_composed(record: RunRecord) -> bool:
    """Else the names are those of the sweep, not of the job."""
    result = record.result
    return result.arm.startswith(f"{result.model}{SEPARATOR}{result.optimizer}")


def _with_refused(entry: Entry, count: int) -> Entry:
    """They are failed runs; as no setting could be made of theirs, they change no choice."""
    if not count:
        return entry
    failed = {**entry.num_failed, "failed": entry.num_failed.get("failed", 0) + count}
    return replace(entry, num_runs=entry.num_runs + count, num_failed=failed)


def _failed(records: Sequence[RunRecord], task_of: dict[int, TaskFacts]) -> tuple[FailedRun, ...]:
    return tuple(
        FailedRun(
            folder=str(record.folder),
            arm=record.result.arm,
            task=task_of[i].task.name if i in task_of else record.result.dataset.name,
            seed=record.result.seed,
            status=record.result.status,
            error=record.result.error or "",
        )
        for i, record in enumerate(records)
        if record.result.status != "completed"
    )


def _idle(records: Sequence[RunRecord], idle: dict[tuple[str, str], list[int]]) -> Iterator[str]:
    """What ran out of memory, or cannot be computed here, has shown nothing of its accuracy."""
    for (task, learner), mine in idle.items():
        errors = dict.fromkeys(records[i].result.error or "no reason given" for i in mine)
        none = "its run never trained" if len(mine) == 1 else f"none of {len(mine)} runs trained"
        yield f"{learner} on {task}: {none}, so it is not compared: {next(iter(errors))}"


def _never_trained(
    records: Sequence[RunRecord],
    task_of: dict[int, TaskFacts],
    refused: dict[tuple[str, str], list[int]],
) -> list[str]:
    placed = {i for of_learner in refused.values() for i in of_learner}
    lost = [r.result.status for i, r in enumerate(records) if i not in task_of and i not in placed]
    told = []
    if placed:
        names = ", ".join(dict.fromkeys(learner for _, learner in refused))
        told.append(
            f"{_counted(len(placed))} never trained (their config was refused): "
            f"{'they count' if len(placed) > 1 else 'it counts'} as failed for {names}"
        )
    if lost:
        kinds = " and ".join(dict.fromkeys(lost))
        told.append(
            f"{_counted(len(lost))} never trained ({kinds} before their "
            f"data were read): {'they count' if len(lost) > 1 else 'it counts'} for no model"
        )
    return told


def _warnings(
    task_of: dict[int, TaskFacts],
    learners: Learners,
    options: Options,
    repeats: int,
) -> list[str]:
    told = []
    if learners.num_without_config:
        told.append(
            f"{_runs(learners.num_without_config)} recorded without a config: the arm is taken as "
            "the model, nothing as tuned, and seeds as splits"
        )
    if repeats:
        told.append(f"{_runs(repeats)} a repetition of another (all but the folder is the same)")
    known = {key for setting in learners.settings.values() for key in setting}
    for key in options.tuned:
        has_configs = learners.num_without_config < len(task_of)
        if has_configs and not any(k == key or k.startswith(f"{key}.") for k in known):
            told.append(f"nothing is tuned by {key}, which no run has{did_you_mean(key, known)}")
    return told


def _counted(number: int) -> str:
    return f"{number:,} run{'' if number == 1 else 's'}"


def _runs(number: int) -> str:
    return f"{number:,} run{' is' if number == 1 else 's are'}"
