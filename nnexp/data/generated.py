"""Points in the plane with a known answer.

moons, circles and blobs follow scikit-learn's make_moons, make_circles and make_blobs; without
noise, moons and circles are the same points (tests/test_data_generated.py). They are computed here
so that scikit-learn's import, about a second, is not waited for, and so that they come from this
project's own random streams.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnexp.config.schema import GeneratedConfig
from nnexp.data.types import Doubles, Indices, Source
from nnexp.randomness import normal, random_bits

# Coordinates are rounded to this grid: the last bits of cos and sin differ between platforms, and
# a data set and its fingerprint should not.
_GRID = 2.0**-20


def load_generated(config: GeneratedConfig) -> Source:
    """``config.rows`` points, the classes one after the other, each with as many to within one."""
    num_classes, place = _SHAPES[config.generator]
    counts = [
        config.rows // num_classes + (label < config.rows % num_classes)
        for label in range(num_classes)
    ]
    exact = np.concatenate(
        [place(label, count, config.seed) for label, count in enumerate(counts) if count]
    )
    drawn = normal(exact.size, config.seed, f"dataset/{config.generator}/noise")
    x = np.round((exact + config.noise * drawn.reshape(exact.shape)) / _GRID) * _GRID
    y: Indices = np.repeat(np.arange(num_classes, dtype=np.int64), counts)
    return Source(
        name=config.name,
        x=x + 0.0,  # no negative zeros
        y=y,
        class_names=tuple(map(str, range(num_classes))),
        feature_names=("x0", "x1"),
    )


def _moon(label: int, count: int, seed: int) -> Doubles:
    """The upper half of the unit circle, or the lower half moved to (1, 0.5)."""
    angle = np.linspace(0, np.pi, count)
    if label == 0:
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)


def _circle(label: int, count: int, seed: int) -> Doubles:
    """The unit circle, or the circle of radius 0.5."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = (1.0, 0.5)[label]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _blob(label: int, count: int, seed: int) -> Doubles:
    """One corner of an equilateral triangle on the unit circle; the noise makes the blob."""
    angle = np.pi / 2 + 2 * np.pi * label / 3
    return np.tile(np.array([np.cos(angle), np.sin(angle)]), (count, 1))


def _corners(label: int, count: int, seed: int) -> Doubles:
    """Two opposite corners of the square from -1 to 1 in turn; the noise makes the blobs.

    The class is 1 where the signs of the two coordinates differ.
    """
    sign = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    return np.stack([sign, -sign if label else sign], axis=1)


def _spiral(label: int, count: int, seed: int) -> Doubles:
    """An arm of two turns, from the centre to radius 1; the second arm is turned by half a turn.

    The root spaces the points evenly along the arm.
    """
    radius = np.sqrt((np.arange(count) + 0.5) / count)
    angle = 4 * np.pi * radius + np.pi * label
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _field(label: int, count: int, seed: int) -> Doubles:
    """Uniform points on the fields of one colour of a 4 x 4 board from -2 to 2.

    The class is 1 where the sum of the rounded-down coordinates is odd. Noise is added after.
    """
    bits = random_bits(3 * count, seed, "dataset/checkerboard", label)
    field = bits[:count] >> np.uint64(61)  # 0 to 7: the fields of one colour
    row, pair = field // 2, field % 2
    column = 2 * pair + (row + label) % 2
    corner = np.stack([column, row], axis=1).astype(np.float64) - 2
    odd = 2 * (bits[count:] >> np.uint64(45)) + 1  # 1 to 2**20 - 1: never on a field's edge
    return corner + odd.astype(np.float64).reshape(count, 2) * _GRID


_SHAPES: dict[str, tuple[int, Callable[[int, int, int], Doubles]]] = {
    "moons": (2, _moon),
    "circles": (2, _circle),
    "blobs": (3, _blob),
    "xor": (2, _corners),
    "spirals": (2, _spiral),
    "checkerboard": (2, _field),
}
