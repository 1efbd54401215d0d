"""Boosting beside scikit-learn itself: when it stops, and columns of categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from nnexp.baselines.boosting import BoostingConfig
from nnexp.baselines.categories import Categories
from nnexp.baselines.compare import compute
from nnexp.baselines.selection import Data
from nnexp.config.schema import BaselinesConfig, TableConfig
from nnexp.data import load


def drawn_data(num_rows: int = 600, *, one_hot: bool = False) -> Data:
    """Two numbers and, of a column of five categories, a feature each; noisy classes."""
    rng = np.random.default_rng(0)
    category = rng.integers(0, 5, num_rows)
    x = np.hstack([np.eye(5)[category], rng.normal(size=(num_rows, 2))]).astype(np.float32)
    y = (x[:, 5] + np.isin(category, [0, 3]) + rng.normal(size=num_rows) > 0.5).astype(np.int64)
    parts = torch.arange(num_rows).split([num_rows // 2, num_rows // 4, num_rows // 4])
    rows = dict(zip(("train", "val", "test"), parts, strict=True))
    groups = ((0, 5),) if one_hot else ()
    return Data(torch.from_numpy(x), torch.from_numpy(y), rows, 2, 0, one_hot=groups)


def one_setting(**options: object) -> BaselinesConfig:
    config = {"learning_rate": 0.2, "max_leaf_nodes": 5, **options}
    return BaselinesConfig(boosting=BoostingConfig(**config))


@pytest.mark.parametrize("patience", [1, 4, 30])
def test_rounds_are_those_before_the_validation_loss_stops_falling(patience: int) -> None:
    """By a fit of all rounds, as scikit-learn has it without stopping early."""
    data = drawn_data()
    record = compute("boosting", one_setting(patience=patience, max_iter=60), data)
    train, val, test = (data.arrays(name) for name in ("train", "val", "test"))
    peer = HistGradientBoostingClassifier(
        learning_rate=0.2, max_leaf_nodes=5, max_iter=60, early_stopping=False, random_state=0
    ).fit(train.x, train.y)
    losses = [log_loss(val.y, found) for found in peer.staged_predict_proba(val.x)]
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best]:
            best = place
        elif place - best == patience:
            break
    assert record["n_iter"] == best + 1
    staged = list(peer.staged_predict_proba(test.x))[best]
    assert record["test/clipped_loss"] == pytest.approx(log_loss(test.y, staged), rel=1e-6)
    np.testing.assert_array_equal(record["predicted"], staged.argmax(1))


def test_a_fit_that_ends_at_the_last_round_says_so() -> None:
    record = compute("boosting", one_setting(max_iter=2), drawn_data())
    assert record["n_iter"] == 2
    assert record["edges"] == ["n_iter=2 is the largest allowed"]


def test_categories_are_split_as_such() -> None:
    """Those of one column are a column of codes to scikit-learn."""
    record = compute("boosting", one_setting(), data := drawn_data(one_hot=True))
    train, val, test = (data.arrays(name) for name in ("train", "val", "test"))
    x = [np.column_stack([part.x[:, 5:], part.x[:, :5].argmax(1)]) for part in (train, val, test)]
    peer = HistGradientBoostingClassifier(
        learning_rate=0.2, max_leaf_nodes=5, max_iter=record["n_iter"], early_stopping=False,
        categorical_features=[2], random_state=0,
    ).fit(x[0], train.y)  # fmt: skip
    np.testing.assert_array_equal(record["predicted"], peer.predict(x[2]))
    assert record["val/acc"] == peer.score(x[1], val.y)
    plain = compute("boosting", one_setting(), drawn_data())
    assert plain["test/clipped_loss"] != record["test/clipped_loss"]


def test_codes_of_categories() -> None:
    groups = Categories.of(((0, 2), (3, 4), (4, 7), (7, 300)))
    assert groups.groups == ((0, 2), (4, 7))  # one category is a feature already; 293 are too many
    x = np.zeros((3, 7), np.float32)
    x[:, 2:4] = [[0.5, 1], [0.25, 0], [7, 1]]
    x[0, 1] = x[1, 0] = x[0, 6] = x[1, 4] = 1
    nan = np.nan
    np.testing.assert_array_equal(
        groups.coded(x), [[0.5, 1, 1, 2], [0.25, 0, 0, 0], [7, 1, nan, nan]]
    )
    assert groups.places(4) == [2, 3]
    assert Categories.of(()).coded(x) is x


def test_wide_data_are_learned_from_fewer_rows() -> None:
    """Not left out, as long as there are enough to compare settings."""
    record = compute("boosting", one_setting(max_cells=7 * 200, tune_rows=100), drawn_data())
    assert record["rows"] == 200
    assert "trained on 200 of 300 training rows" in record["note"]


@pytest.mark.parametrize("impute", ["category", "mode"])
def test_a_table_tells_its_columns_of_categories(tmp_path: Path, impute: str) -> None:
    rows = [
        f"{'abc'[i % 3] if i % 7 else ''},{i * 7 % 31},{'yn'[i % 2]},{i * i % 5 < 2}"
        for i in range(80)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["letter,number,two,target", *rows]))
    config = TableConfig(
        name="table", path=str(tmp_path / "t.csv"), target="target", impute_categorical=impute
    )
    data = Data.of(load(config), 0, torch.device("cpu"))
    letters = 4 if impute == "category" else 3
    assert data.arrays("train").one_hot == ((0, letters), (letters + 1, letters + 3))
