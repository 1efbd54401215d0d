"""All splits as dots, a row a learner, with mean and 95 % interval.

A learner's name stands above its row and not beside it, so that a phone has its whole width for
the numbers, and thirty learners need no legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from nnexp.comparison.types import Interval
from nnexp.report.figures.canvas import WIDTH, Drawing, Panel, plain
from nnexp.report.figures.palette import Look, light
from nnexp.report.figures.scales import linear_axis, short_number, window

_ROW = 46  # pixels
_NAME = 13  # of them, how far the name's base line is below the row's top
_BAR = 25  # how far its bar is
_DOTS = 38  # how far its dots are: below, where the bar does not hide a few
_FEW = 12  # dots are larger
_LEFT, _RIGHT, _BOTTOM = 14, 14, 42


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one learner reached; all in the units of the axis."""

    learner: str
    look: Look
    is_network: bool
    mean: float
    interval: Interval | None
    values: tuple[float, ...]


def draw_dots(
    name: str, title: str, rows: Sequence[Row], *, axis: str, at: float | None, label: str
) -> Drawing:
    """A figure of ``rows``, top to bottom.

    Args:
        axis: what its numbers are.
        at: where to draw a line across all rows: the reference's mean, or no difference.
        label: the figure in words.
    """
    panel = Panel(
        name,
        title,
        height=_ROW * len(rows) + _BOTTOM + 6,
        left=_LEFT,
        right=_RIGHT,
        top=6,
        bottom=_BOTTOM,
    )
    axes = panel.axes
    everything = [v for row in rows for v in (*row.values, row.mean)] + ([] if at is None else [at])
    everything += [v for row in rows if row.interval for v in (row.interval.low, row.interval.high)]
    low, high = window(everything)
    axes.set_xlim(low, high)
    axes.set_ylim(_ROW * len(rows), 0)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    linear_axis(axes, "x")
    axes.set_xlabel(axis)
    if at is not None:
        axes.axvline(at, color=light("muted"), linewidth=1.2, linestyle=(0, (3, 2)))
    inch = (high - low) / (WIDTH - _LEFT - _RIGHT)
    for i, row in enumerate(rows):
        top = _ROW * i
        axes.text(low + 2 * inch, top + _NAME, plain(row.learner, 54), color=light("ink"))
        _draw_row(panel, row, top, low, high)
    return panel.finish(label)


def _draw_row(panel: Panel, row: Row, top: float, low: float, high: float) -> None:
    axes = panel.axes
    colour = light("c0") if row.is_network else light("muted")
    bar, dots = top + _BAR, top + _DOTS
    inside = [v for v in row.values if low <= v <= high]
    if len(row.values) > 1:
        few = len(row.values) <= _FEW
        axes.add_line(
            Line2D(inside, _spread(inside, dots, high - low), linestyle="", marker="o",
                   markersize=5.6 if few else 4.6, markerfacecolor=colour, markeredgewidth=0,
                   alpha=0.6 if few else 0.38)
        )  # fmt: skip
    if row.interval is not None and row.interval.high >= low and row.interval.low <= high:
        ends = [max(row.interval.low, low), min(row.interval.high, high)]
        axes.add_line(Line2D(ends, [bar, bar], color=colour, linewidth=1.8, solid_capstyle="butt"))
        for end, edge, marker in ((row.interval.low, low, "<"), (row.interval.high, high, ">")):
            if end < low or end > high:  # it goes on
                axes.plot([edge], [bar], linestyle="", marker=marker, markersize=6,
                          markerfacecolor=colour, markeredgewidth=0, clip_on=False)  # fmt: skip
    if low <= row.mean <= high:
        axes.plot(
            [row.mean], [bar], linestyle="", marker="o" if row.is_network else "D",
            markersize=8 if row.is_network else 7, markerfacecolor=light("paper"),
            markeredgecolor=colour, markeredgewidth=2.2,
        )  # fmt: skip
    for beyond, place, align, arrow in (
        ([v for v in row.values if v < low], low, "left", "◂ {}"),
        ([v for v in row.values if v > high], high, "right", "{} ▸"),
    ):
        if beyond:
            text = arrow.format(_told(beyond, len(row.values), row.mean))
            axes.text(place, dots + 4, text, color=light("muted"), fontsize=11, ha=align)


def _told(beyond: Sequence[float], count: int, mean: float) -> str:
    """What lies beyond the axis."""
    if len(beyond) == count:
        return f"mean {short_number(round(mean, 2))}"
    worst = short_number(round(min(beyond) if beyond[0] < mean else max(beyond), 2))
    return f"{len(beyond)} of {count}, as far as {worst}" if len(beyond) > 1 else worst


def _spread(values: Sequence[float], y: float, width: float) -> list[float]:
    """Heights of dots such that equal or near values do not hide one another."""
    steps = (0.0, 3.5, -3.5, 6.0, -6.0)
    placed: dict[int, int] = {}
    heights = []
    for value in values:
        place = round(value / width * 80)  # dots are about an eightieth of the axis wide
        heights.append(y + steps[placed.get(place, 0) % len(steps)])
        placed[place] = placed.get(place, 0) + 1
    return heights
