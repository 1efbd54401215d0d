"""IDX files: parsed, found, checked; every kind of damage named."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import NAMES, draw, idx, idx_of, packed

from nnexp.config.fields import check
from nnexp.config.schema import IDXConfig, IDXFile
from nnexp.data import load, load_source
from nnexp.data.sources.images import parse_idx
from nnexp.errors import ConfigError, DataError

TRAIN_X, TRAIN_Y = draw(60, 3, 4)
TEST_X, TEST_Y = draw(20, 3, 4)
CONTENT = {
    "train_images": idx(TRAIN_X),
    "train_labels": idx(TRAIN_Y),
    "test_images": idx(TEST_X),
    "test_labels": idx(TEST_Y),
}


def write(folder: Path, gz: bool = True, **changes: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, content in {**CONTENT, **changes}.items():
        name = NAMES[key] if gz else NAMES[key].removesuffix(".gz")
        (folder / name).write_bytes(packed(content) if gz else content)


def config(root: Path, checked: bool = True, **options: Any) -> IDXConfig:
    files = {
        key: IDXFile(
            file=name,
            sha256=hashlib.sha256(packed(CONTENT[key])).hexdigest(),
            sha256_unpacked=hashlib.sha256(CONTENT[key]).hexdigest(),
        )
        if checked
        else IDXFile(file=name)
        for key, name in NAMES.items()
    }
    settings = {"name": "my_digits", "scaling": "none", "root": str(root), "download": False}
    return IDXConfig(**{**settings, **files, **options})


# ── what comes out ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("gz", [True, False])
def test_pixels_labels_and_official_rows(tmp_path: Path, gz: bool) -> None:
    write(tmp_path, gz)
    dataset = load(config(tmp_path, class_names=["zero", "one", "two"], val_fraction=0.2))
    expected = np.concatenate([TRAIN_X, TEST_X]).reshape(80, 12) / np.float32(255)
    assert np.array_equal(dataset.x.numpy(), expected.astype(np.float32))
    assert dataset.y.tolist() == [*TRAIN_Y, *TEST_Y]
    assert dataset.test.tolist() == list(range(60, 80))
    assert (dataset.num_train, dataset.num_val) == (48, 12)
    assert dataset.class_names == ("zero", "one", "two")
    assert dataset.image_shape == (3, 4)
    assert dataset.feature_names[5] == "pixel_1_1"


def test_labels_without_names_are_their_numbers(tmp_path: Path) -> None:
    """As EMNIST letters, whose labels begin at 1."""
    write(tmp_path, train_labels=idx(TRAIN_Y + 1), test_labels=idx(TEST_Y + 1))
    dataset = load(config(tmp_path, checked=False))
    assert dataset.class_names == ("1", "2", "3")
    assert dataset.y.tolist() == [*TRAIN_Y, *TEST_Y]


@pytest.mark.parametrize(
    "place", ["", "my_digits", "my-digits", "MyDigits/raw", "MY_DIGITS", "my_digits/raw"]
)
def test_places_that_are_looked_in(tmp_path: Path, place: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "my_digits.txt").touch()
    write(tmp_path / place)
    assert load(config(tmp_path)).num_test == 20


def test_packed_and_unpacked_files_beside_each_other(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / NAMES["train_images"]
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    assert load(config(tmp_path)).num_test == 20


# ── other arrays than MNIST's ─────────────────────────────────────────────────────────────────


def two_files(folder: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> IDXConfig:
    """Without test rows."""
    (folder / "x.idx").write_bytes(idx_of(x))
    (folder / "y.idx").write_bytes(idx_of(y))
    files = {"train_images": IDXFile(file="x.idx"), "train_labels": IDXFile(file="y.idx")}
    return IDXConfig(name="mine", scaling="none", root=str(folder), download=False, **files)


def test_without_test_files_test_rows_are_drawn(tmp_path: Path) -> None:
    settings = two_files(tmp_path, TRAIN_X, TRAIN_Y)
    check(settings)
    dataset = load(settings)
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (39, 9, 12)
    assert not dataset.official_test
    settings.test_fraction = 0.9
    with pytest.raises(ConfigError, match=r"val_fraction=0.15: leaves no training samples"):
        check(settings)
    settings.test_images.file = "t.idx"
    with pytest.raises(ConfigError, match=r"^test_labels.file=: is required beside dataset.test_i"):
        check(settings)


def test_colour_rows_of_numbers_and_more_dimensions(tmp_path: Path) -> None:
    y = np.array([-1, 70_000] * 6, np.int32)
    colour = np.arange(12 * 24, dtype=np.uint8).reshape(12, 2, 4, 3)
    source = load_source(two_files(tmp_path, colour, y))
    assert source.class_names == ("-1", "70000")
    assert source.y.tolist() == [0, 1] * 6
    assert source.image_shape == (2, 4, 3)
    assert source.feature_names[:4] == ("pixel_0_0_0", "pixel_0_0_1", "pixel_0_0_2", "pixel_0_1_0")
    assert np.array_equal(source.x, colour.reshape(12, 24))
    assert (source.x.dtype, source.unit) == (np.uint8, 1 / 255)
    rows = np.linspace(-5, 5, 36).reshape(12, 3).astype(np.float32)
    source = load_source(two_files(tmp_path, rows, y))
    assert source.feature_names == ("x0", "x1", "x2")
    assert np.array_equal(source.x, rows.astype(np.float64))
    assert (source.unit, source.image_shape) == (1.0, None)
    wide = np.arange(12 * 8, dtype=np.int16).reshape(12, 2, 2, 2) - 9
    source = load_source(two_files(tmp_path, wide, y))
    assert np.array_equal(source.x, wide.reshape(12, 8))
    assert (source.x.dtype, source.image_shape) == (np.float64, None)


@pytest.mark.parametrize(
    ("x", "y", "problem"),
    [
        (TRAIN_Y, TRAIN_Y, "x.idx: has one dimension; images have two at least, [rows, features]"),
        (TRAIN_X, TRAIN_X, "y.idx: holds uint8 in 3 dimensions; labels are whole numbers in one"),
        (TRAIN_X, TRAIN_Y / 2, "y.idx: holds float64 in 1 dimension; labels are whole numbers in"),
        (np.array([[1.0], [np.inf]]), TRAIN_Y[:2], "x.idx: row 1: inf is not a finite number"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, x: Any, y: Any, problem: str) -> None:
    assert refusal(two_files(tmp_path, x, y)).startswith(f"{tmp_path}/{problem}")


def test_names_need_labels_from_0_on(tmp_path: Path) -> None:
    settings = two_files(tmp_path, TRAIN_X, TRAIN_Y.astype(np.int8) - 1)
    settings.class_names = ["a", "b", "c"]
    assert refusal(settings, ConfigError) == (
        "dataset.class_names: names classes from 0 on, but there is a label -1"
    )


# ── the parser ────────────────────────────────────────────────────────────────────────────────


def test_parser() -> None:
    assert np.array_equal(parse_idx(idx(TRAIN_X), "f"), TRAIN_X)
    assert np.array_equal(parse_idx(idx(TRAIN_Y), "f"), TRAIN_Y)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (3, 2), (1, 2, 3), (1, 3, 1, 2)])
def test_parser_of_every_type_and_any_dimensions(kind: str, shape: tuple[int, ...]) -> None:
    values = np.array([0, 1, 100, 7, 8, 9]).reshape(shape).astype(kind)
    if kind != "uint8":
        values[values == 7] = -7
    parsed = parse_idx(idx_of(values), "f")
    assert parsed.dtype == values.dtype
    assert np.array_equal(parsed, values)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "begins with 0x: not an IDX file"),
        (b"\0\0\x08", "begins with 0x000008: not an IDX file"),
        (b"\x89PNG....", "begins with 0x89504e47: not an IDX file"),
        (b"\0\0\x0a\x03....", "begins with 0x00000a03: not an IDX file"),
        (b"\0\0\x08\0....", "begins with 0x00000800: not an IDX file"),
        (b"\0\0\x0d\x03" + idx(TRAIN_X)[4:], "truncated, 736 bytes, but 2896 for 60 x 3 x 4"),
        (idx(TRAIN_X)[:9], "truncated, 9 bytes where the head alone has 16"),
        (idx(TRAIN_X)[:-1], "truncated, 735 bytes, but 736 for 60 x 3 x 4 values after a head of"),
        (idx(TRAIN_X) + b"\0", "too long, 737 bytes, but 736 for 60 x 3 x 4 values"),
        (idx(TRAIN_X[:0]), "empty, its dimensions are 0 x 3 x 4"),
    ],
)
def test_parser_names_the_damage(content: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_idx(content, "folder/file")
    assert str(caught.value).startswith(f"folder/file: {problem}")


def test_no_single_flipped_bit_of_a_head_goes_through() -> None:
    """But for the one that makes bytes with a sign of bytes without."""
    content = idx(TRAIN_X)
    for bit in range(16 * 8):
        if bit == 16:
            continue
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError):
            parse_idx(bytes(flipped), "f")


# ── damaged or missing files ──────────────────────────────────────────────────────────────────


def refusal(settings: IDXConfig, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        load_source(settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_truncated_gzip(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / NAMES["train_images"]
    path.write_bytes(path.read_bytes()[:-20])
    assert refusal(config(tmp_path)) == f"{path}: truncated, the gzip stream has no end"


def test_damaged_gzip(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / NAMES["test_labels"]
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum of gzip itself
    path.write_bytes(content)
    assert refusal(config(tmp_path, checked=False)).startswith(f"{path}: damaged gzip, CRC check")
    path.write_bytes(b"<html>not found</html>")
    assert refusal(config(tmp_path)) == f"{path}: not a gzip file, in spite of its name"


@pytest.mark.parametrize("gz", [True, False])
def test_wrong_checksum(tmp_path: Path, gz: bool) -> None:
    """A well-formed file that is not the published one."""
    changed = TRAIN_X.copy()
    changed[7, 1, 1] ^= 1
    write(tmp_path, gz, train_images=idx(changed))
    name = NAMES["train_images"] if gz else "train-images-idx3-ubyte"
    found = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    file = config(tmp_path).train_images
    expected = file.sha256 if gz else file.sha256_unpacked
    message = f"{tmp_path / name}: wrong checksum, sha256 {found}, expected {expected}"
    assert refusal(config(tmp_path)) == message
    again = config(tmp_path, download=True, urls=["http://127.0.0.1:9/"])
    assert refusal(again) == f"{message}; remove the file to download it again"
    assert load(config(tmp_path, checked=False)).num_test == 20


def test_numbers_of_images_and_labels_differ(tmp_path: Path) -> None:
    write(tmp_path, test_labels=idx(TEST_Y[:-1]))
    path = tmp_path / NAMES["test_labels"]
    assert refusal(config(tmp_path, checked=False)) == (
        f"{path}: 19 labels, but t10k-images-idx3-ubyte.gz has 20 images"
    )


def test_images_of_two_sizes(tmp_path: Path) -> None:
    write(tmp_path, test_images=idx(TEST_X.reshape(20, 4, 3)))
    assert refusal(config(tmp_path, checked=False)) == (
        f"{tmp_path / NAMES['test_images']}: images of 4 x 3 pixels, but those of "
        "train-images-idx3-ubyte.gz are 3 x 4 pixels"
    )


def test_more_labels_than_class_names(tmp_path: Path) -> None:
    write(tmp_path)
    assert refusal(config(tmp_path, class_names=["a", "b"]), ConfigError) == (
        "dataset.class_names: names 2 classes, but there are labels up to 2"
    )


def test_missing_files_name_where_they_were_looked_for(tmp_path: Path) -> None:
    (tmp_path / "my-digits").mkdir()
    message = refusal(config(tmp_path, urls=["http://127.0.0.1:9/"]))
    assert message == (
        f"{tmp_path}/my_digits/train-images-idx3-ubyte.gz: no such file, and "
        f"dataset.download=false; looked in {tmp_path}, {tmp_path}/my-digits, "
        f"{tmp_path}/my-digits/raw (dataset.root={tmp_path})"
    )
    write(tmp_path / "my-digits")
    (tmp_path / "my-digits" / NAMES["test_labels"]).unlink()
    message = refusal(config(tmp_path, download=True))
    assert message.startswith(
        f"{tmp_path}/my-digits/t10k-labels-idx1-ubyte.gz: no such file, and dataset.urls is empty"
    )


def test_a_file_without_checksum_is_not_downloaded(tmp_path: Path) -> None:
    settings = config(tmp_path, checked=False, download=True, urls=["http://127.0.0.1:9/"])
    assert refusal(settings, ConfigError) == (
        "dataset: train-images-idx3-ubyte.gz has no sha256, so it cannot be downloaded"
    )
