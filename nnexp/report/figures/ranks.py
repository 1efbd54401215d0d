"""The critical-difference diagram of Demšar (2006), turned so that its names have a phone's width.

A row a learner, best first, its mean rank as a dot; bars at the right join those that the test
cannot tell apart.
"""

from __future__ import annotations

from matplotlib.lines import Line2D

from nnexp.comparison.types import CriticalDifference
from nnexp.report.figures.canvas import WIDTH, Drawing, Panel, plain
from nnexp.report.figures.palette import Looks, light
from nnexp.report.figures.scales import linear_axis

_ROW, _TOP, _BOTTOM = 38, 26, 42
_LEFT, _BAR = 14, 11


def draw_ranks(
    name: str, title: str, ranks: CriticalDifference, looks: Looks, *, label: str
) -> Drawing:
    """Mean ranks of the learners over the data sets, with the bars of those not told apart."""
    count = len(ranks.learners)
    bars = len(ranks.cliques)
    right = 14 + _BAR * bars
    panel = Panel(name, title, height=_ROW * count + _TOP + _BOTTOM, left=_LEFT, right=right,
                  top=_TOP, bottom=_BOTTOM)  # fmt: skip
    axes = panel.axes
    high = max(max(ranks.mean_ranks), 2.0)
    low, high = 1 - 0.04 * (high - 1), high + 0.14 * (high - 1)
    axes.set_xlim(low, high)
    axes.set_ylim(_ROW * count, 0)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    linear_axis(axes, "x", ticks=8)
    axes.set_xlabel("mean rank, 1 is best")
    pixel = (high - low) / (WIDTH - _LEFT - right)
    for i, (learner, rank) in enumerate(zip(ranks.learners, ranks.mean_ranks, strict=True)):
        look = looks.of(learner)
        y = _ROW * i
        axes.text(low + 2 * pixel, y + 13, plain(learner, 46), color=light("ink"))
        axes.plot([low, rank], [y + 26, y + 26], color=light("faint"), linewidth=1.2)
        axes.plot([rank], [y + 26], linestyle="", marker=look.marker or "o", markersize=8,
                  markerfacecolor=look.face, markeredgecolor=look.hex, markeredgewidth=2,
                  clip_on=False)  # fmt: skip
        axes.text(rank + 9 * pixel, y + 30, f"{rank:.2f}", color=light("muted"), fontsize=11)
    for i, (first, last) in enumerate(ranks.cliques):
        x = high + (10 + _BAR * i) * pixel
        ends = [_ROW * first + 20, _ROW * last + 32]
        axes.add_line(Line2D([x, x], ends, linewidth=4, color=light("ink"),
                             solid_capstyle="round", clip_on=False))  # fmt: skip
    width = ranks.critical_difference
    if width is not None and width <= high - low:
        y = -_TOP + 16
        axes.add_line(Line2D([low, low + width], [y, y], color=light("ink"), linewidth=2.5,
                             clip_on=False, solid_capstyle="butt"))  # fmt: skip
        axes.text(low + width + 6 * pixel, y + 4, f"critical difference {width:.2f}",
                  fontsize=11, color=light("muted"))  # fmt: skip
    return panel.finish(label)
