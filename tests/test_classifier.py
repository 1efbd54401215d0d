"""nnexp.Classifier keeps the contract of scikit-learn's estimators."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nnexp
from nnexp.api.run_object import History
from nnexp.runs.record import EPOCH_KEYS

FAST: dict[str, Any] = {"hidden": (16,), "epochs": 15, "lr": 0.01}


@parametrize_with_checks([nnexp.Classifier(), nnexp.Classifier(hidden=(), lr=0.02, val_fraction=0)])
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():  # the checks expect some, and say so themselves
        warnings.simplefilter("default")
        check(estimator)


def iris() -> tuple[Any, Any]:
    x, y = load_iris(return_X_y=True)
    return x, y


def test_fit_predict_and_attributes() -> None:
    x, y = iris()
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = nnexp.Classifier(**FAST).fit(x, names)
    assert model.score(x, names) > 0.93
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.n_features_in_ == 4
    assert isinstance(model.history_, History)
    assert list(model.history_[0]) == list(EPOCH_KEYS)
    assert model.n_iter_ == len(model.history_) == 15
    accs = [record["val/acc"] for record in model.history_]
    assert model.best_epoch_ == max(np.flatnonzero(np.equal(accs, max(accs)))) + 1
    p = model.predict_proba(x)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(p.argmax(1), np.searchsorted(model.classes_, model.predict(x)))


def test_select() -> None:
    """The same training, of which another epoch is kept."""
    x, y = load_digits(return_X_y=True)
    fitted = {
        select: nnexp.Classifier((16,), epochs=20, lr=0.02, select=select, random_state=3).fit(
            x[:300], y[:300]
        )
        for select in ("accuracy", "loss", "last")
    }
    histories = [
        [{**record, "seconds": 0} for record in model.history_] for model in fitted.values()
    ]
    assert histories[0] == histories[1] == histories[2]
    accs, losses = ([record[key] for record in histories[0]] for key in ("val/acc", "val/loss"))
    assert {select: model.best_epoch_ for select, model in fitted.items()} == {
        "accuracy": 20 - accs[::-1].index(max(accs)),
        "loss": 20 - losses[::-1].index(min(losses)),
        "last": 20,
    }
    assert len({model.best_epoch_ for model in fitted.values()}) == 3
    with pytest.raises(nnexp.ConfigError, match=r"trainer\.select=acc: .* mean 'accuracy'"):
        nnexp.Classifier(select="acc").fit(x[:300], y[:300])
    few = nnexp.Classifier(epochs=7, select="loss").fit([[0], [1], [2], [3]], ["a", "a", "b", "b"])
    assert few.best_epoch_ == 7  # without validation rows there is only the last


def test_it_trains_as_a_run_does(tmp_path: Path) -> None:
    """The same rows, seed and options give the same epochs, bit for bit."""
    x, y = iris()
    model = nnexp.Classifier(hidden=(8,), epochs=3, random_state=4, device="cpu").fit(x, y)
    # The run's test rows are no others than those that train, so that nothing is drawn for them.
    run = nnexp.run(
        data=(x, y), test=(x[:3], y[[0, 60, 149]]), folder=tmp_path / "run", seed=4,
        model={"hidden": [8]}, trainer={"epochs": 3, "device": "cpu"},
    )  # fmt: skip
    for own, other in zip(model.history_, run.history, strict=True):
        assert {**own, "seconds": 0} == {**other, "seconds": 0}
    np.testing.assert_allclose(model.predict_proba(x), run.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "lr": 0.1, "optimizer_options": {"momentum": 0.5, "nesterov": True}},
        {"optimizer": "adamw", "weight_decay": 0.1, "scheduler": "cosine", "warmup_epochs": 2},
        {"hidden": [16, 16], "norm": "layer", "residual": True, "dropout": 0.1},
        {"hidden": 16, "activation": "selu", "label_smoothing": 0.1, "grad_clip": 1.0},
        {"early_stopping": True, "patience": 1, "epochs": 200, "scaling": "minmax"},
    ],
)
def test_options(options: dict[str, Any]) -> None:
    x, y = iris()
    model = nnexp.Classifier(**{**FAST, **options}).fit(x, y)
    assert model.score(x, y) > 0.8
    assert model.n_iter_ < 200


def test_random_state() -> None:
    x, y = iris()
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002

    def fitted(random_state: Any) -> Any:
        return nnexp.Classifier(**FAST, random_state=random_state).fit(x, y).predict_proba(x)

    np.testing.assert_array_equal(fitted(3), fitted(3))
    assert (fitted(3) != fitted(4)).any()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002
    generator = np.random.RandomState(0)
    assert (fitted(generator) != fitted(generator)).any()
    np.testing.assert_array_equal(fitted(np.int64(3)), fitted(3))


def test_few_rows_are_all_trained_on() -> None:
    model = nnexp.Classifier(epochs=40, lr=0.01).fit([[0], [1], [2], [3]], ["a", "a", "b", "b"])
    assert model.predict([[0.2], [2.8]]).tolist() == ["a", "b"]
    assert model.best_epoch_ == model.n_iter_ == 40
    assert {record["val/loss"] for record in model.history_} == {None}
    assert model.history_.to_pandas()["train/loss"].is_monotonic_decreasing
    with pytest.raises(ValueError, match="y has one class only, 'a'"):
        nnexp.Classifier().fit([[0], [1]], ["a", "a"])


def test_within_scikit_learn() -> None:
    x, y = load_digits(return_X_y=True)
    x, y = x[:400], y[:400]
    model = make_pipeline(StandardScaler(), nnexp.Classifier(hidden=(32,), epochs=15, lr=0.005))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.85
    search = GridSearchCV(nnexp.Classifier(**FAST), {"lr": [1e-5, 0.01]}, cv=2).fit(*iris())
    assert search.best_params_ == {"lr": 0.01}
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


def test_pickle_and_data_frames() -> None:
    x, y = load_iris(return_X_y=True, as_frame=True)
    model = nnexp.Classifier(**FAST).fit(x, y)
    assert model.feature_names_in_.tolist() == list(x.columns)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(x.to_numpy(), columns=list("abcd")))


def test_a_folder_holds_a_run(tmp_path: Path) -> None:
    x, y = iris()
    model = nnexp.Classifier(**FAST, folder=tmp_path / "run").fit(x, y == 1)
    run = nnexp.load(tmp_path / "run")
    assert isinstance(run, nnexp.Run)
    assert (run.status, run.best_epoch) == ("completed", model.best_epoch_)
    assert run.history == model.history_
    assert run.metrics["test/acc"] is None
    assert run.predict(x).dtype == np.bool_
    np.testing.assert_allclose(run.predict_proba(x), model.predict_proba(x), atol=1e-5)
    assert "completed" in repr(run)
    nnexp.Classifier().fit(x, y)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_divergence_warns() -> None:
    x, y = iris()
    with pytest.warns(ConvergenceWarning, match="training diverged in epoch 1"):
        nnexp.Classifier(optimizer="sgd", lr=1e30).fit(x, y)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"optimizer": "sdg"}, r"optimizer=sdg: must be one of .* \(did you mean 'sgd'\?\)"),
        ({"optimizer_options": {"momentun": 1}}, "adam has no option 'momentun'"),
        ({"hidden": (0,)}, r"model.hidden=\[0\]: must be at least 1"),
        ({"epochs": 0}, "trainer.epochs=0: must be at least 1"),
        ({"val_fraction": 1.5}, "dataset.val_fraction=1.5: must be less than 1"),
        ({"activation": "rely"}, r"model.activation=rely: .* \(did you mean 'relu'\?\)"),
        ({"device": "tpu"}, "trainer.device=tpu"),
    ],
)
def test_parameters_that_cannot_be(options: dict[str, Any], line: str) -> None:
    x, y = iris()
    with pytest.raises(nnexp.ConfigError, match=line):
        nnexp.Classifier(**options).fit(x, y)
