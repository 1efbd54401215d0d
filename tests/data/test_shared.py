"""Real files: the counts that their SOURCE.txt states, and published facts."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import CSVConfig, IDXConfig
from nnexp.data import Source, load, load_source, split
from nnexp.errors import DataError

pytestmark = pytest.mark.shared_data


def source(folder: Path, path: str, target: str, **options: Any) -> Source:
    if "test_path" in options:
        options["test_path"] = str(folder / options["test_path"])
    return load_source(CSVConfig(path=str(folder / path), target=target, **options))


def class_counts(source: Source) -> dict[str, int]:
    return dict(zip(source.class_names, np.bincount(source.y).tolist(), strict=True))


# ── images ────────────────────────────────────────────────────────────────────────────────────


def idx_config(name: str, root: Path) -> IDXConfig:
    register()
    overrides = [f"dataset={name}", f"dataset.root={root}", "dataset.download=false"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", overrides=overrides)).dataset
    assert isinstance(config, IDXConfig)
    return config


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_official_images(shared_data: Path, name: str) -> None:
    dataset = load(idx_config(name, shared_data))
    assert dataset.x.shape == (70_000, 784)
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (54_000, 6_000, 10_000)
    assert dataset.test.tolist() == list(range(60_000, 70_000))
    assert dataset.image_shape == (28, 28)
    assert (dataset.x.min().item(), dataset.x.max().item()) == (0.0, 1.0)
    train, test = torch.bincount(dataset.y[:60_000]), torch.bincount(dataset.y[60_000:])
    if name == "mnist":
        # LeCun's page; the first training labels are well known; the mean and standard deviation
        # of the training pixels are those that torchvision's examples normalise with.
        assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert test.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert dataset.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert abs(dataset.x[:60_000].mean().item() - 0.1307) < 5e-5
        assert abs(dataset.x[:60_000].std().item() - 0.3081) < 5e-5
    else:
        assert train.tolist() == [6000] * 10
        assert test.tolist() == [1000] * 10
        assert dataset.class_names[0] == "T-shirt/top"
        assert dataset.class_names[dataset.y[0]] == "Ankle boot"
        assert abs(dataset.x[:60_000].mean().item() - 0.2860) < 5e-5
        assert abs(dataset.x[:60_000].std().item() - 0.3530) < 5e-5


def test_unpacked_images_are_checked_too(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"  # as torchvision leaves them
    folder.mkdir(parents=True)
    for packed in (shared_data / "mnist").glob("*.gz"):
        with gzip.open(packed) as content, (folder / packed.stem).open("wb") as unpacked:
            shutil.copyfileobj(content, unpacked)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    config = idx_config("mnist", tmp_path)
    files = (config.train_images, config.train_labels, config.test_images, config.test_labels)
    assert found == {file.file.removesuffix(".gz"): file.sha256_unpacked for file in files}
    assert len(load_source(config).x) == 70_000


def test_a_truncated_official_file(shared_data: Path, tmp_path: Path) -> None:
    for packed in (shared_data / "mnist").glob("*.gz"):
        shutil.copy(packed, tmp_path)
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    images.chmod(0o644)
    images.write_bytes(images.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: truncated"):
        load_source(idx_config("mnist", tmp_path))


# ── tables ────────────────────────────────────────────────────────────────────────────────────


def test_adult(shared_data: Path) -> None:
    adult = source(
        shared_data / "adult",
        "adult.data",
        "-1",
        test_path="adult.test",
        comment="|",
        target_strip=".",
        impute_categorical="category",
    )
    assert adult.test is not None
    assert len(adult.y) == 32_561 + 16_281
    assert adult.test.tolist() == list(range(32_561, 48_842))
    assert class_counts(adult) == {"<=50K": 24_720 + 12_435, ">50K": 7_841 + 3_846}
    kinds = Counter(name.split("=")[0] for name in adult.feature_names)
    assert len(adult.one_hot) == 8
    assert kinds["column 13"] == 41  # countries
    missing = [name for name in adult.feature_names if name.endswith(" missing")]
    assert missing == ["column 1 missing", "column 6 missing", "column 13 missing"]
    numeric = [i for i, name in enumerate(adult.feature_names) if name.count("=") == 0]
    numeric = [i for i in numeric if not adult.feature_names[i].endswith(" missing")]
    assert len(numeric) == 6
    assert adult.x[0, numeric].tolist() == [39, 77516, 13, 2174, 0, 40]
    assert adult.x.shape[1] == 6 + 99 + 3


def test_adult_says_what_its_options_are_for(shared_data: Path) -> None:
    folder = shared_data / "adult"
    with pytest.raises(DataError, match=r"adult\.data: line 28, column 1 \(from 0\): no value"):
        source(folder, "adult.data", "-1", impute_categorical="error")
    options = {"test_path": "adult.test", "impute_categorical": "category"}
    with pytest.raises(
        DataError, match=r"adult\.test: line 1 has 1 cell, but every .* has 15; if it"
    ):
        source(folder, "adult.data", "-1", **options)
    with pytest.raises(DataError, match=r"no training row has the class '<=50K\.'"):
        source(folder, "adult.data", "-1", comment="|", **options)


@pytest.mark.parametrize(
    ("file", "rows", "columns", "numeric", "no"),
    [
        ("bank-full.csv.gz", 45_211, 16, 7, 39_922),
        ("bank-additional-full.csv.gz", 41_188, 20, 10, 36_548),
    ],
)
def test_bank_marketing(
    shared_data: Path, file: str, rows: int, columns: int, numeric: int, no: int
) -> None:
    bank = source(shared_data / "bank-marketing", file, "y")
    assert class_counts(bank) == {"no": no, "yes": rows - no}
    assert len(bank.one_hot) == columns - numeric
    assert sum("=" not in name for name in bank.feature_names) == numeric
    assert bank.feature_names[:3] == ("age", "job=admin.", "job=blue-collar")
    assert "job=unknown" in bank.feature_names  # a category unless declared missing
    assert bank.name == file.split(".")[0]


def test_higgs(shared_data: Path) -> None:
    higgs = source(shared_data / "higgs-7k", "binary.train", "0", test_path="binary.test")
    assert higgs.x.shape == (7_500, 28)
    assert higgs.test is not None
    assert len(higgs.test) == 500
    assert higgs.x[0, :3].tolist() == [0.869, -0.635, 0.226]
    assert higgs.class_names == ("0", "1")


def test_letter(shared_data: Path) -> None:
    letter = source(shared_data / "letter", "letter-recognition.data", "0")
    assert letter.x.shape == (20_000, 16)
    counts = class_counts(letter)
    assert "".join(counts) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert (min(counts.values()), max(counts.values())) == (734, 813)
    assert letter.x.min() == 0
    assert letter.x.max() == 15


@pytest.mark.parametrize(
    ("colour", "counts"),
    [
        ("red", {"3": 10, "4": 53, "5": 681, "6": 638, "7": 199, "8": 18}),
        ("white", {"3": 20, "4": 163, "5": 1457, "6": 2198, "7": 880, "8": 175, "9": 5}),
    ],
)
def test_wine_quality(shared_data: Path, colour: str, counts: dict[str, int]) -> None:
    wine = source(shared_data / "winequality", f"winequality-{colour}.csv", "class")
    assert class_counts(wine) == counts
    assert wine.x.shape == (sum(counts.values()), 11)
    dataset = split(wine, CSVConfig(path="", target=""))
    for part in (dataset.train, dataset.val, dataset.test):
        assert len(dataset.y[part].unique()) == len(counts)


PMLB: dict[str, tuple[int, dict[str, int]]] = {
    "connect-4": (42, {"0": 6449, "1": 16635, "2": 44473}),
    "magic": (10, {"0": 12332, "1": 6688}),
    "page-blocks": (10, {"1": 4913, "2": 329, "3": 28, "4": 88, "5": 115}),
    "pendigits": (
        16,
        dict(zip("0123456789", [1143, 1143, 1144, 1055, 1144, 1055, 1056, 1142, 1055, 1055],
                 strict=True)),
    ),
    "phoneme": (5, {"0": 3818, "1": 1586}),
    "satimage": (36, {"1": 1533, "2": 703, "3": 1358, "4": 626, "5": 707, "7": 1508}),
    "shuttle": (9, {"1": 45586, "2": 50, "3": 171, "4": 8903, "5": 3267, "6": 10, "7": 13}),
    "spambase": (57, {"0": 2788, "1": 1813}),
}  # fmt: skip


@pytest.mark.parametrize("name", PMLB)
def test_pmlb(shared_data: Path, name: str) -> None:
    columns, counts = PMLB[name]
    table = source(shared_data / f"pmlb-{name}", f"{name}.tsv.gz", "target")
    assert table.x.shape == (sum(counts.values()), columns)
    assert class_counts(table) == counts
    assert table.one_hot == ()
    assert "target" not in table.feature_names


def test_connect_4_as_categories(shared_data: Path) -> None:
    squares = [f"{letter}{number}" for letter in "abcdefg" for number in range(1, 7)]
    table = source(
        shared_data / "pmlb-connect-4", "connect-4.tsv.gz", "target", categorical=squares
    )
    assert table.x.shape == (67_557, 126)
    assert np.array_equal(table.x.sum(axis=1), np.full(67_557, 42.0))


def test_california_housing(shared_data: Path) -> None:
    """A regression table: refused as one, and usable with its one categorical column as label."""
    folder = shared_data / "california-housing"
    with pytest.raises(
        DataError, match="'median_house_value' has 3842 different numbers in 20640 rows: classes or"
    ):
        source(folder, "housing.csv", "median_house_value")
    with pytest.raises(DataError, match=r"'total_bedrooms': no value .* 207 cells of the column"):
        source(folder, "housing.csv", "ocean_proximity", impute_numeric="error")
    housing = source(folder, "housing.csv", "ocean_proximity", impute_numeric="median")
    assert np.isnan(housing.x).sum() == 207
    assert len(housing.class_names) == 5


def test_text_with_quotes_that_mean_nothing(shared_data: Path) -> None:
    """Sentences are no features yet, but the file is read to its end."""
    folder = shared_data / "text-tatoeba"
    with pytest.raises(DataError, match="line 287: a cell goes on after its quote"):
        source(folder, "sentences.csv.gz", "1")
    languages = source(folder, "sentences.csv.gz", "1", quote=None, drop=["2"])
    assert len(languages.class_names) == 113
    assert len(languages.y) == 89_877
