"""How the numbers came about, and what a reader must know beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nnexp.analysis.jackknife import NUM_GROUPS
from nnexp.analysis.measure import RELATIVE_MARGIN, Measure
from nnexp.analysis.names import canonical, order, short_names, shown
from nnexp.analysis.records import Entry, RunRecord, TaskFacts, Tried
from nnexp.analysis.types import Estimate, Options, Protocol, Task, TriedSetting
from nnexp.config.schema import SELECTIONS
from nnexp.runs.record import with_selection

# --------------------------------------------------------------------------------------------------
# What a reader must know beside the numbers: edges of ranges, budgets, splits that lack.
# --------------------------------------------------------------------------------------------------


def tried_settings(entry: Entry, estimate: Any) -> tuple[TriedSetting, ...]:
    """Every setting over all splits, in order of its values.

    Args:
        estimate: from scores, one a split, to an Estimate or None.
    """
    groups: dict[str, list[Tried]] = {}
    for outcome in entry.outcomes:
        for tried in outcome.tried:
            groups.setdefault(canonical(tried.setting), []).append(tried)
    chosen = Counter(canonical(c.setting) for c in entry.choices if not c.failed)
    found = []
    for key, members in groups.items():
        accs = [tried.val_score for tried in members if tried.val_score is not None]
        val_score: Estimate | None = estimate(accs)
        found.append(
            TriedSetting(
                setting=members[0].setting,
                num_runs=sum(tried.num_runs for tried in members),
                num_failed=sum(tried.num_failed for tried in members),
                val_score=val_score,
                times_chosen=chosen[key],
            )
        )
    return tuple(sorted(found, key=lambda t: order(t.setting)))


def edges(entry: Entry, tried: Sequence[TriedSetting], task: Task) -> tuple[str, ...]:
    """Numeric keys of which an end of the range was chosen on more than half of the splits.

    Where one split stays, there is one choice for all seeds. Ends that no range could go beyond (0,
    and 1 of whole numbers) are no edges.
    """
    told = []
    choices = [choice for choice in entry.choices if not choice.failed]
    keys = sorted({key for setting in tried for key in setting.setting})
    names = short_names(keys)
    for key in keys:
        values = sorted(
            {s.setting[key] for s in tried if key in s.setting and _is_number(s.setting[key])}
        )
        if len(values) < 2:
            continue
        for end in (values[-1], values[0]):
            smallest = end == values[0]
            if smallest and (end == 0 or (end == 1 and isinstance(end, int))):
                continue
            times = sum(choice.setting.get(key) == end for choice in choices)
            if 2 * times > len(choices):
                often = f", in {times} of {len(choices)} splits" if task.unit == "split" else ""
                told.append(
                    f"The best {names[key]} is at the edge of the grid ({shown(end)}{often}): "
                    "widen the range"
                )
    return tuple(told)


def budgets(tasks: Sequence[TaskFacts], entries: Sequence[Entry]) -> list[str]:
    """A remark for every group of tasks on which models tried different numbers of
    configurations."""
    texts: dict[str, list[str]] = {}
    for facts in tasks:
        mine = [
            entry
            for entry in entries
            if entry.task == facts.task.name and entry.outcomes and entry.baseline != "majority"
        ]
        counts = {entry.learner: num_settings(entry) for entry in mine}
        if len(set(counts.values())) > 1:
            networks = [entry.learner for entry in mine if entry.is_network]
            if len(networks) > 1 and len({counts[name] for name in networks}) == 1:
                each = counts[networks[0]]
                counts = {
                    "networks": each,
                    **{n: c for n, c in counts.items() if n not in networks},
                }
            by_count: dict[int, list[str]] = {}
            for learner, count in counts.items():
                by_count.setdefault(count, []).append(learner)
            (most, names), *fewer = sorted(by_count.items(), reverse=True)
            unit = "configuration" if most == 1 else "configurations"
            told = ", ".join(
                [
                    f"{listed(names)} {most} {unit}",
                    *(f"{listed(names)} {count}" for count, names in fewer),
                ]
            )
            texts.setdefault(told, []).append(facts.task.name)
    return [f"Unequal tuning budgets on {listed(names)}: {told}" for told, names in texts.items()]


def recipe(networks: Sequence[Entry], base: Entry | None) -> str:
    """How the networks of a task were trained and tuned, and how much the reference was:
    ``(networks: 50 epochs, lr tuned over 3 values; KNN: 24 configurations)``.

    Epochs are those of the config, which early stopping may have cut short.
    """
    records = [r for entry in networks for outcome in entry.outcomes for r in outcome.records]
    epochs = _range({_epochs_asked(record) for record in records})
    parts = [f"{epochs} epoch{'' if epochs == '1' else 's'}"] if epochs else []
    tried = [t.setting for e in networks for outcome in e.outcomes for t in outcome.tried]
    values: dict[str, set[str]] = {}
    for setting in tried:
        for key, value in setting.items():
            values.setdefault(key, set()).add(canonical({"": value}))
    keys = sorted(key for key, seen in values.items() if len(seen) > 1)
    counts = {num_settings(entry) for entry in networks}
    if keys and max(counts, default=1) > 1:
        names = short_names(keys)
        unit = "values" if len(keys) == 1 else "configurations"
        told = f"{listed([names[key] for key in keys])} tuned over {_range(counts)} {unit}"
        parts.append(told)
    else:
        parts.append("nothing tuned")
    told = f"network{'' if len(networks) == 1 else 's'}: {', '.join(parts)}"
    if base is not None and not base.is_network and base.baseline != "majority":
        told += f"; {base.learner}: {_counted(num_settings(base), 'configuration')}"
    return f"({told})"


def _epochs_asked(record: RunRecord) -> int:
    trainer = record.result.config.get("trainer")
    asked = trainer.get("epochs") if isinstance(trainer, dict) else None
    return asked if isinstance(asked, int) else record.result.epochs


def _range(numbers: Iterable[int]) -> str:
    """``3``, or ``3 to 12``; nothing of none."""
    ordered = sorted(numbers)
    ends = dict.fromkeys(f"{number:,}" for number in (*ordered[:1], *ordered[-1:]))
    return " to ".join(ends)


def listed(names: Sequence[str]) -> str:
    """``KNN, SVM and boosting``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def num_settings(entry: Entry) -> int:
    """Different settings tried, on any split."""
    return len({canonical(t.setting) for outcome in entry.outcomes for t in outcome.tried})


def missing_splits(tasks: Sequence[TaskFacts], entries: Sequence[Entry]) -> list[str]:
    """A warning of the models that lack as many splits of a task, for the same reason."""
    lines: dict[tuple[str, str], list[str]] = {}
    for facts in tasks:
        total = len(facts.task.splits)
        for entry in entries:
            lacking = 0 if entry.one_fit else total - len(entry.outcomes)
            if entry.task == facts.task.name and entry.outcomes and lacking:
                stopped = bool(entry.num_failed.get("interrupted"))
                why = "not run to completion" if stopped else "no run"
                where = f"{lacking} of {total} {facts.task.unit}s of {entry.task}"
                lines.setdefault((why, where), []).append(entry.learner)
    told = []
    for (why, where), names in lines.items():
        verb = "was" if why.startswith("not") else "has"
        if len(names) > 1:
            verb = "were" if verb == "was" else "have"
        them = "it is" if len(names) == 1 else "they are"
        each = "it has" if len(names) == 1 else "they have"
        told.append(
            f"{', '.join(names)} {verb} {why} on {where}: {them} compared on the ones that {each}, "
            "and ranked below the others"
        )
    return told


def failed_splits(
    tasks: Sequence[TaskFacts], entries: Sequence[Entry], measure: Measure
) -> list[str]:
    """A warning for each model that failed on a split, and as what it counts there."""
    told = []
    for facts in tasks:
        for entry in entries:
            failed = [outcome for outcome in entry.outcomes if outcome.num_failed]
            if entry.task != facts.task.name or not failed:
                continue
            total, unit = len(entry.outcomes), "fit" if entry.one_fit else facts.task.unit
            where = f"{len(failed)} of {_counted(total, unit)}"
            scores = {measure.value(outcome.choice.test_score) for outcome in failed}
            kinds = {outcome.counted_as for outcome in failed}
            as_what = "the majority class"
            if "worst" in kinds:
                as_what = f"the worst {measure.label} that any model has there"
            elif "equally frequent" in kinds:
                as_what += ", taken as one of equally frequent ones, as no run records frequencies"
            partly = [outcome for outcome in failed if not outcome.choice.failed]
            told.append(
                f"{entry.learner} on {entry.task}: failed on {where}"
                + (", on some of them only in part" if partly else "")
                + f"; what failed counts as {as_what}"
                + (f" ({', '.join(sorted(scores))})" if len(scores) == 1 and not partly else "")
            )
    return told


def selected_by_accuracy(entries: Sequence[Entry], measure: Measure) -> list[str]:
    """A warning of baselines that select among their settings by accuracy, where networks do not:
    they may be better than they look."""
    names = dict.fromkeys(
        entry.learner
        for entry in entries
        if not measure.is_accuracy and not entry.is_network and _lacks_scores(entry)
    )
    if not names:
        return []
    verb = "selects its" if len(names) == 1 else "select their"
    return [
        f"{listed(list(names))} {verb} hyperparameters by validation accuracy, networks by "
        f"{measure.label}"
    ]


def _lacks_scores(entry: Entry) -> bool:
    """Whether settings were tried of which accuracy alone is recorded."""
    tried = [one for outcome in entry.outcomes for one in outcome.tried]
    return any(one.val_score is None and not one.num_failed for one in tried)


def single_splits(tasks: Iterable[TaskFacts]) -> list[str]:
    """A warning of tasks with one split: nothing can be said of chance."""
    names = [facts.task.name for facts in tasks if len(facts.task.splits) == 1]
    if not names:
        return []
    return [
        f"Only one split of {', '.join(names)}: no interval and no verdict; run more seeds "
        "('seed=range(10)')"
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --------------------------------------------------------------------------------------------------
# How the numbers came about, in lines.
# --------------------------------------------------------------------------------------------------


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
                f"test samples; {_counted(task.num_features, 'feature')}, "
                f"{_counted(task.num_classes, 'class', 'classes')}; {_splits(facts)}",
            )
        )
    tuned = ", ".join(options.tuned) or "nothing"
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
            "for samples that splits share, so that they hold for other samples of the kind, in "
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
        f"{_chosen_epoch(select)} (select={select}, {_counted(count, 'run')})"
        for select, count in sorted(counts.items())
    ]
    if len(counts) == 1:
        told = [_chosen_epoch(select) for select in counts]
    ties = "" if list(counts) == ["last"] else "; of equally good epochs the last"
    return f"a run is validated and tested with the weights of {' or '.join(told)}{ties}"


def _chosen_epoch(select: str) -> str:
    """Of a rule that a later version recorded only the name is known."""
    return SELECTIONS[select].epoch if select in SELECTIONS else "another epoch"


def _selection(record: RunRecord) -> str:
    """Results without a config are by versions that had no other rule than loss."""
    trainer = with_selection(record.result.config).get("trainer") or {}
    return str(trainer.get("select", "loss"))


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
