"""Lines: training curves, learning curves, tuning, sensitivity to the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from nnexp.analysis.types import Band, LearningCurve
from nnexp.report.figures.canvas import (
    WIDTH,
    Drawing,
    Panel,
    line_style,
    linear_axis,
    log_axis,
    log_window,
    short_number,
    thinned,
    wants_log,
    window,
)
from nnexp.report.figures.palette import Group, Looks, light

# --------------------------------------------------------------------------------------------------
# Lines of several learners on one pair of axes: curves of training, learning, tuning.
# --------------------------------------------------------------------------------------------------

_MOST_BANDS = 4  # more of them upon one another are a wall


def draw_bands(
    name: str,
    title: str,
    bands: Mapping[str, Band],
    looks: Looks,
    *,
    axis: str,
    label: str,
    group: Group = "networks",
    log_x: bool = False,
    log_y: bool = False,
    marks: int = 5,
    without_lowest: float = 0.0,
) -> Drawing:
    """Means with their bands, by learner.

    Args:
        bands: y in the units of the axis.
        log_x: whether a logarithmic axis is allowed; it is taken where curves end far apart.
        log_y: the same; it is taken where it helps.
        marks: about how many markers a line has.
        without_lowest: the share of all points that may fall below the axis.
    """
    panel = Panel(name, title)
    axes = panel.axes
    bands = {learner: thinned(band) for learner, band in bands.items()}
    means = [v for band in bands.values() for v in band.mean]
    if log_y and wants_log(means):
        axes.set_yscale("log")
        axes.set_ylim(*log_window(bands.values()))
    else:
        axes.set_ylim(*window(means, pad=0.06, without_lowest=without_lowest))
    shown = looks.legend(bands, group)
    banded = [learner for learner, _ in shown[:_MOST_BANDS]]
    for learner in looks.back_to_front(bands, group):
        band, look = bands[learner], looks.of(learner, group)
        axes.plot(
            band.x, band.mean, **line_style(look),
            markevery=_marks(len(band.x), marks, list(bands).index(learner)),
        )  # fmt: skip
        if learner in banded:
            axes.fill_between(
                band.x, _within(band.low, axes), band.high, color=look.hex, linewidth=0,
                alpha=0.06 + 0.2 / (1 + len(banded)), zorder=1.5,
            )  # fmt: skip
    if axes.get_yscale() == "log":
        log_axis(axes, "y")
    else:
        linear_axis(axes, "y")
    ends, starts = ([band.x[place] for band in bands.values()] for place in (-1, 0))
    if log_x and wants_log(ends) and min(starts) > 0:
        log_axis(axes, "x")
    else:
        linear_axis(axes, "x", whole=all(x == int(x) for band in bands.values() for x in band.x))
    axes.set_xlabel(axis)
    notes = [
        _beyond(axes.get_ylim(), bands),
        _reaching_zero(axes, [bands[learner] for learner in banded]),
        f"Bands of the first {_MOST_BANDS} alone." if len(shown) > _MOST_BANDS else "",
    ]
    return panel.finish(label, shown, " ".join(filter(None, notes)))


def _within(low: Sequence[float], axes: Axes) -> list[float]:
    """The lower ends of a band; on a logarithmic axis those at or below 0 at the axis' edge."""
    if axes.get_yscale() != "log":
        return list(low)
    edge = axes.get_ylim()[0]
    return [max(value, edge) for value in low]


def _reaching_zero(axes: Axes, bands: Sequence[Band]) -> str:
    if axes.get_yscale() != "log" or not any(v <= 0 for band in bands for v in band.low):
        return ""
    return "Intervals that reach 0 end at the lower edge: a logarithmic axis has no 0."


def _marks(count: int, marks: int, shift: int) -> list[int]:
    """Which points have a marker: a few, not at the same places for all learners."""
    if count <= marks:
        return list(range(count))
    step = count / marks
    return [min(int(step * (i + 0.2 + 0.6 * (shift % 4) / 3)), count - 1) for i in range(marks)]


def _beyond(limits: tuple[float, float], bands: Mapping[str, Band]) -> str:
    """Which learners lie outside of the axis altogether."""
    low, high = limits
    return _sentence(
        {n: b.mean[-1] for n, b in bands.items() if not any(low <= y <= high for y in b.mean)}
    )


def _sentence(out: Mapping[str, float]) -> str:
    if not out:
        return ""
    named = [f"{name} ({short_number(round(y, 2))})" for name, y in out.items()]
    return "Beyond the axis: " + ", ".join(named[:4]) + (", ..." if len(named) > 4 else "") + "."


def draw_learning_curves(
    name: str,
    title: str,
    curves: Sequence[LearningCurve],
    looks: Looks,
    *,
    label: str,
    factor: float = 100.0,
) -> Drawing:
    """Test scores against training rows, of all learners on one data set.

    Args:
        factor: what scores are multiplied by: 100 to be in per cent.
    """
    panel = Panel(name, title)
    axes = panel.axes
    by_name = {curve.learner: curve for curve in curves}
    shown = looks.legend(by_name, "mixed")
    heights = [e.mean for curve in curves for e in curve.test_score]
    for learner, _ in shown:
        found = [e.interval for e in by_name[learner].test_score if e.interval is not None]
        heights += [end for interval in found for end in (interval.low, interval.high)]
    axes.set_ylim(*window([factor * height for height in heights], pad=0.06))
    rows = sorted({n for curve in curves for n in curve.num_train})
    span = 1.3 * rows[-1] / rows[0]
    axes.set_xlim(rows[0] / span**0.07, rows[-1] * span**0.07)
    step = span**0.012  # side by side, else intervals hide one another
    for learner in looks.back_to_front(by_name, "mixed"):
        curve, look = by_name[learner], looks.of(learner, "mixed")
        place = next((i for i, (name, _) in enumerate(shown) if name == learner), None)
        aside = 1.0 if place is None else step ** (place - (len(shown) - 1) / 2)
        x = [n * aside for n in curve.num_train]
        axes.plot(x, [factor * e.mean for e in curve.test_score], **line_style(look))
        if place is None:
            continue
        for at, estimate in zip(x, curve.test_score, strict=True):
            if estimate.interval is not None:
                ends = [factor * estimate.interval.low, factor * estimate.interval.high]
                axes.plot([at, at], ends, color=look.hex, linewidth=1.1, alpha=0.6)
    log_axis(axes, "x", at=rows)
    linear_axis(axes, "y")
    axes.set_xlabel("training samples")
    low, high = axes.get_ylim()
    out = {
        curve.learner: factor * curve.test_score[-1].mean
        for curve in curves
        if not any(low <= factor * e.mean <= high for e in curve.test_score)
    }
    return panel.finish(label, shown, _sentence(out))


def draw_reliability(
    name: str,
    title: str,
    diagrams: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[int]]],
    looks: Looks,
    *,
    label: str,
) -> Drawing:
    """How often predictions are right, in per cent, against how sure they were.

    Args:
        diagrams: by learner, for each bin: mean confidence, accuracy, count. A bin's marker is
            the larger the more predictions it has.
    """
    panel = Panel(name, title, height=360)
    axes = panel.axes
    axes.plot([0, 100], [0, 100], color=light("muted"), linewidth=1.0, linestyle=(0, (2, 2)))
    lowest = 100.0
    for learner in looks.back_to_front(diagrams, "mixed"):
        confidence, accuracy, count = diagrams[learner]
        look = looks.of(learner, "mixed")
        if look.is_grey or not count:
            continue
        x, y = [100 * c for c in confidence], [100 * a for a in accuracy]
        lowest = min(lowest, *x, *y)
        style = line_style(look) | {"marker": None, "linewidth": 1.2, "alpha": 0.7}
        axes.plot(x, y, **style)
        sizes = [10 + 90 * (c / max(count)) ** 0.5 for c in count]
        axes.scatter(x, y, s=sizes, marker=look.marker, facecolor=look.face, edgecolor=look.hex,
                     linewidth=1.3, zorder=3)  # fmt: skip
    start = 10 * int(max(0.0, lowest - 4) // 10)
    margin = 0.03 * (100 - start)
    axes.set_xlim(start - margin, 100 + margin)
    axes.set_ylim(start - margin, 100 + margin)
    linear_axis(axes, "x")
    linear_axis(axes, "y")
    axes.set_xlabel("confidence of the prediction, %")
    return panel.finish(label, looks.legend(diagrams, "mixed"))


# --------------------------------------------------------------------------------------------------
# Sensitivity to the learning rate: what each reaches on validation rows, and where runs fail.
# --------------------------------------------------------------------------------------------------

_STRIP_ROW = 18  # pixels, a learner's row in the strip of failed runs
_LEFT, _RIGHT = 46, 14


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """All settings of a learner that share a learning rate."""

    lr: float
    best: float | None  # validation score of the best, as drawn; None: none was completed
    others: tuple[float, ...]  # of the other settings
    num_runs: int
    num_failed: int


def draw_rates(
    name: str, title: str, points: Mapping[str, Sequence[RatePoint]], looks: Looks, *, label: str
) -> Drawing:
    """Validation score against lr; below it, in a row a learner, runs that failed of all."""
    failing = [n for n, ps in points.items() if any(p.num_failed for p in ps)]
    failing = [learner for learner, _ in looks.legend(failing)]
    strip = _STRIP_ROW * len(failing) + 20 if failing else 0
    panel = Panel(name, title, height=270 + strip, left=_LEFT, right=_RIGHT)
    axes = panel.axes
    rates = sorted({p.lr for ps in points.values() for p in ps})
    reached = [v for ps in points.values() for p in ps if p.best is not None
               for v in (p.best, *p.others)]  # fmt: skip
    axes.set_ylim(*window(reached, pad=0.06))
    axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
    for learner in looks.back_to_front(points):
        look = looks.of(learner)
        line = [(p.lr, p.best) for p in points[learner] if p.best is not None]
        axes.plot([x for x, _ in line], [y for _, y in line], **line_style(look))
        if not look.is_grey:
            scattered = [(p.lr, v) for p in points[learner] for v in p.others]
            axes.plot([x for x, _ in scattered], [y for _, y in scattered], linestyle="",
                      marker=look.marker, markersize=3, color=look.hex, alpha=0.5)  # fmt: skip
    log_axis(axes, "x", at=rates)
    linear_axis(axes, "y")
    axes.set_xlabel("lr")
    if failing:
        _draw_strip(panel, failing, points, looks, strip)
    return panel.finish(label, looks.legend(points))


def _draw_strip(
    panel: Panel,
    failing: Sequence[str],
    points: Mapping[str, Sequence[RatePoint]],
    looks: Looks,
    height: int,
) -> None:
    panel.move(panel.axes, _LEFT, 42 + height, WIDTH - _LEFT - _RIGHT, 218)
    strip = panel.add_axes(_LEFT, 4, WIDTH - _LEFT - _RIGHT, _STRIP_ROW * len(failing) + 16)
    strip.set_xscale("log")
    strip.set_xlim(*panel.axes.get_xlim())
    strip.set_ylim(len(failing), -16 / _STRIP_ROW)
    strip.axis("off")
    low, _ = panel.axes.get_xlim()
    strip.text(low, -0.25, "runs that failed or diverged", color=light("muted"), fontsize=11)
    for row, learner in enumerate(failing):
        look = looks.of(learner)
        strip.plot([0.93 * low], [row + 0.5], clip_on=False, **line_style(look))
        for point in points[learner]:
            if point.num_failed:
                text = f"× {point.num_failed}/{point.num_runs}"
                strip.text(point.lr, row + 0.75, text, color=look.hex, fontsize=11, ha="center")
