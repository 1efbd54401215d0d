"""A worker's line to the main process. What it sends is what a person wants to see."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from nnexp.results.run_log import run_at_work
from nnexp.sweep.messages import Stop, Warned


class Orphaned(KeyboardInterrupt):
    """The main process is gone: the runs in training are interrupted."""


class Line:
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


class Telling(logging.Handler):
    """Warnings of a worker are told by the main process, with the number of the job that they are
    about."""

    def __init__(self, line: Line) -> None:
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
