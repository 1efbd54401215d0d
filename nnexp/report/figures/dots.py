"""Dots: all splits with mean and interval, and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from nnexp.analysis.types import CriticalDifference, Interval
from nnexp.report.figures.canvas import (
    WIDTH,
    Drawing,
    Panel,
    linear_axis,
    plain,
    short_number,
    window,
)
from nnexp.report.figures.palette import Look, Looks, light

# --------------------------------------------------------------------------------------------------
# All splits as dots, a row a learner, with mean and 95 % interval.
#
# A learner's name stands above its row and not beside it, so that a phone has its whole width for
# the numbers, and thirty learners need no legend.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# The critical-difference diagram of Demšar (2006), turned so that its names have a phone's width.
#
# A row a learner, best first, its mean rank as a dot; bars at the right join those that the test
# cannot tell apart.
# --------------------------------------------------------------------------------------------------

_RANKS_ROW, _RANKS_TOP, _RANKS_BOTTOM = 38, 26, 42
_RANKS_LEFT, _RANKS_BAR = 14, 11


def draw_ranks(
    name: str, title: str, ranks: CriticalDifference, looks: Looks, *, label: str
) -> Drawing:
    """Mean ranks of the learners over the data sets, with the bars of those not told apart."""
    count = len(ranks.learners)
    bars = len(ranks.cliques)
    right = 14 + _RANKS_BAR * bars
    panel = Panel(
        name,
        title,
        height=_RANKS_ROW * count + _RANKS_TOP + _RANKS_BOTTOM,
        left=_RANKS_LEFT,
        right=right,
        top=_RANKS_TOP,
        bottom=_RANKS_BOTTOM,
    )
    axes = panel.axes
    high = max(max(ranks.mean_ranks), 2.0)
    low, high = 1 - 0.04 * (high - 1), high + 0.14 * (high - 1)
    axes.set_xlim(low, high)
    axes.set_ylim(_RANKS_ROW * count, 0)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    linear_axis(axes, "x", ticks=8)
    axes.set_xlabel("mean rank, 1 is best")
    pixel = (high - low) / (WIDTH - _RANKS_LEFT - right)
    for i, (learner, rank) in enumerate(zip(ranks.learners, ranks.mean_ranks, strict=True)):
        look = looks.of(learner)
        y = _RANKS_ROW * i
        axes.text(low + 2 * pixel, y + 13, plain(learner, 46), color=light("ink"))
        axes.plot([low, rank], [y + 26, y + 26], color=light("faint"), linewidth=1.2)
        axes.plot([rank], [y + 26], linestyle="", marker=look.marker or "o", markersize=8,
                  markerfacecolor=look.face, markeredgecolor=look.hex, markeredgewidth=2,
                  clip_on=False)  # fmt: skip
        axes.text(rank + 9 * pixel, y + 30, f"{rank:.2f}", color=light("muted"), fontsize=11)
    for i, (first, last) in enumerate(ranks.cliques):
        x = high + (10 + _RANKS_BAR * i) * pixel
        ends = [_RANKS_ROW * first + 20, _RANKS_ROW * last + 32]
        axes.add_line(Line2D([x, x], ends, linewidth=4, color=light("ink"),
                             solid_capstyle="round", clip_on=False))  # fmt: skip
    width = ranks.critical_difference
    if width is not None and width <= high - low:
        y = -_RANKS_TOP + 16
        axes.add_line(Line2D([low, low + width], [y, y], color=light("ink"), linewidth=2.5,
                             clip_on=False, solid_capstyle="butt"))  # fmt: skip
        axes.text(low + width + 6 * pixel, y + 4, f"critical difference {width:.2f}",
                  fontsize=11, color=light("muted"))  # fmt: skip
    return panel.finish(label)
