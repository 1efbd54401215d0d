"""The order in which learners of a task are told."""

from __future__ import annotations

from collections.abc import Iterable

from nnexp.comparison.types import LearnerOnTask, Task


def best_first(results: Iterable[LearnerOnTask], task: Task) -> list[LearnerOnTask]:
    """Highest mean test accuracy first: learners with all splits of the task, then the others.

    Means over different splits are not to be ranked: an easy split would make a learner better.
    """
    return sorted(results, key=lambda r: (*_place(r, task), r.learner))


def lacking(result: LearnerOnTask, task: Task) -> int:
    """On how many of the task's splits the learner has no result.

    A baseline is fitted once where the split stays and the seeds of networks vary.
    """
    if task.unit == "seed" and not result.is_network:
        return 0
    return max(0, len(task.splits) - len(result.choices))


def splits_told(result: LearnerOnTask, task: Task) -> str:
    """``3 of 5 splits``, or seeds, where some are lacking, else nothing."""
    total = len(task.splits)
    missing = lacking(result, task)
    return f"{total - missing} of {total} {task.unit}s" if missing and result.choices else ""


def _place(result: LearnerOnTask, task: Task) -> tuple[bool, bool, float]:
    if result.test_acc is None:
        return True, True, 0.0
    return False, lacking(result, task) > 0, -result.test_acc.mean
