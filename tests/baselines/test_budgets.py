"""How many settings a baseline tries, and what it says of choices at an edge."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from nnexp.baselines.base import drawn
from nnexp.baselines.compare import compute
from nnexp.baselines.edges import edges
from nnexp.baselines.selection import Data
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import (
    BaselinesConfig,
    ForestConfig,
    KNNConfig,
    LogisticRegressionConfig,
    SVMConfig,
)

GROUPS = [[{"rate": rate, "depth": depth} for depth in range(4)] for rate in range(5)]


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_smaller_budget_draws_some_of_what_a_larger_one_does(seed: int) -> None:
    whole = [tuple(one.items()) for group in GROUPS for one in group]
    larger = whole
    for budget in (19, 8, 7, 1):
        groups = drawn(GROUPS, budget, seed)
        some = [tuple(one.items()) for group in groups for one in group]
        assert len(some) == budget
        assert some == [one for one in larger if one in some]
        assert all(len({one["rate"] for one in group}) == 1 for group in groups)
        larger = some
    assert drawn(GROUPS, None, seed) == drawn(GROUPS, 20, seed) == GROUPS


def test_every_setting_is_drawn_about_as_often() -> None:
    counts = np.zeros(20)
    for seed in range(400):
        for one in itertools.chain(*drawn(GROUPS, 5, seed)):
            counts[4 * one["rate"] + one["depth"]] += 1
    assert 60 < counts.min() < 100 < counts.max() < 140  # 100 +- 8.7


def blobs() -> Data:
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 3)) + np.eye(3)[y]
    rows = dict(zip(("train", "val", "test"), torch.arange(240).split(80), strict=True))
    return Data(torch.from_numpy(x).float(), torch.from_numpy(y), rows, 3, seed=4)


@pytest.mark.parametrize(
    ("name", "make", "in_all"),
    [
        ("logistic_regression", lambda b: LogisticRegressionConfig(budget=b), 4),
        ("knn", lambda b: KNNConfig([1, 2, 70], ["euclidean", "manhattan"], budget=b), 6),
        ("forest", lambda b: ForestConfig(n_estimators=3, budget=b), 4),
    ],
)
def test_as_many_settings_are_tried_as_the_budget_allows(name: str, make: Any, in_all: int) -> None:
    whole = compute(name, BaselinesConfig(**{name: make(None)}), blobs())
    assert whole["settings"] == in_all
    assert "drawn at random" not in (whole["note"] or "")
    for budget in (1, 3):
        record = compute(name, BaselinesConfig(**{name: make(budget)}), blobs())
        assert len(record["tried"]) == budget
        assert record["settings"] == in_all
        assert f"{budget} of {in_all} settings tried, drawn at random" in record["note"]
        best = max(record["tried"], key=lambda one: one["val/acc"])
        assert record["val/acc"] == best["val/acc"]


def budgets_of(*overrides: str) -> dict[str, int | None]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        baselines = to_config(compose("config", list(overrides))).baseline
    return {name: own.budget for name, own in vars(baselines).items() if own is not None}


def test_the_budget_of_the_report_is_that_of_each_baseline() -> None:
    assert set(budgets_of("baseline=all").values()) == {None}
    told = budgets_of("baseline=[knn,svm]", "report.budget=8", "baseline.svm.budget=2")
    assert told == {"knn": 8, "svm": 2}
    with pytest.raises(Exception, match=r"budget=0: must be at least 1"):
        budgets_of("report.budget=0")


@pytest.mark.parametrize(
    ("chosen", "tried", "told"),
    [
        (1000, [1, 1000, 10], ["C=1000 is the largest tried"]),
        (1, [1, 1000, 10], ["C=1 is the smallest tried"]),
        (10, [1, 1000, 10], []),
        (10, [10], []),
    ],
)
def test_a_choice_at_an_edge_is_told(chosen: float, tried: list[float], told: list[str]) -> None:
    every = [{"C": c, "gamma": 1.0} for c in tried]
    assert edges(SVMConfig(), {"C": chosen, "gamma": 1.0}, every) == told


def test_an_end_that_nothing_lies_beyond_is_no_edge() -> None:
    knn = [{"k": k, "metric": metric} for k in (1, 5) for metric in ("euclidean", "manhattan")]
    assert edges(KNNConfig(), knn[0], knn) == []
    assert edges(KNNConfig(), knn[2], knn) == ["k=5 is the largest tried"]
    forest = [{"max_features": share, "min_samples_leaf": 1} for share in ("sqrt", 0.3)]
    assert edges(ForestConfig(), forest[1], forest) == []


def test_edges_stand_in_the_record() -> None:
    config = BaselinesConfig(logistic_regression=LogisticRegressionConfig(C=[1e-9, 1e-8]))
    record = compute("logistic_regression", config, blobs())
    assert record["edges"] in (["C=1e-08 is the largest tried"], ["C=1e-09 is the smallest tried"])
