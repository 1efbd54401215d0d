"""What a run leaves of its predictions, and what of it when something breaks after training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.metrics import log_loss
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
from nnexp.runs.record import read_result
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
