"""Whether whoever holds a lock was killed, and what is told of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnexp.runs import folder_lock
from nnexp.runs.folder_lock import HeldError, lock, unlock

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Of a lock that is held, by whoever the test says."""
    place = tmp_path / "lock"
    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield place


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("holder", ["alive", "elsewhere", "unknown"])
def test_a_holder_that_may_live_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, holder: str
) -> None:
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: pytest.fail("it waits"))
    text = {
        "alive": f"PID {os.getppid()} on {socket.gethostname()}",
        "elsewhere": f"PID {ended_process()} on another.{socket.gethostname()}",
        "unknown": "",
    }[holder]
    path.write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(HeldError) as raised:
        lock(path)
    assert str(raised.value) == text


@pytest.mark.parametrize("number", [os.getpid, ended_process])
def test_workers_of_a_killed_holder_are_waited_for_but_not_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: object
) -> None:
    monkeypatch.setattr(folder_lock, "_SECONDS_FOR_WORKERS", 0.2)
    assert callable(number)
    text = f"PID {number()} on {socket.gethostname()}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HeldError, match=text):
        lock(path)


def test_a_lock_that_is_free_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f"PID {ended_process()} on {socket.gethostname()}", encoding="utf-8")
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: path.unlink())
    held = lock(path)
    assert held is not None
    assert path.read_text("utf-8") == f"PID {os.getpid()} on {socket.gethostname()}\n"
    unlock(path, held)
    assert not path.exists()
