"""Programs that tests start, without the seconds that each would take to import the libraries.

``run`` and ``Popen`` are those of ``subprocess``: a process of its own, with its own streams,
folder, environment, signals and end. Where the command is one of this Python's, it is forked from a
process that has loaded torch, matplotlib and the like, and nothing of nnexp (``warm_start``; each
process of the tests has one); with other options or another environment, it is started as ever.

What depends on the start itself is for ``subprocess``: which modules a program imports, what it
does before libraries read the environment, hashes of strings, which are the same in all that one
process forks.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import functools
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from warm_start import parsed

# Variables that are read when they are needed, or that scikit-learn, torch.export and polars set as
# they are loaded; of the others, libraries read some as they load.
_READ_LATE = {
    "COLUMNS", "FORCE_COLOR", "HYDRA_FULL_ERROR", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",
    "LINES", "NNEXP_DATA", "NO_COLOR", "PYTEST_CURRENT_TEST", "TERM", "TMPDIR",
    "TORCHINDUCTOR_CACHE_DIR", "_RJEM_MALLOC_CONF",
}  # fmt: skip
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux's prctl
_EXECUTE = inspect.signature(subprocess.Popen._execute_child)
_USUAL = {
    "executable": None, "preexec_fn": None, "close_fds": True, "pass_fds": (), "shell": False,
    "gid": None, "gids": None, "uid": None, "umask": -1, "process_group": -1,
}  # fmt: skip


class Popen(subprocess.Popen[Any]):
    """As that of ``subprocess``; ``forked`` tells which way it was started."""

    forked = False

    def _execute_child(self, *given: Any) -> None:
        options = _EXECUTE.bind(self, *given).arguments
        environment = dict(os.environ if options.get("env") is None else options["env"])
        server = _server(environment) if _is_forkable(options) else None
        if server is None:
            super()._execute_child(*given)
            return
        command = options["args"]
        mine = {name: options[name] for name in ("p2cread", "c2pwrite", "errwrite")}
        streams = [fd if fd != -1 else usual for usual, fd in enumerate(mine.values())]
        try:
            self.pid = server.start(
                {
                    "command": [os.fspath(word) for word in command],
                    "folder": str(Path(options["cwd"] or os.curdir).absolute()),
                    "environment": environment,
                    "start_new_session": bool(options["start_new_session"]),
                },
                streams,
            )
        finally:
            pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
            self._close_pipe_fds(*(options[name] for name in pipes))
        self._child_created = True
        self.forked = True


def run(
    command: Sequence[str | Path],
    *,
    input: str | bytes | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As that of ``subprocess``."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Popen(command, **options) as process:
        try:
            out, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    code = process.returncode
    if check and code:
        raise subprocess.CalledProcessError(code, command, out, errors)
    return subprocess.CompletedProcess(command, code, out, errors)


def _is_forkable(options: Mapping[str, Any]) -> bool:
    """Whether it is this Python, with options that one that runs can still be given."""
    if sys.platform != "linux" or any(options[name] != usual for name, usual in _USUAL.items()):
        return False
    command = [os.fspath(word) for word in options["args"]]
    return command[0] == sys.executable and parsed(command) is not None


class _Server:
    """A process that has loaded the libraries, in an environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, its = socket.socketpair()
        here = str(Path(__file__).parent)
        program = f"import sys; sys.path.insert(0, {here!r}); import warm_start"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{program}; del sys.path[0]; warm_start.serve({its.fileno()})"],
            env=dict(environment), pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
        its.close()
        atexit.register(self._end)

    def start(self, what: Mapping[str, object], streams: Sequence[int]) -> int:
        """Fork a program; it is a child of this process. Returns its PID."""
        with _orphans_are_ours():
            text = json.dumps(what).encode("utf-8")
            fds = array.array("i", streams)
            header = len(text).to_bytes(8, "little")
            self._socket.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            self._socket.sendall(text)
            answer = self._socket.recv(8)
        if not answer:
            raise RuntimeError(f"the process that forks has ended, with {self._process.wait()}")
        return int.from_bytes(answer, "little")

    def _end(self) -> None:
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _READ_LATE}


_OURS = _early(os.environ)


def _server(environment: Mapping[str, str]) -> _Server | None:
    """That of the tests' own environment, or of this with one thread; of no other."""
    early = _early(environment)
    if early == _OURS:
        return _server_of()
    if early == _OURS | {"OMP_NUM_THREADS": "1"}:
        return _server_of(OMP_NUM_THREADS="1")
    return None


@functools.cache
def _server_of(**variables: str) -> _Server:
    return _Server(_OURS | variables)


@contextmanager
def _orphans_are_ours() -> Iterator[None]:
    """A process whose parent ends becomes a child of this one, and can be waited for."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    try:
        yield
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)
