"""The picture of what a network sees in a plane.

Axes: N rows, C classes, G points along each axis of the plane.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from contourpy import contour_generator
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nnexp.runs.figures import DPI, Floats, Picture, drawn, empty_figure, short

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
ROWS_SHOWN = 1000
"""Rows that a decision boundary shows at most."""
GRID = 80
"""Points along each axis at which a decision boundary asks for probabilities, seven pixels apart.

Of a network of four layers of 128 units they take six milliseconds, as much as an epoch of 2,000
rows.
"""

_Renderer: Any = RendererAgg  # which matplotlib has not annotated


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

    Returns:
        [height, width, 3].
    """
    across, up = _axis(x[:, 0]), _axis(x[:, 1])
    plane = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        probabilities = predict(plane.to(x)).cpu().double().reshape(GRID, GRID, -1).numpy()
    every = -(-len(x) // ROWS_SHOWN)
    frame = _frame(
        x[::every].cpu().double().numpy().tobytes(),
        y[::every].cpu().numpy().tobytes(),
        every,
        (across[0].item(), across[-1].item(), up[0].item(), up[-1].item()),
        tuple(class_names),
        title,
        tuple(axis_names),
    )
    return frame.around(_landscape(probabilities, frame.height, frame.width))


def _axis(values: Tensor) -> Tensor:
    """``GRID`` points from a little below the least of ``values`` to a little above the largest."""
    low, high = values.min().item(), values.max().item()
    margin = 0.08 * max(high - low, 1e-6)
    return torch.linspace(low - margin, high + margin, GRID, dtype=torch.float64)


def _landscape(probabilities: Floats, height: int, width: int) -> Picture:
    """Probabilities [G, G, C], from the bottom up, as a picture [height, width, 3] with borders."""
    shades = torch.from_numpy(np.rint(255 * _shades(probabilities)[::-1]).astype(np.uint8))
    pixels = F.interpolate(
        shades[None].permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True
    )
    picture: Picture = pixels[0].permute(1, 2, 0).contiguous().numpy()
    renderer = _Renderer(width, height, DPI)
    pen = renderer.new_gc()
    pen.set_foreground("#333333")
    pen.set_linewidth(0.5 * DPI / 72)  # each line is drawn by the classes on both its sides
    to_pixels = Affine2D().scale(width / (GRID - 1), height / (GRID - 1))
    logits = np.log(np.maximum(probabilities, 1e-30))  # smooth where probabilities jump
    for c in range(logits.shape[-1]):
        lead = logits[..., c] - np.delete(logits, c, axis=-1).max(-1)
        if lead.min() < 0 < lead.max():
            for line in contour_generator(z=lead).lines(0.0):
                renderer.draw_path(pen, Path(np.asarray(line)), to_pixels)
    _Layer.of(np.asarray(renderer.buffer_rgba())).lay_over(picture)
    return picture


def _shades(probabilities: Floats) -> Floats:
    """Probabilities [..., C] as colours [..., 3]: mixed, and the whiter the less sure."""
    classes = probabilities.shape[-1]
    colours = np.array([to_rgb(PALETTE[c % len(PALETTE)]) for c in range(classes)])
    sure = (probabilities.max(-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    shades: Floats = 1 + (0.1 + 0.35 * sure) * (probabilities @ colours - 1)
    return shades


@dataclass(frozen=True)
class _Layer:
    """What is drawn over a picture: its [I] pixels that are not clear."""

    places: NDArray[np.int32]  # [I], counted row by row
    ink: NDArray[np.uint8]  # [I, 4] red, green, blue and opacity

    @classmethod
    def of(cls, drawing: NDArray[np.uint8]) -> _Layer:
        """The layer of a drawing [height, width, 4]."""
        pixels = drawing.reshape(-1, 4)
        places = np.flatnonzero(pixels[:, 3]).astype(np.int32)
        return cls(places, pixels.take(places, axis=0))

    def lay_over(self, picture: Picture) -> None:
        """Change ``picture`` [height, width, 3], of the drawing's size."""
        pixels = picture.reshape(-1, 3)
        behind = pixels.take(self.places, axis=0).astype(np.float32)
        opacity = self.ink[:, 3:] * np.float32(1 / 255)
        pixels[self.places] = behind + (opacity * (self.ink[:, :3] - behind) + np.float32(0.5))


@dataclass(frozen=True)
class _Frame:
    """Rows, ticks, title and legend: what the runs on the same rows share."""

    shape: tuple[int, int]  # height and width of the picture
    box: tuple[slice, slice]  # the plane in it
    layer: _Layer

    @property
    def height(self) -> int:
        """Of the plane, in pixels."""
        return int(self.box[0].stop - self.box[0].start)

    @property
    def width(self) -> int:
        """Of the plane, in pixels."""
        return int(self.box[1].stop - self.box[1].start)

    def around(self, landscape: Picture) -> Picture:
        """The picture with the landscape [height, width, 3] behind the frame."""
        picture = np.full((*self.shape, 3), 255, np.uint8)
        picture[self.box] = landscape
        self.layer.lay_over(picture)
        return picture


@functools.lru_cache(maxsize=64)  # seeds, 0.3 MB each
def _frame(
    rows: bytes,
    labels: bytes,
    every: int,
    extent: tuple[float, float, float, float],
    class_names: tuple[str, ...],
    title: str,
    axis_names: tuple[str, ...],
) -> _Frame:
    """The frame of rows [N, 2] of float64 and labels [N] of int64, one in ``every``, as bytes."""
    x, y = np.frombuffer(rows).reshape(-1, 2), np.frombuffer(labels, np.int64)
    size = float(np.clip(90 / np.sqrt(len(x)), 3.5, 6.0))
    with empty_figure(6.4, 5.2) as figure:
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        for c in range(len(class_names)):
            axes.add_line(_dots(x[y == c], c, size))
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_title(title)
        axes.set_xlabel(short(axis_names[0], 40))
        axes.set_ylabel(short(axis_names[1], 40))
        axes.tick_params(length=2)
        axes.spines[:].set_color("#999999")
        figure.legend(
            [_dots(np.empty((0, 2)), c, 6.0) for c in range(len(class_names))],
            [short(name) for name in class_names],
            title="class" if every == 1 else f"class (1 row in {every})",
            loc="outside right upper",
            ncols=-(-len(class_names) // 20),
            frameon=False,
        )
        drawing = drawn(figure)
        left, bottom, right, top = (round(edge) for edge in axes.bbox.extents)
    height, width, _ = drawing.shape
    box = slice(height - top, height - bottom), slice(left, right)
    return _Frame((height, width), box, _Layer.of(drawing))


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
