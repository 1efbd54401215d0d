"""benchmarks/cuda.py as a program, at toy size on the CPU."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from cuda_rows import program, training
from cuda_rows.results import Place, Result
from roofline import Rates

sys.path.pop()  # a file there has the name of NVIDIA's package

ROOT = Path(__file__).resolve().parents[2]

TOYS = Place(torch.device("cpu"), Rates(1e10, 1e-6, 1e11, 1e11, 1e11, None), quick=True, mnist=None)


def benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/cuda.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["row"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}


@pytest.mark.slow
def test_every_row_at_toy_size(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = benchmark("--device", "cpu", "--quick", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(path)
    assert list(rows) == ["one", "fused", "many", "large", "knn", "accuracy"]
    for name, row in rows.items():
        assert not row["failed"]
        names = [learner["name"] for learner in row["learners"]]
        assert names[0].startswith("nnexp")
        assert names[1].startswith("torch, eager")
        assert names[2].startswith("torch.compile")
        assert row["bound"] in ("flops", "bytes", "chain")
        assert 0 < row["share"] < 2
        if name == "knn":
            assert [learner["exact"] for learner in row["learners"][:3]] == [20, 20, 20]
        else:
            assert all(1 < learner["loss"] < 3 for learner in row["learners"])
            assert row["figures"]["us/step"] > 0
        for heading in ("Measured rates", "Training", "Neighbours", "Goals", "Roofline"):
            assert f"\n{heading}\n" in done.stdout
        assert row["title"] in done.stdout
    assert "at least 100 times eager torch" in done.stdout
    report = json.loads(path.read_text())
    assert report["device"] == "cpu"
    assert report["versions"]["torch"] == torch.__version__
    assert report["rates"]["copy"] > 0


def test_one_row_in_markdown(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = benchmark("--device", "cpu", "--quick", "--only", "knn", "--markdown",
                     "--json", str(path))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(rows_of(path)) == ["knn"]
    assert "| work | goal | reached | met |\n|---|---|---|---|\n" in done.stdout


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_toys_on_the_device_itself(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = benchmark(
        "--device", "cuda", "--quick", "--only", "one", "fused", "knn", "--json", str(path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert None not in report["rates"].values()
    assert report["rates"]["launch"] < 20e-6  # far below a call's: the kernels are in a graph
    for name, row in rows_of(path).items():
        remarks = [learner.get("remark") for learner in row["learners"]]
        assert remarks == [None] * len(remarks)  # torch.compile used its graphs
        assert (row["kernels"] is None) == (name == "knn")
    assert "The device during nnexp's steps" in done.stdout


def broken(*arguments: object) -> None:
    raise RuntimeError("broken\nin two lines")


def measured(place: Place, *rows: str) -> list[Result]:
    return program.measure_all(argparse.Namespace(only=rows, json=None), place)


def test_a_peer_that_fails_loses_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Compiled", broken)
    (result,) = measured(TOYS, "one")
    assert [line["learner"] for line in result.lines][:2] == ["nnexp", "torch, eager"]
    assert "torch.compile: RuntimeError: broken" in result.remarks
    assert result.failed
    assert result.figures["us/step"] > 0


def test_without_nnexp_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Engine", broken)
    monkeypatch.setattr(training, "Compiled", broken)
    (result,) = measured(TOYS, "fused")
    assert result.lines[0]["learner"] == "torch, eager, one by one"
    assert result.share is None
    assert program.roofline_lines(result) == []
    assert [line["reached"] for line in program.goal_lines(result, TOYS)] == ["not measured"] * 2


def test_a_row_that_fails_leaves_the_others(tmp_path: Path) -> None:
    place = replace(TOYS, quick=False, mnist=tmp_path)
    results = measured(place, "one", "knn", "accuracy")
    for result in results:
        assert result.failed
        assert result.remarks[0].startswith(f"all: DataError: {tmp_path}")
        assert result.remarks[0].endswith("no such file, nor with .gz")
    assert [result.row for result in results] == ["one", "knn", "accuracy"]


def test_without_mnist_its_row_is_left_out() -> None:
    (result,) = measured(replace(TOYS, quick=False), "accuracy")
    assert result.remarks == ["left out: it needs MNIST's files (--mnist FOLDER)"]
    assert not result.failed
    assert not result.lines


def test_another_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Compiled", broken)
    monkeypatch.setattr(training, "equal_losses", lambda *_: False)
    (result,) = measured(TOYS, "one")
    assert "torch, eager: another loss than nnexp's" in result.remarks
    assert result.failed


def test_goals_are_judged_at_full_size_alone() -> None:
    row = training.ROWS[0]
    result = Result(row.name, row.title, row.goals, figures={"us/step": 24.0, "s": 0.2})
    full = replace(TOYS, quick=False)
    assert [line["met"] for line in program.goal_lines(result, full)] == ["yes", "no"]
    assert [line["met"] for line in program.goal_lines(result, TOYS)] == ["toy size"] * 2


def test_nobody_takes_it_for_nvidias_package(tmp_path: Path) -> None:
    """Here as it refuses a row that there is none of."""
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "bindings.py").write_text("")  # a namespace, as theirs is
    code = (
        "import runpy, sys; sys.argv[1:] = ['--only', 'nothing'];"
        "sys.path.insert(0, 'benchmarks')\n"
        "try: runpy.run_path('benchmarks/cuda.py', run_name='__main__')\n"
        "except SystemExit as stop: print(stop.code)\n"
        "import cuda.bindings; print(cuda.bindings.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout.splitlines()[-2:] == ["2", str(tmp_path / "cuda" / "bindings.py")]
    assert "invalid choice: 'nothing'" in done.stderr


def test_no_such_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cuda.py", "--device", "cuda:99", "--quick"])
    assert program.main("") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trainer.device=cuda:99: ")
