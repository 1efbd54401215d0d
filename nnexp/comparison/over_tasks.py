"""From results on single tasks to what holds over several: data sets, numbers of training rows."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.across import across_tasks, critical_difference
from nnexp.comparison.placing import Placed
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import (
    AcrossTasks,
    CriticalDifference,
    LearnerOnTask,
    LearningCurve,
    VerdictKind,
)


def over_tasks(
    placed: Placed, results: Sequence[LearnerOnTask], reference: str | None
) -> tuple[tuple[AcrossTasks, ...], CriticalDifference | None, list[str]]:
    """Over data sets, one task each: the one with most training rows, then with most learners."""
    by_learner = {(r.learner, r.task): r for r in results if r.test_acc is not None}
    chosen: dict[str, TaskFacts] = {}
    for facts in placed.tasks:
        count = sum(task == facts.task.name for _, task in by_learner)
        before = chosen.get(facts.source)
        if facts.task.is_whole and count:
            others = 0 if before is None else sum(t == before.task.name for _, t in by_learner)
            if count > others:
                chosen[facts.source] = facts
    names = [facts.task.name for facts in chosen.values()]
    if len(names) < 2:
        return (), None, []
    complete = [n for n in placed.learners if all((n, task) in by_learner for task in names)]
    partly = [n for n in placed.learners if n not in complete]
    told = []
    if partly:
        told.append(
            f"ranks over data sets are of models that were run on all {len(names)}; left out: "
            + ", ".join(partly)
        )
    if len(complete) < 2:
        return (), None, told
    values = {}
    kinds: dict[str, list[VerdictKind]] = {}
    for name in complete:
        mine = [by_learner[name, task] for task in names]
        values[name] = [r.test_acc.values for r in mine if r.test_acc is not None]
        kinds[name] = [r.verdict.kind for r in mine if r.verdict is not None]
    return across_tasks(values, reference, kinds), critical_difference(values), told


def learning_curves(placed: Placed, results: Sequence[LearnerOnTask]) -> list[LearningCurve]:
    """Of every learner with test accuracies at two or more numbers of training rows."""
    series: dict[str, list[TaskFacts]] = {}
    for facts in placed.tasks:
        series.setdefault(facts.series, []).append(facts)
    accs = {(r.learner, r.task): r.test_acc for r in results if r.test_acc is not None}
    found = []
    for group in series.values():
        for learner in placed.learners:
            points = [
                (facts.task.num_train, accs[learner, facts.task.name])
                for facts in group
                if (learner, facts.task.name) in accs
            ]
            if len(points) > 1:
                found.append(
                    LearningCurve(
                        dataset=group[0].series_name,
                        learner=learner,
                        num_train=tuple(rows for rows, _ in points),
                        test_acc=tuple(acc for _, acc in points),
                    )
                )
    return found
