"""A folder of images, with a folder for each class.

    root/cat/1.jpg              root/train/cat/1.jpg
    root/cat/more/2.png   or    root/val/cat/2.png
    root/dog/3.png              root/test/dog/3.png

Axes: ``M`` images, ``H`` height, ``W`` width, ``K`` channels, ``D`` = H * W * K.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnexp.config.dataset_schema import ImageFolderConfig
from nnexp.data.readers.free_memory import require_memory
from nnexp.data.readers.pixels import CHANNELS, read_pixels
from nnexp.data.readers.threads import usable_cores
from nnexp.data.source import Indices, Source, in_order, quoted
from nnexp.errors import DataError, did_you_mean

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm",
     ".pgm", ".pbm", ".pnm")
)  # fmt: skip
"""Files of other suffixes, and hidden ones, are not looked at."""

_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_CHUNK = 32  # images that a thread reads before it asks for more
_MOST_NAMED = 3  # corrupt files, in the log


@dataclass(frozen=True)
class _Image:
    file: Path
    part: str  # train, val or test
    label: int


def load_image_folder(config: ImageFolderConfig) -> Source:
    """Read the images of all classes, in the order of their names, as bytes.

    Of an official split the training images come first, then those of validation and of test. A
    row holds the pixels line by line, of colour the three channels of a pixel side by side.

    Raises:
        DataError: a folder that is not as above, a class without training images, too little
            memory, or naming a file that is no image.
    """
    root = Path(config.root).expanduser()
    class_names, images = _found(root, config)
    height, width = config.height_and_width
    num_channels = CHANNELS[config.mode][1]
    shape = (height, width) if num_channels == 1 else (height, width, num_channels)
    require_memory(
        len(images) * height * width * num_channels,
        f"{root}: {len(images)} images of {' x '.join(map(str, shape))} bytes",
        "take a smaller dataset.size, or dataset.mode=grey",
    )
    x, corrupt = _decoded([image.file for image in images], config)
    if corrupt:
        images = [image for row, image in enumerate(images) if row not in corrupt]
        _log_corrupt(root, corrupt, len(images))
    _require_classes(root, class_names, images)
    parts = np.array([image.part for image in images])
    is_official = bool((parts == "test").any())
    return Source(
        name=config.name or root.resolve().name,
        x=x,
        y=np.array([image.label for image in images], np.int64),
        class_names=tuple(class_names),
        feature_names=_feature_names(height, width, config.mode),
        unit=1 / 255,
        test=_rows_of(parts, "test") if is_official else None,
        val=_rows_of(parts, "val") if (parts == "val").any() else None,
        image_shape=shape,
    )


def _rows_of(parts: NDArray[np.str_], part: str) -> Indices:
    return np.flatnonzero(parts == part).astype(np.int64)


def _feature_names(height: int, width: int, mode: str) -> tuple[str, ...]:
    channels = ("",) if mode == "grey" else ("_red", "_green", "_blue")
    return tuple(
        f"pixel_{i}_{j}{channel}"
        for i in range(height)
        for j in range(width)
        for channel in channels
    )


# --------------------------------------------------------------------------------------------------
# Which images there are.
# --------------------------------------------------------------------------------------------------


def _found(root: Path, config: ImageFolderConfig) -> tuple[list[str], list[_Image]]:
    """The classes in order, and the images part by part, class by class, by name."""
    folders = _folders(root, config.root)
    parts = _official(folders, root)
    by_part = {part: _folders(folder, str(folder)) for part, folder in parts.items()}
    class_names = in_order(list(by_part["train"]))
    images = []
    for part, classes in by_part.items():
        for name in in_order(list(classes)):
            files = _files(classes[name])
            if not files:
                known = ", ".join(sorted(SUFFIXES))
                raise DataError(
                    f"{classes[name]}: has no images ({known}); a folder is a class here, so "
                    "remove it if it is none"
                )
            if name not in class_names:
                raise DataError(
                    f"{classes[name]}: no training image has the class {quoted(name)}"
                    f"{did_you_mean(name, class_names)}"
                )
            label = class_names.index(name)
            images += [_Image(file, part, label) for file in files]
    if len(class_names) < 2:
        has = f"one folder only, {quoted(class_names[0])}" if class_names else "no folders"
        raise DataError(
            f"{parts['train']}: has {has}; a classifier needs two classes, each a folder of "
            "images: root/class/image.png"
        )
    return class_names, images


def _folders(root: Path, path: str) -> dict[str, Path]:
    """The folders in a folder by name, without hidden ones."""
    try:
        return {
            folder.name: folder
            for folder in sorted(root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        }
    except FileNotFoundError:
        raise DataError(f"dataset.root={path}: no such folder") from None
    except NotADirectoryError:
        raise DataError(f"dataset.root={path}: a file, not a folder of images") from None
    except OSError as error:
        raise DataError(f"{root}: cannot be read, {error.strerror}") from error


def _official(folders: dict[str, Path], root: Path) -> dict[str, Path]:
    """The folders of train, val and test where there are such, else all as train.

    They hold folders themselves: a folder of images may well be the class "train".
    """
    found = {name: _PARTS.get(name.lower()) for name in folders}
    is_split = "train" in found.values() and None not in found.values()
    if not is_split or not all(_folders(folder, str(folder)) for folder in folders.values()):
        return {"train": root}
    parts: dict[str, Path] = {}
    for name, part in found.items():
        assert part is not None
        if part in parts:
            raise DataError(f"{root}: {parts[part].name} and {name} are both the {part} images")
        parts[part] = folders[name]
    if "val" in parts and "test" not in parts:
        raise DataError(
            f"{root}: has folders {parts['train'].name} and {parts['val'].name} but none of test; "
            f"call {parts['val'].name} test, and validation images are drawn from "
            f"{parts['train'].name}"
        )
    return {part: parts[part] for part in ("train", "val", "test") if part in parts}


def _files(folder: Path) -> list[Path]:
    """The images in a folder and below, by name."""
    files = []
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        files += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(files)


def _require_classes(root: Path, class_names: Sequence[str], images: Sequence[_Image]) -> None:
    """After corrupt files are left out."""
    left = {image.label for image in images if image.part == "train"}
    for label, name in enumerate(class_names):
        if label not in left:
            raise DataError(f"{root}: every training image of the class {quoted(name)} is corrupt")


# --------------------------------------------------------------------------------------------------
# Decoding, in threads: Pillow holds no lock of Python's while it decodes and resizes.
# --------------------------------------------------------------------------------------------------


def _decoded(
    files: Sequence[Path], config: ImageFolderConfig
) -> tuple[NDArray[np.uint8], dict[int, DataError]]:
    """The images [M, D] that can be read, and what is wrong with each of the others, by row."""
    size = config.height_and_width
    x = np.empty((len(files), size[0] * size[1] * CHANNELS[config.mode][1]), np.uint8)

    def read(start: int) -> dict[int, DataError]:
        corrupt = {}
        for row in range(start, min(start + _CHUNK, len(files))):
            try:
                x[row] = read_pixels(files[row], size, config.mode).reshape(-1)
            except DataError as error:
                corrupt[row] = error
        return corrupt

    corrupt: dict[int, DataError] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:
        for found in pool.map(read, range(0, len(files), _CHUNK)):
            corrupt |= found
            if corrupt and config.on_corrupt == "error":
                pool.shutdown(cancel_futures=True)
                first = next(iter(corrupt.values()))
                raise DataError(
                    f"{first}; mend or remove it, or leave such files out with "
                    "dataset.on_corrupt=skip"
                )
    kept = [row for row in range(len(files)) if row not in corrupt]
    if corrupt:
        for place, row in enumerate(kept):  # in the same memory
            x[place] = x[row]
    return x[: len(kept)], corrupt


def _log_corrupt(root: Path, corrupt: dict[int, DataError], num_left: int) -> None:
    shown = "; ".join(map(str, list(corrupt.values())[:_MOST_NAMED]))
    more = f"; and {len(corrupt) - _MOST_NAMED} more" if len(corrupt) > _MOST_NAMED else ""
    log.warning(
        "%s: %d of %d images are corrupt and left out: %s%s",
        root, len(corrupt), len(corrupt) + num_left, shown, more,
    )  # fmt: skip
