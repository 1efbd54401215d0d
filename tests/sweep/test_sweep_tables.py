"""What a sweep shows in a terminal: the numbers beside the bar, the tables at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from nnexp.report.arms import print_arms, print_failed, print_places
from nnexp.runs.record import RESULT_METRICS, DatasetSummary, RunResult
from nnexp.sweeps.progress import SweepBar, numbers_of
from nnexp.sweeps.task_queue import Progress as Done

DONE = Done(
    runs=1, runs_done=1, failed=1, groups_in_flight=1, baselines=1, run_epochs=500, cost=2.0,
    cost_done=1.0,
)  # fmt: skip


def result_of(
    arm: str = "deep · adam", acc: float = 0.9, knn: float = 0.8, dataset: str = "digits",
    fingerprint: str | None = "f" * 64, **fields: Any,
) -> RunResult:  # fmt: skip
    metrics = {**dict.fromkeys(RESULT_METRICS), "val/acc": acc, "test/acc": acc - 0.05}
    return RunResult(**{
        "status": "completed", "seed": 0, "arm": arm, "model": "deep", "optimizer": "adam",
        "dataset": DatasetSummary(name=dataset, fingerprint=fingerprint), "metrics": metrics,
        "baselines": {"knn": {"test/acc": knn}}, **fields,
    })  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a log, whatever this test runs in."""
    monkeypatch.setenv("COLUMNS", "140")


def printed(capsys: pytest.CaptureFixture[str], *results: RunResult) -> str:
    print_arms(dict(enumerate(results)))
    return capsys.readouterr().out


def rows_of(text: str) -> list[list[str]]:
    """The cells of the table, a list a row."""
    lines = text.splitlines()
    (ruled,) = (number for number, line in enumerate(lines) if "───" in line)
    body = [line.split("  ") for line in lines[ruled + 1 :] if line.startswith("  ")]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in body]
    return [row for row in rows if row]


def test_one_is_one_and_two_are_two() -> None:
    assert numbers_of(DONE, 2.0) == [
        "1/1 run (1 failed)", "2 s left", "250 run-epochs/s", "1 group in flight", "0/1 baseline",
    ]  # fmt: skip
    many = Done(runs=2000, groups_in_flight=2, baselines=3)
    assert numbers_of(many, 2.0) == ["0/2,000 runs", "2 groups in flight", "0/3 baselines"]


def test_no_time_is_foretold_while_training_waits_for_baselines() -> None:
    assert numbers_of(DONE, 50.0, still=9.0)[1] == "50 s left"
    assert numbers_of(DONE, 60.0, still=11.0)[1] == "waiting for baselines"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (140, "1/1 run (1 failed)  2 s left  250 run-epochs/s  1 group in flight  0/1 baseline"),
        (80, "1/1 run (1 failed)  2 s left  250 run-epochs/s"),
        (60, "1/1 run (1 failed)  2 s left"),
    ],
)
def test_the_bar_shows_what_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, width: int, shown: str
) -> None:
    moments = iter([10.0, 12.0])
    monkeypatch.setattr("nnexp.sweeps.progress.time.monotonic", lambda: next(moments))
    console = Console(width=width)
    bar = Progress(TextColumn("{task.fields[numbers]}"), console=console, disable=True)
    SweepBar(bar).update(DONE)
    assert bar.tasks[0].fields["numbers"] == shown


@pytest.mark.parametrize("width", [60, 80, 140])
def test_tables_fit_their_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """The numbers whole, long names on several lines."""
    monkeypatch.setenv("COLUMNS", str(width))
    long = "shallow · adagrad · initial_accumulator_value=0.1 · lr=0.01"
    text = printed(
        capsys, result_of(acc=0.95), result_of(acc=0.93, seed=1), result_of(long, acc=0.9),
        result_of(long, status="diverged", error="e" * 200),
    )  # fmt: skip
    results = {7: result_of(long, status="diverged", error="e" * 200)}
    print_failed(results)
    text += capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "0.8900 ± 0.0141" in text
    assert ("0.9400 ± 0.0141" in text) == (width >= 80)
    assert "+0.0900" in text
    assert ("KNN test" in text) == (width == 140)
    assert "1 of 2" in text
    assert "1 of 1 runs were not completed: 1 diverged" in text
    assert ("eee" in text) == (width == 140)


def test_what_all_arms_share_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(
        capsys,
        result_of("deep · adam · epochs=20 · lr=0.1", acc=0.9),
        result_of("deep · sgd · epochs=20 · lr=0.1 · momentum=0.9", acc=0.8),
        result_of("deep · adam · epochs=20 · lr=0.1", acc=0.92, seed=1),
        result_of("optimizer=adm", status="failed", error="no such choice"),
    )
    assert "all arms: epochs=20 · lr=0.1\n" in text
    rows = rows_of(text)
    assert [row[0] for row in rows] == ["deep · adam", "deep · sgd · momentum=0.9"]
    assert rows[0][1:] == [
        "2", "0.9100 ± 0.0141", "0.8600 ± 0.0141", "0.8000 ± 0.0000", "+0.0600"
    ]  # fmt: skip
    alone = printed(capsys, result_of("deep · adam · epochs=20"))
    assert "all arms" not in alone
    assert rows_of(alone)[0][0] == "deep · adam · epochs=20"


def test_data_sets_of_one_name_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(
        capsys,
        result_of(dataset="t", fingerprint="aa11" * 16, acc=0.9),
        result_of(dataset="t", fingerprint="bb22" * 16, acc=0.8),
        result_of(dataset="t", fingerprint=None, status="failed", error="e"),
    )
    rows = rows_of(text)
    assert [row[:2] for row in rows] == [
        ["t aa11aa11: deep · adam", "1"], ["t bb22bb22: deep · adam", "1"],
        ["t not read: deep · adam", "0 of 1"],
    ]  # fmt: skip
    several = printed(capsys, result_of(acc=0.9), result_of(dataset="iris", acc=0.8))
    assert [row[0] for row in rows_of(several)] == ["digits: deep · adam", "iris: deep · adam"]


def test_a_sweep_without_a_completed_run_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, result_of(status="failed", error="e")) == ""


def test_places(capsys: pytest.CaptureFixture[str]) -> None:
    print_places(Path("my sweep"), unreported=True)
    assert capsys.readouterr().out.splitlines() == [
        "report       nnexp report 'my sweep'",
        "files        my sweep",
        "tensorboard  nnexp tensorboard 'my sweep'",
    ]
