"""Whose log what a worker says is for."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine_cases import make_config

from nnexp.config.schema import BaselinesConfig, CSVConfig, MajorityConfig
from nnexp.models.layout import Structure
from nnexp.runs.run_log import LogFile, LogStyle, RunLogs
from nnexp.sweeps import connection
from nnexp.sweeps.connection import WorkerConnection
from nnexp.sweeps.tasks import wanted_baselines
from nnexp.sweeps.worker import Worker


def test_a_warning_about_the_data_is_not_the_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has not trained on the data loads them for the baseline. The runs that share
    it have that warning in their logs already."""
    rows = [f"{i % 7},{'rare' if i == 0 else i % 2}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,label", *rows]) + "\n")
    config = dataclasses.replace(
        make_config(Structure(1, (4,), 3)),
        dataset=CSVConfig(name="t", path=str(tmp_path / "t.csv"), target="label"),
        baseline=BaselinesConfig(majority=MajorityConfig()),
    )
    (wanted,) = wanted_baselines(config)
    shared = tmp_path / "shared"
    (shared / "baselines").mkdir(parents=True)
    sent: list[object] = []
    worker = Worker(WorkerConnection(SimpleNamespace(send=sent.append, poll=lambda: False)), shared)  # type: ignore[arg-type]
    for name in ("", "nnexp"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    monkeypatch.setattr(logging.getLogger(), "handlers", [*worker.handlers])
    worker.do(connection.Compute(wanted, "cpu"))

    logs = RunLogs(shared)
    told = {}
    for key in (wanted.key, repr(config.dataset)):
        file = LogFile(tmp_path / f"{len(told)}.log", LogStyle("%(message)s"))
        logs.follow({tmp_path: file})
        logs.repeat(key, tmp_path)
        told[key] = file.path.read_text()
    assert told[wanted.key] == "Tuning majority class on 9 validation samples\n"
    assert "a single row, which is trained on and never validated" in told[repr(config.dataset)]
