"""How the numbers came about, in lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from nnexp.analysis.jackknife import NUM_GROUPS
from nnexp.analysis.measure import RELATIVE_MARGIN, Measure
from nnexp.analysis.records import Entry, RunRecord, TaskFacts
from nnexp.analysis.remarks import counted, num_settings, selected_by_accuracy
from nnexp.analysis.types import Options, Protocol, Task
from nnexp.config.selections import recorded_selection
from nnexp.runs.record import with_selection

_BEST_NETWORK = (
    "on each split the network with the best validation {metric} there (ties: the lower validation "
    "loss, then the first name), each with its selected hyperparameters: what selecting among "
    "these networks gives, at the cost of training all. Its difference to the reference is the "
    "headline: one planned comparison, not corrected for the comparisons of single models. It is "
    "no further network: ranks, tests over data sets and the networks against each other leave it "
    "out"
)
_FIXED_TEST_SET = "t over seeds with the variance over test samples added (Owen)"
_IN_GROUPS = (
    "t over seeds with the variance over test samples added (Owen), which a delete-a-group "
    "jackknife over up to {groups} groups of them estimates"
)


def protocol(
    records: Sequence[RunRecord],
    tasks: Sequence[TaskFacts],
    entries: Sequence[Entry],
    options: Options,
    *,
    selects: bool,
) -> Protocol:
    """Rows, splits, choice, budgets, seeds, intervals, versions and machine.

    Args:
        selects: there is a learner that selects a network on each split.
    """
    lines = [("runs", _runs(records))]
    for facts in tasks:
        task = facts.task
        lines.append(
            (
                f"samples of {task.name}",
                f"{task.num_train:,} training, {task.num_val:,} validation and {task.num_test:,} "
                f"test samples; {counted(task.num_features, 'feature')}{_classes(task)}; "
                f"{_splits(facts)}",
            )
        )
    tuned = ", ".join(options.tuned) or "nothing"
    if not any(facts.task.num_val for facts in tasks):
        tuned = "nothing, for there are no validation samples"
    measure = options.measure
    fixed = _FIXED_TEST_SET if measure.is_accuracy else _IN_GROUPS.format(groups=NUM_GROUPS)
    lines += [
        *([] if measure.is_accuracy else [("primary metric", _metric(measure))]),
        (
            "model selection",
            "on each split, hyperparameters are selected on the validation set by "
            f"{measure.label} (tuned: {tuned}; baselines: {_grids(entries, measure)}); every run "
            "leaves its test metrics in its own "
            "folder, here are those of the selected runs only; "
            "a configuration with a failed run ranks below all without; where nothing else is "
            f"left, and where a baseline fails, the model scores {_failures(entries, measure)}",
        ),
        ("epoch of a run", _epochs(records)),
        *([("best network", _BEST_NETWORK.format(metric=measure.label))] if selects else []),
        ("configurations tried", _budgets(tasks, entries)),
        (
            "intervals",
            "95 %: where splits are drawn anew, t over splits with Nadeau and Bengio's correction "
            "for samples that splits share (of K folds n_test / n_other is 1 / (K - 1): Bouckaert "
            "and Frank 2004), so that they hold for other samples of the kind, in "
            f"training and in testing; where the test set is fixed, {fixed}, which holds for other "
            "test samples and other seeds, but for this training set alone; between baselines that "
            "were fitted once on this training set, over test samples alone",
        ),
        (
            "verdicts",
            "better or worse: the interval excludes 0 and p < .05 after Holm's correction over the "
            "models of a task taken one by one; equivalent: the interval lies within "
            f"{_margin(options)}; inconclusive: neither, with the smallest difference that would "
            "have been found with 80 % power, given the spread seen (Bloom 1995); better in: how "
            "many of "
            "these pairs, ties counted half; a count and not a probability: pairs share samples, "
            "so a binomial interval would not hold (Bengio and Grandvalet 2004)",
        ),
        *([("guessing", _GUESSING)] if measure.is_accuracy else []),
        ("seeds", _numbers(record.result.seed for record in records)),
        ("versions", _versions(records)),
        ("machine", _machine(records)),
        ("times", _times(records)),
    ]
    return Protocol(lines=tuple(lines))


_GUESSING = (
    "the most frequent class; that no model is shown to beat it is said unless one does after "
    "Holm's correction over the models, by the paired test or by the number of test samples "
    "classified correctly"
)


def _metric(measure: Measure) -> str:
    """What scores are, which way is better, and from where to where they go."""
    low, high = (f"{end:g}" if math.isfinite(end) else None for end in measure.bounds)
    way = "higher" if measure.greater_is_better else "lower"
    within = ""
    if low is not None and high is not None:
        within = f", from {low} to {high}"
    elif low is not None or high is not None:
        within = f", at least {low}" if high is None else f", at most {high}"
    shown = ", shown in per cent" if measure.is_share else ""
    return f"{measure.label} ({way} is better{within}{shown}): it selects, and it is compared"


def _grids(entries: Sequence[Entry], measure: Measure) -> str:
    """Baselines select among their settings by what they record of each."""
    by_accuracy = selected_by_accuracy(entries, measure)
    return "their own grids" + (", by accuracy" if by_accuracy else "")


def _failures(entries: Sequence[Entry], measure: Measure) -> str:
    worst = any(outcome.counted_as == "worst" for e in entries for outcome in e.outcomes)
    if worst:
        return (
            f"the worst {measure.label} of those that were completed, as it cannot be computed of "
            "class frequencies"
        )
    return "what the majority class does"


def _margin(options: Options) -> str:
    measure = options.measure
    if options.relative_equivalence is None:
        return measure.margin(options.equivalence * measure.span)
    share = 100 * options.relative_equivalence
    told = f"{share:g} % of the reference's mean {measure.error_name} on the task, either way"
    if not measure.is_bounded and options.relative_equivalence == RELATIVE_MARGIN:
        told += f" (the default for {measure.label}, which has no bounds)"
    return told


def _runs(records: Sequence[RunRecord]) -> str:
    counts = Counter(record.result.status for record in records)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    return f"{len(records):,}: {told}" if records else "none"


def _epochs(records: Sequence[RunRecord]) -> str:
    """Which epoch of each run is kept, by ``trainer.select`` where runs differ in it."""
    counts = Counter(_selection(record) for record in records if record.result.epochs)
    if not counts:
        return "none"
    told = [
        f"{_chosen_epoch(select)} (select={select}, {counted(count, 'run')})"
        for select, count in sorted(counts.items())
    ]
    if len(counts) == 1:
        told = [_chosen_epoch(select) for select in counts]
    ties = "" if list(counts) == ["last"] else "; of equally good epochs the last"
    return f"a run is validated and tested with the weights of {' or '.join(told)}{ties}"


def _chosen_epoch(select: str) -> str:
    """Of a rule that a later version recorded only the name is known."""
    rule = recorded_selection(select)
    return "another epoch" if rule is None else rule.epoch


def _selection(record: RunRecord) -> str:
    """Results without a config are by versions that had no other rule than loss."""
    trainer = with_selection(record.result.config).get("trainer") or {}
    return str(trainer.get("select", "loss"))


def _classes(task: Task) -> str:
    """Nothing of a target that is a number."""
    return f", {counted(task.num_classes, 'class', 'classes')}" if task.num_classes > 1 else ""


def _splits(facts: TaskFacts) -> str:
    num = len(facts.task.splits)
    if facts.are_folds and not facts.task.same_test_rows:
        return f"{counted(num, 'split')}, each a fold of K-fold cross-validation"
    if not facts.task.same_test_rows:
        return f"{counted(num, 'split')} drawn anew, stratified"
    if facts.task.unit == "seed" or num == 1:
        return f"one split, {counted(num, 'seed')}"
    return f"the same test set for {counted(num, 'draw')} of training and validation sets"


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
        f"{record.result.device}, {counted(record.result.threads or 1, 'thread')}"
        + (f", matrix products by {record.result.matmul}" if record.result.matmul else "")
        for record in records
        if record.result.device is not None
    )
    return "; ".join(f"{told} ({counted(n, 'run')})" for told, n in counts.most_common())


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
