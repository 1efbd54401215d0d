"""One image: every mode of Pillow's, any size, upright; what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnexp.data.readers.pixels import read_pixels
from nnexp.errors import DataError

GRID = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)  # [height, width]


def test_pixels_of_the_same_size_are_kept(tmp_path: Path) -> None:
    colour = np.stack([GRID, GRID + 1, 255 - GRID], axis=2)
    for suffix in ("png", "bmp", "tif", "ppm", "webp"):
        file = tmp_path / f"x.{suffix}"
        Image.fromarray(colour).save(file, **({"lossless": True} if suffix == "webp" else {}))
        assert np.array_equal(read_pixels(file, (3, 4), "rgb"), colour)
    Image.fromarray(GRID).save(tmp_path / "x.gif")
    assert np.array_equal(read_pixels(tmp_path / "x.gif", (3, 4), "grey")[:, :, 0], GRID)
    assert np.array_equal(read_pixels(tmp_path / "x.gif", (3, 4), "rgb")[:, :, 2], GRID)


def test_modes(tmp_path: Path) -> None:
    """Two pixels, black and white, as each mode has them."""
    file = tmp_path / "x.png"
    wide = Image.fromarray(np.array([[0, 65535, 0x1234]], np.uint16))
    clear = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    clear.putpixel((1, 0), (0, 0, 0, 0))  # what is transparent is white
    palette = Image.new("P", (3, 1), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.putpixel((1, 0), 1)
    index = palette.copy()
    index.putpixel((1, 0), 2)
    bits = Image.new("1", (3, 1))
    bits.putpixel((1, 0), 1)
    with_alpha = Image.merge("LA", (Image.new("L", (3, 1)), clear.getchannel("A")))
    for image, options in (
        (wide, {}), (clear, {}), (palette, {}), (bits, {}), (with_alpha, {}),
        (index, {"transparency": 2}), (index, {"transparency": bytes([255, 255, 0])}),
    ):  # fmt: skip
        image.save(file, **options)
        assert read_pixels(file, (1, 3), "grey")[0, :2, 0].tolist() == [0, 255]
        assert read_pixels(file, (1, 3), "rgb")[0, :2].tolist() == [[0] * 3, [255] * 3]
    wide.save(file)
    assert read_pixels(file, (1, 3), "grey")[0, 2, 0] == 0x12
    Image.new("CMYK", (1, 1), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert read_pixels(tmp_path / "x.tif", (1, 1), "rgb")[0, 0].tolist() == [255, 0, 0]


def test_resizing_averages_and_is_repeatable(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    half = np.zeros((64, 64), np.uint8)
    half[:, ::2] = 200
    Image.fromarray(half).save(file)
    small = read_pixels(file, (4, 8), "grey")
    assert small.shape == (4, 8, 1)
    assert abs(small.astype(int) - 100).max() <= 12
    assert np.array_equal(small, read_pixels(file, (4, 8), "grey"))
    assert read_pixels(file, (100, 90), "rgb").shape == (100, 90, 3)


def test_a_jpeg_is_decoded_small_and_is_nearly_the_same(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    rows, columns = np.mgrid[0:400, 0:300]
    smooth = np.stack([rows % 256, columns % 256, (rows + columns) // 3 % 256], axis=2)
    Image.fromarray(smooth.astype(np.uint8)).save(file, quality=95)
    with Image.open(file) as image:
        whole = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert abs(read_pixels(file, (32, 32), "rgb") - whole).mean() < 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_upright(turn: int, tmp_path: Path) -> None:
    """A bright corner at the upper left, wherever the camera was held."""
    upright = np.zeros((6, 12), np.uint8)
    upright[:3, :3] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    file = tmp_path / "x.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(file, exif=exif)
    assert np.array_equal(read_pixels(file, (6, 12), "grey")[:, :, 0], upright)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_text("no image", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_pixels(file, (2, 2), "rgb")
    assert (
        str(caught.value) == f"{file}: no image that can be read, its content is of no known format"
    )
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(DataError, match=r"no image that can be read, .*truncated"):
        read_pixels(file, (2, 2), "rgb")
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="its pixels are fractions, whose scale is not known"):
        read_pixels(tmp_path / "x.tif", (2, 2), "rgb")
    with pytest.raises(DataError, match=r"no\.png: no image .*, No such file or directory"):
        read_pixels(tmp_path / "no.png", (2, 2), "rgb")
