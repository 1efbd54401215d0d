"""The main table, and all splits as dots."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.learners import splits_in_order
from nnexp.analysis.statistics import POWER
from nnexp.analysis.types import Difference, Interval, LearnerOnTask, Task, Verdict, VerdictKind
from nnexp.report.blocks import (
    Block,
    Cell,
    Column,
    Folded,
    Gallery,
    Section,
    Table,
    Text,
    better_in,
    count,
    counted,
    probability,
    setting,
)
from nnexp.report.figures.dots import Row, draw_dots
from nnexp.report.sections.view import NOT_SIGNIFICANT, VERDICT_SIGNS, View, columns, short_kind

# --------------------------------------------------------------------------------------------------
# The main table.
# --------------------------------------------------------------------------------------------------


def main_table(view: View) -> Section | None:
    """Model by task: score, difference, runs, configurations."""
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
        f"Mean over the {view.units} with its 95 % CI. Hyperparameters were selected on the "
        "validation set of each split; test metrics are those of the selected configurations only."
    )
    if any(result.difference for result in view.comparison.results):
        intro += (
            f" Differences to {view.reference} are paired: both models saw the same samples. "
            f'"Better in" counts the {view.units} in which the model was better, ties counted '
            f"half: a count of these {view.units}, not a probability for others."
        )
        if any(r.difference and r.difference.one_fit for r in view.comparison.results):
            intro += (
                " Where the split is fixed, a baseline is one fit, against every seed of a network."
            )
    if any(result.is_selection for result in view.comparison.results):
        intro += (
            f" The best network per {view.unit} is in turn the network with the best validation "
            f"{view.metric.label} of each {view.unit}: what selecting among these networks gives. "
            "Its one comparison is planned, and p is not adjusted."
        )
    if any(sum(result.num_failed.values()) for result in view.comparison.results):
        intro += (
            f" A failed run counts against its model: as {_failures(view)}, where no configuration "
            "is left."
        )
    if any(splits_in_order(r, task) for task in view.comparison.tasks for r in view.results(task)):
        intro += (
            f" Models that lack {view.units} of a data set are listed below those that have all: "
            f"means over different {view.units} cannot be ranked."
        )
    if any(r.verdict and r.verdict.detectable for r in view.comparison.results):
        intro += (
            " An inconclusive verdict names the smallest difference that would have been found "
            "with 80 % power, given the spread seen."
        )
    if "not significant after correction" in _kinds(view):
        intro += f" {NOT_SIGNIFICANT}"
    intro += view.given_note()
    blocks += [Text(text) for text in _methods(view)]
    return Section(id="results", title=f"Test {view.metric.label}", intro=intro, blocks=blocks)


def _failures(view: View) -> str:
    """What a failure counts as; see the protocol for metrics that have no majority class."""
    return "the majority class" if view.metric.is_accuracy else "the protocol says"


def about(task: Task) -> str:
    """A task in a line: samples, features, classes, splits."""
    parts = [
        f"{count(task.num_train)} training, {count(task.num_val)} validation and "
        f"{count(task.num_test)} test samples",
        counted(task.num_features, "feature"),
        *([counted(task.num_classes, "class", "classes")] if task.num_classes > 1 else []),
        _splits(task),
    ]
    return " · ".join(parts)


def _splits(task: Task) -> str:
    told = counted(len(task.splits), task.unit)
    if len(task.splits) == 1:
        return told
    if task.unit == "seed":
        return f"{told} on one split"
    return f"{told} with the same test set" if task.same_test_rows else told


def _overview(view: View) -> Table:
    by_learner = {(r.learner, r.task): r for r in view.comparison.results}
    rows = []
    for learner in view.looks.selections + view.looks.networks + view.looks.baselines:
        row = [view.head(learner)]
        for task in view.tasks:
            result = by_learner.get((learner, task.name))
            row.append(_with_verdict(view, result, task) if result else Cell("–", tone="quiet"))
        rows.append(row)
    signs = ", ".join(f"{VERDICT_SIGNS[kind][0]} {short_kind(kind)}" for kind in _kinds(view))
    caption = f"Mean {view.axis('test')}" + (
        f"; against {view.reference}: {signs}" if signs else ""
    )
    heads = columns("model", *(task.name for task in view.tasks))
    return Table(caption=caption, columns=heads, rows=rows)


def _kinds(view: View) -> list[VerdictKind]:
    seen = {r.verdict.kind for r in view.comparison.results if r.verdict}
    return [kind for kind in VERDICT_SIGNS if kind in seen]


def _with_verdict(view: View, result: LearnerOnTask, task: Task) -> Cell:
    if result.test_score is None:
        return Cell("–", tone="quiet")
    text, some = view.metric.cell(result.test_score.mean)[0], splits_in_order(result, task)
    if result.verdict is None:
        return Cell(text, some)
    sign, tone = VERDICT_SIGNS[result.verdict.kind]
    return Cell(f"{text} {sign}", some, tone)


def _score(view: View, result: LearnerOnTask) -> Cell:
    if result.test_score is None:
        return Cell("–", tone="quiet")
    return Cell(*view.metric.cell(result.test_score.mean, result.test_score.interval))


def _table(view: View, task: Task) -> Table:
    results = view.results(task)
    compared = any(r.difference for r in results)
    tuned = any(r.num_settings > 1 or r.choices for r in results)
    heads = [
        Column("model", is_number=False),
        Column(view.axis("test").replace(", %", ",\N{NO-BREAK SPACE}%"), "[95 % CI]"),
    ]
    if compared:
        heads += [
            Column(
                f"difference to {view.reference}", f"{view.metric.unit_of_differences} [95 % CI]"
            ),
            Column("better in", "pairs"),
            Column("p", "Holm"),
            Column("verdict", is_number=False),
        ]
    heads += [Column("runs", "failed")]
    if tuned:
        heads += [
            Column("configurations", "tried"),
            Column("selected hyperparameters", is_number=False),
        ]
    rows = []
    for result in results:
        notes = [note for note in (splits_in_order(result, task), *result.notes) if note]
        row = [view.head(result.learner, " · ".join(notes)), _score(view, result)]
        row += _compared(view, result) if compared else []
        row.append(_runs(result))
        row += [_budget(result), _chosen(result, task)] if tuned else []
        rows.append(row)
    return Table(
        caption=f"Test {view.metric.label} on {task.name}{view.given(task)}",
        columns=heads,
        rows=rows,
    )


def _compared(view: View, result: LearnerOnTask) -> list[Cell]:
    difference, verdict = result.difference, result.verdict
    if difference is None:
        text = "reference" if result.learner == view.comparison.reference else "–"
        return [Cell(text, tone="quiet"), *[Cell("–", tone="quiet")] * 3]
    sign, tone = VERDICT_SIGNS[verdict.kind] if verdict else ("–", "quiet")
    return [
        Cell(*view.metric.lead_cell(difference.mean, difference.interval), tone),
        _better_in(difference),
        Cell(probability(difference.p_adjusted)),
        Cell(_told(sign, short_kind(verdict.kind)), _power(view, verdict), tone)
        if verdict
        else Cell(sign, tone=tone),
    ]


def _budget(result: LearnerOnTask) -> Cell:
    """How many configurations were tried, and how long that took a split."""
    spent = result.cost.tune_seconds
    return Cell(count(result.num_settings), "" if spent is None else f"{spent:.2g} s")


def _power(view: View, verdict: Verdict) -> str:
    """Which difference would have been found, where none was."""
    if verdict.detectable is None:
        return ""
    least = view.metric.cell(verdict.detectable)[0] + (" pp" if view.metric.is_share else "")
    return f"{100 * POWER:g} % power at {least}"


def _better_in(difference: Difference) -> Cell:
    """One fit of each says nothing of others."""
    told = better_in(difference)
    return Cell(told) if told else Cell("–", tone="quiet")


def _told(sign: str, kind: str) -> str:
    """In one line."""
    return f"{sign} {kind}".replace(" ", "\N{NO-BREAK SPACE}")


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
    if len(task.splits) > 1 and task.unit == "split":  # else there is one choice
        often = f"in {first.times_chosen} of {len(result.choices)} splits"
        notes = [often + (f", {counted(rest, 'other')} in the rest" if rest else "")]
    text = setting(first.setting)
    return Cell(text, " · ".join(notes + flags), "warn" if flags else "")


def _methods(view: View) -> list[str]:
    """How the intervals were made, once each."""
    methods = dict.fromkeys(r.difference.method for r in view.comparison.results if r.difference)
    return [f"Intervals of differences: {method}." for method in methods if method]


# --------------------------------------------------------------------------------------------------
# All splits as dots.
# --------------------------------------------------------------------------------------------------

_DOT_ROWS = 40  # learners in one figure


def dots(view: View) -> Section | None:
    """Two figures a task: what each learner reached on each split, and its lead there."""
    blocks = view.drawn(lambda task: _dots(view, task))
    if not blocks:
        return None
    intro = (
        "The bar is the 95 % CI, the large mark the mean: circles for networks, diamonds for "
        f"baselines. A dot below is one {view.unit}."
    )
    if view.comparison.reference:
        intro += f" The dashed line is {view.reference}."
    intro += view.given_note()
    return Section(
        id="dots",
        title=f"All {view.units}",
        intro=" ".join([intro, view.drawn_note()]).strip(),
        blocks=blocks,
    )


def _dots(view: View, task: Task) -> Sequence[Block]:
    results = [r for r in view.results(task) if r.test_score is not None][:_DOT_ROWS]
    if not results:
        return []
    reference = next((r for r in results if r.learner == view.comparison.reference), None)
    scores = [_row(view, r, task) for r in results]
    at = scores[results.index(reference)].mean if reference else None
    name = view.metric.label
    drawings = [
        draw_dots(
            view.file_name(view.metric.name, task.name),
            f"Test {name} on {task.name}",
            scores,
            axis=view.axis("test"),
            at=at,
            label=f"Test {name} of {counted(len(results), 'model')} on {task.name}: a dot a "
            f"{task.unit}, with means and intervals. The same numbers are in the table of test "
            f"{name}.",
        )
    ]
    leads = [_lead(view, r, reference, task) for r in results if reference]
    if len(leads) > 1:
        drawings.append(
            draw_dots(
                view.file_name("difference", task.name),
                f"Difference to {view.reference} on {task.name}",
                leads,
                axis=f"difference to {view.reference}, {view.metric.unit_of_differences}",
                at=0.0,
                label=f"Differences in test {name} to {view.reference} on {task.name}, one by "
                "one, with means and intervals. The same numbers are in the table.",
            )
        )
    left_out = len([r for r in view.results(task) if r.test_score]) - len(results)
    note = f"{left_out} more models are in the table." if left_out else ""
    return [Gallery(drawings=drawings, note=note)]


def _row(view: View, result: LearnerOnTask, task: Task) -> Row:
    score, factor = result.test_score, view.metric.factor
    assert score is not None  # _dots keeps those that have one
    return Row(
        learner=_name(result, task),
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=factor * score.mean,
        interval=_times(factor, score.interval),
        values=tuple(factor * v for v in score.values),
    )


def _lead(view: View, result: LearnerOnTask, reference: LearnerOnTask, task: Task) -> Row:
    """The reference leads itself by nothing: its row keeps the two figures in step."""
    factor = view.metric.factor
    own, its, difference = result.test_score, reference.test_score, result.difference
    assert own is not None  # _dots keeps those that have one
    assert its is not None
    pairs = [] if result is reference else _pairs(result, reference)
    return Row(
        learner=_name(result, task),
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=factor * (difference.mean if difference else own.mean - its.mean),
        interval=_times(factor, difference.interval) if difference else None,
        values=tuple(factor * (a - b) for a, b in pairs),
    )


def _name(result: LearnerOnTask, task: Task) -> str:
    some = splits_in_order(result, task)
    return f"{result.learner} ({some})" if some else result.learner


def _pairs(result: LearnerOnTask, reference: LearnerOnTask) -> list[tuple[float, float]]:
    """On the splits that both have; a baseline that was fitted once against every seed."""
    own, its = _by_split(result), _by_split(reference)
    common = [(value, its[split]) for split, value in own.items() if split in its]
    once = any(not r.is_network and len(r.choices) == 1 for r in (result, reference))
    if common or not once:
        return common
    return [(value, other) for value in own.values() for other in its.values()]


def _by_split(result: LearnerOnTask) -> dict[str, float]:
    """Test scores by split."""
    return {choice.split: choice.test_score for choice in result.choices}


def _times(factor: float, interval: Interval | None) -> Interval | None:
    return interval and Interval(low=factor * interval.low, high=factor * interval.high)
