"""metrics.jsonl and result.json: the contract, and what kills and full disks leave of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nnexp.errors import DataError
from nnexp.results import files
from nnexp.results.failure import record_failure
from nnexp.results.files import Journal, write_atomically
from nnexp.results.record import (
    DatasetSummary,
    MetricsLog,
    RunResult,
    read_metrics,
    read_result,
    set_aside,
    write_result,
)


def an_epoch(number: int, **changes: float | None) -> dict[str, float | None]:
    return {
        "epoch": number,
        "step": 45 * number,
        "train/loss": 0.1 + 0.2,
        "train/acc": 1 / 3,
        "val/loss": 1e-17,
        "val/acc": 0.975,
        "lr": 1e-3,
        "seconds": 0.25 * number,
        **changes,
    }


KNN = {
    "k": 3,
    "val/acc": 0.98,
    "val/loss": 0.3,
    "test/acc": 0.983,
    "test/loss": 0.25,
    "test/brier": 0.03,
    "calibration": None,
    "tried": [{"k": 1, "val/acc": 0.97}, {"k": 3, "val/acc": 0.98}],
    "rows": 1149,
    "seconds": 0.01,
    "seconds/train": None,
    "seconds/predict": 0.002,
    "note": None,
}


def a_result(**changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "status": "completed",
        "seed": 0,
        "arm": "deep_adam",
        "model": "deep",
        "optimizer": "adam",
        "dataset": DatasetSummary(
            name="digits",
            fingerprint="9f86d081",
            num_train=1149,
            num_val=288,
            num_test=360,
            num_features=64,
            num_classes=10,
            official_test=False,
        ),
        "num_parameters": 59_146,
        "epochs": 50,
        "best_epoch": 31,
        "metrics": {
            "train/loss": 0.01,
            "val/loss": 0.07,
            "val/acc": 0.98,
            "test/loss": 0.08,
            "test/acc": 0.975,
            "test/brier": 0.04,
        },
        "calibration": {"count": [0, 360], "confidence": [None, 0.97], "accuracy": [None, 0.975]},
        "baselines": {"knn": KNN},
        "seconds": {"total": 3.5, "train": 1.2, "predict": 0.001},
        "device": "cpu",
        "threads": 1,
        "config": {"seed": 0, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}},
    }
    return RunResult(**{**fields, **changes})


def strict(text: str | bytes) -> Any:
    """The value of ``text`` for a reader that knows only the JSON of RFC 8259."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# metrics.jsonl


def test_an_epoch_is_one_line_in_the_order_of_the_contract(tmp_path: Path) -> None:
    MetricsLog(tmp_path).append(dict(reversed(an_epoch(1).items())))
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"epoch": 1, "step": 45, "train/loss": 0.30000000000000004, '
        '"train/acc": 0.3333333333333333, "val/loss": 1e-17, "val/acc": 0.975, "lr": 0.001, '
        '"seconds": 0.25}\n'
    )


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    changes = {"train/loss": math.nan, "val/loss": math.inf, "val/acc": -math.inf, "lr": None}
    MetricsLog(tmp_path).append({**an_epoch(1), **changes})
    record = strict((tmp_path / "metrics.jsonl").read_text())
    assert [key for key, value in record.items() if value is None] == list(changes)


def test_numbers_are_read_back_bit_for_bit(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    written = [an_epoch(n, **{"train/loss": math.exp(-n * math.pi)}) for n in range(1, 300)]
    for epoch in written:
        log.append(epoch)
    log.close()
    assert read_metrics(tmp_path) == written


@pytest.mark.parametrize("changes", [{"extra": 1.0}, {"lr": "missing"}])
def test_an_epoch_of_other_keys_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    epoch = {key: v for key, v in {**an_epoch(1), **changes}.items() if v != "missing"}
    with pytest.raises(ValueError, match="an epoch has the keys"):
        MetricsLog(tmp_path).append(epoch)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_reading_leaves_out_a_torn_last_line(tmp_path: Path) -> None:
    MetricsLog(tmp_path).append(an_epoch(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "st')
    assert read_metrics(tmp_path) == [an_epoch(1)]


@pytest.mark.parametrize("damage", [b'{"epoch": ', b"[1]", b'{"epoch": NaN}', b"\xff"])
def test_reading_names_the_damaged_line(tmp_path: Path, damage: bytes) -> None:
    good = json.dumps(an_epoch(1)).encode()
    (tmp_path / "metrics.jsonl").write_bytes(good + b"\n" + damage + b"\n" + good + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: ") as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)


def python(script: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    """A Python process that runs ``script``, with this file's helpers at hand."""
    header = "import sys; sys.path.insert(0, sys.argv[1])\nfrom test_record import *\n"
    command = [sys.executable, "-W", "error", "-c", header + textwrap.dedent(script)]
    here = str(Path(__file__).parent)
    return subprocess.Popen([*command, here, *map(str, args)], text=True, **options)


def test_what_was_reported_survives_a_kill(tmp_path: Path) -> None:
    endless = """
        log = MetricsLog(Path(sys.argv[2]))
        for n in range(1, 10**9):
            log.append(an_epoch(n))
            log.flush()
            print(n, flush=True)
    """
    with python(endless, tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2000)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout
    reported = max(int(line) for line in lines if line.endswith("\n"))
    content = (tmp_path / "metrics.jsonl").read_bytes()
    assert content.endswith(b"\n")
    epochs = [strict(line)["epoch"] for line in content.splitlines()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= reported


FULL_DISK = """
    import resource

    def room(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    folder = Path(sys.argv[2])
    log = MetricsLog(folder)
    room(1000)  # bytes; a line has 160 to 170, so that one is torn
    for n in range(1, 51):
        log.append(an_epoch(n))
        log.flush()
        lines = (folder / "metrics.jsonl").read_bytes()
        assert lines.endswith(b"\\n")
        epochs = [strict(line)["epoch"] for line in lines.splitlines()]
        assert epochs == list(range(1, min(n, 6) + 1))
    if sys.argv[3] == "space returns":
        room(resource.RLIM_INFINITY)
    if sys.argv[4] == "close":
        log.close()
    else:
        log.append(an_epoch(51))
        log.flush()
"""


@pytest.mark.parametrize(("then", "epochs"), [("close", 50), ("flush", 51)])
def test_a_full_disk_only_delays_the_record(tmp_path: Path, then: str, epochs: int) -> None:
    process = python(FULL_DISK, tmp_path, "space returns", then, stderr=subprocess.PIPE)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert read_metrics(tmp_path) == [an_epoch(n) for n in range(1, epochs + 1)]
    assert re.fullmatch(
        r".*metrics\.jsonl cannot be written \(File too large\); the run goes on and tries again\n",
        told,
    )


def test_a_disk_that_stays_full_is_told_at_the_end(tmp_path: Path) -> None:
    process = python(FULL_DISK, tmp_path, "no space", "close", stderr=subprocess.PIPE)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert read_metrics(tmp_path) == [an_epoch(n) for n in range(1, 7)]
    lost = sum(len(json.dumps(an_epoch(n))) + 1 for n in range(7, 51))
    assert told.splitlines()[1].endswith(f"lacks {lost} bytes that could not be written")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_really_full_disk_only_delays_the_record(small_disk: Path) -> None:
    log = MetricsLog(small_disk)
    log.append(an_epoch(1))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"0" * 2**20)
    for n in range(2, 101):  # 16 kB: the rest of the page holds some of it
        log.append(an_epoch(n))
        log.flush()
    assert 1 <= len(read_metrics(small_disk)) < 100
    with pytest.raises(OSError, match="No space left"):
        write_result(small_disk, a_result())
    assert not list(small_disk.glob("result.json*"))
    ballast.unlink()
    log.close()
    write_result(small_disk, a_result())
    assert read_metrics(small_disk) == [an_epoch(n) for n in range(1, 101)]
    assert read_result(small_disk) == a_result()


def test_what_waits_in_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "HELD_BACK_LIMIT", 10)
    folder = tmp_path / "made later"
    journal = Journal(folder / "journal")
    for entry in (b"first;", b"2nd;", b"third;"):  # the last does not fit beside those that wait
        journal.append(entry)
        journal.flush()
    folder.mkdir()
    journal.append(b"4;")
    journal.close()
    assert (folder / "journal").read_bytes() == b"first;2nd;4;"
    assert caplog.messages[1:] == [f"{folder / 'journal'} lacks 6 bytes that could not be written"]


class Clock:
    """A time that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_slow_entries_are_written_as_they_come_and_fast_ones_together(tmp_path: Path) -> None:
    path, clock = tmp_path / "journal", Clock()
    writings: list[list[bytes]] = []

    def frame(entries: Sequence[bytes]) -> bytes:
        writings.append(list(entries))
        return b"".join(entries)

    journal = Journal(path, frame, clock)
    on_disk = []
    for seconds, entry in [(0, b"a"), (0.375, b"b"), (0.0625, b"c"), (0.0625, b"d"), (0.375, b"e"),
                           (60, b"f"), (60, b"g"), (0, b"h")]:  # fmt: skip
        clock.now += seconds
        journal.append(entry)
        on_disk.append(path.read_bytes())
    assert on_disk == [b"a", b"a", b"a", b"abcd", b"abcd", b"abcdef", b"abcdefg", b"abcdefg"]
    journal.flush()
    assert path.read_bytes() == b"abcdefgh"
    journal.append(b"i")
    journal.close()
    assert path.read_bytes() == b"abcdefghi"
    assert writings == [[b"a"], [b"b", b"c", b"d"], [b"e", b"f"], [b"g"], [b"h"], [b"i"]]


def test_a_disk_that_is_full_is_tried_again_after_a_while_only(tmp_path: Path) -> None:
    folder, clock = tmp_path / "made later", Clock()
    journal = Journal(folder / "journal", clock=clock)
    journal.append(b"a")
    folder.mkdir()
    clock.now += 0.375
    journal.append(b"b")
    assert not (folder / "journal").exists()
    clock.now += 0.125
    journal.append(b"c")
    assert (folder / "journal").read_bytes() == b"abc"


def test_an_interrupted_writing_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(b"first;")

    def half(write: Callable[[bytes], int], content: bytes) -> None:
        write(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files, "_write_all", half)
        journal.append(b"second;")
        with pytest.raises(KeyboardInterrupt):
            journal.flush()
    assert (tmp_path / "journal").read_bytes() == b"first;sec"
    journal.append(b"third;")
    journal.close()
    assert (tmp_path / "journal").read_bytes() == b"first;second;third;"


# result.json


def test_result_holds_the_contract(tmp_path: Path) -> None:
    write_result(tmp_path, a_result())
    text = (tmp_path / "result.json").read_text()
    result = strict(text)
    assert " ".join(result) == (
        "schema status error seed arm model optimizer dataset num_parameters epochs best_epoch "
        "metrics calibration baselines seconds group_size device threads versions config"
    )
    assert result["schema"] == 1
    assert " ".join(result["dataset"]) == (
        "name fingerprint num_train num_val num_test num_features num_classes official_test"
    )
    assert " ".join(result["metrics"]) == (
        "train/loss val/loss val/acc test/loss test/acc test/brier"
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
    """Those of before predictions were kept: they lack what was added since."""
    old = dataclasses.asdict(a_result())
    for key in ("config", "calibration"):
        del old[key]
    del old["dataset"]["official_test"], old["metrics"]["test/brier"], old["seconds"]["predict"]
    old["baselines"]["knn"] = {"k": 3, "val/acc": 0.98, "test/acc": 0.983, "seconds": 0.01}
    (tmp_path / "result.json").write_text(json.dumps(old))
    result = read_result(tmp_path)
    assert (result.config, result.calibration, result.dataset.official_test) == ({}, None, None)
    assert result.metrics == {**a_result().metrics, "test/brier": None}
    assert result.seconds == {"total": 3.5, "train": 1.2, "predict": None}
    assert result.baselines["knn"] == {
        **dict.fromkeys(KNN), **old["baselines"]["knn"]
    }  # fmt: skip


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


def given_up(folder: Path, *, keep: bool) -> RunResult:
    dataset = a_result().dataset
    result = record_failure(
        folder, "killed", arm="deep_adam", seed=3, model="deep", optimizer="adam",
        dataset=dataset.name, config=a_result().config, data=dataset, keep=keep,
    )  # fmt: skip
    assert read_result(folder) == result
    return result


def test_a_run_that_was_given_up_keeps_what_is_known(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for number, loss in enumerate([0.5, 0.25, None, 0.25, 0.75], start=1):
        log.append(an_epoch(number, **{"val/loss": loss, "val/acc": number / 10}))
    log.close()
    result = given_up(tmp_path, keep=True)
    assert (result.status, result.error, result.seed) == ("failed", "killed", 3)
    assert (result.config, result.dataset) == (a_result().config, a_result().dataset)
    assert (result.epochs, result.best_epoch) == (5, 2)
    assert result.metrics == {
        "train/loss": 0.1 + 0.2, "val/loss": 0.25, "val/acc": 0.2, "test/loss": None,
        "test/acc": None, "test/brier": None,
    }  # fmt: skip
    assert result.seconds == {"total": None, "train": 1.25, "predict": None}
    assert len(read_metrics(tmp_path)) == 5


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


def leave_a_run(folder: Path, seed: int) -> None:
    log = MetricsLog(folder)
    log.append(an_epoch(seed))
    (folder / f"events.out.tfevents.{seed}").write_bytes(b"events")
    write_atomically(folder / "checkpoints" / "best.pt", b"weights")
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
        assert (place / "checkpoints" / "best.pt").read_bytes() == b"weights"
        assert [path.name for path in place.glob("events*")] == [f"events.out.tfevents.{seed}"]


def test_what_a_killed_run_left_is_set_aside_too(tmp_path: Path) -> None:
    MetricsLog(tmp_path).append(an_epoch(1))
    assert set_aside(tmp_path) == tmp_path / "previous" / "1"
    assert read_metrics(tmp_path / "previous" / "1") == [an_epoch(1)]


assert logging  # for the scripts of the subprocesses, which import all of this module
