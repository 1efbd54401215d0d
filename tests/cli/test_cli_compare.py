"""``nnexp compare``: rows, columns and warnings for folders made up here."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from record_cases import KNN, a_result
from rich.cells import cell_len

from nnexp.cli.compare_runs import main
from nnexp.runs.folder import METRICS_FILE
from nnexp.runs.record import DatasetSummary, read_result, write_result

Compared = Callable[..., str]
DIGITS = a_result().dataset
OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "adam": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999]},
}


@pytest.fixture
def compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Compared:
    """The program in this process, in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> str:
        main(arguments)
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def make(
    folder: str,
    *,
    seed: int = 0,
    optimizer: str = "adam",
    options: Mapping[str, Any] | None = None,
    split_seed: int | None = None,
    metrics: Mapping[str, float | None] | None = None,
    **changes: Any,
) -> None:
    """A run of ``deep`` on digits. ``options`` are of its optimizer."""
    config = {
        "seed": seed,
        "model": {"name": "deep", "hidden": [128, 128]},
        "optimizer": {**OPTIONS[optimizer], **(options or {})},
        "dataset": {"name": "digits", "split_seed": seed if split_seed is None else split_seed},
        "trainer": {"epochs": 50, "threads": seed + 1},
        "baseline": {"knn": {"k": [1, 3]}},
        "report": {"enabled": True},
    }
    fields: dict[str, Any] = {
        "seed": seed,
        "arm": f"deep · {optimizer}",
        "optimizer": optimizer,
        "config": config,
        "metrics": {**a_result().metrics, **(metrics or {})},
        **changes,
    }
    Path(folder).mkdir(parents=True)
    write_result(Path(folder), a_result(**fields))


def make_sweep(folder: str, optimizer: str = "adam", seeds: int = 3, **changes: Any) -> list[float]:
    """A row of so many seeds; their validation losses."""
    losses = [0.1 * (seed + 1) for seed in range(seeds)]
    for seed, loss in enumerate(losses):
        metrics = {"val/loss": loss, "val/acc": 1 - loss}
        make(f"{folder}/{seed}", seed=seed, optimizer=optimizer, metrics=metrics, **changes)
    return losses


def table_of(text: str) -> list[dict[str, str]]:
    """The rows by the names of the columns; cells are two blanks apart."""
    header, *lines = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()
    ]
    return [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)]


@pytest.mark.parametrize("option", [("metrics", ["macro_f1"]), ("imports", ["mine"])])
def test_what_is_only_recorded_makes_no_other_row(
    compared: Compared, option: tuple[str, list[str]]
) -> None:
    for seed in range(2):
        make(f"s/{seed}", seed=seed)
    result = read_result(Path("s/1"))
    config = {**result.config, option[0]: option[1]}
    write_result(Path("s/1"), dataclasses.replace(result, config=config))
    (row,) = table_of(compared("s"))
    assert row["n"] == "2"


def test_runs_side_by_side(compared: Compared) -> None:
    make("a", optimizer="sgd", metrics={"val/loss": 0.2}, epochs=40, best_epoch=7)
    make("b", metrics={"val/loss": 0.1}, num_parameters=1_234_567)
    out = compared("a", "b")
    first, second = table_of(out)
    assert first == {
        "optimizer": "adam", "lr": "0.001", "val/loss": "0.1000", "val/acc": "0.9800",
        "test/loss": "0.0800", "test/acc": "0.9750", "epochs": "50", "best epoch": "31",
        "parameters": "1,234,567", "seconds": "1.20", "KNN test/acc": "0.9830", "folder": "b",
    }  # fmt: skip
    assert (second["folder"], second["optimizer"], second["lr"]) == ("a", "sgd", "0.05")
    assert (second["epochs"], second["best epoch"]) == ("40", "7")
    assert "warning" not in out  # the same data and split


def test_a_sweep_is_averaged_over_its_seeds(compared: Compared) -> None:
    losses = make_sweep("s")
    make_sweep("t", "sgd", seeds=1)
    make("s/3", seed=3, status="diverged", metrics=dict.fromkeys(a_result().metrics))
    out = compared("s", "t")
    single, averaged = table_of(out)
    assert single["optimizer"] == "sgd"
    assert (single["val/loss"], single["n"], single["status"]) == ("0.1000", "1", "completed")
    assert single["folder"] == "t/0"
    assert (averaged["n"], averaged["status"], averaged["folder"]) == ("3", "1 diverged", "s")
    mean, sd = statistics.fmean(losses), statistics.stdev(losses)
    assert averaged["val/loss"] == f"{mean:.4f} ± {sd:.4f}"
    assert averaged["val/acc"] == f"{1 - mean:.4f} ± {sd:.4f}"
    assert averaged["KNN test/acc"] == "0.9830"
    assert "seed" not in averaged
    assert "mean ± standard deviation over the n runs" in out


def test_arms_of_one_sweep(compared: Compared) -> None:
    for num in range(4):
        make(f"s/{num}", seed=num % 2, options={"lr": (0.1, 0.01)[num // 2]})
    rows = table_of(compared("s"))
    assert [(row["lr"], row["n"]) for row in rows] == [("0.1", "2"), ("0.01", "2")]
    assert "folder" not in rows[0]  # the same for all


def test_options_that_one_kind_has_are_left_out_unless_asked_for(compared: Compared) -> None:
    make("a", optimizer="sgd", seed=0)
    make("b", seed=1, split_seed=0)
    (row, _) = table_of(compared("a", "b"))
    assert "momentum" not in row
    assert "threads" not in row
    (_, row) = table_of(compared("a", "b", "--all-settings", "--sort", "given"))
    assert (row["momentum"], row["betas"], row["threads"]) == ("-", "[0.9,0.999]", "2")
    make("c", optimizer="sgd", options={"momentum": 0.5})
    rows = table_of(compared("a", "b", "c", "--sort", "given"))
    assert [row["momentum"] for row in rows] == ["0.9", "-", "0.5"]


def test_seeds_of_single_runs(compared: Compared) -> None:
    make("a", seed=1)
    make("b", seed=2)
    make("c", seed=2, split_seed=5)
    rows = table_of(compared("a", "b", "--sort", "given"))
    assert [(row["arm"], row["seed"]) for row in rows] == [
        ("deep · adam", "1"), ("deep · adam", "2"),
    ]  # fmt: skip
    assert "split seed" not in rows[0]
    rows = table_of(compared("b", "c", "--sort", "given"))
    assert [row["split seed"] for row in rows] == ["2", "5"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ([], "cab"),
        (["--sort", "given"], "abc"),
        (["--sort", "val/loss"], "bac"),
        (["--sort", "seconds"], "bca"),
    ],
)
def test_sorting(compared: Compared, sort: list[str], order: str) -> None:
    for name, loss, acc, seconds in (("a", 0.2, 0.8, 9), ("b", 0.1, 0.7, 1), ("c", 0.3, 0.9, 5)):
        make(name, metrics={"val/loss": loss, "val/acc": acc}, options={"lr": seconds},
             seconds={"total": 99.0, "train": seconds, "predict": 0.0})  # fmt: skip
    assert "".join(row["folder"] for row in table_of(compared("a", "b", "c", *sort))) == order


def test_test_metrics_are_not_to_sort_by(
    compared: Compared, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        compared("a", "--sort", "test/acc")
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("nnexp: compare: argument --sort: invalid choice: 'test/acc'")
    assert err.count("\n") == 1


def make_measured(folder: str, macro_f1: float | None, error: float, **more: Any) -> None:
    """A run with two further metrics, of which one is better where it is less."""
    values = {"macro_f1": macro_f1, "calibration_error": error}
    metrics = {f"{split}/{n}": v for split in ("val", "test") for n, v in values.items()}
    make(folder, metrics=metrics, options={"lr": error}, **more)
    path = Path(folder)
    result = read_result(path)
    write_result(path, dataclasses.replace(result, config={**result.config, "metrics": [*values]}))


@pytest.mark.parametrize(
    ("sort", "order"),
    [("val/macro_f1", "bac"), ("val/calibration_error", "cab"), ("val/acc", "abc")],
)
def test_further_metrics_sort_in_the_direction_of_their_registration(
    compared: Compared, sort: str, order: str
) -> None:
    for name, macro_f1, error in (("a", 0.5, 0.2), ("b", 0.6, 0.3), ("c", None, 0.1)):
        make_measured(name, macro_f1, error)
    rows = table_of(compared("a", "b", "c", "--sort", sort))
    assert "".join(row["folder"] for row in rows) == order
    by_folder = {row["folder"]: row for row in rows}
    assert by_folder["a"]["val/macro_f1"] == "0.5000"
    assert by_folder["c"]["val/macro_f1"] == "-"
    assert by_folder["c"]["val/calibration_error"] == "0.1000"


def test_a_run_without_the_metric_comes_last(compared: Compared) -> None:
    make("a")
    make_measured("b", 0.1, 0.2)
    told = json.loads(compared("a", "b", "--sort", "val/macro_f1", "--json"))
    assert [Path(row["folder"]).name for row in told["rows"]] == ["b", "a"]
    for key in ("val/macro_f1", "test/macro_f1"):
        assert told["rows"][0][key] == {"mean": 0.1, "sd": None, "n": 1}
    assert "val/macro_f1" not in told["rows"][1]


def test_a_metric_that_was_not_recorded_is_refused(
    compared: Compared, capsys: pytest.CaptureFixture[str]
) -> None:
    make_measured("a", 0.5, 0.2)
    with pytest.raises(SystemExit) as stop:
        compared("a", "--sort", "val/makro_f1")
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "nnexp: --sort val/makro_f1: must be one of val/loss, val/acc, train/loss, val/macro_f1, "
        "val/calibration_error (did you mean 'val/macro_f1'?)\n"
    )


def test_a_metric_that_no_module_registers_has_no_direction(
    compared: Compared, capsys: pytest.CaptureFixture[str]
) -> None:
    make_measured("a", 0.5, 0.2)
    result = read_result(Path("a"))
    config = {**result.config, "metrics": ["forgotten"]}
    metrics = {**result.metrics, "val/forgotten": 1.0}
    write_result(Path("a"), dataclasses.replace(result, config=config, metrics=metrics))
    with pytest.raises(SystemExit):
        compared("a", "--sort", "val/forgotten")
    assert capsys.readouterr().err == (
        "nnexp: --sort val/forgotten: no module registers forgotten any more: which way is "
        "better?\n"
    )


def test_what_is_missing_is_a_dash_and_comes_last(compared: Compared) -> None:
    nothing = dict.fromkeys(a_result().metrics)
    make("a", options={"lr": 1.0}, status="failed", error="out of memory", metrics=nothing,
         baselines={}, num_parameters=None, best_epoch=None,
         seconds={"total": None, "train": None, "predict": None})  # fmt: skip
    make("b")
    _, row = table_of(compared("a", "b"))
    assert row["folder"] == "a"
    assert row["status"] == "failed"
    dashes = ("val/loss", "val/acc", "test/acc", "best epoch", "parameters", "seconds")
    assert {row[name] for name in (*dashes, "KNN test/acc")} == {"-"}
    assert row["epochs"] == "50"


def test_a_result_without_a_config_has_its_arm(compared: Compared) -> None:
    make("a", config={}, arm="deep · adam · lr=3")
    make("b", options={"lr": 0.5})
    rows = table_of(compared("a", "b", "--sort", "given"))
    assert [row["arm"] for row in rows] == ["deep · adam · lr=3", "deep · adam"]


def test_baselines_are_columns(compared: Compared) -> None:
    make("a", baselines={"knn": KNN, "svm": {**KNN, "test/acc": 0.5}})
    make("b", options={"lr": 1.0}, baselines={"svm": {**KNN, "test/acc": None}})
    first, second = table_of(compared("a", "b", "--sort", "given"))
    assert (first["KNN test/acc"], first["SVM (RBF) test/acc"]) == ("0.9830", "0.5000")
    assert (second["KNN test/acc"], second["SVM (RBF) test/acc"]) == ("-", "-")


# ── warnings ──────────────────────────────────────────────────────────────────────────────────


def other(**changes: Any) -> DatasetSummary:
    fields = {name: getattr(DIGITS, name) for name in DatasetSummary.__dataclass_fields__}
    return DatasetSummary(**{**fields, **changes})


def warnings_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("warning: ")]


def test_different_data_are_said(compared: Compared) -> None:
    make("a")
    make("b", dataset=other(fingerprint="0123456789abcdef"))
    make("c", dataset=other(name="wine", fingerprint=None), options={"lr": 1.0})
    assert warnings_of(compared("a", "b", "c")) == [
        "warning: different data: digits 9f86d081 (1 row), digits 01234567 (1 row), wine not read "
        "(1 row); their metrics are not comparable"
    ]


def test_different_splits_are_said(compared: Compared) -> None:
    make_sweep("s")
    make("a", optimizer="sgd", seed=7)
    make("b", optimizer="sgd", seed=7, options={"lr": 3.0}, dataset=other(num_val=100, num_test=9))
    (line,) = warnings_of(compared("s", "a", "b"))
    assert line == (
        "warning: different splits of digits: split seeds 0-2 with 288+360 held out (1 row), "
        "split seed 7 with 288+360 held out (1 row), split seed 7 with 100+9 held out (1 row); "
        "their metrics are not comparable"
    )
    assert warnings_of(compared("s", "s/0", "--json")) == []
    told = json.loads(compared("s", "s/0", "--json"))["warnings"]
    assert told[0].startswith("different splits of digits: ")


def test_an_official_test_set_is_the_same_in_all_splits(compared: Compared) -> None:
    for seed in (0, 1):
        make(f"{seed}", seed=seed, dataset=other(official_test=True))
    (line,) = warnings_of(compared("0", "1"))
    assert line.endswith("; their validation metrics are not comparable")


def test_fewer_rows_to_train_are_no_other_split(compared: Compared) -> None:
    make("a")
    make("b", dataset=other(num_train=10), options={"lr": 1.0})
    assert warnings_of(compared("a", "b")) == []


def test_what_cannot_be_read_is_said(compared: Compared) -> None:
    make_sweep("s")
    Path("s/1/result.json").write_text("{}", encoding="utf-8")
    Path("s/2/result.json").unlink()
    Path("s/2", METRICS_FILE).touch()
    damaged, unfinished = warnings_of(compared("s"))
    assert damaged.startswith("warning: s/1/result.json: ")
    assert "1 run without a result.json, killed or still training" in unfinished


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("absent", "absent: no such folder"),
        ("empty", "empty: holds no result.json; give a run's folder, a sweep's or the output root"),
        ("file", "file: is a file; give a folder"),
    ],
)
def test_bad_folders_are_said_in_one_line(
    compared: Compared, folder: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make("a")
    Path("empty").mkdir()
    Path("file").touch()
    with pytest.raises(SystemExit) as stop:
        compared("a", folder)
    assert (stop.value.code, *capsys.readouterr()) == (1, "", f"nnexp: {message}\n")


# ── for programs, for terminals ───────────────────────────────────────────────────────────────


def test_as_json(compared: Compared) -> None:
    losses = make_sweep("s")
    make("a", optimizer="sgd", status="failed", error="why")
    told = json.loads(compared("s", "a", "--json"))
    assert told["sort"] == "val/acc"
    assert told["settings"] == ["optimizer.name", "optimizer.lr"]
    failed, row = told["rows"]
    assert (failed["counts"], failed["errors"]) == ({"failed": 1}, ["why"])
    assert row["settings"]["optimizer.lr"] == 0.001
    assert row["dataset"] == {"name": "digits", "fingerprint": "9f86d081"}
    assert (row["seeds"], row["split_seeds"]) == ([0, 1, 2], [0, 1, 2])
    assert row["val/loss"] == {
        "mean": pytest.approx(0.2), "sd": pytest.approx(statistics.stdev(losses)), "n": 3,
    }  # fmt: skip
    assert row["baselines"]["knn"]["test/acc"]["mean"] == pytest.approx(0.983)
    assert row["num_parameters"]["mean"] == 59_146


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal(
    columns: int, compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep("s")
    long = "a long name/" * 12 + "b"
    make(long, optimizer="sgd")
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = compared("s", long).splitlines()
    assert f"  {long}" in lines
    assert all(cell_len(line) <= columns for line in lines if long not in line)
    out = " ".join(" ".join(lines).split())
    assert "0.9750 ± 0.0000" in out  # no number is cut
    assert ("no room for" in out) is (columns < 200)


def test_the_program_in_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_sweep("s")
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", "compare", "s"], capture_output=True, timeout=60,
        env={**environment, "PYTHONIOENCODING": "ascii"}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"0.2000 ~ 0.1000" in done.stdout
    assert b"\x1b" not in done.stdout
