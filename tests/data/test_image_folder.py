"""Folders of images: classes, official splits, corrupt files, and a network trained on them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import nnexp
from nnexp.config.dataset_schema import ImageFolderConfig
from nnexp.config.fields import check
from nnexp.data import load, load_source
from nnexp.data.readers import free_memory
from nnexp.data.readers.pixels import read_pixels
from nnexp.errors import ConfigError, DataError
from nnexp.runs.checkpoints import load_network

SHADES = {"dark": 40, "light": 210}


def draw(folder: Path, count: int = 6, **options: int) -> None:
    """A folder for each shade, of pictures of it in colour, of different sizes."""
    rng = np.random.default_rng(count)
    for name, shade in (options or SHADES).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(shade - 30, shade + 30, (8 + number, 9, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def config(root: Path, **options: Any) -> ImageFolderConfig:
    return ImageFolderConfig(root=str(root), scaling="none", **{"size": 4, **options})


def refusal(settings: ImageFolderConfig) -> str:
    with pytest.raises(DataError) as caught:
        load_source(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── what comes out ────────────────────────────────────────────────────────────────────────────


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    draw(tmp_path / "shades")
    source = load_source(config(tmp_path / "shades", size=[4, 5]))
    assert source.name == "shades"
    assert source.class_names == ("dark", "light")
    assert source.y.tolist() == [0] * 6 + [1] * 6
    assert (source.x.shape, source.x.dtype, source.unit) == ((12, 60), np.uint8, 1 / 255)
    assert source.image_shape == (4, 5, 3)
    assert source.feature_names[:4] == (
        "pixel_0_0_red", "pixel_0_0_green", "pixel_0_0_blue", "pixel_0_1_red",
    )  # fmt: skip
    assert len(source.feature_names) == 60
    with Image.open(tmp_path / "shades/light/05.png") as image:
        resized = np.asarray(image.resize((5, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(source.x[11].reshape(4, 5, 3), resized)
    assert source.test is None
    again = load_source(config(tmp_path / "shades", size=[4, 5]))
    assert source.fingerprint == again.fingerprint
    assert source.fingerprint != load_source(config(tmp_path / "shades")).fingerprint


def test_grey_hidden_files_and_folders_in_folders(tmp_path: Path) -> None:
    draw(tmp_path, **{"10": 10, "9": 250})
    (tmp_path / "9" / "deeper").mkdir()
    (tmp_path / "9" / "00.png").rename(tmp_path / "9" / "deeper" / "zero.PNG")
    for name in ("9/.hidden.png", "9/notes.txt", ".hidden/x.png", "9/.thumbs/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image", encoding="utf-8")
    source = load_source(config(tmp_path, mode="grey"))
    assert source.class_names == ("9", "10")  # by value
    assert source.y.tolist() == [0] * 6 + [1] * 6
    assert (source.x.shape, source.image_shape) == ((12, 16), (4, 4))
    assert source.feature_names[5] == "pixel_1_1"


@pytest.mark.parametrize("val", ["", "val", "validation"])
def test_an_official_split(val: str, tmp_path: Path) -> None:
    draw(tmp_path / "train", 10)
    draw(tmp_path / "test", 3, light=210)
    if val:
        draw(tmp_path / val, 2)
    source = load_source(config(tmp_path))
    first = 24 if val else 20
    assert source.test is not None
    assert source.test.tolist() == list(range(first, first + 3))
    assert (None if source.val is None else source.val.tolist()) == (
        [20, 21, 22, 23] if val else None
    )
    assert source.y[source.test].tolist() == [1] * 3
    dataset = load(config(tmp_path))
    assert (dataset.num_train, dataset.num_val) == ((20, 4) if val else (17, 3))


def test_folders_of_images_that_are_called_as_parts_are_classes(tmp_path: Path) -> None:
    draw(tmp_path, train=40, test=200)
    assert load_source(config(tmp_path)).class_names == ("test", "train")


# ── corrupt files ─────────────────────────────────────────────────────────────────────────────


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    draw(tmp_path, 40)
    broken = tmp_path / "light" / "07.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert refusal(config(tmp_path)).startswith(f"{broken}: no image that can be read, ")
    assert refusal(config(tmp_path)).endswith(
        "; mend or remove it, or leave such files out with dataset.on_corrupt=skip"
    )


def test_corrupt_files_are_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw(tmp_path, 40)
    whole = load_source(config(tmp_path))
    for number in range(5):
        (tmp_path / "dark" / f"{number * 7:02}.png").write_text("broken", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        source = load_source(config(tmp_path, on_corrupt="skip"))
    kept = [row for row in range(80) if row not in (0, 7, 14, 21, 28)]
    assert np.array_equal(source.x, whole.x[kept])
    assert source.y.tolist() == whole.y[kept].tolist()
    (message,) = [record.message for record in caplog.records]
    assert message.startswith(f"{tmp_path}: 5 of 80 images are corrupt and left out: ")
    assert f"{tmp_path}/dark/07.png: no image that can be read" in message
    assert message.endswith("; and 2 more")
    for file in (tmp_path / "dark").iterdir():
        file.write_text("broken", encoding="utf-8")
    assert refusal(config(tmp_path, on_corrupt="skip")) == (
        f"{tmp_path}: every training image of the class 'dark' is corrupt"
    )


# ── folders that are no such ──────────────────────────────────────────────────────────────────


def test_folders_that_do_not_fit(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(config(missing)) == f"dataset.root={missing}: no such folder"
    (tmp_path / "file").touch()
    assert refusal(config(tmp_path / "file")) == (
        f"dataset.root={tmp_path}/file: a file, not a folder of images"
    )
    root = tmp_path / "root"
    root.mkdir()
    assert refusal(config(root)) == (
        f"{root}: has no folders; a classifier needs two classes, each a folder of images: "
        "root/class/image.png"
    )
    draw(root, 2, cat=50)
    assert refusal(config(root)).startswith(f"{root}: has one folder only, 'cat'; a classifier")
    (root / "dog").mkdir()
    (root / "dog" / "notes.txt").touch()
    assert refusal(config(root)).startswith(f"{root}/dog: has no images (.bmp, .gif, .jfif, .jpe,")


def test_splits_that_do_not_fit(tmp_path: Path) -> None:
    draw(tmp_path / "train")
    draw(tmp_path / "val")
    assert refusal(config(tmp_path)) == (
        f"{tmp_path}: has folders train and val but none of test; call val test, and validation "
        "images are drawn from train"
    )
    draw(tmp_path / "test", 2, lihgt=9)
    assert refusal(config(tmp_path)) == (
        f"{tmp_path}/test/lihgt: no training image has the class 'lihgt' (did you mean 'light'?)"
    )
    draw(tmp_path / "validation")
    assert refusal(config(tmp_path)) == f"{tmp_path}: val and validation are both the val images"


def test_memory_is_estimated_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path)
    monkeypatch.setattr(free_memory, "free_bytes", lambda: 500)
    assert refusal(config(tmp_path)) == (
        f"{tmp_path}: 12 images of 4 x 4 x 3 bytes would take 0.6 kB, and 0.5 kB are free; take a "
        "smaller dataset.size, or dataset.mode=grey"
    )


@pytest.mark.parametrize("size", [0, 2.5, True, "large", [1], [1, 2, 3], [0, 4], 5000, None])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"size=.*: must be a number of pixels from 1 to 4096, or"
    ):
        check(config(Path(), size=size))
    check(config(Path(), size=[3, 4096]))


def test_a_network_takes_raw_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "shades", 20)
    broken = tmp_path / "shades" / "light" / "broken.jpg"
    broken.touch()
    given = {"dataset.root": "shades", "dataset.size": 3, "dataset.on_corrupt": "skip"}
    nnexp.run(
        "dataset=image_folder", "model=shallow", "baseline=majority",
        *(f"{key}={value}" for key, value in given.items()),
        trainer__epochs=30, folder="run",
    )  # fmt: skip
    network = load_network(tmp_path / "run" / "checkpoints" / "best.pt")
    picture = read_pixels(tmp_path / "shades" / "light" / "00.png", (3, 3), "rgb")
    assert network.predict(picture.reshape(1, -1)) == ["light"]
    with pytest.raises(DataError, match=r"column 'pixel_0_0_red': 0\.5 is not a valid pixel"):
        network.predict(np.full((1, 27), 0.5))
    with pytest.raises(ConfigError, match=r"^dataset.size=0: must be a number of pixels from 1"):
        nnexp.run("dataset=image_folder", "dataset.root=shades", "dataset.size=0")
    with pytest.raises(ConfigError, match=r"^dataset.root is required: name the folder of the dat"):
        nnexp.run("dataset=image_folder")
