"""What a reader must know beside the numbers: edges of ranges, budgets, splits that lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nnexp.analysis.measure import Measure
from nnexp.analysis.names import canonical, order, short_names, shown
from nnexp.analysis.records import Entry, RunRecord, TaskFacts, Tried
from nnexp.analysis.types import Estimate, Task, TriedSetting


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
        told += f"; {base.learner}: {counted(num_settings(base), 'configuration')}"
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
            where = f"{len(failed)} of {counted(total, unit)}"
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


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 run``, ``1,000 runs``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
