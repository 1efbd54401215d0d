"""The main table, and all splits as dots."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.types import Interval, LearnerOnTask, Task
from nnexp.report.blocks import Block, Cell, Column, Folded, Gallery, Section, Table, Text
from nnexp.report.figures.dots import Row, draw_dots
from nnexp.report.numbers import (
    count,
    counted,
    percent,
    percent_interval,
    points,
    points_interval,
    probability,
    setting,
)
from nnexp.report.sections.view import VERDICT_SIGNS, View, columns

_DOT_ROWS = 40  # learners in one figure of dots


def main_table(view: View) -> Section | None:
    """Learner by task: accuracy, difference, runs, settings."""
    if not view.comparison.results:
        return None
    blocks: list[Block] = []
    if len(view.tasks) > 1:
        blocks.append(_overview(view))
    blocks += view.each_task(lambda task: [Text(about(task)), _table(view, task)])
    for task in view.smaller_tasks:
        if view.results(task):
            table: list[Block] = [Text(about(task)), _table(view, task)]
            blocks.append(Folded(summary=task.name, blocks=table))
    intro = (
        "Mean over the splits with its 95 % interval. Each learner's setting was chosen on the "
        "validation rows of the split; the test rows were read for the chosen ones only."
    )
    if any(result.difference for result in view.comparison.results):
        intro += (
            f" Differences to {view.reference} are paired: both learners saw the same rows. "
            "P(better) is the share of splits on which the learner was better, ties counted half."
        )
    if any(sum(result.num_failed.values()) for result in view.comparison.results):
        intro += " A failed run counts against its learner; where nothing was left, it guesses."
    blocks += [Text(text) for text in _methods(view)]
    return Section(id="results", title="Test accuracy", intro=intro, blocks=blocks)


def about(task: Task) -> str:
    """A task in a line: rows, features, classes, splits."""
    parts = [
        f"{count(task.num_train)} rows to train, {count(task.num_val)} to validate, "
        f"{count(task.num_test)} to test",
        counted(task.num_features, "feature"),
        counted(task.num_classes, "class", "classes"),
        counted(len(task.splits), "split")
        + (" with the same test rows" if task.same_test_rows and len(task.splits) > 1 else ""),
    ]
    return " · ".join(parts)


def _overview(view: View) -> Table:
    by_learner = {(r.learner, r.task): r for r in view.comparison.results}
    rows = []
    for learner in view.looks.networks + view.looks.baselines:
        row = [view.head(learner)]
        for task in view.tasks:
            result = by_learner.get((learner, task.name))
            row.append(_accuracy(result, with_verdict=True) if result else Cell("–", tone="quiet"))
        rows.append(row)
    signs = ", ".join(f"{VERDICT_SIGNS[kind][0]} {kind}" for kind in _kinds(view))
    caption = "Mean test accuracy, %" + (f"; against {view.reference}: {signs}" if signs else "")
    heads = columns("learner", *(task.name for task in view.tasks))
    return Table(caption=caption, columns=heads, rows=rows)


def _kinds(view: View) -> list[str]:
    seen = {r.verdict.kind for r in view.comparison.results if r.verdict}
    return [kind for kind in VERDICT_SIGNS if kind in seen]


def _accuracy(result: LearnerOnTask, *, with_verdict: bool = False) -> Cell:
    if result.test_acc is None:
        return Cell("–", tone="quiet")
    text = percent(result.test_acc.mean)
    if with_verdict:
        if result.verdict is None:
            return Cell(text)
        sign, tone = VERDICT_SIGNS[result.verdict.kind]
        return Cell(f"{text} {sign}", tone=tone)
    return Cell(text, percent_interval(result.test_acc.interval))


def _table(view: View, task: Task) -> Table:
    results = view.results(task)
    compared = any(r.difference for r in results)
    tuned = any(r.num_settings > 1 or r.choices for r in results)
    heads = [
        Column("learner", is_number=False),
        Column("test accuracy,\N{NO-BREAK SPACE}%", "[95 %]"),
    ]
    if compared:
        heads += [
            Column(f"difference to {view.reference}", "points [95 %]"),
            Column("P(better)", "pairs"),
            Column("p", "Holm"),
            Column("verdict", is_number=False),
        ]
    heads += [Column("runs", "failed")]
    if tuned:
        heads += [Column("settings", "tried"), Column("setting chosen", is_number=False)]
    rows = []
    for result in results:
        row = [view.head(result.learner, " · ".join(result.notes)), _accuracy(result)]
        row += _compared(view, result) if compared else []
        row.append(_runs(result))
        row += [Cell(count(result.num_settings)), _chosen(result, task)] if tuned else []
        rows.append(row)
    return Table(caption=f"Test accuracy on {task.name}", columns=heads, rows=rows)


def _compared(view: View, result: LearnerOnTask) -> list[Cell]:
    difference, verdict = result.difference, result.verdict
    if difference is None:
        text = "reference" if result.learner == view.comparison.reference else "–"
        return [Cell(text, tone="quiet"), *[Cell("–", tone="quiet")] * 3]
    sign, tone = VERDICT_SIGNS[verdict.kind] if verdict else ("–", "quiet")
    return [
        Cell(points(difference.mean), points_interval(difference.interval), tone),
        Cell(f"{difference.p_better:.2f}", count(difference.num_pairs)),
        Cell(probability(difference.p_adjusted)),
        Cell(_told(sign, verdict.kind) if verdict else sign, tone=tone),
    ]


def _told(sign: str, kind: str) -> str:
    """In one line where it is short."""
    return f"{sign} {kind}".replace(" ", "\N{NO-BREAK SPACE}", 1 if len(kind) > 12 else -1)


def _runs(result: LearnerOnTask) -> Cell:
    failed = [f"{number} {status}" for status, number in result.num_failed.items() if number]
    if not result.is_network:
        return Cell("–", tone="quiet")
    return Cell(count(result.num_runs), ", ".join(failed), "warn" if failed else "")


def _chosen(result: LearnerOnTask, task: Task) -> Cell:
    chosen = sorted((t for t in result.tried if t.times_chosen), key=lambda t: -t.times_chosen)
    flags = [f"⚠ {edge}" for edge in result.edges]
    if not chosen or not any(t.setting for t in chosen):
        return Cell("–" if not flags else "", " · ".join(flags), "warn" if flags else "quiet")
    first, rest = chosen[0], len(chosen) - 1
    notes = []
    if len(task.splits) > 1:
        often = f"on {first.times_chosen} of {len(task.splits)} splits"
        notes = [often + (f", {counted(rest, 'other')} on the rest" if rest else "")]
    text = setting(first.setting)
    return Cell(text, " · ".join(notes + flags), "warn" if flags else "")


def _methods(view: View) -> list[str]:
    """How the intervals were made, once each."""
    methods = dict.fromkeys(r.difference.method for r in view.comparison.results if r.difference)
    return [f"Intervals of differences: {method}." for method in methods if method]


def dots(view: View) -> Section | None:
    """Two figures a task: what each learner reached on each split, and its lead there."""
    blocks = view.drawn(lambda task: _dots(view, task))
    if not blocks:
        return None
    intro = (
        "A dot is one split, the bar the 95 % interval, the large mark the mean: circles for "
        "networks, diamonds for baselines."
    )
    if view.comparison.reference:
        intro += f" The dashed line is {view.reference}."
    return Section(
        id="dots",
        title="All splits",
        intro=" ".join([intro, view.drawn_note()]).strip(),
        blocks=blocks,
    )


def _dots(view: View, task: Task) -> Sequence[Block]:
    results = [r for r in view.results(task) if r.test_acc is not None][:_DOT_ROWS]
    if not results:
        return []
    reference = next((r for r in results if r.learner == view.comparison.reference), None)
    accuracy = [_row(view, r) for r in results]
    at = accuracy[results.index(reference)].mean if reference else None
    drawings = [
        draw_dots(
            view.file_name("accuracy", task.name),
            f"Test accuracy on {task.name}",
            accuracy,
            axis="test accuracy, %",
            at=at,
            label=f"Test accuracy of {counted(len(results), 'learner')} on {task.name}: a dot a "
            "split, with means and intervals. The same numbers are in the table of test accuracy.",
        )
    ]
    leads = [_lead(view, r, reference) for r in results if reference]
    if len(leads) > 1:
        drawings.append(
            draw_dots(
                view.file_name("difference", task.name),
                f"Difference to {view.reference} on {task.name}",
                leads,
                axis=f"difference to {view.reference}, points",
                at=0.0,
                label=f"Differences in test accuracy to {view.reference} on {task.name}, split by "
                "split, with means and intervals. The same numbers are in the table.",
            )
        )
    left_out = len([r for r in view.results(task) if r.test_acc]) - len(results)
    note = f"{left_out} more learners are in the table." if left_out else ""
    return [Gallery(drawings=drawings, note=note)]


def _row(view: View, result: LearnerOnTask) -> Row:
    accuracy = result.test_acc
    assert accuracy is not None  # _dots keeps those that have one
    return Row(
        learner=result.learner,
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=100 * accuracy.mean,
        interval=_times_100(accuracy.interval),
        values=tuple(100 * v for v in accuracy.values),
    )


def _lead(view: View, result: LearnerOnTask, reference: LearnerOnTask) -> Row:
    """The reference leads itself by nothing: its row keeps the two figures in step."""
    own, its, difference = result.test_acc, reference.test_acc, result.difference
    assert own is not None  # _dots keeps those that have one
    assert its is not None
    by_split = _by_split(reference)
    pairs = [] if result is reference else [
        (value, by_split[split]) for split, value in _by_split(result).items() if split in by_split
    ]  # fmt: skip
    return Row(
        learner=result.learner,
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=100 * (difference.mean if difference else own.mean - its.mean),
        interval=_times_100(difference.interval) if difference else None,
        values=tuple(100 * (a - b) for a, b in pairs),
    )


def _by_split(result: LearnerOnTask) -> dict[str, float]:
    """Test accuracies by split."""
    return {choice.split: choice.test_acc for choice in result.choices}


def _times_100(interval: Interval | None) -> Interval | None:
    return interval and Interval(low=100 * interval.low, high=100 * interval.high)
