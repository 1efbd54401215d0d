"""The log of a run that trains in company: the lines that it would have had alone.

Alone, Hydra puts a file beside the console, and every record goes there. In company each record is
of some run: code that works for one says so by ``about``, and what several share (the rows of a
split, its baselines) is kept and repeated to each. Lines are written as they come.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import logging
import os
import pickle
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_folder: ContextVar[Path | None] = ContextVar("the folder of the run at work", default=None)


@contextlib.contextmanager
def about(folder: Path) -> Iterator[None]:
    """Records from inside are about the run of this folder."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def run_at_work() -> Path | None:
    """The folder of the run that records are about at present."""
    return _folder.get()


@dataclass(frozen=True)
class LogStyle:
    """What ``hydra.job_logging`` and ``hydra.verbose`` say of a file, for all runs of a sweep."""

    format: str | None = None  # as logging.Formatter takes them
    datefmt: str | None = None
    style: Literal["%", "{", "$"] = "%"
    level: int = logging.NOTSET
    levels: tuple[tuple[str, int], ...] = (("", logging.INFO),)  # by logger; "" is the root


@dataclass(frozen=True)
class LogFile:
    """The log of one run."""

    path: Path
    style: LogStyle

    def write(self, record: logging.LogRecord) -> None:
        """Append a record. A file that cannot be written is worth no error, as everywhere."""
        if record.levelno >= self.style.level:
            text = _formatter(self.style).format(record) + "\n"
            with (
                contextlib.suppress(OSError),
                self.path.open("a", encoding="utf-8", errors="backslashreplace") as file,
            ):
                file.write(text)

    def tell(self, level: int, name: str, text: str) -> None:
        """Append a line as of the logger of this name."""
        self.write(logging.LogRecord(name, level, "", 0, text, None, None))


@functools.cache
def _formatter(style: LogStyle) -> logging.Formatter:
    return logging.Formatter(style.format, style.datefmt, style.style)


class RunLogs(logging.Handler):
    """Hands the records of a process to the logs of the runs that they are about.

    Args:
        shared: a folder in which processes find what the others have kept.
    """

    def __init__(self, shared: Path) -> None:
        super().__init__()
        self._shared = shared
        self._files: dict[Path, LogFile] = {}
        self._keeping: list[logging.LogRecord] | None = None
        self._kept: dict[str, list[logging.LogRecord]] = {}

    def follow(self, files: Mapping[Path, LogFile | None]) -> None:
        """From now on write the logs of these runs, given by their folders, and no others'."""
        self._files = {folder: file for folder, file in files.items() if file is not None}
        self._kept.clear()  # the place that is shared has it
        for name, level in dict.fromkeys(
            pair for file in self._files.values() for pair in file.style.levels
        ):
            logging.getLogger(name).setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record that is about a run, or keep it for several."""
        if self._keeping is not None:
            self._keeping.append(record)
            return
        folder = run_at_work()
        file = None if folder is None else self._files.get(folder)
        if file is not None:
            file.write(record)

    @contextlib.contextmanager
    def kept(self, key: str) -> Iterator[None]:
        """Records from inside are about all runs that have this in common; see ``repeat``."""
        records: list[logging.LogRecord] = []
        self._keeping = records
        try:
            yield
        finally:
            self._keeping = None
            if records:
                self._kept[key] = records
                with contextlib.suppress(OSError):
                    self._hand_over(key, records)

    def repeat(self, key: str, folder: Path) -> None:
        """Write what has been kept under the key into a run's log, whichever process kept it."""
        file = self._files.get(folder)
        if file is None:
            return
        if key not in self._kept:
            found: list[dict[str, Any]] = []
            with contextlib.suppress(OSError):
                found = pickle.loads(self._place(key).read_bytes())
            self._kept[key] = [logging.makeLogRecord(fields) for fields in found]
        for record in self._kept[key]:
            file.write(record)

    def _hand_over(self, key: str, records: list[logging.LogRecord]) -> None:
        place = self._place(key)
        mine = place.with_suffix(f".{os.getpid()}")
        mine.write_bytes(pickle.dumps([_sendable(record) for record in records]))
        mine.replace(place)

    def _place(self, key: str) -> Path:
        return self._shared / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.log"


def _sendable(record: logging.LogRecord) -> dict[str, Any]:
    """What of a record can be pickled: its message instead of what it was made of."""
    plain = copy.copy(record.__dict__)
    if record.exc_info:
        plain["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
    return plain | {"msg": record.getMessage(), "args": None, "exc_info": None}
