"""Over the data sets, and the networks among themselves."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.across_datasets import FAMILY, WORST
from nnexp.analysis.types import AcrossTasks, Difference, Estimate, Task
from nnexp.report.blocks import (
    Block,
    Cell,
    Column,
    Gallery,
    Section,
    Table,
    Text,
    Tone,
    better_in,
    count,
    fixed,
    probability,
    probability_sentence,
)
from nnexp.report.figures.dots import draw_ranks
from nnexp.report.sections.view import View, columns

_MATRIX = 12  # networks in the matrix of pairs


def data_sets(view: View) -> Section | None:
    """Wins, ranks, normalised errors, Wilcoxon's test, the critical difference."""
    comparison = view.comparison
    if not comparison.across:
        return None
    rows = sorted(comparison.across, key=lambda across: across.mean_rank)
    averaged = any(row.normalised_error for row in rows)
    error = [("normalised error", "mean [95 % CI]")] if averaged else []
    heads = columns(
        "model", "data sets", ("won / tied / lost", f"against {view.reference}"), "mean rank",
        *error, ("p", "Wilcoxon, Holm"),
    )  # fmt: skip
    why = dict.fromkeys(row.descriptive_only for row in rows if row.descriptive_only)
    blocks: list[Block] = [Text(_sentence(reason)) for reason in why]
    blocks.append(
        Table(
            caption="Models over the data sets",
            columns=heads,
            rows=[_across(view, row, averaged=averaged) for row in rows],
        )
    )
    if averaged:
        blocks.append(
            Text(
                f"Normalised error: {_error(view)}, scaled on each data set so that the best model "
                f"has 0 and the median model 1 (more than {WORST:g} counts as {WORST:g}), then the "
                "mean over data sets, each of which counts once. Its interval is a bootstrap over "
                "data sets: it says how the mean varies with the choice of data sets, and with "
                "few of them it is too narrow."
            )
        )
    ranks = comparison.critical_difference
    if ranks is not None and len(ranks.learners) > 1:
        label = "Mean ranks, best first: " + ", ".join(
            f"{name} {rank:.2f}"
            for name, rank in zip(ranks.learners, ranks.mean_ranks, strict=True)
        )
        note = "Models that share a bar at the right do not differ significantly (Demšar 2006)."
        if ranks.p_friedman is not None:
            note += (
                f" Friedman's test that all are equal: {probability_sentence(ranks.p_friedman)}."
            )
        drawing = draw_ranks(
            view.file_name("mean-ranks"), "Mean ranks", ranks, view.looks, label=label
        )
        blocks.append(Gallery(drawings=[drawing], note=note))
    names = ", ".join(dict.fromkeys(task.dataset for task in view.tasks))
    return Section(
        id="across",
        title="Across data sets",
        intro=f"Each data set at its largest training set: {names}. These results hold for these "
        f"data sets and not beyond. Networks of the same {FAMILY} count as one, the one with the "
        f"best validation {view.metric.label}; networks that differ in one of these alone are "
        "ranked as "
        "separate models, though they are much alike: ranks depend on which models were run.",
        blocks=blocks,
    )


def _across(view: View, row: AcrossTasks, *, averaged: bool) -> list[Cell]:
    is_reference = row.learner == view.comparison.reference
    wins = "reference" if is_reference else f"{row.wins} / {row.ties} / {row.losses}"
    error = row.normalised_error
    return [
        view.head(row.learner),
        Cell(count(row.num_tasks)),
        Cell(wins, tone="quiet" if is_reference else ""),
        Cell(f"{row.mean_rank:.2f}"),
        *([_scaled(error)] if averaged else []),
        Cell("descriptive only" if row.descriptive_only else probability(row.p_adjusted)),
    ]


def _error(view: View) -> str:
    return "the test error" if view.metric.is_accuracy else f"the test {view.metric.label}"


def _scaled(error: Estimate | None) -> Cell:
    """``0.41 [0.10, 0.83]``."""
    if error is None or error.interval is None:
        return Cell("–" if error is None else fixed(error.mean, 2))
    ends = f"[{fixed(error.interval.low, 2)}, {fixed(error.interval.high, 2)}]"
    return Cell(fixed(error.mean, 2), ends)


def _sentence(reason: str) -> str:
    """Why no test is shown, in words that begin with that."""
    said = reason if reason.startswith("descriptive only") else f"descriptive only: {reason}"
    return f"{said[0].upper()}{said[1:]}."


def pairwise(view: View) -> Section | None:
    """Each network against each other, on each task."""
    blocks = view.each_task(lambda task: _matrix(view, task))
    if not blocks:
        return None
    return Section(
        id="pairs",
        title="Networks against each other",
        intro=f"Test {view.metric.label} of the network of the row minus that of the column"
        f"{', in pp' if view.metric.is_share else ''}; below, in how many pairs it is better, ties "
        "counted half. ▲ and ▼: the interval excludes zero and p is "
        "below 0.05 after Holm's correction over all pairs.",
        blocks=blocks,
    )


def _matrix(view: View, task: Task) -> Sequence[Block]:
    found: dict[tuple[str, str], Cell] = {}
    for difference in view.comparison.pairwise:
        if difference.task == task.name:
            found[difference.learner, difference.other] = _pair(view, difference, 1)
            found.setdefault((difference.other, difference.learner), _pair(view, difference, -1))
    compared = [name for name in view.looks.networks if any(name in pair for pair in found)]
    shown = compared[:_MATRIX]
    if len(shown) < 2:
        return []
    heads = [Column("", is_number=False), *(Column(str(i + 1)) for i in range(len(shown)))]
    rows = [
        [Cell(f"{i + 1} {row}", look=view.looks.of(row))]
        + [Cell("·", tone="quiet") if row == other else found.get((row, other), Cell("–"))
           for other in shown]
        for i, row in enumerate(shown)
    ]  # fmt: skip
    table = Table(
        caption=f"Differences between networks on {task.name}{view.given(task)}",
        columns=heads,
        rows=rows,
        style="matrix",
    )
    left_out = len(compared) - len(shown)
    note = [Text(f"The {_MATRIX} networks with the best validation {view.metric.label}; {left_out} "
                 "more are in summary.json.")] if left_out else []  # fmt: skip
    return [table, *note]


def _pair(view: View, difference: Difference, sign: int) -> Cell:
    """The cell of a pair, or of the same pair the other way round."""
    mean = sign * difference.mean
    better = better_in(difference, sign)
    interval, p = difference.interval, difference.p_adjusted
    decided = (
        interval is not None
        and (interval.low > 0 or interval.high < 0)
        and p is not None
        and p < 0.05
    )
    is_better = view.metric.sign * mean > 0
    tone: Tone = ("good" if is_better else "bad") if decided else ""
    arrow = ("▲ " if is_better else "▼ ") if decided else ""
    return Cell(f"{arrow}{view.metric.lead_cell(mean)[0]}", better, tone)
