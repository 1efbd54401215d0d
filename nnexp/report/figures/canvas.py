"""One panel with its axes, and how it is kept: as SVG for the page, as PNG with title and legend.

Sizes are in pixels of the page: a figure is so wide that its words are readable on a phone, where
it fills the screen, and beside another one on a desk. The page sets title and legend itself, once
for several figures; a PNG goes places alone and carries both.
"""

from __future__ import annotations

import contextlib
import io
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from nnexp.report.figures import svg
from nnexp.report.figures.palette import Look, light
from nnexp.results.figures import drawn
from nnexp.results.png import png

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
        element = svg.for_page(written.getvalue(), self.name, printable(label))
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
        return svg.swatch(look.colour)
    marker = MarkerStyle(look.marker)
    outline = marker.get_path().transformed(marker.get_transform())
    path = ""
    for polygon in outline.to_polygons(closed_only=True):
        points = np.asarray(polygon, np.float64)[:-1].tolist()
        corners = " ".join(f"{14 + 7.5 * x:.1f} {6 - 7.5 * y:.1f}" for x, y in points)
        path += f"M{corners}Z"
    dashes = " ".join(f"{2 * length:g}" for length in look.dashes)
    return svg.swatch(look.colour, path, dashes, hollow=look.hollow)


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
