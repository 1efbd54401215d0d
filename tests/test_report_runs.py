"""From folders to runs and from runs to tables: what is found, what is told, what is written."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import shutil
from pathlib import Path

import comparison_cases as cases
import pandas
import pytest
import report_cases
import yaml

from nnexp.comparison.records import RunRecord
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError, DataError
from nnexp.report.commands import command_lines
from nnexp.report.options import Asked, default_title, settled
from nnexp.report.runs import read_runs
from nnexp.report.tables import runs_csv, summary_json
from nnexp.results.record import write_result


def written(folder: Path, **choices: object) -> RunRecord:
    """A run whose ``result.json`` is in ``folder``."""
    record = cases.run(folder=folder, **choices)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    write_result(folder, record.result)
    return record


def names(root: Path, *folders: Path) -> list[str]:
    return [r.folder.relative_to(root).as_posix() for r in read_runs(folders or [root]).records]


# ── finding ───────────────────────────────────────────────────────────────────────────────────


def test_runs_are_found_at_any_depth_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    places = ["a/10", "a/2", "a/9/seed=1", "alone", "a/2/previous/1", "a/report/0",
              "a/2/checkpoints/x"]  # fmt: skip
    for seed, place in enumerate(places):
        written(tmp_path / place, seed=seed)
    assert names(tmp_path) == ["a/2", "a/9/seed=1", "a/10", "alone"]
    assert names(tmp_path, tmp_path / "a" / "2") == ["a/2"]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    twice = read_runs([tmp_path / "a" / "10", tmp_path / "a", tmp_path / "link"])
    assert [r.folder.name for r in twice.records] == ["10", "2", "seed=1"]
    assert twice.problems == ()


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    records = cases.sweep(tmp_path, seeds=range(2), lrs=(0.1,), datasets=(cases.DIGITS,))
    read = read_runs([tmp_path])
    assert [r.result for r in read.records] == [r.result for r in records]
    assert read.problems == ()


def test_damaged_foreign_and_killed_runs_are_told_and_the_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        written(tmp_path / str(number), seed=number)
    path = tmp_path / "0" / "result.json"
    path.write_bytes(path.read_bytes()[:40])
    path = tmp_path / "1" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 7}))
    (tmp_path / "2" / "result.json").rename(tmp_path / "2" / "metrics.jsonl")
    (tmp_path / "3" / "result.json").write_text("[]")
    read = read_runs([tmp_path])
    assert [r.folder.name for r in read.records] == ["4"]
    damaged, foreign, no_object, killed = read.problems
    assert damaged.startswith("0/result.json: ")
    assert foreign == "1/result.json: schema 7 is not 1, which this nnexp reads"
    assert no_object == "3/result.json: not a JSON object"
    assert killed == "1 run without a result.json, killed or still training, left out: 2"


def test_a_result_of_the_first_kind_is_read(tmp_path: Path) -> None:
    """Before result.json had the config and Brier scores."""
    record = written(tmp_path / "0", baselines={"knn": cases.baseline(0.9, 0.9, {"k": 3})})
    path = tmp_path / "0" / "result.json"
    told = json.loads(path.read_text())
    for key in ("config", "calibration"):
        del told[key]
    del told["metrics"]["test/brier"], told["seconds"]["predict"], told["dataset"]["official_test"]
    for key in ("val/loss", "test/loss", "test/brier", "calibration", "tried", "rows", "note"):
        del told["baselines"]["knn"][key]
    path.write_text(json.dumps(told))
    (old,) = read_runs([tmp_path]).records
    assert old.result.config == {}
    assert old.result.metrics["test/acc"] == record.result.metrics["test/acc"]
    assert old.result.metrics["test/brier"] is None
    row = pandas.read_csv(io.BytesIO(runs_csv([old], tmp_path))).iloc[0]
    assert row["baselines.knn.test/acc"] == 0.9


@pytest.mark.parametrize("what", ["nothing", "absent", "file"])
def test_no_runs_at_all_is_told_in_one_line(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "here"
    if what == "nothing":
        (folder / "deeper").mkdir(parents=True)
    elif what == "file":
        folder.write_text("")
    expected = {
        "nothing": "holds no result.json; give a run's folder, a sweep's or the output root",
        "absent": "no such folder",
        "file": "is a file; give a folder",
    }
    with pytest.raises(DataError) as caught:
        read_runs([folder])
    assert str(caught.value) == f"{folder}: {expected[what]}"


# ── repetitions ───────────────────────────────────────────────────────────────────────────────


def test_a_run_that_was_trained_again_counts_once_and_the_newest_counts(tmp_path: Path) -> None:
    for number, (seed, acc) in enumerate([(0, 0.9), (1, 0.9), (0, 0.91), (0, 0.92)]):
        written(tmp_path / str(number), seed=seed, test_acc=acc)
        os.utime(tmp_path / str(number) / "result.json", (number, number))
    os.utime(tmp_path / "2" / "result.json", (99, 99))
    read = read_runs([tmp_path])
    assert [(r.folder.name, r.result.metrics["test/acc"]) for r in read.records] == [
        ("1", 0.9), ("2", 0.91),
    ]  # fmt: skip
    (told,) = read.problems
    assert told.startswith("2 runs repeat others (same config, seed and data), of which the newest")
    assert told.endswith("/0, " + str(tmp_path / "3"))


def test_what_differs_in_anything_is_no_repetition(tmp_path: Path) -> None:
    written(tmp_path / "0")
    written(tmp_path / "1", overrides={"trainer.epochs": 21})
    written(tmp_path / "2", fingerprint="of other rows")
    written(tmp_path / "3", overrides={"report.equivalence": 2.0})  # which is of no run
    assert names(tmp_path) == ["1", "2", "3"]


def test_copies_of_runs_without_a_config_count_once(tmp_path: Path) -> None:
    written(tmp_path / "a" / "0", with_config=False)
    written(tmp_path / "a" / "1", with_config=False, test_acc=0.5)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert len(read_runs([tmp_path]).records) == 2


# ── options ───────────────────────────────────────────────────────────────────────────────────


def told(**report: object) -> RunRecord:
    return cases.run(overrides={f"report.{key}": value for key, value in report.items()})


def test_options_are_those_of_the_runs_unless_they_are_asked_for() -> None:
    records = [told(reference="svm", equivalence=1.0, tuned=["optimizer.lr", "model.dropout"])]
    assert settled(Asked(), records) == (
        ReportConfig(tuned=["optimizer.lr", "model.dropout"], reference="svm", equivalence=1.0),
        [],
    )
    asked = Asked(tuned=(), reference="deep · adam", equivalence=0.0, tensorboard=True)
    found, _ = settled(asked, records)
    assert found == ReportConfig(
        tuned=[], reference="deep · adam", equivalence=0.0, tensorboard=True
    )
    assert settled(Asked(), [cases.run(with_config=False)]) == (ReportConfig(), [])


def test_runs_that_disagree_are_told() -> None:
    records = [
        told(equivalence=1.0, tuned=["optimizer.momentum"]),
        told(equivalence=2.0, tuned=["optimizer.lr", "optimizer.momentum"]),
        told(equivalence=2.0),
    ]
    found, (line,) = settled(Asked(), records)
    assert found.equivalence == 2.0
    assert found.tuned == ["optimizer.momentum", "optimizer.lr"]
    assert line == (
        "the runs' configs differ in report.equivalence (1.0, 2.0): 2.0 holds, as most say; "
        "--equivalence sets another"
    )
    assert settled(Asked(equivalence=1.0), records)[1] == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(tuned=("optimizer.lrr",)), "--tuned optimizer.lrr: optimizer.lrr is no option that "
         "can be tuned (did you mean 'optimizer.lr'?)"),
        (Asked(tuned=("seed",)), "--tuned seed: seed is no option that can be tuned"),
        (Asked(reference="knm"), "--reference knm: must be "),
        (Asked(equivalence=-1), "--equivalence -1: must be points from 0 to 100"),
        (Asked(equivalence=math.nan), "--equivalence nan: must be points from 0 to 100"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_told(asked: Asked, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settled(asked, [])
    assert str(caught.value).startswith(message)
    if asked.reference:
        assert str(caught.value).endswith("a network such as 'deep · adam' (did you mean 'knn'?)")


# ── commands ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_of_a_sweep_is_that_of_its_multirun_yaml(tmp_path: Path) -> None:
    records = [written(tmp_path / "s" / f"lr=1/{seed}", seed=seed) for seed in range(3)]
    overrides = {
        "hydra": ["hydra/launcher=basic", "hydra.mode=MULTIRUN"],
        "task": ["+experiment=compare_all", "seed=range(3)", "dataset=digits"],
    }
    path = tmp_path / "s" / "multirun.yaml"
    path.write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    alone = written(tmp_path / "alone", seed=9)
    (alone.folder / ".hydra").mkdir()
    (alone.folder / ".hydra" / "overrides.yaml").write_text("- model=deep\n- 'a=[b, c]'\n")
    lines = command_lines([*records, alone])
    assert lines == (
        "python -m nnexp -m +experiment=compare_all 'seed=range(3)' dataset=digits "
        "hydra/launcher=basic",
        "python -m nnexp model=deep 'a=[b, c]'",
    )
    assert default_title([*records, alone], lines) == "compare_all on digits"
    assert default_title(records, ()) == "Networks and baselines on digits"


def test_many_commands_are_counted_and_damaged_ones_left_out(tmp_path: Path) -> None:
    records = [written(tmp_path / str(seed), seed=seed) for seed in range(16)]
    for record in records:
        (record.folder / ".hydra").mkdir()
        text = f"- seed={record.folder.name}\n" if record.folder.name != "3" else "- 'seed"
        (record.folder / ".hydra" / "overrides.yaml").write_text(text)
    lines = command_lines(records)
    assert lines[2:4] == ("python -m nnexp seed=2", "python -m nnexp seed=4")
    assert lines[-1] == "and 3 more"
    assert len(lines) == 13


# ── tables ────────────────────────────────────────────────────────────────────────────────────


def test_runs_csv_is_read_by_pandas_with_its_types(tmp_path: Path) -> None:
    records = cases.sweep(tmp_path / "s", seeds=range(2), datasets=(cases.DIGITS,))
    error = 'a "quoted", long\nerror – ☃'
    failed = dataclasses.replace(records[0].result, status="failed", error=error)
    records.append(RunRecord(Path("/elsewhere/0"), dataclasses.replace(failed, seed=7)))
    content = runs_csv(records, tmp_path)
    assert content.count(b"\r\n") == 1 + len(records)
    table = pandas.read_csv(io.BytesIO(content))
    assert len(table) == len(records)
    assert list(table["folder"][:2]) == ["s/0", "s/1"]
    assert table["folder"].iloc[-1] == "/elsewhere/0"
    assert table["error"].iloc[-1] == error
    assert table["seed"].dtype == "int64"
    assert table["config.optimizer.lr"].dtype == "float64"
    assert table["dataset.official_test"].dtype == "bool"
    assert set(table["config.optimizer.lr"]) == {0.001, 0.01, 0.1}
    assert json.loads(table["config.model.hidden"].iloc[0]) == [128] * 4
    constant = {"config.trainer.epochs", "config.optimizer.weight_decay", "config.dataset.name"}
    assert not constant & set(table.columns)
    for record, value in zip(records, table["metrics.test/acc"], strict=True):
        accuracy = record.result.metrics["test/acc"]
        assert value == accuracy if accuracy is not None else math.isnan(value)
    assert (table["baselines.knn.k"] == 3).all()


def test_summary_json_is_strict_and_whole() -> None:
    comparison = report_cases.small()
    changed = dataclasses.replace(comparison, equivalence=math.nan)
    content = summary_json(changed, figures=["a.png"])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads(content, parse_constant=refuse)
    assert summary["schema"] == 1
    assert summary["figures"] == ["a.png"]
    assert summary["equivalence"] is None
    assert set(summary) == {"schema", "figures"} | {f.name for f in dataclasses.fields(comparison)}
    first, told = comparison.results[0], summary["results"][0]
    assert first.test_acc is not None
    assert told["learner"] == first.learner
    assert told["test_acc"]["values"] == list(first.test_acc.values)
    assert len(summary["results"]) == len(comparison.results)
