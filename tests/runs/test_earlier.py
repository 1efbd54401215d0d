"""Which folders are looked into for runs that were there before a sweep."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from record_cases import a_result

from nnexp.report.callback import ReportCallback
from nnexp.report.inputs import read_runs
from nnexp.runs import folder as folder_module
from nnexp.runs import output_folder
from nnexp.runs.folder import stamps
from nnexp.runs.output_folder import ClaimCallback, runs_before
from nnexp.runs.record import write_result
from nnexp.sweeps.job_folders import Folders


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in stamps(folder)}


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are looked into, as they are."""
    seen: list[str] = []

    def walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for place, folders, files in walk_of_os(top):
            seen.append(os.path.relpath(place, top))
            yield place, folders, files

    walk_of_os = os.walk
    monkeypatch.setattr(folder_module.os, "walk", walk)
    return seen


def test_hidden_folders_and_environments_are_left_alone(tmp_path: Path, visited: list[str]) -> None:
    """As where the sweep's folder is the project's own."""
    (tmp_path / "env" / "lib").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    for name in (".", "0", "sub/1", "sub/1/2", ".venv/lib", ".cache", "env/lib", "0/previous/1"):
        write_result(tmp_path / name, a_result())
    assert names(tmp_path) == {".", "0", "sub/1", "sub/1/2"}
    assert sorted(visited) == [".", "0", "env", "sub", "sub/1", "sub/1/2"]
    found = read_runs([tmp_path / name for name in ("0", "sub", "env", ".venv")])
    assert len(found.records) == 1  # all say the same
    left_out = " ".join(found.problems)
    assert "1/2" in left_out
    assert "env/lib" not in left_out.replace(".venv/lib", "")


def test_a_sweep_looks_once_before_it_begins(
    tmp_path: Path, visited: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_folder, "_before", {})
    monkeypatch.setattr(output_folder, "_claim", lambda *_: None)
    write_result(tmp_path / "3", a_result())
    sweep = {"dir": str(tmp_path), "subdir": "${hydra.job.num}"}
    config = OmegaConf.create({"hydra": {"sweep": sweep, "launcher": {}}})
    report = ReportCallback()
    for callback in (ClaimCallback(), report):
        callback.on_multirun_start(config)
    assert Folders(config).earlier() == [tmp_path / "3"]
    assert visited == [".", "3"]
    assert report._before == runs_before(tmp_path)
