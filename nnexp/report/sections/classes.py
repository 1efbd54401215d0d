"""Precision, recall and F1 of each class, of the best network and the reference."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.types import ByClass, ClassScores, MajorityClass, Task
from nnexp.report.blocks import Block, Cell, Column, Section, Table, Text, fixed, percent
from nnexp.report.sections.view import View

_MOST = 30
_LONGEST = 40  # letters of a class's name


def by_class(view: View) -> Section | None:
    """A table for each task whose predictions are there."""
    told = {scores.task: scores for scores in view.comparison.by_class}
    blocks = view.each_task(lambda task: _of(view, task, told.get(task.name)))
    if not blocks:
        return None
    return Section(
        id="classes",
        title="By class",
        intro=f"On the test set, in %, from counts summed over the {view.units}; samples are a "
        "mean. Precision: the fraction of the predictions of a class that are correct; recall: of "
        "the samples of a class that are predicted as such; F1: their harmonic mean. A dash: "
        "never predicted, or no sample.",
        blocks=blocks,
    )


def _of(view: View, task: Task, scores: ByClass | None) -> Sequence[Block]:
    if scores is None:
        return []
    listed = _listed(scores)
    heads = [Column("class", is_number=False), Column("samples", f"per {task.unit}")]
    for one in scores.learners:
        heads += [Column(name, one.learner) for name in ("precision", "recall", "F1")]
    rows = [
        [
            Cell(_shortened(scores.names[c])),
            Cell(f"{scores.support[c]:,.0f}"),
            *(cell for one in scores.learners for cell in _cells(one, c)),
        ]
        for c in listed
    ]
    blocks: list[Block] = [Table(caption=f"By class on {task.name}", columns=heads, rows=rows)]
    more = len(scores.names) - len(listed)
    if more:
        first = scores.learners[0]
        blocks.append(
            Text(
                f"The {len(listed)} of {len(scores.names):,} classes on which {first.learner} has "
                f"the lowest F1; on the other {more:,} it is at least "
                f"{percent(max(_f1(first, c) for c in listed))} %."
            )
        )
    if scores.left_out:
        names = ", ".join(scores.left_out)
        blocks.append(Text(f"Left out, as a run failed or its predictions are missing: {names}."))
    return [*blocks, Text(_guessing(scores.majority))]


def _listed(scores: ByClass) -> list[int]:
    """All classes in their order, or those that are hardest for the first learner."""
    classes = list(range(len(scores.names)))
    if len(classes) <= _MOST:
        return classes
    first = scores.learners[0]
    return sorted(classes, key=lambda c: _f1(first, c))[:_MOST]


def _f1(scores: ClassScores, label: int) -> float:
    """A class that is neither there nor predicted is not hard."""
    f1 = scores.f1[label]
    return 1.0 if f1 is None else f1


def _cells(scores: ClassScores, label: int) -> list[Cell]:
    return [Cell(percent(values[label])) for values in (scores.precision, scores.recall, scores.f1)]


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _guessing(majority: MajorityClass) -> str:
    return (
        f"Always predicting the most frequent class, {_shortened(majority.name)}, gives an "
        f"accuracy of {percent(majority.test_acc)} %, a balanced accuracy of "
        f"{percent(majority.balanced_accuracy)} % and a macro F1 of {percent(majority.macro_f1)} "
        f"%; the class frequencies as probabilities, a log-loss of {fixed(majority.log_loss, 4)}."
    )
