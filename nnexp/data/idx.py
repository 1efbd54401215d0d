"""The IDX format of MNIST: a magic number, the dimensions, then the values.

    bytes 0, 1   zero
    byte  2      type of the values; 0x08 is an unsigned byte, the only one used for images
    byte  3      number of dimensions
    4 bytes each dimension, big-endian
    the values, the last dimension changing fastest

Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

from nnexp.errors import DataError

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
