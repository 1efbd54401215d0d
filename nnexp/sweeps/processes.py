"""Worker processes: the server that forks them, interrupts, their start, death and end."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from nnexp.config.errors import error_line
from nnexp.environment import allow_any_text
from nnexp.errors import NnexpError
from nnexp.runs.folder_lock import SharedLock
from nnexp.sweeps.connection import Ready, Stop, Unable, Warned

# --------------------------------------------------------------------------------------------------
# Where worker processes come from: a server that imports torch once and forks.
# --------------------------------------------------------------------------------------------------

_SHORT_FOLDERS = ("/tmp", "/var/tmp")
# Bytes of the name of a folder in which multiprocessing can have the server's socket: the system
# allows so many to sun_path, its NUL included, and this is what comes behind the folder.
_LONGEST = (108 if sys.platform == "linux" else 104) - 1 - len("/pymp-12345678/listener-12345678")


@functools.cache
def worker_context() -> ForkServerContext | SpawnContext:
    """Of ``multiprocessing``. Forking this very process would copy its threads' locks, and CUDA
    does not survive it; where there is no fork (Windows), every worker starts from nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nnexp.sweeps.worker"])
    return context


def start_server() -> None:
    """Let the server import torch, while this process does something else.

    Ctrl-C in a terminal, and timeout(1), send their signal to the server and the workers as well.
    It is for this process alone to stop them, and they inherit that the signals are blocked.

    Raises:
        NnexpError: the folder for temporary files has too long a name, and there is no other.
        OSError: no more processes, or no such folder.
    """
    if isinstance(worker_context(), ForkServerContext):
        _find_place_for_socket()
        resource_tracker.ensure_running()  # unblocks them: else the server would ask for it below
        blocked = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _find_place_for_socket() -> None:
    """Have multiprocessing make its folder where a socket can be; all else is in ``TMPDIR``."""
    usual = tempfile.gettempdir()
    length = len(os.fsencode(usual))
    if length <= _LONGEST:
        return
    for short in _SHORT_FOLDERS:
        tempfile.tempdir = short
        try:
            with contextlib.suppress(OSError):
                util.get_temp_dir()  # made once, removed when the program ends
                return
        finally:
            tempfile.tempdir = usual
    raise NnexpError(
        f"TMPDIR={usual}: has {length} bytes, at most {_LONGEST} are allowed where "
        f"{' and '.join(_SHORT_FOLDERS)} cannot be written: the processes of a sweep meet at a "
        "socket there"
    )


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether a command line is that of a fused sweep."""
    others = any(text.startswith("hydra/launcher=") for text in arguments)
    looks = {"--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "-sc"} & set(arguments)
    return bool({"-m", "--multirun"} & set(arguments)) and not others and not looks


# --------------------------------------------------------------------------------------------------
# Ctrl-C while messages are under way.
# --------------------------------------------------------------------------------------------------

_SECONDS_OF_ONE = 0.5  # timeout(1) sends its signal twice, to the program and to its group


class HeldSignals:
    """SIGINT and SIGTERM that have come and wait to be heeded.

    An exception out of the middle of a message would leave the rest of it in the pipe.
    """

    def __init__(self) -> None:
        self._came: list[tuple[int, float]] = []
        self._let_through: float | None = None
        self._handlers: dict[int, Callable[..., object]] = {}

    def let_through(self) -> None:
        """Do what the first of them would have done.

        Raises:
            KeyboardInterrupt: as the handler that was there before does.
        """
        if self._came:
            number = self._came[0][0]
            self._came.clear()
            self._let_through = time.monotonic()
            self._handlers[number](number, None)

    @property
    def again(self) -> bool:
        """Whether one has come after the first was let through: somebody is impatient."""
        if self._let_through is None:
            return False
        return any(when - self._let_through > _SECONDS_OF_ONE for _, when in self._came)

    def _hold(self, number: int, _: object) -> None:
        self._came.append((number, time.monotonic()))

    def _install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._hold)

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._hold:
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[HeldSignals]:
    """SIGINT and SIGTERM wait inside; only the main thread can hold them."""
    held = HeldSignals()
    if threading.current_thread() is threading.main_thread():
        held._install()
    try:
        yield held
    finally:
        held._restore()


# --------------------------------------------------------------------------------------------------
# Worker processes: started, heard, replaced when they die, and how they ended.
# --------------------------------------------------------------------------------------------------

SECONDS_TO_STOP = 30.0
_DEATHS = 3  # with nothing to do, after which a worker's place stays empty


@dataclass(eq=False)
class Worker:
    """A worker process. It is given work once it is ready."""

    process: BaseProcess
    pipe: Connection
    place: int
    ready: bool = False
    unable: str | None = None  # why, by its own account

    def send(self, message: object) -> None:
        """Say something. One that has died does not hear it, which the next listening shows."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def kill(self) -> None:
        """End it, wherever it is."""
        self.process.kill()
        self.process.join()

    def how_it_ended(self) -> str:
        """Goes on from "a worker process"."""
        self.process.join(5)
        code = self.process.exitcode
        if self.unable is not None:
            return f"could not work: {self.unable}"
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


@dataclass(frozen=True)
class Gone:
    """A worker has died."""

    how: str


class WorkerPool:
    """The worker processes of a sweep. One that dies is replaced.

    Args:
        folder: that all of them share.
        environment: variables to set in them.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.workers: list[Worker] = []
        self.problem = ""  # of the last worker that died with nothing to do
        self.draws = True  # whether there will be pictures, which take time to import
        self._folder = folder
        self._environment = dict(environment)
        self._deaths: Counter[int] = Counter()  # by place
        self._replaces = True

    def grow(self, count: int) -> None:
        """Have so many, if there are fewer; they need not be ready yet."""
        for place in range(len(self.workers) + len(self._closed()), count):
            self._start(place)

    def listen(self, timeout: float, busy: Mapping[Worker, object]) -> list[tuple[Worker, object]]:
        """What workers have to say of their work; waits for a word, ``timeout`` seconds at most.

        The last word of one that has died is ``Gone``; another has its place then. A place whose
        workers die again and again with nothing to do stays empty, and ``problem`` says why.

        Args:
            busy: those that have something to do.
        """
        heard: list[tuple[Worker, object]] = []
        by_pipe = {worker.pipe: worker for worker in self.workers}
        for pipe in wait(list(by_pipe), timeout):
            worker = by_pipe[cast(Connection, pipe)]
            try:
                while worker.pipe.poll():
                    message = worker.pipe.recv()
                    if isinstance(message, Ready):
                        worker.ready = True
                    elif isinstance(message, Unable):
                        worker.unable = message.error
                    elif isinstance(message, Warned):
                        logging.getLogger(message.name).log(message.level, "%s", message.text)
                    else:
                        heard.append((worker, message))
            except (EOFError, OSError):
                heard.append((worker, Gone(self._bury(worker, idle=worker not in busy))))
        return heard

    def stop_replacing(self) -> None:
        """Leave the places of those that end from now on empty."""
        self._replaces = False

    def dismiss(self) -> None:
        """End all: those with nothing to do by themselves, the others after a time."""
        for worker in self.workers:
            worker.send(Stop())
            worker.pipe.close()
        try:
            deadline = time.monotonic() + SECONDS_TO_STOP
            for worker in self.workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # somebody may be too impatient to wait
            for worker in self.workers:
                worker.kill()
            self.workers.clear()

    def _start(self, place: int) -> None:
        start_server()  # it may have died as well
        mine, its = worker_context().Pipe()
        process = worker_context().Process(
            target=serve,
            args=(its, self._folder, self._environment, self.draws, SharedLock()),
            daemon=True,
        )
        try:
            process.start()
        except OSError as error:  # such as: no more processes
            mine.close()
            self._deaths[place] = _DEATHS
            self.problem = f"worker processes cannot be started: {error_line(error)}"
        else:
            self.workers.append(Worker(process, mine, place))
        finally:
            its.close()

    def _bury(self, worker: Worker, *, idle: bool) -> str:
        how = worker.how_it_ended()
        worker.pipe.close()
        self.workers.remove(worker)
        if idle:
            self._deaths[worker.place] += 1
            self.problem = f"worker processes do not live; the last one {how}"
        if self._replaces and worker.place not in self._closed():
            self._start(worker.place)
        return how

    def _closed(self) -> set[int]:
        return {place for place, deaths in self._deaths.items() if deaths >= _DEATHS}


def serve(
    pipe: Connection, folder: Path, environment: Mapping[str, str], draws: bool, _: SharedLock
) -> None:
    """What a worker process does. It ends with what it cannot go on after, and has the lock on the
    sweep's folder until then."""
    os.environ.update(environment)  # the server of the workers is older than the config
    allow_any_text()
    try:
        from nnexp.sweeps.worker import work  # imports torch, which the main process goes without

        work(pipe, folder, draws)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(Unable(error_line(error)))
        sys.exit(1)
