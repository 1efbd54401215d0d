"""Messages between the main process and its workers, and the workers' end of the connection."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from nnexp.runs.record import RunResult
from nnexp.runs.run_log import run_at_work
from nnexp.sweeps.tasks import Absent, Entry, Inspection, Kind, Machine, Refused, Wanted

# --------------------------------------------------------------------------------------------------
# What the main process and its workers say to each other. Everything here can be pickled.
# --------------------------------------------------------------------------------------------------

# ── to a worker ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Inspect:
    """Look at the data of these entries, which share a source."""

    entries: tuple[Entry, ...]
    fetch: bool  # data that are absent


@dataclass(frozen=True)
class Train:
    """Train these entries together."""

    entries: tuple[Entry, ...]
    kind: Kind
    device: str  # where: cpu, cuda:0, ...


@dataclass(frozen=True)
class Compute:
    """Compute a baseline and leave what comes of it in the folder that all workers share."""

    wanted: Wanted
    device: str


@dataclass(frozen=True)
class Found:
    """To ``Want``: all of them are there, but for those that are left out."""

    left_out: Mapping[str, str] = field(default_factory=dict)  # reasons by key


@dataclass(frozen=True)
class Stop:
    """Leave off; runs that are not finished are interrupted."""


# ── from a worker ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True)
class Unable:
    """The worker cannot work, and ends."""

    error: str


@dataclass(frozen=True)
class Inspected:
    """For each entry what was found."""

    found: tuple[Inspection | Refused | Absent, ...]
    machine: Machine


@dataclass(frozen=True)
class Want:
    """A run waits for these baselines. The answer is ``Compute`` or, once all are there, ``Found``;
    after a ``Compute`` it has to be asked again."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """A baseline is there, or cannot be handed on."""

    key: str
    seconds: float
    error: str | None = None  # why, in one line


@dataclass(frozen=True)
class Advanced:
    """So many run-epochs have been trained since the last such message."""

    run_epochs: int


@dataclass(frozen=True)
class Ended:
    """A run has its ``result.json``."""

    num: int
    result: RunResult


@dataclass(frozen=True)
class Trained:
    """The task is over; all its runs have ended."""


@dataclass(frozen=True)
class Broken:
    """The group as a whole could not be trained.

    Fewer runs at a time may fit into memory, and a run that breaks its group is found by halving.
    """

    error: str
    out_of_memory: bool = False


@dataclass(frozen=True)
class Warned:
    """A line of the worker's log."""

    level: int
    name: str
    text: str


# --------------------------------------------------------------------------------------------------
# A worker's line to the main process. What it sends is what a person wants to see.
# --------------------------------------------------------------------------------------------------


class Orphaned(KeyboardInterrupt):
    """The main process is gone: the runs in training are interrupted."""


class WorkerConnection:
    """Sends and receives; raises ``Orphaned`` where nobody is at the other end.

    Several threads may send, one receives.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Say something."""
        try:
            with self._lock:
                self._pipe.send(message)
        except OSError:
            raise Orphaned from None

    def receive(self) -> object:
        """Wait for a message.

        Raises:
            KeyboardInterrupt: it is ``Stop``.
        """
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            raise Orphaned from None
        if isinstance(message, Stop):
            raise KeyboardInterrupt
        return message

    def heed(self) -> None:
        """Look whether there is a ``Stop``; nothing else comes unasked. Raises as ``receive``."""
        while self.is_spoken_to:
            raise RuntimeError(f"a worker in training was sent {self.receive()!r}")

    @property
    def is_spoken_to(self) -> bool:
        """Whether a message is there, or the other end is gone."""
        try:
            return self._pipe.poll()
        except OSError:
            raise Orphaned from None


class LogForwarder(logging.Handler):
    """Warnings of a worker are told by the main process, with the number of the job that they are
    about."""

    def __init__(self, line: WorkerConnection) -> None:
        super().__init__(logging.WARNING)
        self._line = line
        self._jobs: Mapping[Path, int] = {}

    def follow(self, jobs: Mapping[Path, int]) -> None:
        """The numbers of the jobs at work, by their folders."""
        self._jobs = jobs

    def emit(self, record: logging.LogRecord) -> None:
        """Send it."""
        text = record.getMessage()
        folder = run_at_work()
        if folder is not None and folder in self._jobs:
            text = f"job {self._jobs[folder]}: {text}"
        with contextlib.suppress(Orphaned):  # nobody is there to read it
            self._line.send(Warned(record.levelno, record.name, text))
