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

from nnexp.analysis.grouping import group_runs as placed
from nnexp.analysis.records import RunRecord
from nnexp.analysis.types import Options
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError, DataError
from nnexp.report.inputs import Asked, default_title, read_runs, settled
from nnexp.report.write import command_lines, runs_csv, summary_json
from nnexp.runs.failure_log import record_failure
from nnexp.runs.record import write_result


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
    assert foreign == "1/result.json: schema 7 is not 1, which this nnexp reads; left out"
    assert no_object == "3/result.json: not a JSON object; left out"
    assert killed == "1 run without a result.json, killed or still training, left out: 2"


def test_a_result_of_the_first_kind_is_read(tmp_path: Path) -> None:
    """Before result.json had the config and Brier scores."""
    record = written(tmp_path / "0", baselines={"knn": cases.baseline(0.9, 0.9, {"k": 3})})
    path = tmp_path / "0" / "result.json"
    told = json.loads(path.read_text())
    for key in ("config", "calibration"):
        del told[key]
    del told["metrics"]["test/brier"], told["seconds"]["predict"], told["dataset"]["official_test"]
    for key in (
        "val/clipped_loss",
        "test/clipped_loss",
        "test/brier",
        "calibration",
        "tried",
        "rows",
        "note",
    ):
        del told["baselines"]["knn"][key]
    path.write_text(json.dumps(told))
    (old,) = read_runs([tmp_path]).records
    assert old.result.config == {}
    assert old.result.metrics["test/acc"] == record.result.metrics["test/acc"]
    assert old.result.metrics["test/brier"] is None
    row = pandas.read_csv(io.BytesIO(runs_csv([old], tmp_path, test_metrics=True))).iloc[0]
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


@pytest.mark.parametrize(
    ("statuses", "counts"),
    [  # from the oldest to the newest
        (["completed", "interrupted"], 0),
        (["completed", "failed"], 0),
        (["diverged", "failed"], 0),
        (["failed", "interrupted"], 0),
        (["interrupted", "failed"], 1),
        (["interrupted", "completed"], 1),
        (["completed", "diverged"], 1),
        (["diverged", "completed", "interrupted", "failed"], 1),
        (["interrupted", "interrupted"], 1),
    ],
)
@pytest.mark.parametrize("is_read", [True, False], ids=["", "what failed had not read its data"])
def test_a_run_that_was_trained_to_its_end_counts_before_later_ones_that_were_not(
    tmp_path: Path, statuses: list[str], counts: int, is_read: bool
) -> None:
    for number, status in enumerate(statuses):
        trained = status in ("completed", "diverged")
        fingerprint = "of the rows" if is_read or trained else None
        written(tmp_path / str(number), status=status, fingerprint=fingerprint)
        os.utime(tmp_path / str(number) / "result.json", (number, number))
    read = read_runs([tmp_path])
    assert [r.folder.name for r in read.records] == [str(counts)]
    (told,) = read.problems
    assert "the newest that was trained to its end counts" in told


def test_runs_that_were_given_up_count_against_their_learner(tmp_path: Path) -> None:
    """Whether their data had been looked at or not."""
    for seed in range(2):
        completed = written(tmp_path / f"good-{seed}", seed=seed, lr=0.01)
        for lr, data in ((0.1, completed.result.dataset), (1.0, None)):
            record_failure(
                tmp_path / f"{lr}-{seed}", "its worker process was killed by SIGKILL, twice",
                arm=f"deep · adam · lr={lr:g}", seed=seed, model="deep", optimizer="adam",
                dataset="digits", config=cases.config(lr=lr, seed=seed), data=data,
            )  # fmt: skip
    read = read_runs([tmp_path])
    assert read.problems == ()
    (entry,) = placed(read.records, Options(tuned=("optimizer.lr",))).entries
    assert (entry.num_runs, entry.num_failed) == (6, {"failed": 4})
    assert [len(outcome.tried) for outcome in entry.outcomes] == [3, 3]


# ── damaged values ────────────────────────────────────────────────────────────────────────────

_DAMAGE = [
    ("metrics.val/acc", "0.9", "metrics.val/acc is '0.9', which is no number"),
    ("metrics.test/acc", True, "metrics.test/acc is True, which is no number"),
    ("metrics.test/acc", 93.5, "metrics.test/acc is 93.5, which is no share of rows"),
    ("metrics.test/brier", [], "metrics.test/brier is [], which is no number"),
    ("seconds.train", "fast", "seconds.train is 'fast', which is no number"),
    ("group_size", 0, "group_size is 0, which is less than 1"),
    ("epochs", -1, "epochs is -1, which is less than 0"),
    ("seed", 1.5, "seed is 1.5, which is no whole number"),
    ("versions", {"torch": 2}, "versions.torch is 2, which is no text"),
    ("dataset.fingerprint", 5, "dataset.fingerprint is 5, which is no text"),
    ("dataset.num_classes", 0, "dataset.num_classes is 0, which is less than 1"),
    ("calibration", {}, "calibration lacks count, confidence, accuracy"),
    ("calibration.count", 5, "calibration.count is 5, which is no list"),
    ("calibration.count", [1, 0.5], "calibration.count.1 is 0.5, which is no whole number"),
    ("calibration.count", [1], "calibration: count, confidence, accuracy have 1, 2, 2 bins"),
    ("calibration.accuracy", [None, None], "calibration: bin 1 of 7 rows has the means [0.9, None"),
    ("baselines", [1], "baselines is [1], which is no object"),
    ("baselines.knn", 3, "baselines.knn is 3, which is no object"),
    ("baselines.knn.val/acc", "a", "baselines.knn.val/acc is 'a', which is no number"),
    ("baselines.knn.test/acc", -0.5, "baselines.knn.test/acc is -0.5, which is no share of rows"),
    ("baselines.knn.tried", "zz", "baselines.knn.tried is 'zz', which is no list"),
    ("baselines.knn.tried", [7], "baselines.knn.tried.0 is 7, which is no object"),
    ("baselines.knn.tried", [{"val/acc": "x"}], "baselines.knn.tried.0.val/acc is 'x'"),
    ("baselines.knn.calibration", {"count": []}, "baselines.knn.calibration lacks confidence"),
    ("baselines.knn.note", 1, "baselines.knn.note is 1, which is no text"),
    ("baselines.knn.skipped", [], "baselines.knn.skipped is [], which is no text"),
    ("baselines.knn.val/acc by k", {"x": 1}, "baselines.knn.val/acc by k is 'x'"),
    ("config", [], "config is [], which is no object"),
    ("config.report", 5, "config.report is no object"),
    ("config.report.tuned", 5, "config.report.tuned is 5, which is no list"),
    ("config.report.tuned", [1], "config.report.tuned.0 is 1, which is no text"),
    ("config.report.reference", ["knn"], "config.report.reference is ['knn'], which is no text"),
    ("config.report.equivalence", "1", "config.report.equivalence is '1', which is no number"),
    ("config.report.tensorboard", 1, "config.report.tensorboard is 1, which is no true or false"),
]  # fmt: skip


def damage(path: Path, key: str, value: object) -> None:
    """Replace what ``result.json`` says at a key, ``dataset.name``."""
    told = json.loads(path.read_text(encoding="utf-8"))
    place = told
    *parents, last = key.split(".")
    for parent in parents:
        place = place[parent]
    place[last] = value
    path.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(("key", "value", "message"), _DAMAGE)
def test_a_value_that_cannot_be_costs_its_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        baselines = {"knn": cases.baseline(0.9, 0.9, {"k": 3})}
        written(tmp_path / str(number), seed=number, baselines=baselines)
    path = tmp_path / "1" / "result.json"
    bins = {"count": [0, 7], "confidence": [None, 0.9], "accuracy": [None, 0.8]}
    damage(path, "calibration", bins)
    assert len(read_runs([tmp_path]).records) == 2
    damage(path, key, value)
    read = read_runs([tmp_path])
    assert [r.folder.name for r in read.records] == ["0"]
    (told,) = read.problems
    assert told.startswith(f"1/result.json: {message}")
    assert "\n" not in told


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


def test_a_margin_in_points_on_the_command_line_holds_before_a_recorded_share() -> None:
    records = [told(relative_equivalence=0.05)]
    assert settled(Asked(), records)[0].relative_equivalence == 0.05
    found, _ = settled(Asked(equivalence=1.0), records)
    assert (found.equivalence, found.relative_equivalence) == (1.0, None)
    both, _ = settled(Asked(equivalence=1.0, relative_equivalence=0.1), records)
    assert (both.equivalence, both.relative_equivalence) == (1.0, 0.1)


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
        (Asked(equivalence=-1), "--equivalence -1: must be from 0 to 100 pp"),
        (Asked(equivalence=math.nan), "--equivalence nan: must be from 0 to 100 pp"),
        (Asked(relative_equivalence=5), "--relative-equivalence 5: must be from 0 to 1"),
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
    assert b"test/" not in runs_csv(records, tmp_path)
    content = runs_csv(records, tmp_path, test_metrics=True)
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
    assert first.test_score is not None
    assert told["learner"] == first.learner
    assert told["test_score"]["values"] == list(first.test_score.values)
    assert len(summary["results"]) == len(comparison.results)


def test_the_metric_is_what_most_configs_say_and_old_results_say_accuracy() -> None:
    def told(report: dict[str, object]) -> RunRecord:
        record = cases.run(seed=1)
        config = {**record.result.config, "report": report}
        return RunRecord(record.folder, dataclasses.replace(record.result, config=config))

    by_auc, old = told({"metric": "roc_auc"}), told({"reference": "knn"})
    assert settled(Asked(), [by_auc, by_auc])[0].metric == "roc_auc"
    assert settled(Asked(), [old])[0].metric is None
    config, lines = settled(Asked(), [by_auc, old, told({"metric": "accuracy"})])
    assert config.metric is None
    assert any("differ in report.metric" in line for line in lines)
    assert settled(Asked(metric="roc_auc"), [by_auc, old, old])[0].metric == "roc_auc"
    with pytest.raises(ConfigError, match="--metric mcc: no run recorded it; recorded are acc"):
        settled(Asked(metric="mcc"), [by_auc])
    config, lines = settled(Asked(), [told({"metric": "forgotten"})])
    assert config.metric is None
    assert any("no module registers the metric forgotten any more" in line for line in lines)
    with pytest.raises(ConfigError, match=r"--metric roc_auk: .*did you mean 'roc_auc'"):
        settled(Asked(metric="roc_auk"), [old])
