"""Four small IDX files as MNIST has them: random pixels, and three classes in turn."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


def idx(values: npt.NDArray[np.uint8]) -> bytes:
    """The content of an IDX file of unsigned bytes."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_of(values: npt.NDArray[Any]) -> bytes:
    """The content of an IDX file of any type that the format has."""
    code = _CODES[values.dtype.str[1:]]
    head = struct.pack(f">HBB{values.ndim}I", 0, code, values.ndim, *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def packed(content: bytes) -> bytes:
    """gzip without the time, so that its checksum stays."""
    return gzip.compress(content, mtime=0)


def draw(rows: int, height: int, width: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images [N, height, width] and labels [N] of ``rows`` rows."""
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, height, width), dtype=np.uint8)
    return pixels, (np.arange(rows) % 3).astype(np.uint8)
