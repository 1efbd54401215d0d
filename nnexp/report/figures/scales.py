"""Axes: the range they show, and ticks in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nnexp.comparison.types import Band

_MAX_POINTS = 100  # of a curve: two to a pixel would only make the page larger
_LOG_FROM = 20.0  # a ratio of largest to smallest from which a logarithmic axis is clearer


def window(
    values: Iterable[float], *, pad: float = 0.04, without_lowest: float = 0.0
) -> tuple[float, float]:
    """The range of an axis: that of the values, but for a few far below or above the others.

    A learner that guesses at 0.1 must not squeeze those at 0.97 and 0.98 into one another. Beyond
    four times the interquartile range from the quartiles a value is left out, if that makes the
    axis at least twice as fine.

    Args:
        pad: room beyond the values, as a share of the range.
        without_lowest: the share of the values that may fall below, for curves whose steep
            beginning would flatten their end.
    """
    finite = sorted(v for v in values if math.isfinite(v))
    finite = finite[int(without_lowest * len(finite)) :]
    if not finite:
        return 0.0, 1.0
    low, high = finite[0], finite[-1]
    quarter, three = _quantile(finite, 0.25), _quantile(finite, 0.75)
    reach = 4 * max(three - quarter, 0.005 * max(abs(three), abs(quarter)))
    inner_low = next(v for v in finite if v >= quarter - reach)
    inner_high = next(v for v in reversed(finite) if v <= three + reach)
    if high - low > 2 * (inner_high - inner_low):
        low, high = inner_low, inner_high
    margin = pad * (high - low) if high > low else 0.01 * abs(high) or 0.01
    return low - margin, high + margin


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def wants_log(values: Iterable[float]) -> bool:
    """Whether the values are positive and span so much that a logarithmic axis is clearer."""
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= _LOG_FROM


def log_axis(axes: Axes, which: str, at: Sequence[float] | None = None) -> None:
    """Make an axis logarithmic, with ticks ``at`` the values given, or where there is room."""
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    if at is not None:
        axis.set_major_locator(FixedLocator(_apart(sorted(at), math.log(high / low))))
    else:
        subs = (1.0, 2.0, 5.0) if high / low < 30 else (1.0, 3.0) if high / low < 1000 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def _apart(values: Sequence[float], width: float) -> list[float]:
    """Those of the values whose labels leave one another room, from the largest down."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or math.log(kept[-1] / value) > 0.13 * width:
            kept.append(value)
    return kept


def linear_axis(axes: Axes, which: str, ticks: int = 5, *, whole: bool = False) -> None:
    """Round numbers on an axis (``whole``: no others), without a factor or an offset above it."""
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """``0.05``, ``1,000``, ``1e-5``: at most four digits that matter, a true minus sign."""
    value = round(value, 12)
    if value and (abs(value) < 1e-4 or abs(value) >= 1e7):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        text = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    elif value == int(value):
        text = f"{int(value):,}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def log_window(band_of: Iterable[Band]) -> tuple[float, float]:
    """The range of a logarithmic axis that holds all means, and of their bands what is near.

    The interval of a positive mean may reach 0 or below, which no such axis holds: there it ends
    at the axis' lower edge.
    """
    bands = list(band_of)
    means = [v for band in bands for v in band.mean if math.isfinite(v)]
    ends = [v for band in bands for v in band.high if math.isfinite(v)]
    low, high = min(means) / 2, max(means) * 1.2
    return low, max(high, min(max(ends, default=high), 2 * max(means)))


def thinned(band: Band) -> Band:
    """The band with at most a hundred points, the first and the last among them."""
    count = len(band.x)
    if count <= _MAX_POINTS:
        return band
    kept = [round(i * (count - 1) / (_MAX_POINTS - 1)) for i in range(_MAX_POINTS)]
    x, mean, low, high = (
        tuple(values[i] for i in kept) for values in (band.x, band.mean, band.low, band.high)
    )
    return Band(x=x, mean=mean, low=low, high=high)
