"""All splits as dots."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.ordering import splits_told
from nnexp.comparison.types import Interval, LearnerOnTask, Task
from nnexp.report.blocks import Block, Gallery, Section
from nnexp.report.figures.dots import Row, draw_dots
from nnexp.report.numbers import counted
from nnexp.report.sections.view import View

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
    return Section(
        id="dots",
        title=f"All {view.units}",
        intro=" ".join([intro, view.drawn_note()]).strip(),
        blocks=blocks,
    )


def _dots(view: View, task: Task) -> Sequence[Block]:
    results = [r for r in view.results(task) if r.test_acc is not None][:_DOT_ROWS]
    if not results:
        return []
    reference = next((r for r in results if r.learner == view.comparison.reference), None)
    accuracy = [_row(view, r, task) for r in results]
    at = accuracy[results.index(reference)].mean if reference else None
    drawings = [
        draw_dots(
            view.file_name("accuracy", task.name),
            f"Test accuracy on {task.name}",
            accuracy,
            axis="test accuracy, %",
            at=at,
            label=f"Test accuracy of {counted(len(results), 'model')} on {task.name}: a dot a "
            f"{task.unit}, with means and intervals. The same numbers are in the table of test "
            "accuracy.",
        )
    ]
    leads = [_lead(view, r, reference, task) for r in results if reference]
    if len(leads) > 1:
        drawings.append(
            draw_dots(
                view.file_name("difference", task.name),
                f"Difference to {view.reference} on {task.name}",
                leads,
                axis=f"difference to {view.reference}, pp",
                at=0.0,
                label=f"Differences in test accuracy to {view.reference} on {task.name}, one by "
                "one, with means and intervals. The same numbers are in the table.",
            )
        )
    left_out = len([r for r in view.results(task) if r.test_acc]) - len(results)
    note = f"{left_out} more models are in the table." if left_out else ""
    return [Gallery(drawings=drawings, note=note)]


def _row(view: View, result: LearnerOnTask, task: Task) -> Row:
    accuracy = result.test_acc
    assert accuracy is not None  # _dots keeps those that have one
    return Row(
        learner=_name(result, task),
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=100 * accuracy.mean,
        interval=_times_100(accuracy.interval),
        values=tuple(100 * v for v in accuracy.values),
    )


def _lead(view: View, result: LearnerOnTask, reference: LearnerOnTask, task: Task) -> Row:
    """The reference leads itself by nothing: its row keeps the two figures in step."""
    own, its, difference = result.test_acc, reference.test_acc, result.difference
    assert own is not None  # _dots keeps those that have one
    assert its is not None
    pairs = [] if result is reference else _pairs(result, reference)
    return Row(
        learner=_name(result, task),
        look=view.looks.of(result.learner),
        is_network=result.is_network,
        mean=100 * (difference.mean if difference else own.mean - its.mean),
        interval=_times_100(difference.interval) if difference else None,
        values=tuple(100 * (a - b) for a, b in pairs),
    )


def _name(result: LearnerOnTask, task: Task) -> str:
    some = splits_told(result, task)
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
    """Test accuracies by split."""
    return {choice.split: choice.test_acc for choice in result.choices}


def _times_100(interval: Interval | None) -> Interval | None:
    return interval and Interval(low=100 * interval.low, high=100 * interval.high)
