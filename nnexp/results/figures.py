"""Pictures of what a network has learned, as arrays [height, width, 3] of uint8.

Drawn by matplotlib's Agg renderer without pyplot, so that neither a display nor anybody's figures
and settings are touched. Importing this module imports matplotlib, a third of a second.

Axes: N rows, C classes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#595959",
)
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), their black as a grey."""

MARKERS = "os^Dv<p"
COUNTS_UP_TO = 20
"""Classes up to which a confusion matrix has its counts written into it."""
NAMES_UP_TO = 120
"""Classes up to which each is named beside it; of more, every second or third is, and so on."""
ROWS_SHOWN = 1000
"""Rows that a decision boundary shows at most."""
GRID = 250
"""Points along each axis at which a decision boundary asks for probabilities."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "text.parse_math": False,
    "figure.dpi": 110.0,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
}


def confusion_matrix_picture(counts: Tensor, class_names: Sequence[str], title: str) -> Picture:
    """How often each true class (row) was taken for each class (column).

    A cell's colour is its share of its row, so that the diagonal shows each class's recall. The
    scale is that of square roots: one row in a hundred gone astray is seen.

    Args:
        counts: [C, C] of whole numbers.
    """
    table = counts.cpu().numpy()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    classes = len(class_names)
    inches = float(np.clip(max(0.42 * min(classes, COUNTS_UP_TO), 0.11 * classes), 2.4, 11.0))
    cell = 72 * inches / classes  # points
    size = float(np.clip(0.75 * cell, 5.0, 9.0))
    names = [_short(name) for name in class_names]
    fits = 0.7 * size * max(map(len, names)) < cell
    with _figure(inches + 2.2, inches + 1.4) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
        axes.set_title(title)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        every = -(-classes // NAMES_UP_TO)
        named = np.arange(0, classes, every)
        axes.set_xticks(named, names[::every], rotation=0 if fits else 90, fontsize=size)
        axes.set_yticks(named, names[::every], fontsize=size)
        edges = named - 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color="#E5E5E5", linewidth=min(0.8, 12 / classes))
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        if classes <= COUNTS_UP_TO:
            _write_counts(axes, table, shares)
        ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, ticks=ticks, format="{x:.0%}")
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        return _drawn(figure)


def decision_boundary_picture(
    predict: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    class_names: Sequence[str],
    title: str,
    axis_names: Sequence[str],
) -> Picture:
    """Which class a network sees where in a plane, and how surely, under the rows it learned from.

    A point's colour mixes the classes' colours by their probabilities, paler where they disagree;
    a dark line runs where the most probable class changes.

    Args:
        predict: maps [N, 2] to probabilities [N, C].
        x: [N, 2], the rows to draw; at most ``ROWS_SHOWN`` of them, evenly picked, are.
        y: [N], their classes.
        axis_names: of the two features.
    """
    across, up = _axis(x[:, 0]), _axis(x[:, 1])
    plane = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        probabilities = predict(plane.to(x)).cpu().double().reshape(GRID, GRID, -1).numpy()
    every = -(-len(x) // ROWS_SHOWN)
    rows, labels = x[::every].cpu().numpy(), y[::every].cpu().numpy()
    size = float(np.clip(90 / np.sqrt(len(rows)), 3.5, 6.0))
    extent = (across[0].item(), across[-1].item(), up[0].item(), up[-1].item())
    with _figure(6.4, 5.2) as figure:
        axes = figure.add_subplot()
        shades = _shades(probabilities)
        axes.imshow(shades, extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
        for c in range(len(class_names)):
            lead = probabilities[..., c] - np.delete(probabilities, c, axis=-1).max(-1)
            if lead.min() < 0 < lead.max():
                axes.contour(across, up, lead, levels=[0], colors="#333333", linewidths=0.7)
            axes.add_line(_dots(rows[labels == c], c, size))
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_title(title)
        axes.set_xlabel(_short(axis_names[0], 40))
        axes.set_ylabel(_short(axis_names[1], 40))
        axes.tick_params(length=2)
        axes.spines[:].set_color("#999999")
        figure.legend(
            [_dots(np.empty((0, 2)), c, 6.0) for c in range(len(class_names))],
            [_short(name) for name in class_names],
            title="class" if every == 1 else f"class (1 row in {every})",
            loc="outside right upper",
            ncols=-(-len(class_names) // 20),
            frameon=False,
        )
        return _drawn(figure)


def _axis(values: Tensor) -> Tensor:
    """``GRID`` points from a little below the least of ``values`` to a little above the largest."""
    low, high = values.min().item(), values.max().item()
    margin = 0.08 * max(high - low, 1e-6)
    return torch.linspace(low - margin, high + margin, GRID, dtype=torch.float64)


def _dots(rows: NDArray[np.floating], c: int, size: float) -> Line2D:
    """The rows [N, 2] of class ``c``; colours and markers come round at different counts."""
    return Line2D(
        rows[:, 0],
        rows[:, 1],
        linestyle="none",
        marker=MARKERS[c % len(MARKERS)],
        markersize=size,
        markerfacecolor=PALETTE[c % len(PALETTE)],
        markeredgecolor="#222222",
        markeredgewidth=0.4,
    )


def _write_counts(axes: Axes, table: NDArray[np.int64], shares: Floats) -> None:
    digits = len(str(table.max()))
    for (row, column), count in np.ndenumerate(table):
        if count:
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                fontsize=min(9.0, 26 / digits),
                color="white" if shares[row, column] > 0.35 else "#222222",
            )


def _shades(probabilities: Floats) -> Floats:
    """Probabilities [..., C] as colours [..., 3]: mixed, and the whiter the less sure."""
    classes = probabilities.shape[-1]
    colours = np.array([to_rgb(PALETTE[c % len(PALETTE)]) for c in range(classes)])
    sure = (probabilities.max(-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    shades: Floats = 1 + (0.1 + 0.35 * sure) * (probabilities @ colours - 1)
    return shades


def _short(name: str, length: int = 16) -> str:
    """A name in one line of at most ``length`` characters, its middle left out if need be."""
    name = " ".join(name.split())
    if len(name) <= length:
        return name
    return name[: length // 2] + "…" + name[length // 2 + 1 - length :]


@contextlib.contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure, sizes in inches, drawn in matplotlib's own style whatever the user's is."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in a script that the font lacks
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield Figure(figsize=(width, height), layout="constrained")


def _drawn(figure: Figure) -> Picture:
    canvas: Any = FigureCanvasAgg(figure)  # whose methods matplotlib has not annotated
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3].copy()
