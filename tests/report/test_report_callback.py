"""The report at the end of a sweep: when it is written, and that it never costs the sweep a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import comparison_cases as cases
import programs
import pytest
from omegaconf import DictConfig, OmegaConf

import nnexp
from nnexp.analysis.records import RunRecord
from nnexp.report import write
from nnexp.report.callback import ReportCallback, report_what_is_left
from nnexp.runs import failure_log
from nnexp.runs.record import read_result, write_result

_SMALL = ["dataset=iris", "model=shallow", "trainer.epochs=2", "trainer.pictures=false"]
_BASIC = ["hydra/launcher=basic", "hydra/sweeper=basic"]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m nnexp -m`` into ``out``; a warning that it raises is an error."""
    return programs.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", "-m", "hydra.sweep.dir=out",
         *_SMALL, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


@pytest.mark.parametrize("launcher", ["fused", "basic"])
def test_a_sweep_ends_in_a_report_also_where_a_job_failed(tmp_path: Path, launcher: str) -> None:
    options = _BASIC if launcher == "basic" else []
    done = sweep(tmp_path, "optimizer.lr=-1,0.01", "seed=0,1", *options)
    assert done.returncode == 1
    assert "job 0 " in done.stderr
    assert "optimizer.lr=-1.0: must be at least 0" in done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads((tmp_path / "out" / "report" / "summary.json").read_text())
    assert summary["num_runs"] == 4
    assert [run["status"] for run in summary["failed"]] == ["failed", "failed"]
    command = dict(summary["protocol"]["lines"])["command"]
    assert command.startswith("python -m nnexp -m ")
    assert "optimizer.lr=-1,0.01 seed=0,1" in command
    sentence = summary["verdicts"][0]["sentence"]
    end = done.stdout[done.stdout.index(sentence[:40]) :]
    assert in_order(
        end, "\n model", "report       out/report/index.html\n", "files        out\n",
        "tensorboard  nnexp tensorboard out\n",
    )  # fmt: skip
    if launcher == "fused":
        assert in_order(done.stdout, "2 of 4 runs were not completed: 2 failed", sentence[:40])
        assert done.stdout.count("files  ") == 1
    assert "mean ± standard deviation" not in done.stdout  # the table of arms


def test_no_report_where_none_is_wanted(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1", "report.enabled=false")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0", "1", "multirun.yaml"]
    assert "mean ± standard deviation" in done.stdout
    done = sweep(tmp_path, "seed=0,1", "hydra.sweep.dir=planned", "hydra.launcher.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "planned").exists()


def test_a_report_that_fails_costs_the_exit_code_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report").touch()
    done = sweep(tmp_path, "seed=0,1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "nnexp: no report: out/report: is a file where the folder of the report is to be; all "
        "runs are kept, 'nnexp report out' tries again"
    )
    assert "Traceback" not in done.stderr
    assert in_order(done.stdout, "mean ± standard deviation", "files        out\n")
    assert [read_result(tmp_path / "out" / name).status for name in "01"] == ["completed"] * 2


# ── without a sweep ───────────────────────────────────────────────────────────────────────────


def config(folder: Path, *, enabled: bool = True, dry_run: bool = False) -> DictConfig:
    hydra = {
        "sweep": {"dir": str(folder), "subdir": "${hydra.job.num}"},
        "launcher": {"dry_run": dry_run},
    }
    return OmegaConf.create({"report": {"enabled": enabled}, "hydra": hydra})


def train(folder: Path, seed: int, status: str = "completed") -> RunRecord:
    baselines = {"knn": cases.baseline(0.9, 0.9, {"k": 3})}
    record = cases.run(folder=folder / str(seed), seed=seed, status=status, baselines=baselines)
    record.folder.mkdir(parents=True)
    write_result(record.folder, record.result)
    return record


def test_a_sweep_whose_end_hydra_does_not_tell_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As joblib's launcher leaves it where a job raises."""
    callback = ReportCallback()
    callback.on_multirun_start(config(tmp_path))
    train(tmp_path, 0)
    report_what_is_left()
    page = tmp_path / "report" / "index.html"
    assert page.exists()
    assert str(page) in capsys.readouterr().out
    page.unlink()
    report_what_is_left()
    callback.on_multirun_end(config(tmp_path))
    assert not page.exists()


@pytest.mark.parametrize("why", ["failed", "earlier", "nothing", "disabled", "dry run"])
def test_nothing_is_reported_where_nothing_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    folder = tmp_path / "out"
    callback = ReportCallback()
    asked = config(folder, enabled=why != "disabled", dry_run=why == "dry run")
    if why == "earlier":
        train(folder, 0)
    callback.on_multirun_start(asked)
    if why not in ("nothing", "earlier"):
        train(folder, 0, "failed" if why == "failed" else "completed")
    callback.on_multirun_end(asked)
    assert not (folder / "report").exists()
    assert capsys.readouterr().out == ""


def test_an_error_that_nobody_foresaw_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(write, "report_on", fail)
    monkeypatch.setattr(failure_log, "_ends", failure_log._Ends())
    monkeypatch.setattr(failure_log, "_problems", [])
    monkeypatch.chdir(tmp_path)
    callback = ReportCallback()
    callback.on_multirun_start(config(Path("out")))
    train(Path("out"), 0)
    callback.on_multirun_end(config(Path("out")))
    (line,) = failure_log.failure_lines()
    assert line == (
        "no report: unexpected KeyError: 'x' (HYDRA_FULL_ERROR=1 shows the traceback); all runs "
        "are kept, 'nnexp report out' tries again"
    )
    assert "files        out" in capsys.readouterr().out


def test_the_callback_is_light() -> None:
    program = (
        "import nnexp.report.callback, sys; "
        "print(sorted({'torch', 'numpy', 'scipy', 'matplotlib', 'jinja2', 'rich'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("room", "above"),
    [
        ("runs", "nnexp.sweeps"), ("analysis", "nnexp.sweeps"), ("report", "nnexp.sweeps"),
        ("runs", "nnexp.report"), ("analysis", "nnexp.report"),
    ],
)  # fmt: skip
def test_rooms_know_nothing_of_those_above(room: str, above: str) -> None:
    """Not inside a function either: imports point one way."""
    files = list((Path(nnexp.__file__).parent / room).rglob("*.py"))
    assert files
    assert [path.name for path in files if f"{above}." in path.read_text("utf-8")] == []
