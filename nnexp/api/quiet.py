"""The log of a run that is trained inside another program: a file, and nothing on its screen.

A program's logging stays as it is. Its own handlers get what they would have got without the file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from nnexp.results.run_log import LogFile

_NAME = "nnexp"


class _Tee(logging.Handler):
    """Writes records to a run's log, and hands those that were wanted before to the program."""

    def __init__(self, file: LogFile | None, parent: logging.Logger, level: int) -> None:
        super().__init__()
        self._file, self._parent, self._level = file, parent, level

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Without any handler logging would print warnings to stderr."""
        if self._file is not None:
            self._file.write(record)
        if record.levelno >= self._level and self._parent.hasHandlers():
            self._parent.handle(record)


@contextlib.contextmanager
def logged_to(file: LogFile | None) -> Iterator[None]:
    """Write what nnexp logs inside to a file, as a run of the command line does; None: to none."""
    logger = logging.getLogger(_NAME)
    level, propagates = logger.level, logger.propagate
    parent = logger.parent if propagates and logger.parent else logging.Logger(_NAME)
    tee = _Tee(file, parent, logger.getEffectiveLevel())
    if file is not None:
        levels = dict(file.style.levels)
        logger.setLevel(levels.get(_NAME, levels.get("", logging.INFO)))
    logger.propagate = False
    logger.addHandler(tee)
    try:
        yield
    finally:
        logger.removeHandler(tee)
        logger.propagate = propagates
        logger.setLevel(level)
