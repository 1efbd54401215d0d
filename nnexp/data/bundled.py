"""The real data sets that come with scikit-learn.

Importing ``sklearn.datasets`` takes about a second, reading its files about 20 ms. So the files
are read from where scikit-learn is installed. Should they not be as expected, scikit-learn's own
loaders are asked; both ways give the same numbers (tests/test_data_bundled.py).
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnexp.config.schema import BundledConfig
from nnexp.data.types import Doubles, Indices, Source


class _Parts(NamedTuple):
    x: Doubles
    y: Indices
    class_names: tuple[str, ...]


_FILES = {
    "digits": "digits.csv.gz",
    "iris": "iris.csv",
    "wine": "wine_data.csv",
    "breast_cancer": "breast_cancer.csv",
}
_SHAPES = {"digits": (1797, 64), "iris": (150, 4), "wine": (178, 13), "breast_cancer": (569, 30)}
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
    if name == "digits":  # no header
        lines = gzip.decompress(content).decode().splitlines()
        class_names = tuple(map(str, range(10)))
    else:  # a header: number of rows, number of features, class names
        header, *lines = content.decode().splitlines()
        class_names = tuple(header.split(",")[2:])
    rows, features = _SHAPES[name]
    if len(lines) != rows:
        raise ValueError(f"{_FILES[name]} has {len(lines)} rows, not {rows}")
    table = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)
    y = table[:, -1].astype(np.int64)
    if table.shape[1] != features + 1 or set(y) != set(range(len(class_names))):
        raise ValueError(f"{_FILES[name]} has other columns")
    return _Parts(np.ascontiguousarray(table[:, :-1]), y, class_names)


def _ask_sklearn(name: str) -> _Parts:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    return _Parts(
        bunch.data.astype(np.float64),
        bunch.target.astype(np.int64),
        tuple(map(str, bunch.target_names)),
    )
