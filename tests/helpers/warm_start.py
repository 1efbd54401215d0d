"""A process that has loaded the libraries and goes on, forked, as the programs of the tests."""

from __future__ import annotations

import array
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "torch.func", "numpy", "scipy.stats", "sklearn.datasets", "sklearn.model_selection",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "hydra", "hydra._internal.utils",
    "hydra._internal.hydra", "omegaconf", "jinja2", "rich.console", "rich.progress", "rich.table",
    "tensorboard.compat.proto.event_pb2", "tensorboard.summary.writer.event_file_writer",
    "tensorboard.plugins.hparams.summary_v2", "threadpoolctl", "PIL.Image", "logging.config",
    "multiprocessing.forkserver",
)  # fmt: skip

_CATEGORIES = {"error": Warning, "error::UserWarning": UserWarning}  # what -W is given


@dataclass(frozen=True)
class Command:
    """A command line of Python, from its options on."""

    warnings: list[str]
    kind: str  # -m, -c or "" for a file
    what: str
    arguments: list[str]


def parsed(command: Sequence[str]) -> Command | None:
    """None for one with options that a process which runs cannot be given."""
    words = list(command[1:])
    filters = []
    while words and words[0][:2] in ("-W", "-B"):
        option = words.pop(0)
        if option == "-B":
            continue  # multiprocessing passes it on, from the environment
        filters.append(option[2:] or (words.pop(0) if words else ""))
    if not set(filters) <= _CATEGORIES.keys() or not words:
        return None
    if words[0] in ("-m", "-c"):
        return Command(filters, words[0], words[1], words[2:]) if len(words) > 1 else None
    return None if words[0].startswith("-") else Command(filters, "", words[0], words[1:])


def serve(fd: int) -> None:
    """Load the libraries, and fork as often as asked: programs return from here when they end."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=fd) as asked:
        while (message := _receive(asked, 3)) is not None:
            what, streams = message
            pid = _fork_orphan()
            if pid == 0:
                break
            for stream in streams:
                os.close(stream)
            asked.sendall(pid.to_bytes(8, "little"))
    if message is not None:
        _become(what, streams)


def _receive(asked: socket.socket, count: int) -> tuple[dict[str, Any], list[int]] | None:
    size = array.array("i").itemsize
    header, ancillary, _, _ = asked.recvmsg(8, socket.CMSG_LEN(count * size))
    if not header:
        return None
    streams = array.array("i")
    for _, _, data in ancillary:
        streams.frombytes(data[: len(data) - len(data) % size])
    text = b""
    length = int.from_bytes(header, "little")
    while len(text) < length:
        text += asked.recv(length - len(text))
    return json.loads(text), list(streams)


def _send(asked: socket.socket, what: object, fds: Sequence[int]) -> None:
    text = json.dumps(what).encode("utf-8")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    asked.sendmsg([len(text).to_bytes(8, "little")], [rights])
    asked.sendall(text)


def _fork_orphan() -> int:
    """Fork a process whose parent has ended when this returns: 0 there, its PID here."""
    told, tells = os.pipe()
    between = os.fork()
    if between:
        os.close(tells)
        pid = int.from_bytes(os.read(told, 8), "little")
        os.close(told)
        os.waitpid(between, 0)
        return pid
    os.close(told)
    between = os.getpid()
    pid = os.fork()
    if pid:
        os.write(tells, pid.to_bytes(8, "little"))
        os._exit(0)
    os.close(tells)
    while os.getppid() == between:
        time.sleep(0.001)
    return 0


def _become(what: dict[str, Any], streams: Sequence[int]) -> None:
    """Be the program, to its end."""
    _put(streams, [0, 1, 2])
    for name in ("stdin", "stdout", "stderr"):
        _open_again(name)
    _settle(what)
    if what["start_new_session"]:
        os.setsid()
    command = parsed(what["command"])
    assert command is not None
    if command.kind == "-m" and {"-m", "--multirun"} & set(command.arguments):
        server = _keep_spare()
        if server is not None:
            what = server
    _execute(what["command"])


def _open_again(name: str) -> None:
    """A stream of Python's, as it is at the start: it depends on the kind of file."""
    old = getattr(sys, name)
    fd = ("stdin", "stdout", "stderr").index(name)
    binary = open(fd, "wb" if fd else "rb", -1 if not fd else 0, closefd=False)  # noqa: SIM115
    if fd and not old.write_through:
        binary = io.BufferedWriter(binary)
    by_line = not old.write_through and (fd == 2 or os.isatty(fd))
    new = io.TextIOWrapper(
        binary, old.encoding, old.errors, line_buffering=by_line, write_through=old.write_through
    )
    setattr(sys, name, new)
    setattr(sys, f"__{name}__", new)


def _put(came: Sequence[int], numbers: Sequence[int]) -> None:
    """Give files the numbers that the program knows them by."""
    above = max([*came, *numbers]) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in came]
    for fd in came:
        os.close(fd)
    for fd, number in zip(moved, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)


def _settle(what: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(what["environment"])
    os.chdir(what["folder"])
    tempfile.tempdir = None  # which TMPDIR says


def _execute(whole: Sequence[str]) -> None:
    command = parsed(whole)
    assert command is not None
    sys.orig_argv[:] = whole
    for text in command.warnings:
        sys.warnoptions.append(text)
        warnings.simplefilter("error", _CATEGORIES[text])
    main = sys.modules["__main__"].__dict__
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    if command.kind == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = ["-m", *command.arguments]
        runpy._run_module_as_main(command.what)
    elif command.kind == "-c":
        sys.argv = ["-c", *command.arguments]
        exec(compile(command.what, "<string>", "exec"), main)
    else:
        sys.path[0] = str(Path(command.what).resolve().parent)
        sys.argv = [command.what, *command.arguments]
        main["__file__"], main["__cached__"] = str(Path(command.what).absolute()), None
        exec(compile(Path(command.what).read_bytes(), main["__file__"], "exec"), main)


# ── the server that forks the workers of a sweep ──────────────────────────────────────────────


def _keep_spare() -> dict[str, Any] | None:
    """Have a child that can go on as the server of multiprocessing; there, this is what to be.

    It has to be the program's own child, for the program waits for it; and it must be forked
    before the program has any thread or has imported anything.
    """
    mine, its = socket.socketpair()
    spare = os.fork()
    if spare == 0:
        mine.close()
        return _be_spare(its)
    its.close()
    usual = util.spawnv_passfds

    def spawn(path: str, arguments: Sequence[str | bytes], fds: Sequence[int]) -> int:
        words = [os.fsdecode(word) for word in arguments]
        wanted = "forkserver import main" in words[-1] and parsed(words) is not None
        if not wanted or mine.fileno() == -1:  # the second server, where the first has died
            return usual(path, arguments, fds)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        what = {
            "command": words, "folder": str(Path.cwd()), "environment": dict(os.environ),
            "numbers": [int(fd) for fd in fds], "blocked": sorted(map(int, blocked)),
        }  # fmt: skip
        with mine:
            _send(mine, what, what["numbers"])
            mine.recv(1)
        return spare

    util.spawnv_passfds = spawn
    return None


def _be_spare(asked: socket.socket) -> dict[str, Any]:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    message = _receive(asked, 16)
    if message is None:  # the program has ended
        os._exit(0)
    what, came = message
    signal.pthread_sigmask(signal.SIG_SETMASK, what["blocked"])
    asked.sendall(b"!")
    asked.close()
    _put(came, what["numbers"])
    _settle(what)
    return what
