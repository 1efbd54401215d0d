"""The choice of scaler, metric, k and weights, beside scikit-learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from neighbor_cases import of_scikit_learn
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from nnexp.baselines import knn_votes as knn_votes_module
from nnexp.baselines.compare import compute
from nnexp.baselines.knn_tuning import tuned_knn
from nnexp.baselines.neighbors import nearest
from nnexp.baselines.selection import Data
from nnexp.config.fields import check
from nnexp.config.schema import BaselinesConfig, KNNConfig
from nnexp.errors import ConfigError

SCALERS = ["dataset", "none", "standard", "minmax"]


def drawn_data(num_rows: int = 400, *, scale: Any = (1.0, 2.0, 0.5, 1.0)) -> Data:
    """Skewed features, the last of no use, and noisy classes."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(num_rows, 4)) ** 3 * [1, 5, 20, 3]
    y = (np.cbrt(x[:, 0]) + np.cbrt(x[:, 1] / 5) + rng.normal(size=num_rows) > 0).astype(np.int64)
    parts = torch.arange(num_rows).split([num_rows // 2, num_rows // 4, num_rows // 4])
    rows = dict(zip(("train", "val", "test"), parts, strict=True))
    return Data(torch.from_numpy(x).float(), torch.from_numpy(y), rows, 2, 3, scale=np.array(scale))


def test_chosen_as_by_scikit_learn() -> None:
    data = drawn_data()
    config = KNNConfig(
        [3, 150, 8, 1, 50],
        ["manhattan", "minkowski_1.5", "euclidean"],
        ["uniform", "distance"],
        scaler=SCALERS,
    )
    record = compute("knn", BaselinesConfig(knn=config), data)
    train, val, test = (data.arrays(split) for split in ("train", "val", "test"))
    scalers = {
        "dataset": FunctionTransformer(),
        "none": FunctionTransformer(lambda x: x / data.scale),
        "standard": StandardScaler(),
        "minmax": MinMaxScaler(),
    }

    def peer(k: int, metric: str, weights: str, scaler: str) -> Any:
        knn = KNeighborsClassifier(k, weights=weights, **of_scikit_learn(metric))
        return make_pipeline(scalers[scaler], knn).fit(train.x.astype(float), train.y)

    for tried in record["tried"]:
        settings = {key: value for key, value in tried.items() if key != "val/acc"}
        assert tried["val/acc"] == peer(**settings).score(val.x.astype(float), val.y)
    near = [one for one in record["tried"] if one["k"] <= 31]
    assert len(near) == 4 * 3 * 2 * 3
    assert record["val/acc"] == max(one["val/acc"] for one in record["tried"])
    best = peer(*(record[key] for key in ("k", "metric", "weights", "scaler")))
    np.testing.assert_array_equal(record["predicted"], best.predict(test.x.astype(float)))
    assert record["settings"] == 4 * 3 * 2 * 5


def noise(num_rows: int) -> Data:
    """One class is more frequent: the more neighbours the better."""
    rng = np.random.default_rng(0)
    y = (rng.random(num_rows) < 0.35).astype(np.int64)
    parts = torch.arange(num_rows).split([num_rows // 2, num_rows // 4, num_rows // 4])
    rows = dict(zip(("train", "val", "test"), parts, strict=True))
    x = torch.from_numpy(rng.normal(size=(num_rows, 3))).float()
    return Data(x, torch.from_numpy(y), rows, 2, 0)


def test_a_large_k_is_tried_where_the_smaller_ones_call_for_it() -> None:
    config = KNNConfig([1, 15, 31, 101, 151, 1000], ["euclidean", "manhattan"])
    record = compute("knn", BaselinesConfig(knn=config), noise(400))
    tried = {(one["metric"], one["k"]) for one in record["tried"]}
    assert len(tried) == 2 * 3 + 2
    assert record["k"] > 10
    easy = drawn_data()
    y = (easy.x[:, 0] > 0).long()
    record = compute("knn", BaselinesConfig(knn=config), dataclasses.replace(easy, y=y))
    assert (record["k"] <= 10) == (max(one["k"] for one in record["tried"]) == 31)
    only_large = KNNConfig([101, 151], ["euclidean", "manhattan"])
    record = compute("knn", BaselinesConfig(knn=only_large), noise(400))
    assert {one["k"] for one in record["tried"]} == {101, 151}


def test_scalers_that_change_no_neighbour_are_not_tried() -> None:
    data = drawn_data(scale=[2.0] * 4)
    config = KNNConfig([1, 3], scaler=SCALERS)
    tried = tuned_knn(config, data).tried
    assert list(dict.fromkeys(one["scaler"] for one in tried)) == ["dataset", "standard", "minmax"]
    train = data.split("train").x.double()
    scaled = dataclasses.replace(
        data, x=((data.x - train.mean(0)) / train.std(0, correction=0)).float()
    )
    tried = tuned_knn(config, scaled).tried
    assert list(dict.fromkeys(one["scaler"] for one in tried)) == ["dataset", "minmax"]
    by_angle = KNNConfig([1, 3], ["cosine"], scaler=["dataset", "standard"])
    assert {one["scaler"] for one in tuned_knn(by_angle, data).tried} == {"dataset", "standard"}


def test_features_that_encode_a_category_are_not_scaled() -> None:
    data = dataclasses.replace(drawn_data(), one_hot=((1, 3),))
    found = tuned_knn(KNNConfig([5], scaler="standard"), data)
    train, test = data.arrays("train").x.astype(float), data.arrays("test").x.astype(float)
    mean, std = train.mean(0), train.std(0)
    mean[1:3], std[1:3] = 0, 1
    peer = KNeighborsClassifier(5).fit((train - mean) / std, data.arrays("train").y)
    np.testing.assert_array_equal(found.predictions, peer.predict((test - mean) / std))


def test_scalers_and_metrics_are_compared_on_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the best of them and the first on all rows, at most."""
    searches = []

    def counted(train: Any, queries: Any, k: int, *, metric: str, **settings: Any) -> Any:
        searches.append((len(train), len(queries), metric))
        return nearest(train, queries, k, metric=metric, **settings)

    monkeypatch.setattr(knn_votes_module, "nearest", counted)
    config = KNNConfig([1, 3, 7], ["euclidean", "manhattan"], scaler=SCALERS, tune_rows=60)
    record = compute("knn", BaselinesConfig(knn=config), drawn_data())
    on_few = [search for search in searches if search[:2] == (60, 30)]
    on_all = [search for search in searches if search[:2] == (200, 100)]
    assert len(on_few) == 8
    assert 2 <= len(on_all) <= 3
    assert len(record["tried"]) == record["settings"] == 24
    assert record["note"] == "scalers and metrics compared on 60 training rows"
    pairs = {(one["scaler"], one["metric"]) for one in record["tried"]}
    assert ("dataset", "euclidean") in pairs
    of_first = [one["val/acc"] for one in record["tried"]
                if (one["scaler"], one["metric"]) == ("dataset", "euclidean")]  # fmt: skip
    alone = compute("knn", BaselinesConfig(knn=KNNConfig([1, 3, 7])), drawn_data())
    assert of_first == [one["val/acc"] for one in alone["tried"]]
    assert record["val/acc"] >= alone["val/acc"]


def test_a_metric_that_would_take_too_long_is_left_out_unless_it_is_the_first() -> None:
    config = KNNConfig([3], ["euclidean", "manhattan", "cosine"], max_cells=200 * 200 * 4 - 1)
    record = compute("knn", BaselinesConfig(knn=config), drawn_data())
    assert [one["metric"] for one in record["tried"]] == ["euclidean", "cosine"]
    assert record["note"] == "too large to try: metric=manhattan"
    config = KNNConfig([3], ["manhattan"], max_cells=1)
    assert compute("knn", BaselinesConfig(knn=config), drawn_data())["metric"] == "manhattan"


def test_unknown_scalers_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        check(KNNConfig(scaler=["dataset", "standart"]), "baseline.knn")
    assert str(caught.value) == (
        "baseline.knn.scaler=[dataset,standart]: must be one of dataset, none, standard, minmax "
        "(did you mean 'standard'?)"
    )
