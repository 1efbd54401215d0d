"""What a learner costs."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.types import LearnerOnTask, Task
from nnexp.report.blocks import Block, Cell, Section, Table
from nnexp.report.numbers import count, percent, seconds
from nnexp.report.sections.view import SHARED, View, columns


def cost(view: View) -> Section | None:
    """Parameters and seconds, for networks and baselines."""
    blocks = view.each_task(lambda task: _table(view, task))
    if not blocks:
        return None
    intro = (
        "Medians over the selected runs, in seconds; tuning is the time of all configurations of "
        f"a {view.unit}."
    )
    intro += view.shared_note(tuned=True)
    return Section(id="cost", title="Cost", intro=intro, blocks=blocks)


def _table(view: View, task: Task) -> Sequence[Block]:
    results = [r for r in view.results(task) if _is_known(r)]
    if not results:
        return []
    heads = ["model", "parameters", "train", "predict", "tune"]
    target = task.target_acc
    if target is not None and any(r.cost.target_seconds is not None for r in results):
        heads.insert(3, f"to {percent(target, 1)} %")
    rows = []
    for result in results:
        spent, mark = result.cost, SHARED if result.cost.shared else ""
        times = {
            "train": spent.train_seconds,
            "predict": spent.predict_seconds,
            "tune": spent.tune_seconds,
        }
        row = [view.head(result.learner), Cell(count(spent.num_parameters))]
        for head in heads[2:]:
            value = times.get(head, spent.target_seconds)
            marked = mark if value is not None and head != "predict" else ""
            row.append(Cell(seconds(value) + marked, tone="" if value is not None else "quiet"))
        rows.append(row)
    named = [(h, "validation accuracy") if h.startswith("to ") else h for h in heads]
    return [Table(caption=f"Cost on {task.name}", columns=columns(*named), rows=rows)]


def _is_known(result: LearnerOnTask) -> bool:
    c = result.cost
    known = (c.num_parameters, c.train_seconds, c.target_seconds, c.predict_seconds, c.tune_seconds)
    return any(value is not None for value in known)
