"""Tasks: what a network says of a row, and by which number its epochs are judged."""

from __future__ import annotations

from dataclasses import dataclass

CLASSIFICATION, REGRESSION = "classification", "regression"


@dataclass(frozen=True)
class Task:
    """A kind of question.

    Attributes:
        metric: what runs are judged by, unless ``report.metric`` says otherwise.
        key: how records call that metric: ``val/<key>``.
        loss: what training minimises, unless a loss is chosen.
        further: metrics that every run of the task records beside it.
    """

    name: str
    metric: str
    key: str
    greater_is_better: bool
    loss: str
    further: tuple[str, ...] = ()


TASKS = {
    task.name: task
    for task in (
        Task(CLASSIFICATION, "accuracy", "acc", True, "cross_entropy"),
        Task(REGRESSION, "rmse", "rmse", False, "squared_error", ("mae", "r2")),
    )
}
