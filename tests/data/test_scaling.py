"""Filling in and scaling, fitted on the training rows alone, against scikit-learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from nnexp.config.schema import DrawnDatasetConfig
from nnexp.data import Dataset, Source, split
from nnexp.errors import DataError

ROWS = 400


def source(x: npt.NDArray[Any], **changes: Any) -> Source:
    return dataclasses.replace(
        Source(
            name="rows",
            x=x,
            y=np.arange(len(x), dtype=np.int64) % 2,
            class_names=("a", "b"),
            feature_names=tuple(f"f{column}" for column in range(x.shape[1])),
        ),
        **changes,
    )


def dataset(
    x: npt.NDArray[Any], scaling: str, num_train: int | None = None, **changes: Any
) -> Dataset:
    config = DrawnDatasetConfig(name="rows", scaling=scaling, num_train=num_train)
    return split(source(x, **changes), config)


@pytest.fixture
def table() -> npt.NDArray[np.float64]:
    """Columns of very different size and spread."""
    draw = np.random.default_rng(1)
    return draw.normal([0, 5, 1e9, -3e-7], [1, 20, 4, 1e-8], (ROWS, 4))


@pytest.mark.parametrize("num_train", [None, 20])
@pytest.mark.parametrize(
    ("scaling", "oracle"), [("standard", StandardScaler), ("minmax", MinMaxScaler)]
)
def test_against_scikit_learn_fitted_on_the_training_rows(
    table: npt.NDArray[np.float64], scaling: str, oracle: type, num_train: int | None
) -> None:
    scaled = dataset(table, scaling, num_train)
    expected = oracle().fit(table[scaled.train]).transform(table)
    np.testing.assert_allclose(scaled.x.numpy(), expected, rtol=1e-6, atol=2e-7)
    assert scaled.x.dtype == torch.float32


def test_test_rows_say_nothing(table: npt.NDArray[np.float64]) -> None:
    before = dataset(table, "standard")
    changed = table.copy()
    changed[torch.cat([before.val, before.test])] += 100.0
    after = dataset(changed, "standard")
    assert torch.equal(before.shift, after.shift)
    assert torch.equal(before.scale, after.scale)
    assert torch.equal(before.x[before.train], after.x[after.train])
    assert before.fingerprint != after.fingerprint


def test_the_numbers_undo_the_scaling(table: npt.NDArray[np.float64]) -> None:
    scaled = dataset(table, "standard")
    raw = scaled.x.double() / scaled.scale + scaled.shift
    np.testing.assert_allclose(raw.numpy(), table, atol=1e-6 * table.std(axis=0).max())
    np.testing.assert_allclose(raw[:, 3].numpy(), table[:, 3], rtol=1e-6)


def test_constant_columns_become_zero() -> None:
    table = np.random.default_rng(0).normal(size=(ROWS, 3))
    table[:, 1] = 1e6 + 0.1
    for scaling in ("standard", "minmax"):
        scaled = dataset(table, scaling)
        assert scaled.x[:, 1].eq(0).all()
        assert scaled.scale[1] == 1
        assert scaled.x.isfinite().all()


def test_a_column_that_is_constant_in_training_only_is_not_blown_up() -> None:
    table = np.random.default_rng(0).normal(size=(ROWS, 2))
    table[:, 1] = 7.0
    test = dataset(table, "none").test
    table[test[0], 1] = 9.0
    scaled = dataset(table, "standard")
    assert scaled.x[test[0], 1] == 2
    assert scaled.x[test[1], 1] == 0


def test_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 6), dtype=np.uint8)
    pixels[:, 0] = 0
    train = dataset(pixels, "none", unit=1 / 255).train
    unscaled = dataset(pixels, "none", unit=1 / 255)
    assert torch.equal(unscaled.x, torch.from_numpy(pixels).float() / 255)
    # A pixel that is black in all training rows stays between 0 and 1 elsewhere.
    test = unscaled.test
    pixels[test[0], 0] = 255
    scaled = dataset(pixels, "standard", unit=1 / 255)
    assert scaled.x[test[0], 0] == 1
    expected = StandardScaler().fit(pixels[train] / 255).transform(pixels / 255)
    np.testing.assert_allclose(scaled.x.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_pixels_are_kept_as_they_were_read_and_shared() -> None:
    """A float32 table is made where somebody asks for it, and then it is the same one."""
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 6), dtype=np.uint8)
    one = source(pixels, unit=1 / 255)
    splits = [
        split(one, DrawnDatasetConfig(name="rows", scaling=scaling, split_seed=seed))
        for scaling, seed in (("none", 0), ("standard", 0), ("standard", 1))
    ]
    for each in splits:
        assert each.pixels is one.pixels
        assert each.pixels is not None
        assert each.pixels.data_ptr() == pixels.ctypes.data
        assert each.table._x is None  # not made by splitting
        expected = (each.pixels.double() - each.shift) * each.scale
        assert torch.equal(each.x, expected.float())
        assert each.x is each.x
    assert dataset(pixels.astype(np.float64), "none").pixels is None


def test_numbers_beyond_float32_are_refused_by_name() -> None:
    table = np.random.default_rng(0).normal(size=(ROWS, 2))
    table[:, 1] *= 1e300
    limits = {"none": "32-bit floats", "standard": "dataset.scaling=standard"}
    for scaling, limit in limits.items():  # the squares of 1e300 overflow float64
        with pytest.raises(DataError) as caught:
            dataset(table, scaling)
        assert str(caught.value) == f"rows: column 'f1' holds numbers too large for {limit}"
    assert dataset(table, "minmax").x.isfinite().all()


def test_none_leaves_a_table_as_it_is(table: npt.NDArray[np.float64]) -> None:
    table[:, 2] -= 1e9
    assert np.array_equal(dataset(table, "none").x.numpy(), table.astype(np.float32))


def test_none_refuses_numbers_that_float32_cannot_tell_apart(
    table: npt.NDArray[np.float64],
) -> None:
    with pytest.raises(DataError, match="different numbers, of which 1 are left in 32-bit floats"):
        dataset(table, "none")


# ── missing values ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fill", ["mean", "median"])
def test_numbers_are_filled_from_the_training_rows(fill: str) -> None:
    draw = np.random.default_rng(2)
    table = draw.exponential(size=(ROWS, 3))
    table[draw.random((ROWS, 3)) < 0.2] = np.nan
    filled = dataset(table, "none", num_train=50, fill=fill)
    oracle = SimpleImputer(strategy=fill).fit(table[filled.train])
    np.testing.assert_allclose(filled.x.numpy(), oracle.transform(table), rtol=1e-6)
    scaled = dataset(table, "standard", num_train=50, fill=fill)
    oracle_scaled = StandardScaler().fit(oracle.transform(table[filled.train]))
    np.testing.assert_allclose(
        scaled.x.numpy(), oracle_scaled.transform(oracle.transform(table)), rtol=1e-5, atol=1e-6
    )


def test_a_number_that_no_training_row_has_becomes_zero_everywhere() -> None:
    table = np.random.default_rng(0).normal(size=(ROWS, 2))
    train = dataset(table, "none").train
    table[train, 1] = np.nan
    scaled = dataset(table, "standard")
    assert scaled.x[scaled.train, 1].eq(0).all()
    assert scaled.x.isfinite().all()


def one_hot(codes: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.float64]:
    table = np.eye(number)[codes]
    table[codes < 0] = np.nan
    return table


def test_categories_are_filled_with_the_most_frequent_of_the_training_rows() -> None:
    draw = np.random.default_rng(3)
    codes = draw.choice(3, ROWS, p=[0.2, 0.5, 0.3])
    codes[draw.random(ROWS) < 0.1] = -1
    table = np.concatenate([draw.normal(size=(ROWS, 1)), one_hot(codes, 3)], axis=1)
    filled = dataset(table, "standard", one_hot=((1, 4),))
    assert torch.equal(filled.x[:, 1:], torch.eye(3)[np.where(codes < 0, 1, codes)])


def test_categories_are_not_scaled_and_unseen_ones_are_all_zeros() -> None:
    draw = np.random.default_rng(3)
    codes = draw.integers(0, 2, ROWS)
    numbers = draw.normal(10, 3, size=(ROWS, 1))
    blank = np.concatenate([one_hot(codes, 3), numbers], axis=1)
    test = dataset(blank, "none", one_hot=((0, 3),)).test
    codes[test[:5]] = 2  # a category of test rows alone
    table = np.concatenate([one_hot(codes, 3), numbers], axis=1)
    for scaling in ("none", "standard", "minmax"):
        scaled = dataset(table, scaling, one_hot=((0, 3),))
        expected = torch.eye(3)[codes]
        expected[:, 2] = 0
        assert torch.equal(scaled.x[:, :3], expected)
        assert scaled.num_features == 4
    standard = dataset(table, "standard", one_hot=((0, 3),))
    assert abs(standard.x[standard.train, 3].mean()) < 1e-6


# ── fingerprint ───────────────────────────────────────────────────────────────────────────────


def test_fingerprint_is_of_the_source_not_of_the_split(table: npt.NDArray[np.float64]) -> None:
    one = source(table)
    prints = {
        split(
            one,
            DrawnDatasetConfig(
                name="rows", scaling=scaling, split_seed=seed, num_train=number, val_fraction=0.1
            ),
        ).fingerprint
        for scaling in ("minmax", "standard")
        for seed in (0, 1)
        for number in (None, 50)
    }
    assert prints == {one.fingerprint}
    assert source(table, name="other").fingerprint == one.fingerprint


def test_fingerprint_sees_every_change(table: npt.NDArray[np.float64]) -> None:
    one = source(table)
    nudged = table.copy()
    nudged[3, 2] = np.nextafter(nudged[3, 2], np.inf)
    others = [
        source(nudged),
        source(table[::-1]),
        source(table, y=one.y[::-1].copy()),
        source(table, class_names=("a", "c")),
        source(table, feature_names=("f0", "f1", "f2", "g")),
        source(table, test=np.array([1, 2])),
        source(table, test=np.array([1, 3])),
        source(table, test=np.array([1, 2]), val=np.array([3])),
        source(table.reshape(-1, 2), y=np.tile(one.y, 2), feature_names=("f0", "f1")),
        source(table.astype(np.uint8)),
    ]
    assert len({item.fingerprint for item in [one, *others]}) == len(others) + 1


def test_fingerprint_by_hand() -> None:
    """SHA-256 over a JSON header, then x, y and official rows as little-endian bytes."""
    import hashlib
    import json
    import struct

    tiny = source(np.array([[1.0, 2.0], [3.0, 4.0]]), test=np.array([1]))
    header = {
        "version": 1,
        "shape": [2, 2],
        "dtype": "float64",
        "class_names": ["a", "b"],
        "feature_names": ["f0", "f1"],
        "official": [None, 1],
    }
    content = json.dumps(header).encode() + struct.pack("<4d2q1q", 1, 2, 3, 4, 0, 1, 1)
    assert tiny.fingerprint == hashlib.sha256(content).hexdigest()


def test_a_category_that_no_training_row_has_is_blanked() -> None:
    category = np.zeros((ROWS, 1))
    split_rows = dataset(np.arange(ROWS)[:, None] / ROWS, "standard")
    category[split_rows.test[:4].numpy()] = 1.0
    x = np.concatenate([np.arange(ROWS)[:, None] / ROWS, 1 - category, category], axis=1)
    found = dataset(x, "standard", one_hot=((1, 3),))
    assert found.scale[1:].tolist() == [1.0, 0.0]
    assert found.x[:, 2].abs().max() == 0
