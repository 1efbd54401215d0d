"""Worker processes: started, heard, replaced when they die, and how they ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from nnexp.config.messages import told
from nnexp.locks import SharedLock
from nnexp.streams import allow_any_text
from nnexp.sweep.messages import Ready, Stop, Unable, Warned
from nnexp.sweep.server import start_server, worker_context

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


class Crew:
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
            self.problem = f"worker processes cannot be started: {told(error)}"
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
        from nnexp.sweep.worker import work  # imports torch, which the main process goes without

        work(pipe, folder, draws)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(Unable(told(error)))
        sys.exit(1)
