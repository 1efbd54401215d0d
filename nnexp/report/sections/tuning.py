"""Curves of training, learning curves, and what tuning found."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.types import Band, LearnerOnTask, Task
from nnexp.report.blocks import (
    Block,
    Cell,
    Folded,
    Gallery,
    Section,
    Table,
    count,
    counted,
    setting,
)
from nnexp.report.figures.canvas import Drawing
from nnexp.report.figures.lines import RatePoint, draw_bands, draw_learning_curves, draw_rates
from nnexp.report.figures.palette import Group
from nnexp.report.sections.view import DRAWN_TASKS, SHARED, View, columns, times

# --------------------------------------------------------------------------------------------------
# Curves of training, and accuracy against training rows.
# --------------------------------------------------------------------------------------------------

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
    intro += view.given_note() + view.shared_note(tuned=False)
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
    titles = dict(_TITLES)
    if not view.metric.is_accuracy:
        titles[view.metric.val_key] = _capital(view.axis("validation"))
    for tag, title in titles.items():
        if tag == "train/acc" and "val/acc" in tags:
            continue  # training loss tells it; where no rows validate, there is nothing else
        for axis in ("epochs", "seconds"):
            bands = {
                learner: _shown(view, band, tag)
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


def _shown(view: View, band: Band, tag: str) -> Band:
    if tag == view.metric.val_key:
        return view.on_axis(band)
    return times(band, 100) if tag.endswith("acc") else band


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def learning_curves(view: View) -> Section | None:
    """Test score against training rows, networks and baselines together."""
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
                f"Test {view.metric.label} on {name}{view.metric.unit}",
                on_it,
                view.looks,
                label=f"Test {view.metric.label} against training samples of "
                f"{counted(len(on_it), 'model')} on {name}.",
                factor=view.metric.factor,
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
        intro=f"Test {view.metric.label} against the number of training samples, with 95 % CIs."
        + _validated_note(view, names)
        + view.given_note(),
        blocks=[gallery],
    )


def _validated_note(view: View, names: Sequence[str]) -> str:
    """On how many validation samples models were selected, along the curve of each data set."""
    sizes: dict[str, list[int]] = {}
    for task in view.comparison.tasks:
        series = [name for name in names if task.name.startswith(name)]
        if series:
            sizes.setdefault(max(series, key=len), []).append(task.num_val)
    notes = []
    for name in names:
        low, high = min(sizes.get(name, [0])), max(sizes.get(name, [0]))
        where = f" on {name}" if len(names) > 1 else ""
        if low < high:
            notes.append(
                f" The validation set, which selects, shrinks with the training set{where}: "
                f"{low:,} to {high:,} samples."
            )
        elif high:
            notes.append(
                f" Only the training set shrinks{where}: the validation set, which selects, has "
                f"{high:,} samples throughout, more than a small training set would come with "
                "(dataset.fraction shrinks both)."
            )
    return "".join(notes)


# --------------------------------------------------------------------------------------------------
# What tuning found: sensitivity to lr, the worth of another setting, all settings tried.
# --------------------------------------------------------------------------------------------------

_SETTINGS_LISTED = 20  # of one learner, the best


def sensitivity(view: View) -> Section | None:
    """Validation score against lr, with the runs that did not survive it."""
    found = [(task, points) for task in view.drawn_tasks if (points := _all_rates(view, task))]
    if not found:
        return None
    names = list(dict.fromkeys(name for _, points in found for name in points))
    gallery = Gallery(
        drawings=[_rates(view, task, points) for task, points in found],
        legend=view.looks.legend(names),
        note=view.grey_note(names),
    )
    return Section(
        id="sensitivity",
        title="Sensitivity to lr",
        intro=f"Mean validation {view.metric.label} of each learning rate tried; where other "
        "hyperparameters vary too, the line follows the best and small marks are the others. "
        "Runs that failed or diverged are counted below the axis. " + view.drawn_note(),
        blocks=[gallery],
    )


def _all_rates(view: View, task: Task) -> dict[str, list[RatePoint]]:
    """Of the networks that tried more than one learning rate."""
    return {
        result.learner: points
        for result in view.results(task)
        if result.is_network
        and not result.is_selection
        and len(points := _rate_points(view, result)) > 1
    }


def _rates(view: View, task: Task, points: dict[str, list[RatePoint]]) -> Drawing:
    failed = sum(p.num_failed for found in points.values() for p in found)
    return draw_rates(
        view.file_name("lr", task.name),
        view.titled(_capital(view.axis("validation")), task),
        points,
        view.looks,
        label=f"Validation {view.metric.label} against learning rate of "
        f"{counted(len(points), 'network')} on {task.name}; {counted(failed, 'run')} failed. All "
        "configurations are in a table below.",
    )


def _rate_points(view: View, result: LearnerOnTask) -> list[RatePoint]:
    factor, badness = view.metric.factor, view.metric.badness
    by_rate: dict[float, list[int]] = {}
    for i, tried in enumerate(result.tried):
        for key, value in tried.setting.items():
            is_rate = key.rpartition(".")[2] == "lr" and isinstance(value, int | float)
            if is_rate and value > 0:
                by_rate.setdefault(float(value), []).append(i)
    points = []
    for lr, places in sorted(by_rate.items()):
        tried_here = [result.tried[i] for i in places]
        scores = [t.val_score.mean for t in tried_here if t.val_score is not None]
        reached = [factor * score for score in sorted(scores, key=badness)]
        points.append(
            RatePoint(
                lr=lr,
                best=reached[0] if reached else None,
                others=tuple(reached[:0:-1]),
                num_runs=sum(t.num_runs for t in tried_here),
                num_failed=sum(t.num_failed for t in tried_here),
            )
        )
    return points


def settings_tried(view: View) -> Section | None:
    """Expected best validation score against settings tried, and a table of all of them."""
    blocks: list[Block] = [
        Folded(summary=f"All settings tried on {task.name}", blocks=[table])
        for task in view.tasks
        if (table := _table(view, task)) is not None
    ]
    name = view.metric.label
    intro = f"Validation {name} of every configuration, and how often it was selected."
    found = [(task, bands) for task in view.drawn_tasks if (bands := _all_bands(view, task))]
    if found:
        names = list(dict.fromkeys(name for _, bands in found for name in bands))
        group: Group = "mixed" if set(names) & set(view.looks.baselines) else "networks"
        gallery = Gallery(
            drawings=[_expected_best(view, task, bands, group) for task, bands in found],
            legend=view.looks.legend(names, group),
            note=view.grey_note(names, group),
        )
        blocks.insert(0, gallery)
        intro = (
            f"The expected best validation {name} of so many random configurations: what a model "
            "reaches on a small tuning budget, and whether more tuning would pay. "
            + view.drawn_note()
        )
    if not blocks:
        return None
    return Section(id="tuning", title="Configurations tried", intro=intro.strip(), blocks=blocks)


def _all_bands(view: View, task: Task) -> dict[str, Band]:
    return {
        result.learner: view.on_axis(result.expected_best)
        for result in view.results(task)
        if result.expected_best is not None and len(result.expected_best.x) > 1
    }


def _expected_best(view: View, task: Task, bands: dict[str, Band], group: Group) -> Drawing:
    return draw_bands(
        view.file_name("expected-best", task.name),
        view.titled(f"Expected best {view.metric.label}{view.metric.unit}", task),
        bands,
        view.looks,
        axis="configurations tried",
        label=f"Expected best validation {view.metric.label} against configurations tried of "
        f"{counted(len(bands), 'model')} on {task.name}.",
        group=group,
        marks=12,
    )


def _table(view: View, task: Task) -> Table | None:
    rows = []
    for result in view.results(task):
        if result.is_selection:  # its configurations are those of the networks
            continue
        tried = [t for t in result.tried if t.setting]
        tried.sort(key=lambda t: view.metric.badness(t.val_score.mean if t.val_score else None))
        for t in tried[:_SETTINGS_LISTED]:
            failed = f"{t.num_failed} failed" if t.num_failed else ""
            score = t.val_score
            rows.append([
                view.head(result.learner),
                Cell(setting(t.setting)),
                Cell(*view.metric.cell(score.mean, score.interval))
                if score else Cell("–", tone="quiet"),
                Cell(count(t.num_runs), failed, "warn" if failed else ""),
                Cell(count(t.times_chosen)),
            ])  # fmt: skip
        if len(tried) > _SETTINGS_LISTED:
            more = f"{len(tried) - _SETTINGS_LISTED} more configurations, each with less"
            rows.append([view.head(result.learner), Cell(more, tone="quiet"), *[Cell("")] * 3])
    if not rows:
        return None
    heads = columns("model", "configuration", (view.axis("validation"), "[95 % CI]"),
                    ("runs", "failed"), ("selected", f"{task.unit}s"))  # fmt: skip
    return Table(
        caption=f"Configurations tried on {task.name}{view.given(task)}", columns=heads, rows=rows
    )
