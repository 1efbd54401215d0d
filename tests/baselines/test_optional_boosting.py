"""Boosting by other packages: beside themselves, and where they are absent."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from test_boosting import drawn_data

from nnexp.baselines.compare import check_baselines, compute
from nnexp.config.schema import BaselinesConfig, CatBoostConfig, LightGBMConfig
from nnexp.errors import ConfigError

OF_ONE_SETTING: dict[str, Any] = {
    "lightgbm": LightGBMConfig(learning_rate=0.2, num_leaves=5),
    "catboost": CatBoostConfig(learning_rate=0.2, depth=3),
}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("name", OF_ONE_SETTING)
def test_it_stops_early_and_again_gives_the_same(name: str, one_hot: bool) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    data, config = drawn_data(one_hot=one_hot), BaselinesConfig(**{name: OF_ONE_SETTING[name]})
    record, again = compute(name, config, data), compute(name, config, data)
    assert record["note"] is None
    assert 1 <= record["n_iter"] < 300
    assert record["test/acc"] > 0.65
    np.testing.assert_array_equal(record["predicted"], again["predicted"])
    assert record["test/clipped_loss"] == again["test/clipped_loss"]


def test_lightgbm_as_by_itself() -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    data = drawn_data()
    record = compute("lightgbm", BaselinesConfig(lightgbm=OF_ONE_SETTING["lightgbm"]), data)
    train, test = data.arrays("train"), data.arrays("test")
    peer = lightgbm.train(
        {"objective": "binary", "learning_rate": 0.2, "num_leaves": 5, "verbosity": -1},
        lightgbm.Dataset(train.x, train.y), num_boost_round=record["n_iter"],
    )  # fmt: skip
    np.testing.assert_array_equal(record["predicted"], peer.predict(test.x) > 0.5)


@pytest.mark.parametrize("name", OF_ONE_SETTING)
def test_a_package_that_is_absent_is_told_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda one, *_: None if one == name else find_spec(one)
    )
    with pytest.raises(ConfigError) as caught:
        check_baselines(BaselinesConfig(**{name: OF_ONE_SETTING[name]}), 100)
    line = f"baseline={name}: {name} is not installed; pip install 'nnexp[boosting]'"
    assert str(caught.value) == line
