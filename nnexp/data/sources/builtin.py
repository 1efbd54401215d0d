"""Data sets that need no file of the user's: scikit-learn's bundled ones and generated points."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnexp.config.schema import BundledConfig, GeneratedConfig
from nnexp.data.source import Doubles, Indices, Source
from nnexp.rng import normal, random_bits

# --------------------------------------------------------------------------------------------------
# The real data sets that come with scikit-learn.
#
# Importing ``sklearn.datasets`` takes about a second, reading its files about 20 ms. So the files
# are read from where scikit-learn is installed. Should they not be as expected, scikit-learn's own
# loaders are asked; both ways give the same numbers (tests/data/test_bundled.py).
# --------------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    x: Doubles
    y: Indices | Doubles
    class_names: tuple[str, ...]  # () of a regression


_FILES = {
    "digits": "digits.csv.gz",
    "iris": "iris.csv",
    "wine": "wine_data.csv",
    "breast_cancer": "breast_cancer.csv",
    "diabetes": "diabetes_data_raw.csv.gz",
}
_TARGETS = {"diabetes": "diabetes_target.csv.gz"}  # of a regression, in a file of their own
_BUNDLED_SHAPES = {
    "digits": (1797, 64),
    "iris": (150, 4),
    "wine": (178, 13),
    "breast_cancer": (569, 30),
    "diabetes": (442, 10),
}
_CELL_MEASURES = (
    "radius", "texture", "perimeter", "area", "smoothness",
    "compactness", "concavity", "concave points", "symmetry", "fractal dimension",
)  # fmt: skip
_FEATURE_NAMES = {
    "digits": tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": (
        "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols",
        "flavanoids", "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue",
        "od280/od315_of_diluted_wines", "proline",
    ),
    "breast_cancer": (
        *(f"mean {measure}" for measure in _CELL_MEASURES),
        *(f"{measure} error" for measure in _CELL_MEASURES),
        *(f"worst {measure}" for measure in _CELL_MEASURES),
    ),
    "diabetes": ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
}  # fmt: skip


def load_bundled(config: BundledConfig) -> Source:
    """One of scikit-learn's bundled data sets; the pixels of digits, 0 to 16, become [0, 1]."""
    try:
        parts = _read(config.source)
    except (OSError, ValueError, EOFError, zlib.error):
        parts = _ask_sklearn(config.source)
    is_digits = config.source == "digits"
    return Source(
        name=config.name,
        x=parts.x,
        y=parts.y,
        class_names=parts.class_names,
        feature_names=_FEATURE_NAMES[config.source],
        unit=1 / 16 if is_digits else 1.0,
        image_shape=(8, 8) if is_digits else None,
    )


def _folder() -> Path:
    """scikit-learn's folder of data files, found without importing scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("scikit-learn is not installed as files")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def _read(name: str) -> _Parts:
    """The file of a data set.

    Raises:
        OSError, ValueError, EOFError, zlib.error: the file is absent or not as expected.
    """
    content = (_folder() / _FILES[name]).read_bytes()
    if name in _TARGETS:
        return _read_regression(name, content)
    if name == "digits":  # no header
        lines = gzip.decompress(content).decode().splitlines()
        class_names = tuple(map(str, range(10)))
    else:  # a header: number of rows, number of features, class names
        header, *lines = content.decode().splitlines()
        class_names = tuple(header.split(",")[2:])
    rows, features = _BUNDLED_SHAPES[name]
    if len(lines) != rows:
        raise ValueError(f"{_FILES[name]} has {len(lines)} rows, not {rows}")
    table = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)
    y = table[:, -1].astype(np.int64)
    if table.shape[1] != features + 1 or set(y) != set(range(len(class_names))):
        raise ValueError(f"{_FILES[name]} has other columns")
    return _Parts(np.ascontiguousarray(table[:, :-1]), y, class_names)


def _read_regression(name: str, content: bytes) -> _Parts:
    """Two files without headers: features between blanks, and the target. Raises as ``_read``."""
    lines = gzip.decompress(content).decode().splitlines()
    if len(lines) != _BUNDLED_SHAPES[name][0]:
        raise ValueError(f"{_FILES[name]} has {len(lines)} rows")
    x = np.loadtxt(lines, np.float64, ndmin=2)
    target = gzip.decompress((_folder() / _TARGETS[name]).read_bytes()).decode().split()
    y = np.array(target, np.float64)
    if x.shape != _BUNDLED_SHAPES[name] or len(y) != len(x):
        raise ValueError(f"{_FILES[name]} has another shape")
    return _Parts(x, y, ())


def _ask_sklearn(name: str) -> _Parts:
    from sklearn import datasets

    if name in _TARGETS:
        told = getattr(datasets, f"load_{name}")(scaled=False)
        return _Parts(told.data.astype(np.float64), told.target.astype(np.float64), ())
    bunch = getattr(datasets, f"load_{name}")()
    return _Parts(
        bunch.data.astype(np.float64),
        bunch.target.astype(np.int64),
        tuple(map(str, bunch.target_names)),
    )


# --------------------------------------------------------------------------------------------------
# Points in the plane with a known answer.
#
# moons, circles and blobs follow scikit-learn's make_moons, make_circles and make_blobs; without
# noise, moons and circles are the same points (tests/data/test_generated.py). They are computed
# here so that scikit-learn's import, about a second, is not waited for, and so that they come from
# this project's own random streams.
# --------------------------------------------------------------------------------------------------

# Coordinates are rounded to this grid: the last bits of cos and sin differ between platforms, and
# a data set and its fingerprint should not.
_GRID = 2.0**-20


def load_generated(config: GeneratedConfig) -> Source:
    """``config.rows`` points, the classes one after the other, each with as many to within one."""
    num_classes, place = _GENERATED_SHAPES[config.generator]
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


_GENERATED_SHAPES: dict[str, tuple[int, Callable[[int, int, int], Doubles]]] = {
    "moons": (2, _moon),
    "circles": (2, _circle),
    "blobs": (3, _blob),
    "xor": (2, _corners),
    "spirals": (2, _spiral),
    "checkerboard": (2, _field),
}
