"""IDX files: parsed, found, checked; every kind of damage named."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import NAMES, draw, idx, packed

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


# ── the parser ────────────────────────────────────────────────────────────────────────────────


def test_parser() -> None:
    assert np.array_equal(parse_idx(idx(TRAIN_X), 3, "f"), TRAIN_X)
    assert np.array_equal(parse_idx(idx(TRAIN_Y), 1, "f"), TRAIN_Y)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "begins with 0x, not with 0x00000803: not an IDX file of unsigned bytes in 3"),
        (b"\x89PNG....", "begins with 0x89504e47, not with 0x00000803"),
        (idx(TRAIN_Y), "begins with 0x00000801, not with 0x00000803"),
        (b"\0\0\x0d\x03" + idx(TRAIN_X)[4:], "begins with 0x00000d03, not with 0x00000803"),
        (idx(TRAIN_X)[:9], "truncated, 9 bytes where the head alone has 16"),
        (idx(TRAIN_X)[:-1], "truncated, 735 bytes, but 736 for 60 x 3 x 4 values after a head of"),
        (idx(TRAIN_X) + b"\0", "too long, 737 bytes, but 736 for 60 x 3 x 4 values"),
        (idx(TRAIN_X[:0]), "empty, its dimensions are 0 x 3 x 4"),
    ],
)
def test_parser_names_the_damage(content: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_idx(content, 3, "folder/file")
    assert str(caught.value).startswith(f"folder/file: {problem}")


def test_no_single_flipped_bit_of_a_head_goes_through() -> None:
    content = idx(TRAIN_X)
    for bit in range(16 * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError):
            parse_idx(bytes(flipped), 3, "f")


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
