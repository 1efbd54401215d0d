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
_HALF = np.float32(0.5)  # added before the fraction is cut off

Weights = NDArray[np.float32]


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
    return picture.reshape(len(picture), -1, 3)


@dataclass(frozen=True)
class _Plate:
    """The picture of an empty matrix, and how it takes colours: what all runs on the data share.

    A picture has the shape [height, 3 * width] here, which numpy is faster with. In a pixel, a
    cell's colour has the share ``weight_down * weight_across``, and the lines around it the rest.
    """

    blank: Picture  # all cells of share 0
    weight_down: Weights  # [height, 1]
    weight_across: Weights  # [width, 1]
    down: NDArray[np.int_]  # [C + 1] pixels between which the rows lie
    across: NDArray[np.int_]  # [C + 1], the columns

    def paint(self, picture: Picture, row: int, column: int, colour: Weights) -> None:
        """Give a cell a colour [3], from 0 to 255."""
        top, bottom = self.down[row : row + 2]
        left, right = self.across[column : column + 2]
        change = (self.weight_across[left:right] * (colour - _NO_SHARE)).ravel()
        cell = (slice(top, bottom), slice(3 * left, 3 * right))
        picture[cell] = self.blank[cell] + (self.weight_down[top:bottom] * change + _HALF)

    def stamp(self, picture: Picture, row: int, column: int, ink: Weights, grey: int) -> None:
        """Print ``ink`` [height, 3 * width] into the middle of a cell."""
        height, width = ink.shape[0], ink.shape[1] // 3
        top = (self.down[row] + self.down[row + 1] - height + 1) // 2
        left = (self.across[column] + self.across[column + 1] - width + 1) // 2
        spot = picture[top : top + height, 3 * left : 3 * (left + width)]
        spot[:] = spot + (ink * (np.float32(grey) - spot) + _HALF)


_SCALE = PowerNorm(0.5, 0, 1)
_BLUES = mpl.colormaps["Blues"]


def _colours(shares: Floats) -> Weights:
    """Shares [...] as colours [..., 3] from 0 to 255."""
    colours = _BLUES(np.asarray(_SCALE(shares)), bytes=True)
    return np.asarray(colours[..., :3], np.float32)


_NO_SHARE, _WHOLE_SHARE = _colours(np.array([0.0, 1.0]))


@functools.lru_cache(maxsize=4)  # 1.3 MB each for 10 classes, 6 MB for 120
def _plate(class_names: tuple[str, ...], title: str) -> _Plate:
    classes = len(class_names)
    with _figure_of(classes) as figure:
        image = _draw(figure, np.zeros((classes, classes)), class_names, title)
        blank = drawn(figure)[..., :3]
        figure.set_layout_engine("none")  # all stays where it is
        image.set_data(np.ones((classes, classes)))
        full = drawn(figure)[..., :3]
        edges = np.arange(classes + 1) - 0.5
        corners = image.axes.transData.transform(np.stack([edges, edges], axis=1))
    across = np.rint(corners[:, 0]).astype(int)
    down = np.rint(len(blank) - corners[:, 1]).astype(int)
    change = full[..., :1].astype(np.float32) - blank[..., :1]
    weight = np.asarray(change / (_WHOLE_SHARE - _NO_SHARE)[0], np.float32)
    return _Plate(
        blank=blank.reshape(len(blank), -1),
        weight_down=weight[:, (across[0] + across[1]) // 2],  # through the middle of a cell
        weight_across=weight[(down[0] + down[1]) // 2],
        down=down,
        across=across,
    )


@functools.lru_cache(maxsize=4096)
def _ink(text: str, points: float) -> Weights:
    """How much of each pixel [height, 3 * width] around its centre a text covers."""
    with empty_figure(44 / DPI, 22 / DPI) as figure:
        figure.set_layout_engine("none")
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=points, color="black")
        white = drawn(figure)[..., :3]
        return np.asarray(1 - white.reshape(len(white), -1) / 255, np.float32)


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
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, ticks=ticks, format="{x:.0%}")
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return image
