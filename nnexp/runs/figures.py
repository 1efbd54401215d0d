"""What matplotlib draws for the pictures of a run, as arrays [height, width, 3] of uint8.

Drawn by the Agg renderer without pyplot, so that neither a display nor anybody's figures and
settings are touched. Importing this module imports matplotlib, a third of a second.

A figure takes matplotlib a tenth of a second, most of it for words and ticks, and a sweep has
hundreds that show the same words. So what runs share is drawn once, and their own numbers and
colours are painted into it by numpy: see ``confusion.py`` and ``boundary.py``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

DPI = 110

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "text.parse_math": False,
    "figure.dpi": DPI,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
}


def short(name: str, length: int = 16) -> str:
    """A name in one line of at most ``length`` characters, its middle left out if need be."""
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    return name[: length // 2] + "…" + name[length // 2 + 1 - length :]


@contextlib.contextmanager
def empty_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure, sizes in inches, drawn in matplotlib's own style whatever the user's is."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in a script that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield Figure(figsize=(width, height), layout="constrained")


def drawn(figure: Figure) -> NDArray[np.uint8]:
    """The figure as [height, width, 4]: red, green, blue and opacity."""
    canvas: Any = FigureCanvasAgg(figure)  # whose methods matplotlib has not annotated
    canvas.draw()
    return np.array(canvas.buffer_rgba())
