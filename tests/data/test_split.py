"""Who trains, who validates and who tests."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from typing import Any

import numpy as np
import pytest
import torch

from nnexp.config.fields import check
from nnexp.config.schema import (
    BundledConfig,
    CSVConfig,
    DatasetConfig,
    DrawnDatasetConfig,
    IDXConfig,
)
from nnexp.data import Dataset, Source, load, split
from nnexp.errors import ConfigError, DataError


def source(class_sizes: list[int], **changes: Any) -> Source:
    """Rows whose only feature is their number, classes mixed."""
    y = np.repeat(np.arange(len(class_sizes)), class_sizes)
    y = y[np.random.default_rng(0).permutation(len(y))]
    return dataclasses.replace(
        Source(
            name="rows",
            x=np.arange(len(y), dtype=np.float64)[:, None],
            y=y.astype(np.int64),
            class_names=tuple(f"c{label}" for label in range(len(class_sizes))),
            feature_names=("row",),
        ),
        **changes,
    )


def drawn(**options: Any) -> DrawnDatasetConfig:
    return DrawnDatasetConfig(name="rows", scaling="none", **options)


def counts(dataset: Dataset, rows: torch.Tensor) -> list[int]:
    return torch.bincount(dataset.y[rows], minlength=dataset.num_classes).tolist()


CLASS_SIZES = [
    [50, 50, 50],
    [100, 10, 1],
    [1, 1, 1, 1, 500],
    [7, 13, 29, 31, 2],
    [2, 2, 2, 40],
    [45586, 50, 171, 8903, 3267, 10, 13],  # shuttle
    [20, 163, 1457, 2198, 880, 175, 5],  # white wine
]


@pytest.mark.parametrize("sizes", CLASS_SIZES)
@pytest.mark.parametrize(("val", "test"), [(0.15, 0.2), (0.1, 0.1), (0.3, 0.4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_disjoint_complete_and_stratified(
    sizes: list[int], val: float, test: float, seed: int
) -> None:
    dataset = split(source(sizes), drawn(val_fraction=val, test_fraction=test, split_seed=seed))
    parts = [dataset.train, dataset.val, dataset.test]
    total = sum(sizes)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(total))
    assert all((part.diff() > 0).all() for part in parts)
    assert dataset.num_test == max(1, round(test * total))
    assert dataset.num_val == max(1, round(val * total))
    assert min(counts(dataset, dataset.train)) >= 1
    for part, fraction in ((dataset.val, dataset.num_val), (dataset.test, dataset.num_test)):
        for size, count in zip(sizes, counts(dataset, part), strict=True):
            if size >= 10:  # a small class keeps a training row, and others give in its place
                assert abs(count - fraction * size / total) <= 1 + sum(n < 10 for n in sizes)


def test_shares_by_hand() -> None:
    """Quotas of 0.2 x (7, 13, 29, 31) = 1.4, 2.6, 5.8, 6.2; the two largest remainders get one."""
    dataset = split(source([7, 13, 29, 31]), drawn(test_fraction=0.2, val_fraction=0.1))
    assert counts(dataset, dataset.test) == [1, 3, 6, 6]
    # 0.1 x: 0.7, 1.3, 2.9, 3.1; two left, for the remainders 0.9 and 0.7.
    assert counts(dataset, dataset.val) == [1, 1, 3, 3]


def test_what_a_small_class_cannot_give_others_do() -> None:
    """Quotas of 0.5 x (1, 1, 1, 1, 16) = 0.5 each and 8; the single rows stay."""
    dataset = split(source([1, 1, 1, 1, 16]), drawn(test_fraction=0.5, val_fraction=0.1))
    assert counts(dataset, dataset.test) == [0, 0, 0, 0, 10]
    assert counts(dataset, dataset.val) == [0, 0, 0, 0, 2]


def test_a_single_row_of_a_class_is_trained_on_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = split(source([1, 30, 30]), drawn())
    assert counts(dataset, dataset.train)[0] == 1
    assert "rows: a single row" in caplog.text
    assert "'c0'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        split(source([2, 30, 30]), drawn())
    assert not caplog.records


def test_the_seed_decides_and_zero_is_a_seed() -> None:
    table = source([50, 50])
    splits = [split(table, drawn(split_seed=seed)) for seed in range(4)]
    for a, b in itertools.combinations(splits, 2):
        assert not torch.equal(a.test, b.test)
    again = split(table, drawn(split_seed=0))
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(again, part), getattr(splits[0], part))


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    table = source([30, 20])
    times = np.zeros(50)
    for seed in range(2000):
        times[split(table, drawn(split_seed=seed, test_fraction=0.2)).test.numpy()] += 1
    # Each row is tested with probability 0.2: 400 times, standard deviation 17.9.
    assert abs(times - 400).max() < 4.5 * 17.9
    assert (((times - 400) / 17.9) ** 2).sum() < 95  # chi-square, 50 degrees, 0.01 %


def test_val_fraction_moves_no_test_row() -> None:
    table = source([60, 40])
    a, b = (split(table, drawn(val_fraction=val)) for val in (0.1, 0.3))
    assert torch.equal(a.test, b.test)
    assert set(a.val.tolist()) < set(b.val.tolist())


def test_golden_split() -> None:
    """Old results must stay reproducible: digits, seed 0."""
    dataset = load(BundledConfig(name="digits", source="digits"))
    assert dataset.test[:8].tolist() == [3, 11, 15, 16, 18, 51, 58, 63]
    assert dataset.val[:8].tolist() == [2, 8, 10, 19, 20, 23, 27, 31]
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (1168, 270, 359)


# ── num_train ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sizes", [[50, 50, 50], [200, 10, 3], [45586, 50, 171, 8903, 3267, 10, 13]]
)
def test_subsets_are_nested_and_hold_every_class(sizes: list[int]) -> None:
    table = source(sizes)
    whole = split(table, drawn())
    previous: set[int] = set()
    grid = [number for number in (len(sizes), 10, 20, 33, 64, 100) if number <= whole.num_train]
    for number in [*grid, whole.num_train]:
        part = split(table, drawn(num_train=number))
        rows = set(part.train.tolist())
        assert len(rows) == part.num_train == number
        assert previous <= rows
        assert min(counts(part, part.train)) >= 1
        assert torch.equal(part.val, whole.val)
        assert torch.equal(part.test, whole.test)
        previous = rows
    assert torch.equal(part.train, whole.train)


def test_subsets_are_stratified() -> None:
    """Every beginning has each class's share to within a row, where all classes are large."""
    table = source([500, 300, 200])
    for number in range(3, 300):
        part = split(table, drawn(num_train=number))
        shares = np.array([0.5, 0.3, 0.2]) * number
        assert abs(np.array(counts(part, part.train)) - shares).max() < 1.5


def test_subsets_differ_between_seeds() -> None:
    table = source([100, 100])
    a, b = (split(table, drawn(num_train=20, split_seed=seed)) for seed in (0, 1))
    assert not torch.equal(a.train, b.train)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2, "dataset.num_train=2: must be at least 3, one row of each class of rows"),
        (99, "dataset.num_train=99: rows has 98 training samples"),
    ],
)
def test_impossible_subsets(number: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split(source([50, 50, 50]), drawn(num_train=number))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fraction", "number"), [(1.0, 98), (0.5, 49), (0.25, 24), (1 / 16, 6), (1e-6, 3)]
)
def test_a_fraction_takes_the_rows_that_their_number_takes(fraction: float, number: int) -> None:
    """Of 98 rows; never fewer than the classes."""
    table = source([50, 50, 50])
    by_share = split(table, drawn(train_fraction=fraction))
    by_number = split(table, drawn(num_train=number))
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(by_share, part), getattr(by_number, part))


@pytest.mark.parametrize("official_val", [None, np.arange(0, 600, 6)])
def test_a_fraction_of_all_takes_validation_rows_alike(official_val: np.ndarray | None) -> None:
    """Nested and stratified, as the training rows are; the test rows stay."""
    table = source([300, 200, 100], val=official_val)
    whole = split(table, drawn())
    before = whole
    for fraction in (1.0, 0.5, 0.25, 1 / 16, 1e-6):
        part = split(table, drawn(fraction=fraction))
        assert torch.equal(part.train, split(table, drawn(train_fraction=fraction)).train)
        assert torch.equal(part.test, whole.test)
        assert part.num_val == max(1, round(fraction * whole.num_val))
        assert set(part.val.tolist()) <= set(before.val.tolist())
        if part.num_val >= 3:
            shares = np.array(counts(whole, whole.val)) * part.num_val / whole.num_val
            assert abs(np.array(counts(part, part.val)) - shares).max() < 1.5
        before = part


def test_a_fraction_of_groups_takes_rows_of_all_of_them() -> None:
    groups = np.arange(150) % 15
    table = source([50, 50, 50], groups=groups)
    whole, half = (split(table, drawn(fraction=f)) for f in (1.0, 0.5))
    assert torch.equal(half.test, whole.test)
    assert (half.num_train, half.num_val) == (round(whole.num_train / 2), round(whole.num_val / 2))
    assert set(half.val.tolist()) < set(whole.val.tolist())


@pytest.mark.parametrize("other", [{"num_train": 10}, {"train_fraction": 0.5}])
def test_a_fraction_of_all_stands_alone(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        check(BundledConfig(name="rows", fraction=0.5, **other), "dataset")
    ((key, value),) = other.items()
    assert str(caught.value) == f"dataset.fraction=0.5: must be 1 beside dataset.{key}={value}"


@pytest.mark.parametrize("kind", [BundledConfig, CSVConfig])
def test_the_number_of_training_rows_is_said_once(kind: type[DatasetConfig]) -> None:
    config = kind(name="rows", num_train=10, train_fraction=0.5)
    if isinstance(config, CSVConfig):
        config.path, config.target, config.test_path = "t.csv", "y", "u.csv"
    with pytest.raises(ConfigError) as caught:
        check(config, "dataset")
    assert str(caught.value) == "dataset.train_fraction=0.5: must be 1 beside dataset.num_train=10"


# ── official rows ─────────────────────────────────────────────────────────────────────────────


def test_official_test_rows_stay_and_validation_is_a_fraction_of_the_rest() -> None:
    test = np.arange(0, 200, 4)
    table = source([100, 100], test=test)
    for seed in (0, 1):
        config = DatasetConfig(name="rows", scaling="none", val_fraction=0.2, split_seed=seed)
        dataset = split(table, config)
        assert dataset.test.tolist() == test.tolist()
        assert (dataset.num_train, dataset.num_val) == (120, 30)
        assert not set(dataset.val.tolist()) & set(test.tolist())
        assert len(set(dataset.train.tolist()) | set(dataset.val.tolist())) == 150


def test_official_validation_rows_stay() -> None:
    table = source([20, 20], test=np.array([3, 1]), val=np.array([7, 5]))
    dataset = split(table, drawn())
    assert dataset.test.tolist() == [1, 3]
    assert dataset.val.tolist() == [5, 7]
    assert dataset.num_train == 36


def test_drawn_fractions_of_official_tests_are_not_asked_for() -> None:
    """An IDX config has no test_fraction at all."""
    table = source([20, 20], test=np.arange(10))
    dataset = split(table, IDXConfig(name="rows", scaling="none"))
    assert dataset.num_test == 10


# ── errors ────────────────────────────────────────────────────────────────────────────────────


def test_fewer_rows_than_classes_need() -> None:
    with pytest.raises(DataError) as caught:
        split(source([1, 1, 1, 1, 1]), drawn())
    assert str(caught.value) == (
        "rows: 5 rows are too few for 5 classes, each of which needs a training row, beside 2 rows "
        "that are held out"
    )
    smallest = split(source([2, 2, 1]), drawn())
    assert counts(smallest, smallest.train) == [1, 1, 1]


def test_a_class_without_rows() -> None:
    table = source([10, 10], class_names=("a", "b", "c"))
    with pytest.raises(DataError, match=r"^rows: class 'c' has no row to train on$"):
        split(table, drawn())


def test_a_class_that_only_test_rows_have() -> None:
    table = source([10, 10])
    with pytest.raises(DataError, match=r"^rows: class 'c1' has no row to train on$"):
        split(dataclasses.replace(table, test=np.flatnonzero(table.y == 1)), drawn())
