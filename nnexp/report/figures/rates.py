"""Sensitivity to the learning rate: what each reaches on validation rows, and where runs fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnexp.report.figures.canvas import WIDTH, Drawing, Panel, line_style
from nnexp.report.figures.palette import Looks, light
from nnexp.report.figures.scales import linear_axis, log_axis, window

_STRIP_ROW = 18  # pixels, a learner's row in the strip of failed runs
_LEFT, _RIGHT = 46, 14


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """All settings of a learner that share a learning rate."""

    lr: float
    best: float | None  # validation accuracy in per cent of the best; None: none was completed
    others: tuple[float, ...]  # of the other settings
    num_runs: int
    num_failed: int


def draw_rates(
    name: str, title: str, points: Mapping[str, Sequence[RatePoint]], looks: Looks, *, label: str
) -> Drawing:
    """Validation accuracy against lr; below it, in a row a learner, runs that failed of all."""
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
