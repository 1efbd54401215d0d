"""The picture of a confusion matrix.

Axes: C classes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from torch import Tensor

from nnexp.runs.figures import DPI, Floats, Picture, drawn, empty_figure, short
from nnexp.runs.png import Likeness, png

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
    if len(class_names) > NAMES_UP_TO:  # cells of few pixels, which matplotlib knows how to fit
        return _drawn_whole(counts.cpu().numpy(), class_names, title)
    return _plate(tuple(class_names), title).picture(counts.cpu().numpy())


def confusion_matrix_png(counts: Tensor, class_names: Sequence[str], title: str) -> bytes:
    """The same picture as a PNG file."""
    picture = confusion_matrix_picture(counts, class_names, title)
    if len(class_names) > NAMES_UP_TO:
        return png(picture)
    return _plate(tuple(class_names), title).likeness.png(picture)


class _Plate:
    """The picture of an empty matrix, and how it takes counts: what all runs on the data share.

    A picture has the shape [height, 3 * width] here, which numpy is faster with. In a pixel, a
    cell's colour has the share ``weight_down * weight_across``, and the lines around it the rest.

    Args:
        blank: all cells of share 0.
        weight_down: [height, 1]; weight_across: [width, 1].
        down: [C + 1] pixels between which the rows lie; across: [C + 1], the columns.
    """

    def __init__(
        self,
        blank: Picture,
        weight_down: Weights,
        weight_across: Weights,
        down: NDArray[np.int_],
        across: NDArray[np.int_],
    ) -> None:
        self.blank = blank
        self.likeness = Likeness(blank.reshape(len(blank), -1, 3))
        self._weight_down, self._weight_across = weight_down, weight_across
        self.down, self.across = down, across
        # Small counts and full diagonals come again and again: 6 kB each for 10 classes.
        self._cell = functools.lru_cache(maxsize=1024)(self._painted)

    def picture(self, table: NDArray[np.int64]) -> Picture:
        """The picture [height, width, 3] of counts [C, C]."""
        picture = self.blank.copy()
        totals = table.sum(axis=1).tolist()
        digits = len(str(table.max()))
        for row, column in zip(*(i.tolist() for i in np.nonzero(table)), strict=True):
            count = int(table[row, column])
            cell = self._cell(row, column, count, totals[row], digits)
            picture[self._place(row, column)] = cell
        return picture.reshape(len(picture), -1, 3)

    def _place(self, row: int, column: int) -> tuple[slice, slice]:
        return (
            slice(self.down[row], self.down[row + 1]),
            slice(3 * self.across[column], 3 * self.across[column + 1]),
        )

    def _painted(self, row: int, column: int, count: int, total: int, digits: int) -> Picture:
        """A cell with a share's colour and, where there is room, its count."""
        share = count / total
        place = self._place(row, column)
        left, right = self.across[column : column + 2]
        colour = _colours(np.array([share]))[0]
        change = (self._weight_across[left:right] * (colour - _NO_SHARE)).ravel()
        cell: Picture = np.empty_like(self.blank[place])
        cell[:] = self.blank[place] + (self._weight_down[place[0]] * change + _HALF)
        if len(self.down) - 1 <= COUNTS_UP_TO:
            ink = _ink(str(count), min(9.0, 26 / digits))
            height, width = ink.shape[0], ink.shape[1] // 3
            top = (self.down[row] + self.down[row + 1] - height + 1) // 2 - self.down[row]
            left = (left + right - width + 1) // 2 - left
            # The margin around the ink can be larger than the cell.
            ink = ink[max(-top, 0) :, 3 * max(-left, 0) :][: len(cell), : cell.shape[1]]
            top, left = max(top, 0), max(left, 0)
            spot = cell[top : top + len(ink), 3 * left : 3 * left + ink.shape[1]]
            spot[:] = spot + (ink * (np.float32(_grey(share)) - spot) + _HALF)
        return cell


def _grey(share: float) -> int:
    """Of the count in a cell, which must be seen on its colour."""
    return _WHITE if share > 0.35 else _DARK


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


def _drawn_whole(table: NDArray[np.int64], class_names: Sequence[str], title: str) -> Picture:
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
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
