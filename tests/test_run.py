"""A run that breaks after its network has been trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from nnexp import training
from nnexp.config.compose import CONF, register, to_config
from nnexp.errors import DataError
from nnexp.results.record import read_result
from nnexp.run import run


def test_a_failing_comparison_costs_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DataError("no neighbours")

    monkeypatch.setattr(training.of_baselines, "compare", fail)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", ["dataset=iris", "debug=fast"]))
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
