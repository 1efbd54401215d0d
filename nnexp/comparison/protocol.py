"""How the numbers came about, in lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from nnexp.comparison.entries import Entry
from nnexp.comparison.options import Options
from nnexp.comparison.records import RunRecord
from nnexp.comparison.remarks import num_settings
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import Protocol


def protocol(
    records: Sequence[RunRecord],
    tasks: Sequence[TaskFacts],
    entries: Sequence[Entry],
    options: Options,
) -> Protocol:
    """Rows, splits, choice, budgets, seeds, intervals, versions and machine."""
    lines = [("runs", _runs(records))]
    for facts in tasks:
        task = facts.task
        lines.append(
            (
                f"samples of {task.name}",
                f"{task.num_train:,} training, {task.num_val:,} validation and {task.num_test:,} "
                f"test samples; {_counted(task.num_features, 'feature')}, "
                f"{_counted(task.num_classes, 'class', 'classes')}; {_splits(facts)}",
            )
        )
    tuned = ", ".join(options.tuned) or "nothing"
    lines += [
        (
            "model selection",
            "on each split, hyperparameters are selected on the validation set by accuracy (tuned: "
            f"{tuned}; baselines: their own grids); test sets are read for the selected runs only; "
            "a configuration with a failed run ranks below all without; where nothing else is "
            "left, a failed run counts as guessing",
        ),
        ("configurations tried", _budgets(tasks, entries)),
        (
            "intervals",
            "95 %: where splits are drawn anew, t over splits with Nadeau and Bengio's correction "
            "for samples that splits share; where the test set is fixed, t over seeds with the "
            "variance over test samples added (Owen); between baselines that were fitted once on "
            "this training set, over test samples alone",
        ),
        (
            "verdicts",
            "better or worse: the interval excludes 0 and p < .05 after Holm's correction over the "
            "models of a task; equivalent: the interval lies within "
            f"±{100 * options.equivalence:g} pp; inconclusive: neither; better in: number of "
            "pairs, ties counted half (Bouthillier et al. 2021)",
        ),
        ("seeds", _numbers(record.result.seed for record in records)),
        ("versions", _versions(records)),
        ("machine", _machine(records)),
        ("times", _times(records)),
    ]
    return Protocol(lines=tuple(lines))


def _runs(records: Sequence[RunRecord]) -> str:
    counts = Counter(record.result.status for record in records)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    return f"{len(records):,}: {told}" if records else "none"


def _splits(facts: TaskFacts) -> str:
    num = len(facts.task.splits)
    if not facts.task.same_test_rows:
        return f"{_counted(num, 'split')} drawn anew, stratified"
    if facts.task.unit == "seed" or num == 1:
        return f"one split, {_counted(num, 'seed')}"
    return f"the same test set for {_counted(num, 'draw')} of training and validation sets"


def _budgets(tasks: Sequence[TaskFacts], entries: Sequence[Entry]) -> str:
    """By learner, and by task where tasks differ."""
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        if entry.outcomes:
            counts.setdefault(entry.learner, {})[entry.task] = num_settings(entry)
    told = []
    for learner, by_task in counts.items():
        if len(set(by_task.values())) == 1:
            told.append(f"{learner} {next(iter(by_task.values()))}")
        else:
            told.append(f"{learner} " + ", ".join(f"{n} on {task}" for task, n in by_task.items()))
    return "; ".join(told) or "none"


def _versions(records: Iterable[RunRecord]) -> str:
    seen: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.result.versions.items():
            seen.setdefault(package, set()).add(version)
    return ", ".join(f"{package} {' and '.join(sorted(v))}" for package, v in seen.items())


def _machine(records: Iterable[RunRecord]) -> str:
    counts = Counter(
        f"{record.result.device}, {_counted(record.result.threads or 1, 'thread')}"
        + (f", matrix products by {record.result.matmul}" if record.result.matmul else "")
        for record in records
        if record.result.device is not None
    )
    return "; ".join(f"{told} ({_counted(n, 'run')})" for told, n in counts.most_common())


def _times(records: Sequence[RunRecord]) -> str:
    sizes = [record.result.group_size for record in records]
    if not sizes or max(sizes) == 1:
        return "each run was trained solo"
    return (
        f"runs were trained in batches of {min(sizes)} to {max(sizes)}: each counts an equal "
        "fraction of the time, in training as in tuning; a solo run would take longer"
    )


def _numbers(values: Iterable[int]) -> str:
    """``0 to 9`` or ``0, 3, 7``."""
    seen = sorted(set(values))
    if len(seen) > 2 and seen[-1] - seen[0] == len(seen) - 1:
        return f"{seen[0]} to {seen[-1]}"
    more = f" and {len(seen) - 20} more" if len(seen) > 20 else ""
    return ", ".join(map(str, seen[:20])) + more


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
