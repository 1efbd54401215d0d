"""Predicted probabilities: log-loss, Brier score, reliability; and ensembles of runs."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.types import Task
from nnexp.probabilities import CLIP
from nnexp.report.blocks import Block, Cell, Gallery, Section, Table
from nnexp.report.figures.lines import draw_reliability
from nnexp.report.numbers import (
    count,
    counted,
    fixed,
    percent,
    points,
    score,
    score_interval,
)
from nnexp.report.sections.view import View, columns


def probabilities(view: View) -> Section | None:
    """A table of scores, and the reliability diagram."""
    blocks = view.each_task(lambda task: _scores(view, task))
    if not blocks:
        return None
    blocks += _reliability(view)
    fixed = ""
    if any(task.same_test_rows for task in view.tasks):
        fixed = (
            " Where the test set is fixed, scores have an interval only if the error on each "
            "sample is known: not those of baselines, for which only classes are recorded."
        )
    return Section(
        id="probabilities",
        title="Predicted probabilities",
        intro="On the test set. Log-loss with the natural logarithm, of probabilities clipped to "
        f"[{CLIP:.1e}, 1 − {CLIP:.1e}], as baselines may have some of 0; Brier score summed "
        "over the classes, 0 to 2; lower is better in both. Expected calibration error: the mean "
        "difference of confidence and accuracy over ten bins, in pp. In the diagram a perfectly "
        "calibrated model lies on the diagonal, an overconfident one below it; larger marks stand "
        "for more predictions." + fixed,
        blocks=blocks,
    )


def _scores(view: View, task: Task) -> Sequence[Block]:
    results = [
        r for r in view.results(task) if r.test_clipped_loss or r.test_brier or r.reliability
    ]
    if not results:
        return []
    results.sort(key=lambda r: r.test_clipped_loss.mean if r.test_clipped_loss else float("inf"))
    rows = [
        [
            view.head(r.learner),
            Cell(score(r.test_clipped_loss), score_interval(r.test_clipped_loss)),
            Cell(score(r.test_brier), score_interval(r.test_brier)),
            Cell(percent(r.reliability.expected_calibration_error) if r.reliability else "–"),
        ]
        for r in results
    ]
    heads = columns("model", ("clipped log-loss", "[95 % CI]"), ("Brier score", "[95 % CI]"),
                    ("calibration error", "pp"))  # fmt: skip
    return [Table(caption=f"Scores of probabilities on {task.name}", columns=heads, rows=rows)]


def _reliability(view: View) -> list[Block]:
    drawings, names = [], dict[str, None]()
    for task in view.drawn_tasks:
        diagrams = {
            r.learner: (r.reliability.confidence, r.reliability.accuracy, r.reliability.count)
            for r in view.results(task)
            if r.reliability and r.reliability.count
        }
        if not diagrams:
            continue
        names |= dict.fromkeys(diagrams)
        drawing = draw_reliability(
            view.file_name("reliability", task.name),
            view.titled("Accuracy by confidence, %", task),
            diagrams,
            view.looks,
            label=f"Reliability diagram of {counted(len(diagrams), 'model')} on {task.name}. "
            "Calibration errors are in the table.",
        )
        drawings.append(drawing)
    if not drawings:
        return []
    legend = view.looks.legend(names, "mixed")
    hidden = len(names) - len(legend)
    note = f"{hidden} more models are in the table." if hidden else ""
    return [Gallery(drawings=drawings, legend=legend, note=note)]


def ensembles(view: View) -> Section | None:
    """The mean of the probabilities of a learner's runs, against its best member."""
    blocks = view.each_task(lambda task: _ensembles(view, task))
    if not blocks:
        return None
    return Section(
        id="ensembles",
        title="Ensembles",
        intro="The mean of the probabilities of a model's selected runs, which all have the same "
        "test set. The best member is the one with the best validation accuracy. These differences "
        "are not tested.",
        blocks=blocks,
    )


def _ensembles(view: View, task: Task) -> Sequence[Block]:
    rows = [
        [
            view.head(r.learner),
            Cell(count(e.num_members)),
            Cell(percent(e.test_acc)),
            Cell(percent(e.best_member_acc), points(e.test_acc - e.best_member_acc)),
            Cell(percent(e.mean_member_acc), points(e.test_acc - e.mean_member_acc)),
            Cell(fixed(e.test_clipped_loss, 4)),
        ]
        for r in view.results(task)
        if (e := r.ensemble) is not None
    ]
    if not rows:
        return []
    heads = columns("model", "members", ("ensemble", "test accuracy, %"),
                    ("best member", "ensemble's lead, pp"), ("mean member", "ensemble's lead, pp"),
                    ("clipped log-loss", "ensemble"))  # fmt: skip
    return [Table(caption=f"Ensembles on {task.name}", columns=heads, rows=rows)]
