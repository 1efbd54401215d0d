"""Mean curves of an arm, as TensorBoard's own reader sees them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nnexp.report.tensorboard import folder_name, write_mean_curves


def run(*losses: float | None, offset: float = 0.0) -> list[Mapping[str, float | None]]:
    return [
        {"epoch": n, "step": 5 * n, "train/loss": loss, "val/acc": 0.5 if n == 2 else None,
         "lr": 0.1, "seconds": 2.0 * n + offset}
        for n, loss in enumerate(losses, start=1)
    ]  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def test_means_of_the_runs_that_have_a_value(tmp_path: Path) -> None:
    runs = [run(1.0, 0.5, 0.25, 9.0), run(2.0, 1.5, None), run(6.0, None, None, offset=3.0)]
    path = write_mean_curves(tmp_path, "deep · adam", runs)
    assert path.parent == tmp_path / "mean of deep · adam"
    events = read(path.parent)
    assert events.Tags()["scalars"] == ["train/loss", "lr", "val/acc"]
    losses = events.Scalars("train/loss")
    # Two of three runs have the second epoch, one alone the third and fourth.
    assert [(p.step, p.value) for p in losses] == [(5, 3.0), (10, 1.0)]
    assert losses[1].wall_time - losses[0].wall_time == pytest.approx(2.0, abs=1e-5)
    assert [(p.step, p.value) for p in events.Scalars("val/acc")] == [(10, 0.5)]
    assert [p.step for p in events.Scalars("lr")] == [5, 10, 15]


def test_a_later_report_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        path = write_mean_curves(tmp_path, "arm", [run(loss)])
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert [p.value for p in read(path.parent).Scalars("train/loss")] == [2.0]


def test_an_arm_without_runs_has_an_empty_file(tmp_path: Path) -> None:
    path = write_mean_curves(tmp_path, "arm", [[], []])
    assert read(path.parent).Tags()["scalars"] == []


@pytest.mark.parametrize(
    ("name", "start"),
    [("../a/b", "_a_b-"), ("lr=1e-3?", "lr=1e-3_-"), ("", "-"), ("..", "-"), ("ä" * 200, "ä" * 75)],
)
def test_names_are_safe(tmp_path: Path, name: str, start: str) -> None:
    assert folder_name(name).startswith(start)
    assert write_mean_curves(tmp_path, name, [run(1.0)]).parent.parent == tmp_path
    assert folder_name(name) != folder_name(name + " ")


def test_a_plain_name_stays(tmp_path: Path) -> None:
    assert folder_name("deep · adam · lr=0.01") == "deep · adam · lr=0.01"


def test_it_takes_no_torch() -> None:
    script = "import sys, nnexp.report.tensorboard\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
