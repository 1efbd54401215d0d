"""``nnexp list``: what it says of runs and sweeps, whole, damaged and unfinished."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from record_cases import a_result, an_epoch
from rich.cells import cell_len

from nnexp.analysis.records import RunRecord
from nnexp.cli import list_entries
from nnexp.cli.list_entries import find, run_folders
from nnexp.cli.list_runs import main
from nnexp.cli.table import Column, lines_of
from nnexp.report.write import runs_csv
from nnexp.runs.folder_lock import LOCK_FILE, is_held, lock, unlock
from nnexp.runs.record import DatasetSummary, MetricsLog, read_result, write_result

Listed = Callable[..., str]


@pytest.fixture
def listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Listed:
    """The program in this process, in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> str:
        main(arguments)
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def make(folder: str, **changes: Any) -> Path:
    """A run's folder."""
    place = Path(folder)
    (place / ".hydra").mkdir(parents=True)
    acc = {key: changes.pop(key) for key in ("val/acc", "test/acc") if key in changes}
    if acc:
        changes["metrics"] = {**a_result().metrics, **acc}
    write_result(place, a_result(**changes))
    return place


def make_sweep(folder: str = "multirun/2026-11-02/09-00-00") -> Path:
    """Two arms of three seeds; a run of the second diverged."""
    for num in range(6):
        lr, seed = (0.01, 0.1)[num // 3], num % 3
        diverged = num == 5
        make(
            f"{folder}/{num}",
            arm=f"deep · adam · lr={lr:g}",
            seed=seed,
            status="diverged" if diverged else "completed",
            **{"val/acc": 0.9 + lr / 2 + seed / 100, "test/acc": 0.8 + lr / 2},
        )
    (Path(folder) / "multirun.yaml").touch()
    return Path(folder)


def rows_of(text: str) -> list[list[str]]:
    """Cells, which two blanks separate."""
    return [[cell for cell in line.split("  ") if cell] for line in text.splitlines()]


def test_runs_and_sweeps_are_listed_the_newest_first(listed: Listed) -> None:
    make("outputs/2025-12-31/23-59-58", arm="linear · sgd", seed=7)
    make_sweep("multirun/2025-12-31/23-59-59")
    header, sweep, run = rows_of(listed())
    assert [cell.strip() for cell in header] == [
        "when", "kind", "what", "dataset", "seed", "status", "val", "test", "folder",
    ]  # fmt: skip
    assert [cell.strip() for cell in sweep] == [
        "2025-12-31", "sweep of 6", "deep · adam · lr=0.01,0.1", "digits", "0-2", "1 diverged",
        "0.9550", "0.8500", "multirun/2025-12-31/23-59-59",
    ]  # fmt: skip
    assert [cell.strip() for cell in run] == [
        "2025-12-31", "run", "linear · sgd", "digits", "7", "completed", "0.9800", "0.9750",
        "outputs/2025-12-31/23-59-58",
    ]  # fmt: skip


def test_as_json(listed: Listed) -> None:
    make("outputs/2026-11-01/10-00-00", status="failed", error="out of memory")
    make_sweep()
    sweep, run = json.loads(listed("--json"))
    assert sweep == {
        "when": "2026-11-02 09:00:00",
        "kind": "sweep",
        "what": "deep · adam · lr=0.01,0.1",
        "datasets": ["digits"],
        "seeds": [0, 1, 2],
        "runs": 6,
        "status": "mixed",
        "counts": {"completed": 5, "diverged": 1},
        "metric": "accuracy",
        "val/acc": pytest.approx(0.955),
        "test/acc": pytest.approx(0.85),
        "note": None,
        "folder": "multirun/2026-11-02/09-00-00",
    }
    assert (run["status"], run["note"], run["runs"]) == ("failed", "out of memory", 1)


def test_how_many(listed: Listed) -> None:
    for minute in range(25):
        make(f"outputs/2026-11-01/10-{minute:02}-00")
    out = listed()
    assert len(out.splitlines()) == 1 + 20 + 1
    assert "10-24-00" in out.splitlines()[1]
    assert out.endswith("and 5 more: --all shows them\n")
    assert len(listed("-n", "3").splitlines()) == 1 + 3 + 1
    assert len(listed("--all").splitlines()) == 1 + 25


def test_only_what_is_shown_is_read(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in range(9):
        make(f"outputs/2026-11-01/10-{minute:02}-00")
    read: list[Path] = []

    def note(folder: Path) -> Any:
        read.append(folder)
        return read_result(folder)

    monkeypatch.setattr(list_entries, "read_result", note)
    listed("-n", "2")
    assert [path.name for path in read] == ["10-08-00", "10-07-00"]


def test_nothing_to_list(listed: Listed) -> None:
    assert listed() == "no runs in outputs or multirun\n"
    assert listed("--json") == "[]\n"
    Path("outputs").mkdir()
    assert listed() == "no runs in outputs\n"


def test_a_sweep_that_is_named_stands_for_its_runs(listed: Listed) -> None:
    sweep = make_sweep()
    told = json.loads(listed(str(sweep), "--json"))
    assert [Path(row["folder"]).name for row in told] == ["5", "4", "3", "2", "1", "0"]
    assert {row["kind"] for row in told} == {"run"}
    (named,) = json.loads(listed(str(sweep / "3"), "--json"))
    assert named["folder"] == str(sweep / "3")


def test_names_that_do_not_follow_the_clock(listed: Listed) -> None:
    """These began when their first file was written."""
    for name, at in (("b", 1_000_000_000), ("a", 1_000_000_100), ("c", 999_999_900)):
        overrides = make(f"mine/{name}") / ".hydra" / "overrides.yaml"
        overrides.touch()
        os.utime(overrides, (at, at))
    assert [one.folder.name for one in find([Path("mine")])] == ["a", "b", "c"]


def test_neither_earlier_runs_nor_reports_are_listed(listed: Listed) -> None:
    make("outputs/x")
    make("outputs/x/previous/1")
    make("outputs/.hidden")
    make("outputs/report/y")
    assert [row["folder"] for row in json.loads(listed("--json"))] == ["outputs/x"]


def test_several_data_sets_have_no_best_arm(listed: Listed) -> None:
    for num, name in enumerate(("digits", "wine")):
        make(f"multirun/s/{num}", dataset=DatasetSummary(name=name))
    Path("multirun/s/multirun.yaml").touch()
    (row,) = json.loads(listed("--json"))
    assert row["datasets"] == ["digits", "wine"]
    assert row["val/acc"] is row["test/acc"] is None


@pytest.mark.parametrize(
    ("arms", "what"),
    [
        (["deep · sgd", "deep · adam"], "deep · sgd,adam"),
        (["a · sgd · fast · lr=1", "b · sgd · fast · lr=1"], "a,b · sgd · fast · lr=1"),
        (["a · b · hidden=[8,8]", "a · b · hidden=[4]"], "a · b · hidden=[8,8],[4]"),
        ([f"a · b · lr={n}" for n in range(9)], "a · b · lr=(9 values)"),
        ([], ""),
    ],
)
def test_what_varied(arms: Sequence[str], what: str) -> None:
    assert list_entries._varied(arms) == what


# ── damaged and unfinished ────────────────────────────────────────────────────────────────────


def test_a_damaged_result_is_a_row_that_says_so(listed: Listed) -> None:
    make("outputs/a")
    (make("outputs/b") / "result.json").write_text('{"schema": 1')
    (make("outputs/c") / "result.json").write_bytes(b"\xff\x00")
    sweep = make_sweep("multirun/s")
    (sweep / "1" / "result.json").write_text("[]")
    told = {row["folder"]: row for row in json.loads(listed("--json"))}
    assert told["outputs/a"]["status"] == "completed"
    assert told["outputs/b"]["status"] == told["outputs/c"]["status"] == "damaged"
    assert told["outputs/b"]["note"].startswith("result.json: ")
    assert told["multirun/s"]["counts"] == {"completed": 4, "damaged": 1, "diverged": 1}
    assert "1 damaged, 1 diverged" in listed()


def unfinished(folder: str, epochs: int) -> Path:
    place = Path(folder)
    (place / ".hydra").mkdir(parents=True)
    if epochs:
        log = MetricsLog(place)
        for epoch in range(1, epochs + 1):
            log.append(an_epoch(epoch))
        log.close()
    return place


def test_a_run_without_a_result_runs_or_died(listed: Listed) -> None:
    unfinished("outputs/died", 3)
    unfinished("outputs/early", 0)
    running = unfinished("outputs/running", 12)
    killed = unfinished("outputs/killed", 1)
    elsewhere = unfinished("outputs/elsewhere", 1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (killed / LOCK_FILE).write_text(f"PID {gone.pid} on {socket.gethostname()}\n")
    (elsewhere / LOCK_FILE).write_text(f"PID {os.getpid()} on another-host\n")
    held = lock(running / LOCK_FILE)
    assert held is not None
    try:
        told = {row["folder"]: row for row in json.loads(listed("--json"))}
        out = listed()
    finally:
        unlock(running / LOCK_FILE, held)
    assert {Path(f).name: (row["status"], row["note"]) for f, row in told.items()} == {
        "died": ("died", "epoch 3"),
        "early": ("died", "no epoch recorded"),
        "running": ("running", "epoch 12"),
        "killed": ("died", "epoch 1"),
        "elsewhere": ("unfinished", "epoch 1"),
    }
    assert "running: epoch 12" in out


def test_what_a_run_without_a_result_is_follows_from_hydras_files(listed: Listed) -> None:
    for place in ("outputs/a", "outputs/b", "multirun/s/0", "multirun/s/1"):
        hydra = unfinished(place, 1) / ".hydra"
        (hydra / "config.yaml").write_text(
            f"seed: {4 if place.endswith('1') else 3}\nmodel: {{name: deep}}\n"
            "optimizer: {name: adam}\ndataset: {name: wine}\n",
            encoding="utf-8",
        )
        (hydra / "overrides.yaml").write_text("- model=deep\n- optimizer.lr=0.1\n", "utf-8")
    Path("multirun/s/multirun.yaml").touch()
    Path("outputs/b/.hydra/config.yaml").write_text("- [", encoding="utf-8")
    told = {row["folder"]: row for row in json.loads(listed("--json"))}
    seen = {key: (row["what"], row["datasets"], row["seeds"]) for key, row in told.items()}
    assert seen == {
        "outputs/a": ("deep · adam · optimizer.lr=0.1", ["wine"], [3]),
        "outputs/b": (None, [], []),
        "multirun/s": ("deep · adam · optimizer.lr=0.1", ["wine"], [3, 4]),
    }


def test_the_runs_of_a_sweep_run_while_it_is_locked(listed: Listed) -> None:
    sweep = make_sweep("multirun/s")
    (sweep / "4" / "result.json").unlink()
    held = lock(sweep / LOCK_FILE)
    assert held is not None
    try:
        (row,) = json.loads(listed("--json"))
        assert row["counts"] == {"completed": 4, "diverged": 1, "running": 1}
        assert row["status"] == "running"
        assert "running, 4 completed, 1 diverged" in listed()
    finally:
        unlock(sweep / LOCK_FILE, held)
    (row,) = json.loads(listed("--json"))
    assert row["counts"] == {"completed": 4, "died": 1, "diverged": 1}


def test_looking_at_a_lock_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / LOCK_FILE
    assert is_held(path) is False
    held = lock(path)
    assert held is not None
    assert is_held(path) is True
    assert is_held(path) is True
    unlock(path, held)
    path.write_text(f"PID {os.getpid()} on {socket.gethostname()}\n")  # a number used again
    assert is_held(path) is False
    assert path.exists()


def test_a_sweep_without_a_run(listed: Listed) -> None:
    Path("multirun/s").mkdir(parents=True)
    Path("multirun/s/multirun.yaml").touch()
    (row,) = json.loads(listed("--json"))
    assert (row["runs"], row["status"]) == (0, "died")


# ── the table of a report ─────────────────────────────────────────────────────────────────────


def write_table(sweep: Path) -> Path:
    records = [RunRecord(folder, read_result(folder)) for folder in run_folders(sweep)]
    (sweep / "report").mkdir()
    table = sweep / "report" / "runs.csv"
    table.write_bytes(runs_csv(records, sweep))
    return table


def test_the_table_of_the_report_says_the_same(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    before = listed("--json")
    write_table(sweep)
    read: list[str] = []

    def counted(folder: Path) -> Any:
        read.append(folder.name)
        return read_result(folder)

    monkeypatch.setattr(list_entries, "read_result", counted)
    assert listed("--json") == before
    assert len(read) < len(list(run_folders(sweep)))  # the test accuracy of those that are shown


@pytest.mark.parametrize("change", ["newer", "more", "fewer", "damaged", "foreign"])
def test_a_table_that_is_not_of_these_runs_is_not_used(listed: Listed, change: str) -> None:
    sweep = make_sweep()
    table = write_table(sweep)
    counts = {"completed": 5, "diverged": 1}
    later = time.time() + 10
    if change == "newer":
        write_result(sweep / "5", a_result(status="failed", error="x"))
        os.utime(sweep / "5" / "result.json", (later, later))
        counts = {"completed": 5, "failed": 1}
    elif change == "more":
        place = make(f"{sweep}/6")
        os.utime(place / "result.json", (0, 0))
        counts["completed"] = 6
    elif change == "fewer":
        (sweep / "0" / "result.json").unlink()
        counts = {"completed": 4, "died": 1, "diverged": 1}
    elif change == "damaged":
        table.write_bytes(table.read_bytes()[:-200])
    else:
        table.write_text("folder,x\n0,1\n")
    (row,) = json.loads(listed("--json"))
    assert row["counts"] == counts


# ── the terminal ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
def test_it_fits_the_terminal_and_folders_stay_whole(
    columns: int, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "outputs/" + "a long name of a folder with 小 " * 4
    make(long, arm="deep · adam · hidden=[512,256,128] · activation=silu · dropout=0.25")
    make_sweep()
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = listed().splitlines()
    (place,) = [line for line in lines if long in line]
    assert all(cell_len(line) <= columns for line in lines if line != place)
    if columns < 200:
        assert place == f"  {long}"
    assert "0.9750" in "".join(lines)  # no number is cut


def test_a_table_without_limit_is_not_cut() -> None:
    columns = [Column("a", shrinks_to=3), Column("b", right=True)]
    assert lines_of(columns, [["x" * 300, "1"]], None) == (
        [f"a{' ' * 299}  b", f"{'x' * 300}  1"], [],
    )  # fmt: skip
    assert lines_of(columns, [["abcdef\x1b", "1"]], 7) == (["a     b", "abc…  1"], [])


def test_a_reader_that_has_seen_enough_and_an_ascii_terminal(tmp_path: Path) -> None:
    (tmp_path / "multirun").mkdir()
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        make_sweep()
    finally:
        os.chdir(here)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    command = [sys.executable, "-m", "nnexp", "list"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, env=ascii_only, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"deep - adam" in done.stdout
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, b"")
