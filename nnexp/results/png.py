"""Pictures as PNG files, quickly."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_UP = 2  # the filter: each row minus the one above, mostly zeros in a drawn picture
_LEVEL = 2
_TRUECOLOUR = (8, 2, 0, 0, 0)  # bits a channel, RGB, deflate, the one set of filters, no interlace


def png(picture: NDArray[np.uint8]) -> bytes:
    """The PNG file of ``picture`` [height, width, 3].

    One filter for all rows and a low level of compression: a drawn picture takes a quarter of the
    time that Pillow takes, which tries five filters on each row, and a fifth more bytes.
    """
    height, width, _ = picture.shape
    rows = picture.reshape(height, -1)
    filtered = np.empty((height, 1 + 3 * width), np.uint8)
    filtered[:, 0] = _UP
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">II5B", width, height, *_TRUECOLOUR)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, _LEVEL)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    content = kind + data
    return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))
