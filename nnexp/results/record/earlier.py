"""What a sweep's folder holds from before: runs of an earlier sweep are none of this one's."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from nnexp.errors import DataError
from nnexp.paths import short
from nnexp.results.record.folder import set_aside
from nnexp.results.record.ownership import METRICS_FILE, RESULT_FILE

Stamps = dict[Path, tuple[tuple[int, int, int], ...]]
"""Of a run's folder: which files its record is, so that another record has another stamp."""

_NOT_RUNS = frozenset({"previous", "report", "checkpoints"})
_VENV = "pyvenv.cfg"
_MOST_NAMED = 6

log = logging.getLogger(__name__)

_OF_A_SWEEP = re.compile(rb"^  mode: MULTIRUN\r?$", re.MULTILINE)


def stamps(folder: Path) -> Stamps:
    """The runs at and below ``folder``, but for those of sweeps that have a folder below it.

    A clock would tell new from old as well, if all machines had the same one.
    """
    found: Stamps = {}
    for place, folders, files in os.walk(folder):
        if Path(place) != folder and "multirun.yaml" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if may_hold_runs(name, files)]
        records = []
        for name in {RESULT_FILE, METRICS_FILE}.intersection(files):
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118  # may be many
                records.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        if records:
            found[Path(place)] = tuple(records)
    return found


def may_hold_runs(name: str, beside: Collection[str]) -> bool:
    """Whether runs are looked for in the subfolder ``name``: not in hidden ones, nor in a virtual
    environment, nor in what nnexp keeps beside a run.

    Args:
        beside: the names of the files in the same folder.
    """
    return not (name.startswith(".") or name in _NOT_RUNS or _VENV in beside)


def set_aside_earlier(sweep: Path, subdir: object, folders: Iterable[Path]) -> list[Path]:
    """Move the records of those of ``folders`` aside that bear a number of this sweep's jobs, and
    are another sweep's; which they were.

    Whoever reads the folder later would take them for jobs of this one. What is called otherwise,
    and what is not of a sweep, stays.

    Args:
        sweep: the folder of this sweep.
        subdir: its ``hydra.sweep.subdir``, not resolved.
    """
    moved = []
    for folder in folders:
        is_numbered = folder.absolute().parent == sweep.absolute() and folder.name.isdecimal()
        if subdir != "${hydra.job.num}" or not is_numbered or not _is_of_a_sweep(folder):
            continue
        with contextlib.suppress(OSError, DataError):  # it is left out of the report, and told
            if set_aside(folder) is not None:
                moved.append(folder)
    return sorted(moved, key=lambda folder: int(folder.name))


def tell_of_moved(folders: Sequence[Path]) -> None:
    """In the log."""
    names = ", ".join(short(folder) for folder in folders[:_MOST_NAMED])
    dots = ", ..." if len(folders) > _MOST_NAMED else ""
    log.info(
        "%d run%s of an earlier sweep in this folder moved to previous/ in %s%s",
        len(folders), "" if len(folders) == 1 else "s", names, dots,
    )  # fmt: skip


def _is_of_a_sweep(folder: Path) -> bool:
    try:
        text = (folder / ".hydra" / "hydra.yaml").read_bytes()
    except OSError:
        return False
    return _OF_A_SWEEP.search(text) is not None
