"""metrics.jsonl: its lines, and what kills and full disks leave of them."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from record_cases import a_result, an_epoch, python, strict

from nnexp.errors import DataError
from nnexp.runs import files
from nnexp.runs.files import Journal
from nnexp.runs.record import MetricsLog, read_metrics, read_result, write_result


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
