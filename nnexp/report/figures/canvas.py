"""One panel: its axes and ticks, and how it is kept as SVG and as PNG."""

from __future__ import annotations

import contextlib
import io
import math
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nnexp.analysis.types import Band
from nnexp.report.figures import palette
from nnexp.report.figures.palette import Look, light
from nnexp.runs.figures import drawn
from nnexp.runs.png import png

# --------------------------------------------------------------------------------------------------
# Axes: the range they show, and ticks in plain numbers.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# One panel with its axes, and how it is kept: as SVG for the page, as PNG with title and legend.
#
# Sizes are in pixels of the page: a figure is so wide that its words are readable on a phone,
# where it fills the screen, and beside another one on a desk. The page sets title and legend
# itself, once for several figures; a PNG goes places alone and carries both.
# --------------------------------------------------------------------------------------------------

WIDTH = 400
_PNG_SCALE = 2
_PER_INCH = 72  # an SVG's pixel is matplotlib's point
_TITLE, _LEGEND_ROW = 30, 19  # heights that the PNG has in addition
_FONT = 12.0

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": _FONT,
    "axes.labelsize": _FONT,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "text.parse_math": False,  # names may have dollars
    "text.color": light("ink"),
    "axes.labelcolor": light("muted"),
    "xtick.labelcolor": light("muted"),
    "ytick.labelcolor": light("muted"),
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.edgecolor": light("faint"),
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": light("grid"),
    "grid.linewidth": 1.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.0,
    "figure.facecolor": light("paper"),
    "svg.fonttype": "none",
    "svg.hashsalt": "nnexp",
    "path.simplify_threshold": 0.25,
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure that is finished."""

    name: str  # of its file, without suffix
    title: str
    svg: str  # an element for the page
    png: bytes  # a file
    note: str = ""  # what is left out or beyond the axis


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """While inside, figures have the report's style, whatever the user's is.

    A PNG of a name in a script that the font lacks shows boxes, without a warning; in the page the
    browser finds a font.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"(?s)Matplotlib currently does not support")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


class Panel:
    """A figure of one plot. ``axes`` is matplotlib's."""

    def __init__(
        self,
        name: str,
        title: str,
        *,
        height: float = 270,
        left: float = 46,
        right: float = 12,
        top: float = 10,
        bottom: float = 42,
    ) -> None:
        self.name, self.title, self._height = name, title, height
        self._figure = Figure(figsize=(WIDTH / _PER_INCH, height / _PER_INCH), dpi=_PER_INCH)
        self._boxes: dict[Axes, tuple[float, float, float, float]] = {}
        self.axes = self.add_axes(left, bottom, WIDTH - left - right, height - top - bottom)

    def add_axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """More axes, their box in pixels from the lower left corner."""
        box = (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height)
        axes = self._figure.add_axes(box)
        self._boxes[axes] = (left, bottom, width, height)
        return axes

    def move(self, axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
        """Place axes elsewhere, as in ``add_axes``."""
        self._boxes[axes] = (left, bottom, width, height)
        axes.set_position(
            (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height)
        )

    def finish(
        self, label: str, legend: Sequence[tuple[str, Look]] = (), note: str = ""
    ) -> Drawing:
        """Both pictures of what has been drawn."""
        self._figure.patch.set_visible(False)
        written = io.StringIO()
        canvas: Any = FigureCanvasSVG(self._figure)  # its methods are not annotated
        canvas.print_svg(written, metadata={"Date": None})
        element = palette.for_page(written.getvalue(), self.name, printable(label))
        self._figure.patch.set_visible(True)
        self._frame(legend)
        picture = png(drawn(self._figure)[..., :3])
        return Drawing(name=self.name, title=self.title, svg=element, png=picture, note=note)

    def _frame(self, legend: Sequence[tuple[str, Look]]) -> None:
        """Add title and legend, and the room for them, for the PNG."""
        names = [plain(name, 50) for name, _ in legend]
        columns = 2 if max((len(name) for name in names), default=0) <= 22 else 1
        below = -(-len(legend) // columns) * _LEGEND_ROW + 8 if legend else 0
        height = self._height + _TITLE + below
        self._figure.set_size_inches(WIDTH / _PER_INCH, height / _PER_INCH)
        for axes, (left, bottom, width, tall) in self._boxes.items():
            axes.set_position(
                (left / WIDTH, (bottom + below) / height, width / WIDTH, tall / height)
            )
        self._figure.text(
            12 / WIDTH, 1 - 20 / height, plain(self.title, 52), fontweight="bold", fontsize=_FONT
        )
        if legend:
            self._figure.legend(
                [handle(look) for _, look in legend],
                names,
                loc="lower left",
                bbox_to_anchor=(4 / WIDTH, 4 / height),
                ncols=columns,
                frameon=False,
                borderpad=0.2,
                labelspacing=0.5,
                handlelength=2.6,
                fontsize=11,
            )
        self._figure.set_dpi(_PER_INCH * _PNG_SCALE)


def handle(look: Look) -> Line2D:
    """A sample of a learner's line."""
    return Line2D([], [], **line_style(look))


def line_style(look: Look) -> dict[str, Any]:
    """What matplotlib's ``plot`` takes to draw a learner's line with its markers."""
    if look.is_grey:
        return {"color": look.hex, "linewidth": 1.0}
    return {
        "color": look.hex,
        "linestyle": (0, look.dashes) if look.dashes else "-",
        "marker": look.marker,
        "markerfacecolor": look.face,
        "markeredgecolor": look.hex,
        "markeredgewidth": 1.4,
    }


def swatch(look: Look) -> str:
    """The same sample as an SVG element for the page."""
    if look.is_grey:
        return palette.swatch(look.colour)
    marker = MarkerStyle(look.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    path = ""
    for polygon in outline.to_polygons(closed_only=True):
        points = np.asarray(polygon, np.float64)[:-1].tolist()
        corners = " ".join(f"{14 + 7.5 * x:.1f} {6 - 7.5 * y:.1f}" for x, y in points)
        path += f"M{corners}Z"
    dashes = " ".join(f"{2 * length:g}" for length in look.dashes)
    return palette.swatch(look.colour, path, dashes, hollow=look.hollow)


def plain(text: str, length: int) -> str:
    """A name in one line of at most ``length`` characters, ``printable``.

    What is left out of a long name is its middle: the ends tell similar names apart.
    """
    name = printable(text)
    if len(name) <= length:
        return name
    return name[: length // 2] + "…" + name[length // 2 + 1 - length :]


def printable(text: str) -> str:
    """A text in one line, without the characters that XML cannot hold."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs", "Cn") else c
        for c in " ".join(text.split())
    )
