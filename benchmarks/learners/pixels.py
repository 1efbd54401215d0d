"""Rows of pixels: MNIST from its files, and random ones that can be learned as it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from learners.work import Data, Work
from nnexp.data.sources.files import unpack
from nnexp.data.sources.images import parse_idx
from nnexp.errors import DataError

Bytes = npt.NDArray[np.uint8]

_WRONG_LABELS = 0.1  # so that no learner's loss goes to zero, where losses cannot be compared


def random_pixels(work: Work, held_out: int) -> Data:
    """Classes around pictures of their own, every tenth label drawn anew: about 0.91 is the best
    accuracy. The last ``held_out`` rows are there to be evaluated on."""
    stream = np.random.default_rng(0)
    num_classes, rows = work.widths[-1], work.rows + held_out
    y = stream.integers(num_classes, size=rows)
    centres = stream.integers(128, size=(num_classes, work.widths[0]), dtype=np.uint8)
    pixels = centres[y] + stream.integers(128, size=(rows, work.widths[0]), dtype=np.uint8)
    wrong = stream.random(rows) < _WRONG_LABELS
    y[wrong] = stream.integers(num_classes, size=int(wrong.sum()))
    return _data(pixels, y, work.rows)


def mnist(folder: Path, work: Work) -> Data:
    """The first rows of MNIST's training set, as many as the work takes, and its test set.

    Raises:
        DataError: a file is not there or damaged, or there are fewer rows.
    """
    train_x, train_y = mnist_pixels(folder, "train"), _labels(folder, "train")
    if len(train_x) < work.rows:
        raise DataError(f"{folder}: {len(train_x)} training rows, {work.rows} are wanted")
    x = np.concatenate([train_x[: work.rows], mnist_pixels(folder, "t10k")])
    y = np.concatenate([train_y[: work.rows], _labels(folder, "t10k")])
    return _data(x, y, work.rows)


def mnist_pixels(folder: Path, part: str) -> Bytes:
    """The pictures [N, 784] of ``train`` or ``t10k``.

    Raises:
        DataError: as ``mnist``.
    """
    images: Bytes = parse_idx(*_read(folder, f"{part}-images-idx3-ubyte"))
    return images.reshape(len(images), -1)


def _labels(folder: Path, part: str) -> npt.NDArray[np.int64]:
    labels = parse_idx(*_read(folder, f"{part}-labels-idx1-ubyte"))
    return labels.astype(np.int64)


def _read(folder: Path, name: str) -> tuple[bytes, str]:
    """What a file holds, packed or not, for ``parse_idx``."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return unpack(path.read_bytes(), str(path)), str(path)
    raise DataError(f"{folder / name}: no such file, nor with .gz")


def _data(pixels: Bytes, y: npt.NDArray[np.int64], num_train: int) -> Data:
    return Data(pixels.astype(np.float32) / np.float32(255), y, num_train)
