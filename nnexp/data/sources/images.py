"""Images as IDX files: MNIST and its relatives."""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnexp.config.schema import IDXConfig, IDXFile
from nnexp.data.source import Indices, Source
from nnexp.data.sources.files import fetch, unpack
from nnexp.errors import ConfigError, DataError

# --------------------------------------------------------------------------------------------------
# The IDX format of MNIST: a magic number, the dimensions, then the values.
#
#     bytes 0, 1   zero
#     byte  2      type of the values; 0x08 is an unsigned byte, the only one used for images
#     byte  3      number of dimensions
#     4 bytes each dimension, big-endian
#     the values, the last dimension changing fastest
#
# Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
# --------------------------------------------------------------------------------------------------

_UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, num_dimensions: int, file: str) -> npt.NDArray[np.uint8]:
    """The array of an unpacked IDX file: 3 dimensions for images [N, height, width], 1 for labels.

    Raises:
        DataError: not such a file, truncated, or with bytes left over. ``file`` is named.
    """
    head = 4 + 4 * num_dimensions
    magic = bytes([0, 0, _UNSIGNED_BYTE, num_dimensions])
    if content[:4] != magic:
        raise DataError(
            f"{file}: begins with 0x{content[:4].hex()}, not with 0x{magic.hex()}: not an IDX file "
            f"of unsigned bytes in {num_dimensions} dimension{'s' * (num_dimensions > 1)}"
        )
    if len(content) < head:
        raise DataError(f"{file}: truncated, {len(content)} bytes where the head alone has {head}")
    shape = struct.unpack(f">{num_dimensions}I", content[4:head])
    expected = head + math.prod(shape)
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        raise DataError(
            f"{file}: {problem}, {len(content)} bytes, but {expected} for "
            f"{' x '.join(map(str, shape))} values after a head of {head}"
        )
    if math.prod(shape) == 0:
        raise DataError(f"{file}: empty, its dimensions are {' x '.join(map(str, shape))}")
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(shape)


# --------------------------------------------------------------------------------------------------
# MNIST and its relatives: four IDX files, found, fetched where absent, checked and read.
# --------------------------------------------------------------------------------------------------

Bytes = npt.NDArray[np.uint8]


def load_images(config: IDXConfig) -> Source:
    """Training rows first, then the official test rows; a pixel counts 1/255.

    Raises:
        ConfigError: an option that does not fit the files.
        DataError: a file that is missing, damaged or not the one that the config describes.
    """
    folder = _locate(config)
    train_x, train_y = _read_pair(folder, config, config.train_images, config.train_labels)
    test_x, test_y = _read_pair(folder, config, config.test_images, config.test_labels)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{folder / config.test_images.file}: images of {_size(test_x)}, but those of "
            f"{config.train_images.file} are {_size(train_x)}"
        )
    labels = np.concatenate([train_y, test_y])
    height, width = train_x.shape[1:]
    y, class_names = _classes(labels, config)
    return Source(
        name=config.name,
        x=np.concatenate([train_x, test_x]).reshape(len(labels), height * width),
        y=y,
        class_names=class_names,
        feature_names=tuple(f"pixel_{i}_{j}" for i in range(height) for j in range(width)),
        unit=1 / 255,
        test=np.arange(len(train_y), len(labels), dtype=np.int64),
        image_shape=(height, width),
    )


def _files(config: IDXConfig) -> tuple[IDXFile, IDXFile, IDXFile, IDXFile]:
    return config.train_images, config.train_labels, config.test_images, config.test_labels


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
) -> tuple[Bytes, Bytes]:
    x, y = _read(folder, config, images, 3), _read(folder, config, labels, 1)
    if len(x) != len(y):
        raise DataError(
            f"{folder / labels.file}: {len(y)} labels, but {images.file} has {len(x)} images"
        )
    return x, y


def _read(folder: Path, config: IDXConfig, file: IDXFile, num_dimensions: int) -> Bytes:
    """One file, its structure looked at first (it says more), then its checksum."""
    path = _find(folder, file)
    assert path is not None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror}") from error
    array = parse_idx(unpack(content, str(path)), num_dimensions, str(path))
    expected = file.sha256 if path.name == file.file else file.sha256_unpacked
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected.lower():
        hint = "; remove the file to download it again" if config.download and config.urls else ""
        raise DataError(f"{path}: wrong checksum, sha256 {found}, expected {expected}{hint}")
    return array


def _size(images: Bytes) -> str:
    return f"{images.shape[1]} x {images.shape[2]} pixels"


def _classes(labels: Bytes, config: IDXConfig) -> tuple[Indices, tuple[str, ...]]:
    """Labels as indices of named classes, or of the labels that occur."""
    if not config.class_names:
        occurring, y = np.unique(labels, return_inverse=True)
        return y.astype(np.int64), tuple(map(str, occurring.tolist()))
    if labels.max() >= len(config.class_names):
        raise ConfigError(
            f"dataset.class_names: names {len(config.class_names)} classes, but there are labels "
            f"up to {labels.max()}"
        )
    return labels.astype(np.int64), tuple(config.class_names)
