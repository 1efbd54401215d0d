"""result.json: the contract, and what is recorded of runs that came to no end."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record_cases import KNN, a_result, an_epoch, python, strict
from tensorboard.compat.proto.event_pb2 import Event

from nnexp.errors import DataError
from nnexp.runs.checkpoints import save_checkpoint
from nnexp.runs.event_records import file_version, records
from nnexp.runs.failure_log import record_failure
from nnexp.runs.files import write_atomically
from nnexp.runs.folder import SEAL, ForeignFileError, discard, set_aside
from nnexp.runs.predictions import Predictions, write_predictions
from nnexp.runs.record import (
    DatasetSummary,
    MetricsLog,
    RunResult,
    read_metrics,
    read_result,
    write_result,
)

WEIGHTS = b"weights" + SEAL + b"0" * 64


def test_result_holds_the_contract(tmp_path: Path) -> None:
    write_result(tmp_path, a_result())
    text = (tmp_path / "result.json").read_text()
    result = strict(text)
    assert " ".join(result) == (
        "schema status error seed arm task model optimizer dataset data_card num_parameters epochs "
        "best_epoch metrics calibration baselines seconds group_size device threads matmul "
        "versions config"
    )
    assert result["schema"] == 1
    assert " ".join(result["dataset"]) == (
        "name fingerprint num_train num_val num_test num_features num_classes official_test "
        "class_names"
    )
    assert " ".join(result["metrics"]) == (
        "train/loss val/loss val/acc test/loss test/acc test/clipped_loss test/brier"
    )
    assert " ".join(result["seconds"]) == "total train predict"
    assert {"python", "torch", "nnexp"} < result["versions"].keys()
    assert text.startswith('{\n  "schema": 1,\n  "status": "completed",\n  "error": null,\n')
    assert text.endswith("\n}\n")


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_result(tmp_path / name, a_result())
    first, second = ((tmp_path / name / "result.json").read_bytes() for name in ("a", "b"))
    assert first == second


def test_result_is_read_back(tmp_path: Path) -> None:
    write_result(tmp_path, a_result())
    assert read_result(tmp_path) == a_result()


def test_a_result_is_laid_out_for_people(tmp_path: Path) -> None:
    write_result(tmp_path, a_result(versions={}, baselines={"knn": KNN, "svm": {**KNN, "k": {}}}))
    lines = (tmp_path / "result.json").read_text().splitlines()
    assert lines[:3] == ["{", '  "schema": 1,', '  "status": "completed",']
    knn = lines.index('    "knn": {')
    assert lines[knn + 1 : knn + 3] == ['      "k": 3,', '      "val/acc": 0.98,']
    assert lines[-6:] == [
        '  "versions": {},',
        '  "config": {',
        '    "seed": 0,',
        '    "optimizer": {"name": "adam", "betas": [0.9, 0.999]}',
        "  }",
        "}",
    ]


def test_the_first_results_are_read_too(tmp_path: Path) -> None:
    """Those of before predictions were kept: they lack what was added since, and what they call
    the loss on test rows, and of baselines, was clipped."""
    old = dataclasses.asdict(a_result())
    for key in ("config", "calibration"):
        del old[key]
    del old["dataset"]["official_test"], old["metrics"]["test/brier"], old["seconds"]["predict"]
    del old["metrics"]["test/clipped_loss"]
    old["baselines"]["knn"] = {"k": 3, "val/acc": 0.98, "test/acc": 0.983, "seconds": 0.01}
    old["baselines"]["svm"] = {**old["baselines"]["knn"], "val/loss": 0.3, "test/loss": 0.25}
    (tmp_path / "result.json").write_text(json.dumps(old))
    result = read_result(tmp_path)
    assert (result.config, result.calibration, result.dataset.official_test) == ({}, None, None)
    assert result.metrics == {
        **a_result().metrics, "test/loss": None, "test/clipped_loss": 0.08, "test/brier": None,
    }  # fmt: skip
    assert result.seconds == {"total": 3.5, "train": 1.2, "predict": None}
    assert result.baselines["knn"] == {
        **dict.fromkeys(KNN), **old["baselines"]["knn"]
    }  # fmt: skip
    svm = result.baselines["svm"]
    assert (svm["val/clipped_loss"], svm["test/clipped_loss"]) == (0.3, 0.25)
    assert not {"val/loss", "test/loss"} & svm.keys()


def test_a_run_that_failed_early_has_a_result(tmp_path: Path) -> None:
    failed = RunResult(
        status="failed",
        error="caf\udce9.csv: no such file",  # a name that is no UTF-8, as the system gives it
        seed=3,
        arm="deep_adam",
        model="deep",
        optimizer="adam",
        dataset=DatasetSummary(name="csv"),
    )
    write_result(tmp_path, failed)
    result = strict((tmp_path / "result.json").read_text())
    assert set(result["metrics"].values()) == {None}
    assert result["dataset"]["num_train"] is None
    assert read_result(tmp_path) == failed


def test_numbers_that_are_not_finite_are_null_at_any_depth(tmp_path: Path) -> None:
    nan = math.nan
    metrics = {**a_result().metrics, "val/loss": nan}
    knn = {**KNN, "k": [1, nan], "val/acc": nan}
    write_result(tmp_path, a_result(status="diverged", metrics=metrics, baselines={"knn": knn}))
    result = strict((tmp_path / "result.json").read_text())
    assert result["metrics"]["val/loss"] is None
    assert result["baselines"]["knn"] == {**KNN, "k": [1, None], "val/acc": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "done"}, "status 'done' is none of completed, diverged, failed, interrupted"),
        ({"metrics": {"val/acc": 1.0}}, "metrics lacks train/loss, val/loss, test/loss, test/acc"),
        ({"baselines": {"knn": {"seconds": 1.0}}}, "baselines.knn lacks val/acc, test/acc"),
        ({"seed": "0"}, "seed is '0', which is no whole number"),
        ({"threads": True}, "threads is True, which is no whole number"),
        ({"calibration": [0.5]}, "calibration is [0.5], which is no object"),
        (
            {"dataset": DatasetSummary(name="a", official_test=1)},
            "dataset.official_test is 1, which",
        ),  # type: ignore[arg-type]
        ({"dataset": DatasetSummary(name=None)}, "dataset.name is None, which is no text"),  # type: ignore[arg-type]
    ],
)
def test_a_result_that_breaks_the_contract_is_not_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        write_result(tmp_path, a_result(**changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"schema": 1', '"schema": 2', "schema 2 is not 1, which this nnexp reads"),
        ('"seed": 0,', "", "RunResult lacks seed"),
        ('"seed": 0,', '"seed": null,', "seed is None, which is no whole number"),
        ('"name": "digits",', "", "dataset lacks name"),
        ('"knn": {', '"knn": 3, "svm": {', "baselines.knn is 3, which is no object"),
        ('"test/loss": 0.08', '"test/loss": NaN', "NaN is not JSON"),
        ('"status"', "status", "Expecting property name"),
        ("{\n", "[{\n", "Expecting"),
    ],
)
def test_a_damaged_result_is_told_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    write_result(tmp_path, a_result())
    path = tmp_path / "result.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_result(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_every_truncation_of_a_result_is_noticed(tmp_path: Path) -> None:
    write_result(tmp_path, a_result())
    path = tmp_path / "result.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 5):  # the last brace and its newline are spared
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_result(tmp_path)


def test_a_missing_result_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"result\.json: No such file or directory"):
        read_result(tmp_path)


def test_keys_of_a_later_nnexp_are_left_out(tmp_path: Path) -> None:
    write_result(tmp_path, a_result())
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "energy": 12.5}))
    assert read_result(tmp_path) == a_result()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_replaces_a_file_is_on_the_disk_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    synced: list[tuple[bool, bytes]] = []
    monkeypatch.setattr(
        os, "fsync", lambda n: synced.append((stat.S_ISDIR(os.fstat(n).st_mode), path.read_bytes()))
    )
    write_atomically(path, b"first")
    assert synced == []
    write_atomically(path, b"second")
    assert synced == [(False, b"first"), (True, b"second")]


def test_a_reader_never_meets_half_a_result(tmp_path: Path) -> None:
    rewriting = """
        for n in range(10**9):
            write_result(Path(sys.argv[2]), a_result(seed=n, arm="x" * (n % 5000)))
    """
    with python(rewriting, tmp_path) as process:
        while not (tmp_path / "result.json").exists():
            assert process.poll() is None
        seeds: set[int] = set()
        for reading in itertools.count():
            seeds.add(read_result(tmp_path).seed)
            if reading >= 300 and len(seeds) > 10:
                break
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert read_result(tmp_path).seed >= max(seeds)


# What others write of a run that has not come to its end


def given_up(folder: Path, *, keep: bool, config: dict[str, Any] | None = None) -> RunResult:
    dataset = a_result().dataset
    result = record_failure(
        folder, "killed", arm="deep_adam", seed=3, model="deep", optimizer="adam",
        dataset=dataset.name, config=config or a_result().config, data=dataset, keep=keep,
    )  # fmt: skip
    assert read_result(folder) == result
    return result


@pytest.mark.parametrize(("select", "best"), [(None, 5), ("accuracy", 5), ("loss", 4), ("last", 6)])
def test_a_run_that_was_given_up_keeps_what_is_known(
    tmp_path: Path, select: str | None, best: int
) -> None:
    """Its best epoch is that of its checkpoint: of equal ones the last, and none that diverged."""
    losses = [0.5, 0.25, None, 0.25, 0.75, 0.8, 0.1]
    accs = [0.1, 0.2, None, 0.4, 0.6, 0.5, 0.9]
    log = MetricsLog(tmp_path)
    for number, (loss, acc) in enumerate(zip(losses, accs, strict=True), start=1):
        train_loss = math.inf if number == 7 else 0.1 + 0.2
        log.append(an_epoch(number, **{"train/loss": train_loss, "val/loss": loss, "val/acc": acc}))
    log.close()
    config = a_result().config
    if select is not None:
        config = {**config, "trainer": {"select": select}}
    result = given_up(tmp_path, keep=True, config=config)
    assert (result.status, result.error, result.seed) == ("failed", "killed", 3)
    assert (result.config, result.dataset) == (config, a_result().dataset)
    assert (result.epochs, result.best_epoch) == (7, best)
    assert result.metrics == {
        "train/loss": 0.1 + 0.2, "val/loss": losses[best - 1], "val/acc": accs[best - 1],
        "test/loss": None, "test/acc": None, "test/clipped_loss": None, "test/brier": None,
    }  # fmt: skip
    assert result.seconds == {"total": None, "train": 1.75, "predict": None}
    assert len(read_metrics(tmp_path)) == 7


@pytest.mark.parametrize("content", [b"", b"{\n", b"[]\n", b"{}\n", b'{"epoch": "x"}\n'])
def test_a_run_that_was_given_up_is_recorded_whatever_it_left(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    result = given_up(tmp_path, keep=True)
    assert (result.epochs, result.best_epoch, set(result.metrics.values())) == (0, None, {None})


def test_files_that_are_not_of_the_run_tell_nothing_of_it(tmp_path: Path) -> None:
    MetricsLog(tmp_path).append(an_epoch(1))
    assert given_up(tmp_path, keep=False).epochs == 0
    assert read_metrics(tmp_path / "previous" / "1") == [an_epoch(1)]


# An earlier run in the same folder


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def leave_a_run(folder: Path, seed: int) -> None:
    log = MetricsLog(folder)
    log.append(an_epoch(seed))
    (folder / f"events.out.tfevents.{seed}").write_bytes(records([file_version(1.0)]))
    write_atomically(folder / "checkpoints" / "best.pt", WEIGHTS)
    write_result(folder, a_result(seed=seed))


def test_an_earlier_run_is_set_aside_whole(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    assert set_aside(tmp_path) is None
    for seed in (1, 2):
        leave_a_run(tmp_path, seed)
        assert set_aside(tmp_path) == tmp_path / "previous" / str(seed)
        assert {path.name for path in tmp_path.iterdir()} == {".hydra", "previous"}
    for seed in (1, 2):
        place = tmp_path / "previous" / str(seed)
        assert read_result(place).seed == seed
        assert read_metrics(place) == [an_epoch(seed)]
        assert (place / "checkpoints" / "best.pt").read_bytes() == WEIGHTS
        assert [path.name for path in place.glob("events*")] == [f"events.out.tfevents.{seed}"]


def test_what_a_killed_run_left_is_set_aside_too(tmp_path: Path) -> None:
    MetricsLog(tmp_path).append(an_epoch(1))
    assert set_aside(tmp_path) == tmp_path / "previous" / "1"
    assert read_metrics(tmp_path / "previous" / "1") == [an_epoch(1)]


@pytest.mark.parametrize("act", [set_aside, discard])
def test_what_is_somebody_elses_stays(tmp_path: Path, act: Callable[[Path], object]) -> None:
    """Also beside files of ours, in one folder with them."""
    theirs = {
        "checkpoints/gpt.pt": b"theirs", "checkpoints/epoch=3.ckpt": b"theirs",
        "events.out.tfevents.1.host": records([Event(file_version="brain.Event:2")
                                               .SerializeToString()]),
        "train.py": b"theirs",
    }  # fmt: skip
    leave_a_run(tmp_path, 1)
    for name, content in theirs.items():
        (tmp_path / name).write_bytes(content)
    if act is discard:
        (tmp_path / "result.json").unlink()
    act(tmp_path)
    left = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and "previous" not in path.parts
    }
    assert left == theirs


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def zeros_at_the_end(content: bytes) -> bytes:
    return content[: len(content) // 2].ljust(len(content), b"\0")


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def nothing(_: bytes) -> bytes:
    return b""


def leave_a_whole_run(folder: Path) -> None:
    """With a checkpoint and predictions that can be read."""
    leave_a_run(folder, 1)
    for name in ("best.pt", "last.pt"):
        save_checkpoint(folder / "checkpoints" / name, {"weights": torch.arange(2000.0)})
    write_predictions(
        folder,
        Predictions(
            probabilities=np.full((30, 2), 0.5, np.float32),
            labels=np.zeros(30, np.int32),
            rows=np.arange(30, dtype=np.int32),
        ),
    )


OF_A_RUN = [
    "result.json", "metrics.jsonl", "predictions.npz", "checkpoints/best.pt",
    "checkpoints/last.pt",
]  # fmt: skip


@pytest.mark.parametrize("beside", ["its other files", "Hydra's", "nothing"])
@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("damage", [zeros, zeros_at_the_end, cut_off, nothing])
def test_what_a_loss_of_power_has_damaged_is_set_aside(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], beside: str
) -> None:
    leave_a_whole_run(tmp_path)
    damaged = damage((tmp_path / name).read_bytes())
    if beside != "its other files":
        for path in list(tmp_path.rglob("*.*")):
            path.unlink()
    if beside == "Hydra's":
        (tmp_path / ".hydra").mkdir()
    (tmp_path / name).write_bytes(damaged)
    before = {path.relative_to(tmp_path): c for path, c in contents(tmp_path).items() if c}
    if beside == "nothing" and not (name == "metrics.jsonl" and damage is not zeros):
        with pytest.raises(ForeignFileError, match=name):
            set_aside(tmp_path)
        assert (tmp_path / name).read_bytes() == damaged
        return
    place = tmp_path / "previous" / "1"
    assert set_aside(tmp_path) == place
    assert {path.relative_to(place): c for path, c in contents(place).items() if c} == before
    assert (place / name).read_bytes() == damaged
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["checkpoints/best.pt", "predictions.npz"])
def test_another_programs_whole_archive_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / ".hydra").mkdir()
    leave_a_run(tmp_path, 1)
    torch.save({"weights": torch.arange(20.0)}, tmp_path / name)
    with pytest.raises(ForeignFileError, match=name):
        set_aside(tmp_path)


@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("content", [b"mine", b'{"epoch": 3, "loss": 1}\n', b'{"accuracy": 1}'])
def test_what_would_be_replaced_and_is_not_ours_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    leave_a_run(tmp_path, 1)
    (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(ForeignFileError, match=f"{name}: is damaged, or was not written by nnexp"):
        set_aside(tmp_path)
    assert contents(tmp_path) == before
    assert (
        record_failure(tmp_path, "wrong", arm="", seed=0, model="", optimizer="", dataset="").error
        == "wrong"
    )
    assert contents(tmp_path) == before
