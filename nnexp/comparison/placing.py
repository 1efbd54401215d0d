"""From records of runs to learners on tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nnexp.comparison.baselines import baseline_entry
from nnexp.comparison.config_keys import SEPARATOR, canonical
from nnexp.comparison.entries import Entry
from nnexp.comparison.learners import Learners, find_learners
from nnexp.comparison.options import Options
from nnexp.comparison.records import RunRecord
from nnexp.comparison.selection import PlacedRun, network_entry
from nnexp.comparison.tasks import TaskFacts, find_tasks
from nnexp.comparison.types import FailedRun
from nnexp.errors import did_you_mean
from nnexp.results.record import precedence


@dataclass(frozen=True, kw_only=True)
class Placed:
    """All learners on all tasks."""

    tasks: tuple[TaskFacts, ...]
    learners: tuple[str, ...]  # networks first
    entries: tuple[Entry, ...]  # by task, networks first
    failed: tuple[FailedRun, ...]
    warnings: tuple[str, ...]

    def on(self, task: str) -> list[Entry]:
        """The learners of one task."""
        return [entry for entry in self.entries if entry.task == task]


def place(records: Sequence[RunRecord], options: Options) -> Placed:
    """Runs by learner, task and split; settings chosen.

    Of runs that repeat one another in all (learner, setting, data, split and seed) one counts: see
    ``precedence``.
    """
    tasks = find_tasks(records)
    task_of = {i: facts for facts in tasks for i in facts.splits}
    placed = sorted(task_of)
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
        for learner in learners.network_names:
            mine = runs.get((facts.task.name, learner))
            if mine and (facts.task.name, learner) not in idle:
                own = [_placed_run(i, records, facts, learners) for i in mine]
                entry = network_entry(learner, facts, own)
                entries.append(_with_refused(entry, len(refused.get((entry.task, learner), ()))))
        for learner in learners.baseline_names:
            mine = told.get((facts.task.name, learner))
            if mine:
                pairs = [(facts.splits[i], records[i]) for i in mine]
                entries.append(baseline_entry(learner, baseline_keys[learner], facts, pairs))
    compared = {entry.learner for entry in entries}
    return Placed(
        tasks=tuple(tasks),
        learners=tuple(
            name for name in (*learners.network_names, *learners.baseline_names) if name in compared
        ),
        entries=tuple(entries),
        failed=_failed(records, task_of),
        warnings=(
            *_idle(records, idle),
            *_never_trained(records, task_of, refused),
            *_warnings(task_of, learners, options, len(placed) - len(counted)),
        ),
    )


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
    i: int, records: Sequence[RunRecord], facts: TaskFacts, learners: Learners
) -> PlacedRun:
    return PlacedRun(records[i], facts.splits[i], facts.draws[i], learners.settings[i])


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
    """What ran out of memory, or cannot be computed here, has shown nothing: it did not guess."""
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
