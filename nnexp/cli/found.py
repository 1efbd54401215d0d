"""Runs and sweeps below a folder, found by the names of their files; nothing is read."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnexp.errors import DataError
from nnexp.results.record import METRICS_FILE, RESULT_FILE
from nnexp.results.record.earlier import may_hold_runs

_SWEEP_FILE = "multirun.yaml"
_HYDRA = ".hydra"
_BY_THE_CLOCK = re.compile(r"(\d{4}-\d\d-\d\d)/(\d\d-\d\d-\d\d)(?:-\d+)?(?:/|$)")


@dataclass(frozen=True)
class Found:
    """The folder of a run or of a sweep, and when it began, as well as its files tell."""

    folder: Path
    is_sweep: bool
    when: datetime


def find(folders: Sequence[Path], *, open_sweeps: bool = True) -> list[Found]:
    """Return the runs and sweeps at and below ``folders``, the newest first.

    The runs of a sweep are not looked into, unless the sweep itself is one of ``folders``.

    Args:
        open_sweeps: whether a sweep among ``folders`` stands for its runs.

    Raises:
        DataError: a folder that is not there.
    """
    found: dict[Path, Found] = {}
    for folder in folders:
        if not folder.is_dir():
            problem = "is a file; give a folder" if folder.exists() else "no such folder"
            raise DataError(f"{folder}: {problem}")
        for one in _walk(folder, is_open=open_sweeps):
            found.setdefault(one.folder.absolute(), one)
    return sorted(found.values(), key=lambda one: (one.when, _natural(one.folder)), reverse=True)


def run_folders(sweep: Path) -> list[Path]:
    """Return the folders of the runs of a sweep that have begun, ``9`` before ``10``."""
    folders = [one.folder for one in _walk(sweep, is_open=True) if not one.is_sweep]
    return sorted(folders, key=_natural)


def _walk(folder: Path, *, is_open: bool = False) -> Iterator[Found]:
    names: set[str] = set()
    below: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            names.add(entry.name)
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
    if _SWEEP_FILE in names and not is_open:
        yield Found(folder, True, _began(folder))
        return
    if names & {RESULT_FILE, METRICS_FILE} or (_HYDRA in names and _SWEEP_FILE not in names):
        yield Found(folder, False, _began(folder))
    for name in below:
        if may_hold_runs(name, names):
            yield from _walk(folder / name)


def _began(folder: Path) -> datetime:
    """By the folder's name, as Hydra gives it, else by the file that is written first."""
    in_name = _BY_THE_CLOCK.search(folder.absolute().as_posix())
    if in_name:
        with contextlib.suppress(ValueError):
            return datetime.strptime(f"{in_name[1]} {in_name[2]}", "%Y-%m-%d %H-%M-%S")
    for name in (_SWEEP_FILE, f"{_HYDRA}/overrides.yaml", METRICS_FILE, RESULT_FILE, ""):
        with contextlib.suppress(OSError):
            return datetime.fromtimestamp((folder / name).stat().st_mtime)
    return datetime.fromtimestamp(0)


def _natural(folder: Path) -> list[tuple[int, str]]:
    """A key by which ``10`` comes after ``9``."""
    parts = re.split(r"(\d+)", str(folder))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
