"""Which epoch of a run is kept: ``trainer.select``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnexp.metrics import METRICS
from nnexp.tasks import TASKS, Task


@dataclass(frozen=True)
class Selection:
    """A rule that chooses the epoch whose weights a run keeps; of equally good ones the last.

    Attributes:
        key: the number of an epoch's record that decides.
        direction: ``minimize`` or ``maximize``.
        epoch: what the chosen one is called.
        metric: the further metric that has to be computed for it, if it is one.
    """

    key: str
    direction: str
    epoch: str
    metric: str | None = None

    def score(self, value: float | None) -> float:
        """Return what epochs are compared by, smaller being better; a metric without a value is
        worse than any other."""
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.direction == "maximize" else value


OWN = {
    "loss": Selection("val/loss", "minimize", "the epoch of lowest validation loss"),
    "last": Selection("epoch", "maximize", "the last epoch"),
}
"""What can be said of every task, beside the name of a metric, and ``metric`` for the primary."""
PRIMARY = "metric"


def selection(select: str, task: Task) -> Selection:
    """Return the rule that ``trainer.select`` names.

    Raises:
        KeyError: it names none of this task.
    """
    if select in OWN:
        return OWN[select]
    if select in (PRIMARY, task.metric):
        return _by(f"val/{task.key}", task.metric, task.greater_is_better)
    metric = METRICS[select]
    if metric.task != task.name:
        raise KeyError(select)
    return _by(f"val/{select}", metric.label, metric.greater_is_better, select)


def selections(task: Task) -> list[str]:
    """Return the values that ``trainer.select`` may have."""
    further = [name for name, metric in METRICS.items() if metric.task == task.name]
    return list(dict.fromkeys([PRIMARY, *OWN, task.metric, *further]))


def recorded_selection(select: str) -> Selection | None:
    """Return the rule that a recorded config names, whatever its task; None if nothing knows it
    here, as a metric of a package that is not imported."""
    for task in TASKS.values():
        try:
            return selection(select, task)
        except KeyError:
            continue
    return None


def _by(key: str, label: str, greater_is_better: bool, metric: str | None = None) -> Selection:
    direction, word = ("maximize", "highest") if greater_is_better else ("minimize", "lowest")
    return Selection(key, direction, f"the epoch of {word} validation {label}", metric)
