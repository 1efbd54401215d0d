"""Runs that diverge: a result of a sweep, an error where there is no other; by every launcher."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import programs
import pytest
from record_cases import a_result

from nnexp.runs import failure_log, output_folder
from nnexp.runs.failure_log import note_ends_elsewhere
from nnexp.runs.record import read_result, write_result

_SMALL = ["dataset=iris", "model=shallow", "baseline=none", "trainer.epochs=2", "optimizer=sgd",
          "trainer.pictures=false"]  # fmt: skip
_LAUNCHERS = [
    [],
    ["hydra/launcher=basic"],
    ["hydra/launcher=basic", "hydra/sweeper=basic"],
    pytest.param(
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        marks=pytest.mark.skipif(
            importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
            reason="needs the package hydra-joblib-launcher",
        ),
    ),
]
_NAMES = ["fused", "basic", "basic sweeper", "joblib"]

# The sweeper hands the launcher its jobs, and has no part in how they end: once is enough.
_without_basic_sweeper = pytest.mark.parametrize(
    "launcher", [*_LAUNCHERS[:2], _LAUNCHERS[3]], ids=[*_NAMES[:2], _NAMES[3]]
)


def sweep(folder: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    done = programs.run(
        [sys.executable, "-m", "nnexp", "-m", "hydra.sweep.dir=out", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()


def statuses(folder: Path) -> list[str]:
    runs = sorted(path.parent for path in (folder / "out").glob("*/result.json"))
    return [read_result(run).status for run in runs]


def test_the_last_rate_of_a_grid_may_diverge(tmp_path: Path) -> None:
    """compare_all with a rate too large: counted, shown in the report, and no error."""
    code, output, errors = sweep(
        tmp_path, "+experiment=compare_all", "dataset=iris", "model=shallow", "optimizer=sgd,adam",
        "optimizer.lr=0.01,1e30", "seed=0,1", "baseline=knn", "trainer.epochs=2",
    )  # fmt: skip
    assert code == 0
    (line,) = errors
    assert line.startswith("nnexp: ")
    assert " of 8 runs diverged (jobs " in line
    summary = json.loads((tmp_path / "out" / "report" / "summary.json").read_text())
    found = statuses(tmp_path)
    diverged = found.count("diverged")
    assert diverged >= 2  # Adam's steps may stay finite for an epoch
    assert found.count("completed") == 8 - diverged
    assert [run["status"] for run in summary["failed"]] == ["diverged"] * diverged
    assert f"{diverged} diverged" in output
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "Diverged and failed runs" in page
    assert "training diverged in epoch 1" in page


@pytest.mark.parametrize("launcher", _LAUNCHERS, ids=_NAMES)
def test_some_diverge_and_some_do_not(tmp_path: Path, launcher: list[str]) -> None:
    given = [*_SMALL, "report.enabled=false"]
    code, output, errors = sweep(
        tmp_path, *(launcher or ["hydra.launcher.workers=1"]), *given,
        "optimizer.lr=0.1,1e30,0.01", "seed=0,1",
    )  # fmt: skip
    assert code == 0
    (line,) = errors
    assert line.startswith("nnexp: 2 of 6 runs diverged (jobs 2, 3); the first: job 2 ")
    assert " optimizer.lr=1e+30 seed=0: training diverged in epoch 1: train/loss is " in line
    assert statuses(tmp_path) == ["completed"] * 2 + ["diverged"] * 2 + ["completed"] * 2
    results = [read_result(tmp_path / "out" / str(num)) for num in range(6)]
    assert results[2].error is not None
    assert results[2].error in line
    if not launcher:
        assert {result.group_size for result in results} == {6}
        job = " ".join(given).replace("=false", "=False")
        assert f"; the first: job 2 {job} optimizer.lr=1e+30 seed=0: training diverged" in line
        assert "2 diverged" in output


@_without_basic_sweeper
def test_where_all_diverge_there_is_nothing_to_compare(tmp_path: Path, launcher: list[str]) -> None:
    """Also without the report's callback, which has no part in the exit code."""
    code, _, errors = sweep(
        tmp_path, *_SMALL, *launcher, "optimizer.lr=1e30", "seed=0,1", "~hydra.callbacks.report"
    )
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: all 2 runs diverged (jobs 0, 1); the first: job 0 ")


@_without_basic_sweeper
def test_an_error_beside_them_stays_an_error(tmp_path: Path, launcher: list[str]) -> None:
    code, _, errors = sweep(
        tmp_path, *_SMALL, *launcher, "optimizer.lr=0.1,1e30,-1", "report.enabled=false"
    )
    assert code == 1
    lines = [line for line in errors if line.startswith("nnexp: ")]
    assert any("optimizer.lr=-1.0: must be at least 0" in line for line in lines)
    assert any(line.startswith("nnexp: 1 of 3 runs diverged: job 1 ") for line in lines)
    assert statuses(tmp_path) == ["completed", "diverged", "failed"]


def test_ends_in_other_processes_are_noted_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this sweep alone, and once."""
    monkeypatch.setattr(failure_log, "_ends", failure_log._Ends())
    monkeypatch.setattr(output_folder, "_before", {})
    write_result(tmp_path / "7", a_result(status="diverged", error="earlier"))
    output_folder._look_into(tmp_path)
    for num, status in enumerate(["completed", "diverged", "failed", "interrupted"]):
        write_result(tmp_path / str(num), a_result(status=status, seed=num, error="nan"))
    for _ in range(2):
        note_ends_elsewhere()
        assert list(failure_log.divergence_lines()) == [
            "1 of 3 runs diverged: job 1 deep_adam seed=1: nan"
        ]
        assert not list(failure_log.failure_lines())


def test_where_learning_is_required_a_diverged_run_fails(tmp_path: Path) -> None:
    code, _, errors = sweep(
        tmp_path, *_SMALL, "optimizer.lr=0.1,1e30", "trainer.require_train_loss=10",
        "report.enabled=false",
    )  # fmt: skip
    assert code == 1
    (line,) = errors
    assert "trainer.require_train_loss=10.0: training diverged in epoch 1" in line
    assert statuses(tmp_path) == ["completed", "failed"]


@pytest.mark.parametrize(
    ("diverged", "completed", "told"),
    [
        ([], 3, []),
        ([0], 0, ["the only run diverged: job 0 seed=0: nan"]),
        ([1], 1, ["1 of 2 runs diverged: job 1 seed=1: nan"]),
        ([3, 2], 0, ["all 2 runs diverged (jobs 2, 3); the first: job 2 seed=2: nan"]),
        ([9, 1, 2, 3, 7, 8], 4, ["6 of 10 runs diverged (jobs 1 to 3, 7 to 9); the first: job 1 "
                                 "seed=1: nan"]),
        (list(range(0, 60, 2)), 30, ["30 of 60 runs diverged (jobs 0, 2, 4, 6, 8, 10, 12, 14, 16, "
                                     "18, ...); the first: job 0 seed=0: nan"]),
    ],
)  # fmt: skip
def test_the_line_at_the_end(
    diverged: list[int], completed: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_log, "_ends", failure_log._Ends())
    assert not failure_log.have_ended()
    for num in diverged:
        failure_log.add_divergence(num, [f"seed={num}"], "nan")
    for _ in range(completed):
        failure_log.add_completed()
    assert list(failure_log.divergence_lines()) == told
    assert failure_log.all_diverged() == (bool(diverged) and not completed)
    assert list(failure_log.failure_lines()) == []
