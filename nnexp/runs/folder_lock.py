"""A lock on a folder, held by a program and all of its worker processes.

A program that is killed leaves workers behind, which write until they notice: until the end of the
epoch they are in. The folder is theirs until then, so they hold the lock as well.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from multiprocessing import reduction
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

LOCK_FILE = ".nnexp.lock"
"""In the folder that a program writes to, as long as it runs."""

_SECONDS_FOR_WORKERS = 60.0  # to end, where the program that started them has been killed

_held: int | None = None  # descriptor of the lock of this process

log = logging.getLogger(__name__)


class HeldError(Exception):
    """Another process holds the lock: its message is the PID and host, as far as they are known."""


class SharedLock:
    """The lock of this process, if it has one: whoever is started with it as an argument holds it
    too, until its own end."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the descriptor along."""
        if _held is None or sys.platform == "win32":
            return SharedLock, ()
        return _take, (reduction.DupFd(_held),)


def _take(sent: Any) -> SharedLock:
    global _held
    _held = sent.detach()
    return SharedLock()


def lock(path: Path) -> int | None:
    """Lock the file until this process and those that share the lock end; the descriptor.

    None where the file system has no locks. Where the holder was killed, the workers that it left
    behind are waited for.

    Raises:
        HeldError: another process holds it.
        OSError: there can be no such file.
    """
    global _held
    if sys.platform == "win32":
        return None
    began, is_told = time.monotonic(), False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if not _was_killed(holder) or time.monotonic() - began > _SECONDS_FOR_WORKERS:
                raise HeldError(holder) from None
            if not is_told:
                is_told = True
                log.info("waiting for the worker processes of %s, which has ended", holder)
            time.sleep(0.1)
            continue
        except OSError as error:
            log.warning("%s cannot be locked: %s", path, error.strerror)
            os.close(descriptor)
            return None
        if _is_same(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"PID {os.getpid()} on {socket.gethostname()}\n".encode())
            _held = descriptor
            return descriptor
        os.close(descriptor)  # whoever had it has deleted it meanwhile


def unlock(path: Path, descriptor: int) -> None:
    """Give the lock back, and leave no file behind. Raises OSError."""
    global _held
    _held = None
    path.unlink()
    os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Return whether a process holds the lock; None if that cannot be known from this machine.

    Nothing is changed: a program that is about to lock the file is not disturbed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
        found = re.fullmatch(r"PID (\d+) on (.+)", holder)
        if found is None or found[2] != socket.gethostname() or sys.platform == "win32":
            return None
        if _was_killed(holder):
            return False
        # The number may be another process's by now.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _was_killed(holder: str) -> bool:
    """Whether the process that took the lock was of this machine and is gone."""
    found = re.fullmatch(r"PID (\d+) on (.+)", holder)
    if found is None or found[2] != socket.gethostname():
        return False
    number = int(found[1])
    if number == os.getpid():  # this program twice, or its number used again in a new container
        return _held is None
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
