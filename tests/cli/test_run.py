"""What a run leaves of its predictions, and what of it when something breaks after training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from nnexp import trainer
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import Config
from nnexp.data import load
from nnexp.device import description
from nnexp.errors import DataError, NnexpError
from nnexp.runs import writer
from nnexp.runs.checkpoints import load_network
from nnexp.runs.predictions import Predictions, read_predictions
from nnexp.runs.record import read_metrics, read_result
from nnexp.trainer import run


def a_config(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(compose("config", ["dataset=iris", "debug=fast", *overrides]))


def test_predictions_are_those_of_the_result(tmp_path: Path) -> None:
    config = a_config("trainer.epochs=3", "trainer.device=cpu")
    result = run(config, tmp_path, "arm")
    assert result == read_result(tmp_path)
    found = read_predictions(tmp_path)
    p, y = found.probabilities, found.labels
    dataset = load(config.dataset)
    np.testing.assert_array_equal(found.rows, dataset.test.numpy())
    np.testing.assert_array_equal(y, dataset.y[dataset.test].numpy())
    assert result.metrics["test/acc"] == np.mean(found.predicted == y)
    for key in ("test/loss", "test/clipped_loss"):  # the same where nothing is certain
        assert result.metrics[key] == pytest.approx(log_loss(y, p), rel=1e-6)
    brier = np.mean(np.sum((p - np.eye(3)[y]) ** 2, axis=1))
    assert result.metrics["test/brier"] == pytest.approx(brier, rel=1e-6)
    assert list(found.baselines) == list(result.baselines) == ["knn"]
    assert result.baselines["knn"]["test/acc"] == np.mean(found.baselines["knn"] == y)
    assert "predicted" not in result.baselines["knn"]
    network = load_network(tmp_path / "checkpoints" / "best.pt")
    raw = dataset.x[dataset.test].double() / network.scale + network.shift
    np.testing.assert_allclose(network.probabilities(raw).numpy(), p, atol=1e-6)
    assert result.calibration is not None
    assert sum(result.calibration["count"]) == result.dataset.num_test
    assert 0 < (result.seconds["predict"] or 0) < (result.seconds["total"] or 0)
    assert result.config == dataclasses.asdict(config)
    assert result.matmul == description(torch.device("cpu"), torch.float32) != ""


def test_predictions_that_cannot_be_written_cost_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, _: Predictions) -> None:
        raise OSError(28, "No space left on device", str(folder / "predictions.npz"))

    monkeypatch.setattr(writer, "write_predictions", fail)
    with pytest.raises(NnexpError, match=r"no predictions: .*npz: No space left on device"):
        run(a_config(), tmp_path, "arm")
    result = read_result(tmp_path)
    assert result.status == "completed"
    assert result.error == f"no predictions: {tmp_path}/predictions.npz: No space left on device"
    assert result.metrics["test/acc"] is not None


def test_a_result_knows_whether_its_test_rows_are_official(tmp_path: Path) -> None:
    rows = [f"{n},{n % 7},{'ab'[n % 2]},{('train', 'test')[n % 5 == 0]}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["x,z,target,part", *rows, ""]))
    csv = ("dataset=csv", f"dataset.path={tmp_path}/table.csv", "dataset.target=target")
    for name, options, official in [
        ("drawn", ["dataset.drop=[part]"], False),
        ("column", ["dataset.split_column=part"], True),
        ("file", ["dataset.drop=[part]", f"dataset.test_path={tmp_path}/table.csv"], True),
    ]:
        run(a_config(*csv, *options), tmp_path / name, "arm")
        assert read_result(tmp_path / name).dataset.official_test is official


def test_a_failing_comparison_costs_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DataError("no neighbours")

    monkeypatch.setattr(trainer.of_baselines, "compare", fail)
    config = a_config()
    with pytest.raises(DataError, match="no neighbours"):
        run(config, tmp_path, "arm")
    result = read_result(tmp_path)
    assert (result.status, result.error, result.epochs) == ("failed", "no neighbours", 1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.pt",
        "last.pt",
    ]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_end_info"].plugin_data.content
    end = plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info
    assert end.status == api_pb2.STATUS_FAILURE


# ── without validation rows ───────────────────────────────────────────────────────────────────

ONE_EACH = (
    "dataset.val_fraction=0", "trainer.select=last", "baseline.knn.k=3",
    "baseline.knn.weights=uniform", "baseline.knn.metric=euclidean", "baseline.knn.scaler=dataset",
)  # fmt: skip


def test_a_run_without_validation_rows_leaves_nulls(tmp_path: Path) -> None:
    others = [
        "baseline=all", "baseline.logistic_regression.C=1",
        "baseline.svm.C=1", "baseline.svm.gamma=1",
        "baseline.forest.max_features=sqrt", "baseline.forest.min_samples_leaf=1",
        "baseline.forest.n_estimators=10", "baseline.boosting.max_leaf_nodes=15",
        "baseline.boosting.max_iter=25", "baseline.boosting.learning_rate=0.1",
    ]  # fmt: skip
    config = a_config(*ONE_EACH, *others, "trainer.epochs=3", "metrics=[macro_f1]")
    result = run(config, tmp_path, "arm")
    assert result == read_result(tmp_path)
    assert (result.status, result.best_epoch, result.dataset.num_val) == ("completed", 3, 0)
    assert (result.dataset.num_train, result.dataset.num_test) == (120, 30)
    for metric in ("loss", "acc", "macro_f1"):
        assert result.metrics[f"val/{metric}"] is None
        assert result.metrics[f"test/{metric}"] is not None
    lines = read_metrics(tmp_path)
    assert [(line["val/loss"], line["val/acc"]) for line in lines] == [(None, None)] * 3
    # Baselines learn from all 120 rows, by scikit-learn's own numbers.
    dataset = load(config.dataset)
    x, y = dataset.x.numpy(), dataset.y.numpy()
    train, test = dataset.train.numpy(), dataset.test.numpy()
    nearest = KNeighborsClassifier(3).fit(x[train], y[train]).score(x[test], y[test])
    assert result.baselines["knn"]["test/acc"] == nearest
    assert len(result.baselines) == 6
    for name, baseline in result.baselines.items():
        assert "skipped" not in baseline, name
        assert (baseline["val/acc"], baseline["val/clipped_loss"]) == (None, None)
        assert baseline["test/acc"] >= 1 / 3
        assert [tried["val/acc"] for tried in baseline["tried"]] == [None]
        assert baseline["rows"] == 120
        assert baseline["val/macro_f1"] is None
        assert baseline["test/macro_f1"] is not None
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert "train/loss" in tags
    assert not [tag for tag in tags if tag.startswith("val/")]


def test_a_run_without_validation_rows_diverges_in_so_many_words(tmp_path: Path) -> None:
    config = a_config(*ONE_EACH, "optimizer=sgd", "optimizer.lr=1e30", "trainer.epochs=3")
    with pytest.raises(NnexpError, match=r"^training diverged in epoch 1: train/loss is nan"):
        run(config, tmp_path, "arm")
    assert read_result(tmp_path).metrics["val/loss"] is None


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "k", "acc"), [("mnist", 3, 0.9705), ("fashion_mnist", 5, 0.8554)])
def test_knn_on_all_training_images(
    shared_data: Path, tmp_path: Path, name: str, k: int, acc: float
) -> None:
    """The published accuracies, from 60,000 rows of raw pixels."""
    config = a_config(
        f"dataset={name}", f"dataset.root={shared_data}", *ONE_EACH, f"baseline.knn.k={k}",
        "model=linear",
    )  # fmt: skip
    result = run(config, tmp_path, "arm")
    assert (result.dataset.num_train, result.dataset.num_val) == (60_000, 0)
    assert result.baselines["knn"]["test/acc"] == acc
