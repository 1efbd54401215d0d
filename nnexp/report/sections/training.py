"""Curves of training, and accuracy against training rows."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.types import Band, Task
from nnexp.report.blocks import Block, Gallery, Section
from nnexp.report.figures.canvas import Drawing
from nnexp.report.figures.lines import draw_bands, draw_learning_curves
from nnexp.report.numbers import counted
from nnexp.report.sections.view import DRAWN_TASKS, SHARED, View, in_percent

_TITLES = {
    "train/loss": "Training loss",
    "val/loss": "Validation loss",
    "val/acc": "Validation accuracy, %",
    "train/acc": "Training accuracy, %",
}


def curves(view: View) -> Section | None:
    """Loss and accuracy against epochs and seconds, of the chosen runs."""
    blocks = view.drawn(lambda task: _curves(view, task))
    if not blocks:
        return None
    intro = f"The selected runs: mean over the {view.units}, with the band of its 95 % CI."
    intro += view.shared_note(tuned=False)
    return Section(
        id="curves",
        title="Training",
        intro=" ".join([intro, view.drawn_note()]).strip(),
        blocks=blocks,
    )


def _curves(view: View, task: Task) -> Sequence[Block]:
    trained = {r.learner: r.curves for r in view.results(task) if r.curves is not None}
    shared = any(r.cost.shared for r in view.results(task) if r.curves is not None)
    drawings: list[Drawing] = []
    tags = {tag for found in trained.values() for tag in found.by_epoch}
    for tag, title in _TITLES.items():
        if tag == "train/acc" and "val/acc" in tags:
            continue  # training loss tells it; where no rows validate, there is nothing else
        for axis in ("epochs", "seconds"):
            bands = {
                learner: _shown(band, tag)
                for learner, found in trained.items()
                if (band := (found.by_epoch if axis == "epochs" else found.by_second).get(tag))
                and len(band.x) > 1
            }
            if not bands:
                continue
            drawings.append(
                draw_bands(
                    view.file_name(tag, axis, task.name),
                    view.titled(title, task),
                    bands,
                    view.looks,
                    axis=axis + (SHARED if shared and axis == "seconds" else ""),
                    label=f"{title} against {axis} of {counted(len(bands), 'network')} "
                    f"on {task.name}.",
                    log_x=axis == "seconds",
                    log_y=tag.endswith("loss"),
                    without_lowest=0.0 if tag.endswith("loss") else 0.15,
                )
            )
    names = list(trained)
    if not drawings:
        return []
    return [Gallery(drawings=drawings, legend=view.looks.legend(names), note=view.grey_note(names))]


def _shown(band: Band, tag: str) -> Band:
    return in_percent(band) if tag.endswith("acc") else band


def learning_curves(view: View) -> Section | None:
    """Test accuracy against training rows, networks and baselines together."""
    found = [c for c in view.comparison.learning_curves if len(c.num_train) > 1]
    if not found:
        return None
    names = list(dict.fromkeys(curve.dataset for curve in found))
    drawings = []
    for name in names[:DRAWN_TASKS]:
        on_it = [curve for curve in found if curve.dataset == name]
        drawings.append(
            draw_learning_curves(
                view.file_name("learning-curve", name),
                f"Test accuracy on {name}, %",
                on_it,
                view.looks,
                label=f"Test accuracy against training samples of {counted(len(on_it), 'model')} "
                f"on {name}.",
            )
        )
    learners = list(dict.fromkeys(curve.learner for curve in found))
    gallery = Gallery(
        drawings=drawings,
        legend=view.looks.legend(learners, "mixed"),
        note=view.grey_note(learners, "mixed"),
    )
    return Section(
        id="learning-curves",
        title="Learning curves",
        intro="Test accuracy against the number of training samples, with 95 % CIs.",
        blocks=[gallery],
    )
