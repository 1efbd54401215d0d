"""Reports of runs and sweeps, and logs that stay off the screen."""

from __future__ import annotations

import contextlib
import logging
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnexp.api.errors import one_line_errors
from nnexp.errors import DataError
from nnexp.runs.folder import RESULT_FILE
from nnexp.runs.run_log import LogFile

# --------------------------------------------------------------------------------------------------
# The log of a run that is trained inside another program: a file, and nothing on its screen.
#
# A program's logging stays as it is. Its own handlers get what they would have got without the
# file.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# The report of a run or a sweep.
# --------------------------------------------------------------------------------------------------

_FOLDER, _PAGE, _SUMMARY = "report", "index.html", "summary.json"


@dataclass(frozen=True)
class Report:
    """A report that has been written."""

    path: Path
    """The page, ``index.html``."""

    @property
    def summary(self) -> dict[str, Any]:
        """All that the page says, from ``summary.json``. Raises DataError if it is not there."""
        from nnexp.runs.files import to_object

        path = self.path.with_name(_SUMMARY)
        try:
            return to_object(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {error}") from error

    def open(self) -> None:
        """Show the page in a browser."""
        webbrowser.open(self.path.absolute().as_uri())

    def _repr_html_(self) -> str:
        return f'<a href="{self.path.absolute().as_uri()}">{self.path}</a>'


def report_of(
    folder: Path,
    runs: Iterable[Path],
    *,
    tuned: Sequence[str] | None = None,
    reference: str | None = None,
    equivalence: float | None = None,
    relative_equivalence: float | None = None,
    title: str | None = None,
    metric: str | None = None,
) -> Report:
    """Return the report in ``folder``; it is written if it is absent, older than one of the runs,
    or if an option is given.

    Args:
        folder: of the sweep, or of a single run.
        runs: the folders of the runs.
        tuned: options that a network chooses on the validation rows, such as ``optimizer.lr``.
        reference: what the others are compared with: a baseline such as ``knn``, or a network.
        equivalence: difference, in percentage points, that does not matter.
        relative_equivalence: the same as a share of the reference's test error.
        title: of the page.
        metric: that selects and judges: ``accuracy``, or one that the runs recorded.

    Raises:
        NnexpError: none of the runs can be read, an option that cannot be, or files that cannot be
            written.
    """
    out = folder / _FOLDER
    options = (tuned, reference, equivalence, relative_equivalence, title, metric)
    plain = all(option is None for option in options)
    if plain and _is_current(out, runs):
        return Report(out / _PAGE)
    from nnexp.report.inputs import Asked, listed, named_reference, read_runs
    from nnexp.report.write import report_on

    asked = Asked(
        tuned=listed(None if tuned is None else list(tuned) or ["none"]),
        reference=named_reference(reference),
        equivalence=equivalence,
        relative_equivalence=relative_equivalence,
        title=title,
        metric=metric,
    )
    with one_line_errors(), logged_to(None):
        return Report(report_on(read_runs([folder]), asked, out).page)


def _is_current(out: Path, runs: Iterable[Path]) -> bool:
    """Whether there is a report that no run is newer than."""
    if not (out / _PAGE).is_file() or not (out / _SUMMARY).is_file():
        return False
    written = (out / _SUMMARY).stat().st_mtime_ns
    return all((run / RESULT_FILE).stat().st_mtime_ns <= written for run in runs)
