"""What a reader must know beside the numbers: edges of ranges, budgets, splits that lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nnexp.comparison.config_keys import canonical, order, short_names, shown
from nnexp.comparison.entries import Entry, Tried
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import Estimate, Task, TriedSetting


def tried_settings(entry: Entry, estimate: Any) -> tuple[TriedSetting, ...]:
    """Every setting over all splits, in order of its values.

    Args:
        estimate: from accuracies, one a split, to an Estimate or None.
    """
    groups: dict[str, list[Tried]] = {}
    for outcome in entry.outcomes:
        for tried in outcome.tried:
            groups.setdefault(canonical(tried.setting), []).append(tried)
    chosen = Counter(canonical(c.setting) for c in entry.choices if not c.failed)
    found = []
    for key, members in groups.items():
        accs = [tried.val_acc for tried in members if tried.val_acc is not None]
        val_acc: Estimate | None = estimate(accs)
        found.append(
            TriedSetting(
                setting=members[0].setting,
                num_runs=sum(tried.num_runs for tried in members),
                num_failed=sum(tried.num_failed for tried in members),
                val_acc=val_acc,
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
