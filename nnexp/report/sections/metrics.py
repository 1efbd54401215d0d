"""Further metrics: those that ``metrics=[...]`` asks for."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.types import Estimate, MajorityClass, Task
from nnexp.baselines.base import labels
from nnexp.metrics import ACCURACY, METRICS, OF_CLASS_1, metric_label
from nnexp.report.blocks import (
    NOTHING,
    Block,
    Cell,
    Section,
    Table,
    Text,
    fixed,
    score,
    score_interval,
)
from nnexp.report.sections.view import View, columns


def further(view: View) -> Section | None:
    """A table of learner by metric for each task; None where no run recorded one."""
    blocks = view.each_task(lambda task: _table(view, task))
    if not blocks:
        return None
    name = view.metric.label
    intro = (
        f"On the test set, the mean over the {view.units} with its 95 % CI, in the order of test "
        f"{name}. Nothing was selected by them. A dash: not recorded on every {view.unit}, "
        f"undefined there, or a run failed. {name[0].upper()}{name[1:]} is shown for comparison."
    )
    if any(task.same_test_rows for task in view.tasks):
        intro += (
            " Where the test set is fixed there is no interval: errors by sample are not known."
        )
    return Section(id="metrics", title="Further metrics", intro=intro, blocks=blocks)


def _table(view: View, task: Task) -> Sequence[Block]:
    results = view.results(task)
    told = [(name, value) for result in results for name, value in result.test_metrics.items()]
    names = list(dict.fromkeys(name for name, value in told if value is not None or _asked(name)))
    if not names:
        return []
    rows = [
        [
            view.head(result.learner),
            _primary(view, result.test_score),
            *(Cell(score(e), score_interval(e)) for e in estimates),
        ]
        for result in results
        if any(estimates := [result.test_metrics.get(name) for name in names])
    ]
    if not any(result.learner.startswith(labels()["majority"]) for result in results):
        rows += _majority(view, task, names)
    heads = columns(
        "model",
        (view.metric.label, f"{'%, ' if view.metric.is_share else ''}[95 % CI]"),
        *((metric_label(name), _direction(name)) for name in names),
    )
    table = Table(caption=f"Further metrics on {task.name}", columns=heads, rows=rows)
    return [table, *_positive_class(view, task, names)]


def _positive_class(view: View, task: Task, names: Sequence[str]) -> list[Text]:
    """Says which of two classes some metrics are of, where runs recorded the names."""
    every = dict.fromkeys((view.metric.name, *names))
    found = [metric_label(name) for name in every if name in OF_CLASS_1]
    for told in view.comparison.by_class:
        if told.task == task.name and task.num_classes == 2 and found:
            are = "is" if len(found) == 1 else "are"
            return [Text(f"{', '.join(found)} {are} of class 1, {told.names[1]}.")]
    return []


def _asked(name: str) -> bool:
    """Accuracy is there where another metric is the primary one, and of numbers there is none."""
    return name != ACCURACY


def _primary(view: View, estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell(NOTHING)
    return Cell(*view.metric.cell(estimate.mean, estimate.interval))


def _majority(view: View, task: Task, names: Sequence[str]) -> list[list[Cell]]:
    """The row of the most frequent class, where no baseline predicts it."""
    return [
        [
            Cell(labels()["majority"], "by the test labels, not a run"),
            _primary_of(view, majority),
            *(Cell(_number(_of_majority(majority, name))) for name in names),
        ]
        for told in view.comparison.by_class
        if told.task == task.name
        for majority in [told.majority]
    ]


def _primary_of(view: View, majority: MajorityClass) -> Cell:
    value = _of_majority(majority, view.metric.name)
    return Cell(NOTHING if value is None else view.metric.cell(value)[0])


def _of_majority(majority: MajorityClass, name: str) -> float | None:
    return majority.test_acc if name == ACCURACY else majority.test_metrics.get(name)


def _number(value: float | None) -> str:
    return NOTHING if value is None else fixed(value, 4)


def _direction(name: str) -> str:
    """Which way is better, as far as is known where the report is made."""
    if name == ACCURACY:
        return "[95 % CI], higher is better"
    if name not in METRICS:
        return "[95 % CI]"
    return f"[95 % CI], {'higher' if METRICS[name].greater_is_better else 'lower'} is better"
