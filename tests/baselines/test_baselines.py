"""Baselines beside scikit-learn itself, their budgets and rules, and what is left out."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import programs
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_info, threadpool_limits

from nnexp import trainer
from nnexp.baselines import compare as compare_module
from nnexp.baselines import scikit_learn as scikit_learn_module
from nnexp.baselines.compare import compare, compute, names
from nnexp.baselines.selection import Arrays, Choice, Data
from nnexp.baselines.svm import SVMLearner
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.errors import error_line
from nnexp.config.schema import (
    BaselinesConfig,
    BoostingConfig,
    Config,
    ForestConfig,
    KNNConfig,
    LogisticRegressionConfig,
    MajorityConfig,
    SVMConfig,
)
from nnexp.data import load
from nnexp.errors import ConfigError, DataError
from nnexp.scoring_rules import Scores
from nnexp.trainer import run

SIX = ["knn", "majority", "logistic_regression", "svm", "forest", "boosting"]


def config_of(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(compose("config", list(overrides)))


def data_of(name: str, *overrides: str, seed: int = 0) -> Data:
    config = config_of(f"dataset={name}", f"seed={seed}", *overrides)
    return Data.of(load(config.dataset), seed, torch.device("cpu"))


@pytest.fixture(scope="module")
def digits() -> Data:
    return data_of("digits", "dataset.num_train=400")


@pytest.fixture(scope="module")
def wine() -> Data:
    return data_of("wine")


# ── beside scikit-learn: the same grid, the same rows ─────────────────────────────────────────


def gamma_of(data: Data, times: float) -> float:
    x = data.arrays("train").x.astype(float)
    return times / (x.shape[1] * x.var())


#                 name, its config, the peer of one setting
PEERS: list[tuple[str, Any, Any]] = [
    ("majority", MajorityConfig(), lambda data: DummyClassifier(strategy="prior")),
    ("logistic_regression", LogisticRegressionConfig(C=[0.001, 0.1, 10]),
     lambda data, C: LogisticRegression(C=C, max_iter=1000)),
    ("svm", SVMConfig(C=[0.01, 1, 100], gamma=[0.1, 1, 10]),
     lambda data, C, gamma: SVC(C=C, gamma=gamma_of(data, gamma), break_ties=True)),
    ("forest", ForestConfig(n_estimators=20, max_features=["sqrt", 1], min_samples_leaf=[1, 9]),
     lambda data, max_features, min_samples_leaf: RandomForestClassifier(
         20, max_features={1: 1.0}.get(max_features, max_features),
         min_samples_leaf=min_samples_leaf, random_state=0)),
    ("knn", KNNConfig([9, 1, 4], ["euclidean", "manhattan"], ["uniform", "distance"]),
     lambda data, k, metric, weights, scaler: KNeighborsClassifier(
         k, metric=metric, weights=weights)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "peer_of"), PEERS, ids=[peer[0] for peer in PEERS])
@pytest.mark.parametrize("source", ["digits", "wine", "moons"])
def test_chosen_as_by_scikit_learn(source: str, name: str, config: Any, peer_of: Any) -> None:
    """Same accuracies for every setting, same choice, same predictions and measures."""
    options = {
        # Means that are no short numbers: at equal distances scikit-learn takes any neighbour.
        "digits": ["dataset.num_train=150", "dataset.scaling=standard"],
        "moons": ["dataset.rows=300"],
    }
    data = data_of(source, *options.get(source, []))
    record = compute(name, BaselinesConfig(**{name: config}), data)
    train, val, test = (data.arrays(split) for split in ("train", "val", "test"))
    peers = []
    for tried in record["tried"]:
        settings = {key: value for key, value in tried.items() if key != "val/acc"}
        peer = peer_of(data, **settings).fit(train.x.astype(float), train.y)
        assert tried["val/acc"] == peer.score(val.x.astype(float), val.y)
        peers.append((settings, peer))
    best = max(tried["val/acc"] for tried in record["tried"])
    assert record["val/acc"] == best
    tied = [pair for pair, one in zip(peers, record["tried"], strict=True)
            if one["val/acc"] == best]  # fmt: skip
    labels = range(data.num_classes)
    if name != "svm":  # of which only the chosen setting has probabilities: else the first
        # By votes as they are, clipped as float32 is; at equal loss, as of two forests' last bits,
        # the first.
        losses = [loss_of(peer, val, votes=True) for _, peer in tied]
        tied = [tied[int(np.argmin(np.round(losses, 6)))]]
    chosen = {key: record[key] for key in tied[0][0]}
    peer = next(peer for settings, peer in tied if settings == chosen)
    predicted = peer.predict(test.x.astype(float))
    np.testing.assert_array_equal(record["predicted"], predicted)
    assert record["test/acc"] == peer.score(test.x.astype(float), test.y)
    assert record["rows"] == len(train.y)
    if name != "svm":
        assert record["val/clipped_loss"] == pytest.approx(loss_of(peer, val), abs=1e-6)
        assert record["test/clipped_loss"] == pytest.approx(loss_of(peer, test), abs=1e-6)
        brier = brier_score_loss(test.y, proba_of(peer, test), labels=labels, scale_by_half=False)
        assert record["test/brier"] == pytest.approx(brier, abs=1e-6)


def proba_of(peer: Any, rows: Arrays) -> Any:
    """Votes, of neighbours or of trees, smoothed as if each class had one more."""
    shares = peer.predict_proba(rows.x.astype(float))
    votes = {KNeighborsClassifier: "n_neighbors", RandomForestClassifier: "n_estimators"}
    if type(peer) not in votes:
        return shares
    number = getattr(peer, votes[type(peer)])
    return (number * shares + 1) / (number + shares.shape[1])


def loss_of(peer: Any, rows: Arrays, *, votes: bool = False) -> float:
    found = peer.predict_proba(rows.x.astype(float)) if votes else proba_of(peer, rows)
    probabilities = found.astype(np.float32)
    return float(log_loss(rows.y, probabilities, labels=range(probabilities.shape[1])))


def test_published_accuracies_on_digits() -> None:
    """scikit-learn's example: pixels over their largest, the first 90 % train, the others test."""
    x, y = load_digits(return_X_y=True)
    x = (x / x.max()).astype(np.float32)
    first = int(0.9 * len(x))
    # Two thirds of the test rows could validate; with one setting there is nothing to choose.
    rows = {"train": range(first), "val": range(first, first + 1), "test": range(first, len(x))}
    indices = {name: torch.tensor(list(part)) for name, part in rows.items()}
    data = Data(torch.from_numpy(x), torch.from_numpy(y), indices, 10, seed=0)
    config = BaselinesConfig(
        knn=KNNConfig(5, "euclidean", "uniform"),
        logistic_regression=LogisticRegressionConfig(C=1.0),
    )
    found = compare(config, data)
    assert f"{found['knn']['test/acc']:.4f}" == "0.9611"
    assert f"{found['logistic_regression']['test/acc']:.4f}" == "0.9333"


# ── the choice ────────────────────────────────────────────────────────────────────────────────


def test_ties_go_to_the_lower_loss_then_to_the_first() -> None:
    choice: Choice[str] = Choice()
    offers = [(0.5, 0.1), (0.7, 0.9), (0.7, 0.4), (0.7, 0.4), (0.7, 0.6), (0.6, 0.0)]
    for place, (acc, loss) in enumerate(offers):
        choice.offer({"place": place}, Scores(acc, loss, 0.0, {}), f"kept {place}")
    assert choice.settings == {"place": 2}
    assert choice.kept == "kept 2"
    assert [one["val/acc"] for one in choice.tried] == [acc for acc, _ in offers]
    assert set(choice.tried[0]) == {"place", "val/acc"}


def test_the_budget_of_conf_is_what_is_tried(wine: Data) -> None:
    found = compare(config_of("baseline=all").baseline, wine)
    assert list(found) == SIX
    counts = {name: len(record["tried"]) for name, record in found.items()}
    # Of 4 scalers, one of which is the data set's own, 3 metrics and 2 weights: the smaller k.
    assert counts == {"knn": 3 * 3 * 2 * 9, "majority": 1, "logistic_regression": 4, "svm": 24,
                      "forest": 4, "boosting": 9}  # fmt: skip
    settings = {name: record["settings"] for name, record in found.items()}
    assert settings == {**counts, "knn": 3 * 3 * 2 * 12}  # k up to 81, of 115 training rows
    for name, record in found.items():
        assert "skipped" not in record, name
        assert record["seconds"] >= record["seconds/predict"] >= 0
        assert isinstance(record["edges"], list)
        if name == "knn":  # it keeps the rows and learns nothing
            assert record["seconds/train"] is None
        else:
            assert record["seconds"] >= record["seconds/train"] >= 0
        assert record["predicted"].shape == (36,)
        accuracy = (record["predicted"] == wine.arrays("test").y).mean()
        assert accuracy == record["test/acc"]
        assert sum(record["calibration"]["count"]) == 36
    assert found["majority"]["test/acc"] < 0.5 < 0.9 < found["svm"]["test/acc"]


def test_seconds_to_train_are_those_of_the_fit_that_is_tested(
    wine: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only fits move, by C seconds each."""
    now, fit = [0.0], SVMLearner.fit

    def slow(self: SVMLearner, group: list[dict[str, Any]], train: Arrays) -> Any:
        now[0] += group[0]["C"]
        return fit(self, group, train)

    monkeypatch.setattr(SVMLearner, "fit", slow)
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(scikit_learn_module, "time", clock)
    record = compute("svm", BaselinesConfig(svm=SVMConfig(C=[0.001, 4, 8], gamma=1)), wine)
    # All were tried, and the chosen one was calibrated by five fits.
    assert record["seconds/train"] == pytest.approx(6 * record["C"])
    assert now[0] == pytest.approx(12.001 + 5 * record["C"])


def test_choices_do_not_see_test_rows(wine: Data) -> None:
    """Other test labels, other test accuracies, and all else the same."""
    config = config_of("baseline=[knn,svm,logistic_regression]").baseline
    y = wine.y.clone()
    y[wine.rows["test"]] = (y[wine.rows["test"]] + 1) % 3
    other = compare(config, dataclasses.replace(wine, y=y))
    for name, record in compare(config, wine).items():
        for key, value in record.items():
            if key == "predicted":
                np.testing.assert_array_equal(other[name][key], value)
            elif not key.startswith(("test/", "seconds", "calibration")):
                assert other[name][key] == value, (name, key)
        assert other[name]["test/acc"] < 0.2 < record["test/acc"]


def numpy_state() -> list[int]:
    """Of the global generator."""
    state = np.random.get_state()  # noqa: NPY002
    assert isinstance(state, tuple)
    return [int(word) for word in state[1]]


@pytest.mark.parametrize("name", SIX)
def test_the_same_bits_again_with_any_threads(digits: Data, name: str) -> None:
    config = {
        "forest": ForestConfig(n_estimators=10),
        "boosting": BoostingConfig(learning_rate=0.1, max_leaf_nodes=8, max_iter=6),
    }
    own = config.get(name) or getattr(config_of("baseline=all").baseline, name)
    before = torch.random.get_rng_state(), numpy_state()
    records = []
    for count in (1, 2):
        with threadpool_limits(count):
            pools = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
            records.append(compute(name, BaselinesConfig(**{name: own}), digits))
            after = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
            assert set(pools) <= set(after)  # as they were, beside libraries loaded meanwhile
    for record in records:
        for key in ("seconds", "seconds/train", "seconds/predict"):
            del record[key]
    np.testing.assert_equal(*records)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == numpy_state()


def test_another_seed_draws_another_forest(digits: Data) -> None:
    config = BaselinesConfig(
        forest=ForestConfig(n_estimators=3, max_features="sqrt", min_samples_leaf=1)
    )
    other = Data(digits.x, digits.y, digits.rows, 10, seed=2**40 + 1)
    losses = {compute("forest", config, data)["test/clipped_loss"] for data in (digits, other)}
    assert len(losses) == 2


# ── large data ────────────────────────────────────────────────────────────────────────────────


def test_a_subset_is_what_num_train_would_take() -> None:
    whole = data_of("digits", seed=5)
    for most in (200, 40, 10):
        smaller = data_of("digits", f"dataset.num_train={most}", "dataset.scaling=none", seed=5)
        x = data_of("digits", "dataset.scaling=none", seed=5).training(most).x
        np.testing.assert_array_equal(x, smaller.arrays("train").x)
    assert len(whole.training(None).y) == len(whole.training(10**6).y) == 1168
    assert sorted(whole.training(3).y.tolist()) == list(range(10))  # a row a class at least


def test_large_data_are_cut_and_it_says_so(digits: Data) -> None:
    config = BaselinesConfig(svm=SVMConfig(C=[0.01, 10], gamma=[1.0], max_rows=300, tune_rows=50))
    record = compute("svm", config, digits)
    val, test = digits.arrays("val"), digits.arrays("test")
    for tried in record["tried"]:
        few = digits.training(50)
        x = few.x.astype(float)
        peer = SVC(C=tried["C"], gamma=1 / (64 * x.var()), break_ties=True).fit(x, few.y)
        assert tried["val/acc"] == peer.score(val.x, val.y)
    many = digits.training(300)
    x = many.x.astype(float)
    final = SVC(C=10, gamma=1 / (64 * x.var()), break_ties=True).fit(x, many.y)
    assert (record["C"], record["rows"]) == (10, 300)
    assert record["val/acc"] == final.score(val.x, val.y)
    assert record["test/acc"] == final.score(test.x, test.y)
    assert "trained on 300 of 400 training rows" in record["note"]
    assert "settings compared by fits on 50 rows" in record["note"]


class Spoiled(LogisticRegression):
    """Learns nothing where C is one of ``spoilt`` and there are many rows."""

    spoilt: tuple[float, ...] = ()

    def fit(self, x: Any, y: Any) -> Any:
        super().fit(x, y)
        if self.C in self.spoilt and len(x) > 100:
            self.coef_ = np.zeros_like(self.coef_)
            self.intercept_ = np.zeros_like(self.intercept_)
        return self


@pytest.mark.parametrize(("spoilt", "taken"), [((), 1.0), ((1.0,), 0.1), ((1.0, 0.1), 0.01)])
def test_what_breaks_on_all_rows_makes_room_for_the_next_best(
    digits: Data, monkeypatch: pytest.MonkeyPatch, spoilt: tuple[float, ...], taken: float
) -> None:
    """As boosting may, whose leaves run away."""
    monkeypatch.setattr(Spoiled, "spoilt", spoilt)
    monkeypatch.setattr("sklearn.linear_model.LogisticRegression", Spoiled)
    few, val = digits.training(100), digits.arrays("val")
    by_acc = [LogisticRegression(C=c, max_iter=500).fit(few.x, few.y) for c in (0.01, 0.1, 1.0)]
    accuracies = [model.score(val.x, val.y) for model in by_acc]
    assert accuracies == sorted(accuracies)
    config = LogisticRegressionConfig(C=[0.01, 0.1, 1.0], max_iter=500, tune_rows=100)
    record = compute("logistic_regression", BaselinesConfig(logistic_regression=config), digits)
    assert record["C"] == taken
    assert record["val/acc"] > 0.8
    assert (record["note"] or "").count("has validation accuracy 0.") == len(spoilt)


def test_test_rows_in_parts_are_the_same(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BaselinesConfig(
        svm=SVMConfig(C=1, gamma=1),
        boosting=BoostingConfig(learning_rate=0.1, max_leaf_nodes=4, max_iter=3),
    )
    whole = compare(config, digits)
    monkeypatch.setattr("nnexp.baselines.scikit_learn._ROWS_AT_ONCE", 7)
    for name, record in compare(config, digits).items():
        np.testing.assert_array_equal(record["predicted"], whole[name]["predicted"])
        assert record["test/clipped_loss"] == pytest.approx(
            whole[name]["test/clipped_loss"], rel=1e-9
        )


def test_what_would_take_too_long_is_left_out_by_its_size(
    digits: Data, caplog: pytest.LogCaptureFixture
) -> None:
    config = BaselinesConfig(
        svm=SVMConfig(max_cells=400 * 64 - 1),
        boosting=BoostingConfig(max_cells=640, tune_rows=399),
    )
    found = compare(config, digits)
    reason = "400 rows x 64 features are more than baseline.svm.max_cells=25599"
    assert found["svm"]["skipped"] == reason
    assert f"SVM (RBF) is left out: {reason}" in caplog.text
    assert found["boosting"]["skipped"] == (
        "399 rows x 64 features x 10 trees a round are more than baseline.boosting.max_cells=640"
    )
    for record in found.values():
        assert record["tried"] == []
        assert "predicted" not in record
        for key in ("val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier",
                    "calibration", "seconds", "seconds/train", "rows", "note"):  # fmt: skip
            assert record[key] is None
    enough = BaselinesConfig(svm=SVMConfig(C=1, gamma=1, max_cells=400 * 64))
    assert compute("svm", enough, digits)["test/acc"] > 0.9


def test_settings_too_large_are_not_tried(digits: Data) -> None:
    forest = ForestConfig(n_estimators=3, max_features=["sqrt", 0.5], min_samples_leaf=1)
    forest.max_cells = 400 * 8
    record = compute("forest", BaselinesConfig(forest=forest), digits)
    assert [tried["max_features"] for tried in record["tried"]] == ["sqrt"]
    assert record["note"] == "too large to try: max_features=0.5, min_samples_leaf=1"
    forest.max_cells -= 1
    assert compute("forest", BaselinesConfig(forest=forest), digits)["skipped"] == (
        "400 rows x 32 features tried at a split are more than baseline.forest.max_cells=3199"
    )


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────


def test_a_baseline_that_fails_costs_nothing_else(
    wine: Data, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise DataError("no\nplane")

    monkeypatch.setattr(SVMLearner, "fit", fail)
    found = compare(config_of("baseline=[svm,knn]").baseline, wine)
    assert found["svm"]["skipped"] == "no plane"
    assert found["svm"]["failed"] is True
    assert "SVM (RBF) failed: no plane" in caplog.text
    assert found["knn"]["test/acc"] > 0.9
    monkeypatch.setattr(SVMLearner, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compare(config_of("baseline=[svm,knn]").baseline, wine)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
    ids=["memory", "gpu"],
)
def test_what_is_about_the_gpu_is_not_a_baselines_fault(
    wine: Data, device: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(MajorityConfig, "find", fails)
    there: Any = SimpleNamespace(
        rows=wine.rows, target=None, x=SimpleNamespace(device=torch.device(device))
    )
    config = BaselinesConfig(majority=MajorityConfig())
    if device == "cpu":
        assert compute("majority", config, there)["skipped"] is not None
        return
    with pytest.raises(type(error), match=str(error)):
        compute("majority", config, there)


@pytest.mark.parametrize(
    ("free", "fails", "told"),
    [
        (4 * 150 * 4 * 4, None, False),
        (4 * 150 * 4 * 4 - 1, None, True),  # four tables of 150 rows of 4 float32
        (2**40, "the table", True),
        (2**40, "KNN", True),
    ],
)
def test_the_cpu_computes_what_does_not_fit_on_the_gpu(
    free: int,
    fails: str | None,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run that has trained gets its baselines, the very same."""
    caplog.set_level("INFO", "nnexp.trainer")
    config = config_of("dataset=iris", "baseline=[knn,majority]")
    dataset = load(config.dataset)
    expected = trainer.compare(config, dataset, torch.device("cpu"))
    of, tried = Data.of, []

    def on_gpu(dataset: Any, seed: int, device: torch.device, metric: str | None) -> Data:
        if device.type == "cuda" and fails == "the table":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        data = of(dataset, seed, torch.device("cpu"), metric)
        tried.append((device.type, data))
        return data

    def knn_fails(baselines: Any, data: Data, *metrics: Any) -> Any:
        kind = next(kind for kind, made in tried if made is data)
        if kind == "cuda" and fails == "KNN":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compare(baselines, data, *metrics)

    monkeypatch.setattr(Data, "of", on_gpu)
    monkeypatch.setattr(compare_module, "compare", knn_fails)
    monkeypatch.setattr(trainer, "free_bytes", lambda _: free)
    found = trainer.compare(config, dataset, torch.device("cuda:1"))
    line = "baselines are computed on the CPU: cuda:1 has too little free memory"
    assert caplog.messages.count(line) == told
    assert [kind for kind, _ in tried].count("cuda") == (fails == "KNN" or not told)
    for name, theirs in expected.items():
        assert found[name]["predicted"].tolist() == theirs["predicted"].tolist()
        for figure in ("tried", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier"):
            assert found[name][figure] == theirs[figure]


def test_what_has_not_converged_is_told_in_the_note(digits: Data) -> None:
    """And in no warning: here they are errors."""
    config = BaselinesConfig(
        logistic_regression=LogisticRegressionConfig(C=[0.001, 10], max_iter=15)
    )
    record = compute("logistic_regression", config, digits)
    assert record["note"] == "had not converged: C=10"
    assert compute("svm", BaselinesConfig(svm=SVMConfig(C=1, gamma=1)), digits)["note"] == (
        SVMLearner.note
    )


def test_rows_too_few_for_knn_are_an_error_of_the_config(wine: Data) -> None:
    config = config_of("baseline=[knn,svm]", "baseline.knn.k=[500,600]").baseline
    with pytest.raises(ConfigError, match=r"baseline\.knn\.k=500,600: must be at most the number"):
        compare(config, wine)


def test_no_row_of_a_class_is_told() -> None:
    rows = {"train": torch.tensor([0, 1]), "val": torch.tensor([2]), "test": torch.tensor([2])}
    data = Data(torch.eye(3), torch.tensor([0, 1, 2]), rows, 3, seed=0)
    record = compute("majority", BaselinesConfig(majority=MajorityConfig()), data)
    assert record["skipped"] == "not every class has a training row"


def test_the_svm_is_calibrated_by_cross_validation_on_training_rows(digits: Data) -> None:
    """As by scikit-learn, but for the folds, and for targets that are not quite certain."""
    settings = {"C": 1.0, "gamma": 1.0}
    train, test = digits.arrays("train"), digits.arrays("test")
    record = compute("svm", BaselinesConfig(svm=SVMConfig(**settings)), digits)
    svc = SVC(C=1.0, gamma=gamma_of(digits, 1.0), break_ties=True)
    peer = CalibratedClassifierCV(svc, method="temperature", ensemble=False, cv=5)
    peer.fit(train.x.astype(float), train.y)
    assert record["test/clipped_loss"] == pytest.approx(loss_of(peer, test), rel=0.15)
    svc.fit(train.x.astype(float), train.y)
    np.testing.assert_array_equal(record["predicted"], svc.predict(test.x.astype(float)))
    assert "cross-validation on the training rows" in record["note"]


@pytest.mark.parametrize("name", ["svm", "knn", "forest", "logistic_regression"])
def test_probabilities_do_not_see_validation_labels(wine: Data, name: str) -> None:
    """With one setting there is nothing to choose: other validation labels change nothing else."""
    one: dict[str, Any] = {
        "svm": SVMConfig(C=1.0, gamma=1.0), "knn": KNNConfig(3),
        "forest": ForestConfig(n_estimators=5, max_features="sqrt", min_samples_leaf=1),
        "logistic_regression": LogisticRegressionConfig(C=1.0),
    }  # fmt: skip
    y = wine.y.clone()
    y[wine.rows["val"]] = (y[wine.rows["val"]] + 1) % 3
    config = BaselinesConfig(**{name: one[name]})
    record, other = (
        compute(name, config, data) for data in (wine, Data(wine.x, y, wine.rows, 3, 0))
    )
    for key in ("test/acc", "test/clipped_loss", "test/brier", "calibration"):
        assert record[key] == other[key]
    assert record["val/acc"] != other["val/acc"]


def test_an_svm_is_calibrated_where_a_class_has_a_single_row() -> None:
    """No fold holds it out; where every class has one there is nothing to calibrate on."""
    x = torch.tensor([[0.0], [0.1], [0.2], [1.0], [1.1], [5.0], [0.05], [1.05], [5.1], [1.2]])
    y = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1, 2, 1])
    for train in (range(6), (0, 3, 5)):
        parts = {"train": train, "val": range(6, 9), "test": range(6, 10)}
        rows = {part: torch.tensor(list(places)) for part, places in parts.items()}
        config = BaselinesConfig(svm=SVMConfig(C=10.0, gamma=1.0))
        record = compute("svm", config, Data(x, y, rows, 3, seed=0))
        assert record["test/acc"] == 1.0
        assert 0 < record["test/clipped_loss"] < 1.2


def test_a_certain_svm_is_not_too_certain(wine: Data) -> None:
    """Held-out rows may all be right: a temperature of least loss would make every row certain."""
    config = BaselinesConfig(svm=SVMConfig(C=10.0, gamma=0.3))
    record = compute("svm", config, wine)
    assert record["val/acc"] == 1.0
    assert 0.002 < record["val/clipped_loss"] < 0.2
    assert record["test/clipped_loss"] < 0.3


# ── configs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("baseline=knn", ["knn"]), ("baseline=none", []), ("baseline=[]", []),
        ("baseline=[boosting,knn,svm]", ["knn", "svm", "boosting"]), ("baseline=all", SIX),
        ("baseline=[all]", SIX), ("baseline=[none]", []), ("baseline=svm", ["svm"]),
    ],
)  # fmt: skip
def test_baselines_are_chosen_by_name(override: str, expected: list[str]) -> None:
    assert names(config_of(override).baseline) == expected


@pytest.mark.parametrize("chosen", ["[knn, svm]", "svm", "none", "all"])
def test_an_experiment_chooses_and_the_command_line_prevails(tmp_path: Path, chosen: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        f"# @package _global_\ndefaults:\n  - override /baseline: {chosen}\n"
    )
    expected = {"[knn, svm]": ["knn", "svm"], "svm": ["svm"], "none": [], "all": SIX}[chosen]
    search = f"hydra.searchpath=[file://{tmp_path}]"
    assert names(config_of(search, "experiment=mine").baseline) == expected
    prevails = config_of(search, "experiment=mine", "baseline=[forest,majority]")
    assert names(prevails.baseline) == ["majority", "forest"]


def test_a_single_value_is_a_list_of_one() -> None:
    config = config_of(
        "baseline=[knn,svm,forest]", "baseline.svm.C=3", "baseline.knn.metric=cosine",
        "baseline.knn.weights=[distance,distance]", "baseline.forest.max_features=log2",
    ).baseline  # fmt: skip
    assert config.svm is not None
    assert config.knn is not None
    assert config.forest is not None
    assert config.svm.C == [3]
    assert (config.knn.metric, config.knn.weights) == (["cosine"], ["distance"])
    assert config.forest.max_features == ["log2"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["baseline=svm", "baseline.svm.C=-1"], "baseline.svm.C=[-1]: must be greater than 0"),
        (["baseline=svm", "baseline.svm.C=[1,0]"], "baseline.svm.C=[1,0]: must be greater than 0"),
        (["baseline=svm", "baseline.svm.C=[]"],
         "baseline.svm.C=[]: must be a number or a list of them"),
        (["baseline=svm", "baseline.svm.gamma=scale"],
         "baseline.svm.gamma=[scale]: scale is not a number"),
        (["baseline=svm", "baseline.svm.gamma=true"],
         "baseline.svm.gamma=[true]: must be a number or a list of them"),
        (["baseline=boosting", "baseline.boosting.max_leaf_nodes=2.5"],
         "baseline.boosting.max_leaf_nodes=[2.5]: must be a whole number or a list of them"),
        (["baseline=forest", "baseline.forest.max_features=[0]"],
         "baseline.forest.max_features=[0]: must be sqrt, log2 or above 0 and at most 1, "
         "or a list"),
        (["baseline=forest", "baseline.forest.max_features=[]"],
         "baseline.forest.max_features=[]: must be a value or a list of them"),
        (["baseline=forest", "baseline.forest.n_estimators=0"],
         "baseline.forest.n_estimators=0: must be at least 1"),
        (["baseline.knn.metric=[euclidean,cosin]"],
         "baseline.knn.metric=[euclidean,cosin]: must be one of euclidean, manhattan, "
         "minkowski_1.5, cosine "
         "(did you mean 'cosine'?)"),
        (["baseline.knn.weights=[]"],
         "baseline.knn.weights=[]: must be a value or a list of them"),
        (["baseline=[knn,svn]"], "baseline=svn: no such choice (did you mean 'svm'?); baseline is "
         "one of all, boosting, catboost, constant, forest, knn, lightgbm, logistic_regression, "
         "majority, none, ridge, svm"),
        (["baseline.svm.C=3"],
         "baseline.svm.C=3: svm is not chosen; baseline=svm, or with others baseline=[knn,svm] "
         "does so"),
        (["baseline=[svm,forest]", "baseline.svm.C=3", "++baseline.knn.k=3"],
         "++baseline.knn.k=3: knn is not chosen; baseline=knn does so"),
        (["baseline=logistic_regression", "+baseline.logistic_regression.penalty=l1"],
         "baseline.logistic_regression.penalty: no such option; baseline.logistic_regression has "
         "budget, max_rows, tune_rows, max_cells, C, max_iter"),
    ],
)  # fmt: skip
def test_what_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011
        config_of(*overrides)
    assert error_line(error.value, overrides) == message


def test_compute_is_one_of_compare(wine: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        compare_module, "compute", lambda name, *_: asked.append(name) or {"name": name}
    )
    config = config_of("baseline=[svm,knn]").baseline
    assert compare(config, wine) == {"knn": {"name": "knn"}, "svm": {"name": "svm"}}
    assert asked == ["knn", "svm"]


def test_runs_of_a_sweep_have_the_baselines_that_they_chose(tmp_path: Path) -> None:
    arguments = ["-m", "baseline=[knn,svm],none,majority", "dataset=iris", "model=linear",
                 "trainer.epochs=1", "trainer.pictures=false", f"hydra.sweep.dir={tmp_path}",
                 "hydra.launcher.workers=1", "report.enabled=false"]  # fmt: skip
    done = programs.run(
        [sys.executable, "-m", "nnexp", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    results = [json.loads((tmp_path / str(n) / "result.json").read_text()) for n in range(3)]
    found = [result["baselines"] for result in results]
    assert [list(of_run) for of_run in found] == [["knn", "svm"], [], ["majority"]]
    assert len(found[0]["svm"]["tried"]) == 24
    assert "predicted" not in found[0]["svm"]
    with np.load(tmp_path / "0" / "predictions.npz") as predictions:
        wrong = predictions["baseline:svm"] != predictions["labels"]
    assert 1 - wrong.mean() == pytest.approx(found[0]["svm"]["test/acc"])


def test_a_single_run_shows_all_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["baseline=[knn,svm,majority]", "baseline.svm.max_cells=100", "dataset=iris",
                 "debug=fast"]  # fmt: skip
    run(config_of(*arguments), tmp_path, "arm")
    lines = capsys.readouterr().out.splitlines()
    knn = json.loads((tmp_path / "result.json").read_text())["baselines"]["knn"]
    (place,) = [place for place, line in enumerate(lines) if line.startswith("  KNN")]
    words = lines[place].split()
    assert words[1:3] == [f"{knn['val/acc']:.4f}", f"{knn['test/acc']:.4f}"]
    chosen = [f"{key}={knn[key]}" for key in ("k", "metric", "weights", "scaler")]
    assert any(line.endswith(f"KNN: {', '.join(chosen)}") for line in lines)
    assert [line.split() for line in lines if line.startswith("  SVM")] == [
        ["SVM", "(RBF)", "-", "-", "-"]
    ]
    assert any(line.startswith("left out     SVM (RBF): ") for line in lines)
    assert any(line.startswith("  majority class ") for line in lines)
