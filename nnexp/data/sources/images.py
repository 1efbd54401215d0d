"""Arrays as IDX files: MNIST, its relatives, and images of any size.

Axes: ``N`` rows of a file, ``M`` of all files.
"""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.config.schema import IDXConfig, IDXFile
from nnexp.data.source import Indices, RawTable, Source
from nnexp.data.sources.files import fetch, unpack
from nnexp.errors import ConfigError, DataError

# --------------------------------------------------------------------------------------------------
# The IDX format of MNIST: a magic number, the dimensions, then the values.
#
#     bytes 0, 1   zero
#     byte  2      type of the values
#     byte  3      number of dimensions
#     4 bytes each dimension, big-endian
#     the values, big-endian, the last dimension changing fastest
#
# Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
# --------------------------------------------------------------------------------------------------

_MOST_DIMENSIONS = 16  # of a file; more are not an IDX file but chance
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def parse_idx(content: bytes, file: str) -> NDArray[Any]:
    """Return the array of an unpacked IDX file, of any of its types and dimensions.

    Raises:
        DataError: not such a file, truncated, or with bytes left over. ``file`` is named.
    """
    known = content[:2] == b"\0\0" and content[2:3] and content[2] in _TYPES
    if not known or not content[3:4] or not 1 <= content[3] <= _MOST_DIMENSIONS:
        raise DataError(f"{file}: begins with 0x{content[:4].hex()}: not an IDX file")
    num_dimensions = content[3]
    head = 4 + 4 * num_dimensions
    if len(content) < head:
        raise DataError(f"{file}: truncated, {len(content)} bytes where the head alone has {head}")
    shape = struct.unpack(f">{num_dimensions}I", content[4:head])
    kind = np.dtype(_TYPES[content[2]])
    expected = head + math.prod(shape) * kind.itemsize
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        raise DataError(
            f"{file}: {problem}, {len(content)} bytes, but {expected} for "
            f"{' x '.join(map(str, shape))} values after a head of {head}"
        )
    if math.prod(shape) == 0:
        raise DataError(f"{file}: empty, its dimensions are {' x '.join(map(str, shape))}")
    array = np.frombuffer(content, kind, offset=head).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


# --------------------------------------------------------------------------------------------------
# MNIST and its relatives: four IDX files, found, fetched where absent, checked and read.
# --------------------------------------------------------------------------------------------------


def load_images(config: IDXConfig) -> Source:
    """Training rows first, then the official test rows, if there are such files.

    Bytes are pixels, each counting 1/255; numbers of other types are features as they are.

    Raises:
        ConfigError: an option that does not fit the files.
        DataError: a file that is missing, damaged or not the one that the config describes.
    """
    folder = _locate(config)
    train_x, train_y = _read_pair(folder, config, config.train_images, config.train_labels)
    parts, labels = [train_x], [train_y]
    if config.has_test_files:
        test_x, test_y = _read_pair(folder, config, config.test_images, config.test_labels)
        if train_x.shape[1:] != test_x.shape[1:]:
            raise DataError(
                f"{folder / config.test_images.file}: images of {_size(test_x)}, but those of "
                f"{config.train_images.file} are {_size(train_x)}"
            )
        parts, labels = [train_x, test_x], [train_y, test_y]
    y, class_names = _classes(np.concatenate(labels), config)
    shape = train_x.shape[1:]
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    return Source(
        name=config.name,
        x=_features(parts, len(y)),
        y=y,
        class_names=class_names,
        feature_names=_feature_names(shape),
        unit=1 / 255 if train_x.dtype == np.uint8 else 1.0,
        test=np.arange(len(train_y), len(y), dtype=np.int64) if config.has_test_files else None,
        image_shape=shape if is_picture else None,
    )


def _features(parts: list[NDArray[Any]], num_rows: int) -> RawTable:
    """[M, features]: bytes as they are, other numbers in float64."""
    joined: RawTable = np.concatenate(parts).reshape(num_rows, -1)
    return joined if joined.dtype == np.uint8 else joined.astype(np.float64)


def _feature_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """``x0``, or ``pixel_0_0`` by the place in an array of more dimensions."""
    if len(shape) == 1:
        return tuple(f"x{i}" for i in range(shape[0]))
    return tuple("pixel_" + "_".join(map(str, place)) for place in np.ndindex(shape))


def _files(config: IDXConfig) -> tuple[IDXFile, ...]:
    train = (config.train_images, config.train_labels)
    return (*train, config.test_images, config.test_labels) if config.has_test_files else train


def has_images(config: IDXConfig) -> bool:
    """Whether nothing has to be fetched: all files are there, or none may be fetched."""
    _, absent = _look(config)
    return not absent or not (config.download and config.urls)


def _locate(config: IDXConfig) -> Path:
    """The folder that holds the files, after fetching those that are absent."""
    folders, absent = _look(config)
    folder = folders[0]
    if not absent:
        return folder
    if not (config.download and config.urls):
        why = "dataset.download=false" if config.urls else "dataset.urls is empty"
        raise DataError(
            f"{folder / absent[0].file}: no such file, and {why}; "
            f"looked in {', '.join(map(str, folders[1:]))} (dataset.root={config.root})"
        )
    for file in absent:
        if file.sha256 is None:
            raise ConfigError(f"dataset: {file.file} has no sha256, so it cannot be downloaded")
        fetch(file.file, config.urls, file.sha256.lower(), folder / file.file)
    return folder


def _look(config: IDXConfig) -> tuple[list[Path], list[IDXFile]]:
    """The folder that holds the files or shall hold them, then all that were looked through, and
    the files that are absent.

    Looked through: root; folders in it whose name is the data set's but for case, - and _; and
    ``raw`` in those, where torchvision puts the files.
    """
    root = Path(config.root).expanduser()
    folders = [root]
    try:
        inside = sorted(root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise DataError(f"{root}: cannot be read, {error.strerror}") from error
    for folder in inside:
        if _letters(folder.name) == _letters(config.name) and folder.is_dir():
            folders += [folder, folder / "raw"]
    present = [
        sum(_find(folder, file) is not None for file in _files(config)) for folder in folders
    ]
    best = max(range(len(folders)), key=present.__getitem__)
    folder = folders[best] if present[best] else root / config.name
    return [folder, *folders], [f for f in _files(config) if _find(folder, f) is None]


def _letters(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _find(folder: Path, file: IDXFile) -> Path | None:
    """The file as published or, failing that, unpacked."""
    for path in (folder / file.file, folder / file.file.removesuffix(".gz")):
        if path.is_file():
            return path
    return None


def _read_pair(
    folder: Path, config: IDXConfig, images: IDXFile, labels: IDXFile
) -> tuple[NDArray[Any], Indices]:
    """Images [N, ...] and labels [N] that go together."""
    x, y = _read(folder, config, images), _read(folder, config, labels)
    if x.ndim < 2:
        raise DataError(
            f"{folder / images.file}: has one dimension; images have two at least, [rows, features]"
        )
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{folder / labels.file}: holds {y.dtype} in {y.ndim} dimension{'s' * (y.ndim > 1)}; "
            "labels are whole numbers in one"
        )
    if len(x) != len(y):
        raise DataError(
            f"{folder / labels.file}: {len(y)} labels, but {images.file} has {len(x)} images"
        )
    for place in np.argwhere(~np.isfinite(x))[:1] if x.dtype.kind == "f" else ():
        raise DataError(
            f"{folder / images.file}: row {place[0]}: {x[tuple(place)]:g} is not a finite number"
        )
    return x, y.astype(np.int64)


def _read(folder: Path, config: IDXConfig, file: IDXFile) -> NDArray[Any]:
    """One file, its structure looked at first (it says more), then its checksum."""
    path = _find(folder, file)
    assert path is not None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror}") from error
    array = parse_idx(unpack(content, str(path)), str(path))
    expected = file.sha256 if path.name == file.file else file.sha256_unpacked
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected.lower():
        hint = "; remove the file to download it again" if config.download and config.urls else ""
        raise DataError(f"{path}: wrong checksum, sha256 {found}, expected {expected}{hint}")
    return array


def _size(images: NDArray[Any]) -> str:
    return f"{' x '.join(map(str, images.shape[1:]))} pixels"


def _classes(labels: Indices, config: IDXConfig) -> tuple[Indices, tuple[str, ...]]:
    """Labels as indices of named classes, or of the labels that occur."""
    if not config.class_names:
        occurring, y = np.unique(labels, return_inverse=True)
        return y.astype(np.int64), tuple(map(str, occurring.tolist()))
    if labels.min() < 0:
        raise ConfigError(
            f"dataset.class_names: names classes from 0 on, but there is a label {labels.min()}"
        )
    if labels.max() >= len(config.class_names):
        raise ConfigError(
            f"dataset.class_names: names {len(config.class_names)} classes, but there are labels "
            f"up to {labels.max()}"
        )
    return labels, tuple(config.class_names)
