"""One image file as pixels: any size, any mode, resized the same way every time.

Axes: ``H`` height, ``W`` width, ``K`` channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nnexp.data.readers.origin import first_line
from nnexp.errors import DataError

CHANNELS = {"grey": ("L", 1), "rgb": ("RGB", 3)}
"""Pillow's name of each mode and its number of channels."""

_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def read_pixels(file: Path, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """Return an image file as pixels [H, W, K], 0 to 255.

    The picture is turned upright as its EXIF data say, what is transparent is laid on white, of
    16 bits the upper 8 are taken, of an animation the first picture. It is stretched to ``size`` by
    Pillow's bilinear filter, which averages where it shrinks. A large JPEG is decoded at a half, a
    quarter or an eighth of its size, never below twice ``size``; that saves most of the time.

    Args:
        size: height and width.
        mode: of ``CHANNELS``.

    Raises:
        DataError: naming the file, if it is no image or a damaged one.
    """
    height, width = size
    kind, num_channels = CHANNELS[mode]
    try:
        with Image.open(file) as image:
            longest = 2 * max(size)  # it may have to be turned
            image.draft(kind, (longest, longest))
            picture = _plain(image).convert(kind)
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        if turn is not None:
            picture = picture.transpose(turn)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise errors of any kind
        raise DataError(f"{file}: no image that can be read, {_reason(error)}") from error
    return np.asarray(resized, np.uint8).reshape(height, width, num_channels)


def _plain(image: Image.Image) -> Image.Image:
    """Without transparency, and 8 bits a channel."""
    if image.mode == "F":
        raise ValueError("its pixels are fractions, whose scale is not known")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        on_top = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", on_top.size, "white"), on_top)
    return image


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
