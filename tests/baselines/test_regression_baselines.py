"""The baselines of a regression, each against scikit-learn's own on the same rows; and settings
that another metric than accuracy selects."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import (
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR

from nnexp.baselines.compare import compare, compute, names
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.selection import Data
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import BaselinesConfig, BoostingConfig, BundledConfig, ForestConfig
from nnexp.data import load
from nnexp.errors import ConfigError
from nnexp.metrics import METRICS
from nnexp.registry import component
from nnexp.runs.record import baseline_keys

CPU = torch.device("cpu")
METRICS_ASKED = ("mae", "r2")
METRICS_OF_KNN = ("euclidean", "manhattan")


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return Data.of(load(BundledConfig(name="diabetes", source="diabetes")), 0, CPU)


def split_of(data: Data, name: str) -> tuple[Any, Any]:
    """Features in float64, and the target in its unit."""
    return data.arrays(name).x.astype(np.float64), data.labels(name)


def best_of(data: Data, models: dict[Any, Any]) -> tuple[Any, float, Any]:
    """The setting with the least RMSE on the validation rows, that, and its test predictions.
    Models learn the standardised target."""
    assert data.target is not None
    x, y = split_of(data, "train")
    found = []
    for setting, model in models.items():
        model.fit(x, (y - data.target.mean) / data.target.std)
        val_x, val_y = split_of(data, "val")
        error = root_mean_squared_error(val_y, data.target.restored(model.predict(val_x)))
        found.append((error, setting, model))
    error, setting, model = min(found, key=lambda one: one[0])
    return setting, error, data.target.restored(model.predict(split_of(data, "test")[0]))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_knn(diabetes: Data, metric: str, weights: str) -> None:
    ks = [1, 3, 7, 15, 31]
    config = KNNConfig(ks, metric, weights)
    found = compute("knn", BaselinesConfig(knn=config), diabetes, METRICS_ASKED)
    peers = {k: KNeighborsRegressor(k, metric=metric, weights=weights) for k in ks}
    k, error, predicted = best_of(diabetes, peers)
    assert found["k"] == k
    assert found["val/rmse"] == pytest.approx(error, rel=1e-9)
    np.testing.assert_allclose(found["predicted"], predicted, rtol=1e-6)
    _, right = split_of(diabetes, "test")
    assert found["test/rmse"] == pytest.approx(root_mean_squared_error(right, predicted), rel=1e-6)
    assert found["test/mae"] == pytest.approx(mean_absolute_error(right, predicted), rel=1e-6)
    assert found["test/r2"] == pytest.approx(r2_score(right, predicted), rel=1e-6)
    assert [one["val/rmse"] for one in found["tried"]][ks.index(k)] == found["val/rmse"]


def peers_of_all(data: Data) -> dict[str, dict[Any, Any]]:
    variance = data.arrays("train").x.astype(np.float64).var() * data.x.shape[1]
    return {
        "ridge": {a: Ridge(alpha=a) for a in (1e-3, 1e-2, 0.1, 1, 10, 100, 1000)},
        "svm": {
            (c, gamma): SVR(C=c, gamma=gamma / variance)
            for c in (0.1, 1, 10, 100)
            for gamma in (0.03, 0.1, 0.3, 1, 3, 10)
        },
        "forest": {
            (share, leaf): RandomForestRegressor(
                20, max_features=share, min_samples_leaf=leaf, random_state=0
            )
            for share in ("sqrt", 0.3)
            for leaf in (1, 3)
        },
    }


@pytest.mark.parametrize("name", ["ridge", "svm", "forest"])
def test_equal_to_scikit_learn(diabetes: Data, name: str) -> None:
    options = ForestConfig(n_estimators=20) if name == "forest" else component("baseline", name)()
    found = compute(name, BaselinesConfig(**{name: options}), diabetes)
    setting, error, predicted = best_of(diabetes, peers_of_all(diabetes)[name])
    chosen = tuple(found[key] for key in ("alpha", "C", "max_features", "gamma", "min_samples_leaf")
                   if key in found)  # fmt: skip
    assert chosen == (setting if isinstance(setting, tuple) else (setting,))
    assert found["val/rmse"] == pytest.approx(error, rel=1e-5)
    np.testing.assert_allclose(found["predicted"], predicted, rtol=1e-4)


def test_boosting_and_the_constant(diabetes: Data) -> None:
    config = BaselinesConfig(
        boosting=BoostingConfig(), constant=component("baseline", "constant")()
    )
    found = compare(config, diabetes, METRICS_ASKED)
    boosting, constant = found["boosting"], found["constant"]
    _, right = split_of(diabetes, "test")
    mean = split_of(diabetes, "train")[1].mean()
    np.testing.assert_allclose(constant["predicted"], mean, rtol=1e-6)
    assert constant["test/rmse"] == pytest.approx(np.sqrt(((right - mean) ** 2).mean()), rel=1e-6)
    assert boosting["test/r2"] > 0.3
    assert 1 < boosting["n_iter"] < 1000
    for record in found.values():
        assert set(baseline_keys("regression")) <= record.keys()
        assert "test/acc" not in record
        assert "probabilities" not in record


def test_every_k_may_be_more_than_the_rows_that_scalers_are_compared_on(diabetes: Data) -> None:
    config = KNNConfig([60, 90], ["euclidean", "manhattan"], tune_rows=40)
    found = compute("knn", BaselinesConfig(knn=config), diabetes)
    assert "skipped" not in found
    assert {(one["k"], one["metric"]) for one in found["tried"]} > {(60, m) for m in METRICS_OF_KNN}
    assert found["val/rmse"] == min(one["val/rmse"] for one in found["tried"])


@pytest.mark.parametrize("metric", ["mae", "median_absolute_error", "r2"])
def test_another_metric_selects_the_setting(diabetes: Data, metric: str) -> None:
    ks = [1, 3, 7, 15, 31, 61]
    by = dataclasses.replace(diabetes, metric=metric)
    found = compute("knn", BaselinesConfig(knn=KNNConfig(ks, "euclidean")), by, (metric,))
    told = [one[f"val/{metric}"] for one in found["tried"]]
    best = max(told) if METRICS[metric].greater_is_better else min(told)
    assert found[f"val/{metric}"] == pytest.approx(best, rel=1e-12)
    assert found["k"] == found["tried"][told.index(best)]["k"]


def test_another_metric_selects_the_setting_of_a_classifier() -> None:
    """Of noisy classes of which one is rare: another k than that of the highest accuracy."""
    data = Data.of(load(BundledConfig(name="breast_cancer", source="breast_cancer")), 0, CPU)
    config = BaselinesConfig(knn=KNNConfig([1, 5, 15, 45, 121], ["euclidean"]))
    plain = compute("knn", config, data, ("roc_auc",))
    by = compute("knn", config, dataclasses.replace(data, metric="roc_auc"), ("roc_auc",))
    areas = [one["val/roc_auc"] for one in by["tried"]]
    assert by["k"] == by["tried"][areas.index(max(areas))]["k"]
    accuracies = {one["k"]: one["val/acc"] for one in by["tried"]}
    assert all(accuracies[one["k"]] == one["val/acc"] for one in plain["tried"])
    assert by["val/roc_auc"] >= plain["val/roc_auc"] - 1e-3  # of smoothed votes
    assert by["k"] != plain["k"]
    rows = data.labels("test")
    assert by["test/roc_auc"] == pytest.approx(
        roc_auc_score(rows, by["probabilities"][:, 1]), abs=1e-6
    )


def test_all_baselines_are_those_of_the_task() -> None:
    def asked(*overrides: str) -> set[str]:
        register()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return set(names(to_config(compose("config", list(overrides))).baseline))

    both = {"knn", "svm", "forest", "boosting"}
    assert asked("dataset=diabetes", "baseline=all") == both | {"constant", "ridge"}
    assert asked("dataset=iris", "baseline=all") == both | {"majority", "logistic_regression"}
    with pytest.raises(ConfigError, match="is one of classification; of regression are") as caught:
        asked("dataset=diabetes", "baseline=majority")
    assert str(caught.value).startswith("baseline=majority: is one of classification; of ")
