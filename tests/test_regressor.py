"""nnexp.Regressor keeps the contract of scikit-learn's estimators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import nnexp

FAST: dict[str, Any] = {"hidden": (16,), "epochs": 15, "lr": 0.01}
X, Y = load_diabetes(return_X_y=True, scaled=False)


@parametrize_with_checks([nnexp.Regressor(hidden=(16,), epochs=20, lr=0.02)])
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():  # the checks expect some, and say so themselves
        warnings.simplefilter("default")
        check(estimator)


def test_a_linear_network_is_least_squares() -> None:
    """Trained on all rows to the end, it predicts what ridge regression without a penalty does."""
    model = nnexp.Regressor(
        hidden=(), optimizer="sgd", lr=0.1, epochs=300, batch_size=442, val_fraction=0
    ).fit(X, Y)
    scaled = (X - X.mean(0)) / X.std(0)
    exact = Ridge(alpha=1e-9).fit(scaled, Y).predict(scaled)
    assert np.abs(model.predict(X) - exact).max() < 0.05 * Y.std()
    assert r2_score(Y, model.predict(X)) == pytest.approx(r2_score(Y, exact), abs=1e-3)
    assert model.history_[-1]["val/rmse"] is None


def test_fit_predict_and_attributes() -> None:
    model = nnexp.Regressor(**FAST).fit(X, Y)
    assert 0.3 < model.score(X, Y) < 0.8
    errors = [record["val/rmse"] for record in model.history_]
    assert model.best_epoch_ == max(np.flatnonzero(np.equal(errors, min(errors)))) + 1
    assert np.array_equal(clone(model).fit(X, Y).predict(X), model.predict(X))
    # Another unit is another scaling of the target, and the same network but for rounding.
    moved = nnexp.Regressor(**FAST).fit(X, 1000 * Y + 5e6).predict(X)
    np.testing.assert_allclose((moved - 5e6) / 1000, model.predict(X), rtol=1e-4)
    assert cross_val_score(nnexp.Regressor(**FAST), X, Y, cv=3).mean() > 0.3


def test_a_quantile_lies_above_its_share() -> None:
    options: dict[str, Any] = {"val_fraction": 0, "epochs": 60, "loss": "quantile"}
    for q in (0.1, 0.9):
        model = nnexp.Regressor(hidden=(), lr=0.03, loss_options={"q": q}, **options).fit(X, Y)
        assert (model.predict(X) > Y).mean() == pytest.approx(q, abs=0.04)


def test_a_folder_holds_a_run(tmp_path: Path) -> None:
    model = nnexp.Regressor(**FAST, folder=tmp_path).fit(X, Y)
    run = nnexp.load(tmp_path)
    assert run.metrics["val/rmse"] == model.history_[model.best_epoch_ - 1]["val/rmse"]
    np.testing.assert_allclose(run.predict(X), model.predict(X), rtol=1e-5)
    with pytest.raises(nnexp.DataError, match="predicts a quantity, which has no probabilities"):
        run.predict_proba(X)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"loss": "hubber"}, r"loss=hubber: must be one of .* \(did you mean 'huber'\?\)"),
        ({"loss": "cross_entropy"}, "loss.name=cross_entropy: is a loss of classification"),
        ({"loss_options": {"q": 0.5}}, "loss_options: squared_error has no option 'q'"),
        ({"loss": "quantile", "loss_options": {"q": 1.5}}, "loss.q=1.5: must be less than 1"),
        ({"select": "accuracy"}, r"trainer.select=accuracy: must be one of metric, .*rmse, mae"),
    ],
)
def test_parameters_that_cannot_be(options: dict[str, Any], line: str) -> None:
    with pytest.raises(nnexp.ConfigError, match=line):
        nnexp.Regressor(**options).fit(X, Y)
