"""The picture of a confusion matrix.

Axes: C classes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from torch import Tensor

from nnexp.results.figures import DPI, Floats, Picture, drawn, empty_figure, short

COUNTS_UP_TO = 20
"""Classes up to which a confusion matrix has its counts written into it."""
NAMES_UP_TO = 120
"""Classes up to which each is named beside it; of more, every second or third is, and so on."""

_WHITE, _DARK = 255, 0x22


def confusion_matrix_picture(counts: Tensor, class_names: Sequence[str], title: str) -> Picture:
    """How often each true class (row) was taken for each class (column): [height, width, 3].

    A cell's colour is its share of its row, so that the diagonal shows each class's recall. The
    scale is that of square roots: one row in a hundred gone astray is seen.

    Args:
        counts: [C, C] of whole numbers.
    """
    table = counts.cpu().numpy()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    classes = len(class_names)
    if classes > NAMES_UP_TO:  # cells of few pixels, which matplotlib knows how to fit
        return _drawn_whole(shares, class_names, title)
    plate = _plate(tuple(class_names), title)
    picture = plate.blank.copy()
    colours = _colours(shares)
    digits = len(str(table.max()))
    for row, column in zip(*np.nonzero(table), strict=True):
        plate.paint(picture, row, column, colours[row, column])
        if classes <= COUNTS_UP_TO:
            grey = _WHITE if shares[row, column] > 0.35 else _DARK
            ink = _ink(str(table[row, column]), min(9.0, 26 / digits))
            plate.stamp(picture, row, column, ink, grey)
    return picture


@dataclass(frozen=True)
class _Plate:
    """The picture of an empty matrix, and how it takes colours: what all runs on the data share."""

    blank: Picture  # all cells of share 0
    weight: NDArray[np.float32]  # [height, width, 1] of a cell's colour in a pixel; 0 is none of it
    across: NDArray[np.int_]  # [C + 1] pixels between which the columns lie
    down: NDArray[np.int_]  # [C + 1], the rows

    def paint(self, picture: Picture, row: int, column: int, colour: NDArray[np.float32]) -> None:
        """Give a cell a colour [3], from 0 to 255."""
        cell = (
            slice(self.down[row], self.down[row + 1]),
            slice(self.across[column], self.across[column + 1]),
        )
        picture[cell] = self.blank[cell] + self.weight[cell] * (colour - _NO_SHARE) + 0.5

    def stamp(
        self, picture: Picture, row: int, column: int, ink: NDArray[np.float32], grey: int
    ) -> None:
        """Print ``ink`` into the middle of a cell."""
        height, width, _ = ink.shape
        top = (self.down[row] + self.down[row + 1] - height + 1) // 2
        left = (self.across[column] + self.across[column + 1] - width + 1) // 2
        spot = picture[top : top + height, left : left + width]
        spot[:] = spot + ink * (np.float32(grey) - spot) + np.float32(0.5)


def _colours(shares: Floats) -> NDArray[np.float32]:
    """Shares [...] as colours [..., 3] from 0 to 255."""
    colours = mpl.colormaps["Blues"](np.asarray(_scale()(shares)), bytes=True)
    return np.asarray(colours[..., :3], np.float32)


def _scale() -> PowerNorm:
    return PowerNorm(0.5, 0, 1)


_NO_SHARE, _WHOLE_SHARE = _colours(np.array([0.0, 1.0]))


@functools.lru_cache(maxsize=4)  # 3 MB each for 10 classes, 14 MB for 120
def _plate(class_names: tuple[str, ...], title: str) -> _Plate:
    classes = len(class_names)
    with _figure_of(classes) as figure:
        image = _draw(figure, np.zeros((classes, classes)), class_names, title)
        blank = drawn(figure)[..., :3].copy()
        figure.set_layout_engine("none")  # all stays where it is
        image.set_data(np.ones((classes, classes)))
        full = drawn(figure)[..., :3]
        edges = np.arange(classes + 1) - 0.5
        corners = image.axes.transData.transform(np.stack([edges, edges], axis=1))
    weight = (full[..., :1] - blank[..., :1].astype(np.float32)) / (_WHOLE_SHARE - _NO_SHARE)[0]
    across, down = np.rint(corners[:, 0]), np.rint(len(blank) - corners[:, 1])
    return _Plate(blank, weight, across.astype(int), down.astype(int))


@functools.lru_cache(maxsize=4096)
def _ink(text: str, points: float) -> NDArray[np.float32]:
    """How much of each pixel [height, width, 1] around its centre a text covers."""
    with empty_figure(44 / DPI, 22 / DPI) as figure:
        figure.set_layout_engine("none")
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=points, color="black")
        return np.asarray(1 - drawn(figure)[..., :1] / 255, np.float32)


def _drawn_whole(shares: Floats, class_names: Sequence[str], title: str) -> Picture:
    with _figure_of(len(class_names)) as figure:
        _draw(figure, shares, class_names, title)
        return drawn(figure)[..., :3].copy()


def _inches(classes: int) -> float:
    """The side of the matrix."""
    return float(np.clip(max(0.42 * min(classes, COUNTS_UP_TO), 0.11 * classes), 2.4, 11.0))


def _figure_of(classes: int) -> contextlib.AbstractContextManager[Figure]:
    return empty_figure(_inches(classes) + 2.2, _inches(classes) + 1.4)


def _draw(figure: Figure, shares: Floats, class_names: Sequence[str], title: str) -> AxesImage:
    """Draw all but the counts."""
    classes = len(class_names)
    cell = 72 * _inches(classes) / classes  # points
    size = float(np.clip(0.75 * cell, 5.0, 9.0))
    names = [short(name) for name in class_names]
    fits = 0.7 * size * max(map(len, names)) < cell
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", norm=_scale())
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
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, ticks=ticks, format="{x:.0%}")
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return image
