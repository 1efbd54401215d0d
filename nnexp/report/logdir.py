"""A folder for TensorBoard in which runs are called by what tells them apart.

TensorBoard calls a run by its folder, and those of a sweep are numbers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnexp.comparison.naming import arm_names
from nnexp.errors import DataError
from nnexp.results.event_start import Start, read_start
from nnexp.results.mean_curves import MEAN_FILE, MEAN_OF, folder_name

_EVENTS = "events.out.tfevents."
_NOT_SHOWN = frozenset({"previous", "checkpoints", ".hydra", ".git"})


@dataclass(frozen=True)
class _Run:
    """A folder with event files."""

    label: str  # the folder as seen from the folders that were given
    files: tuple[Path, ...]  # the oldest first

    @property
    def is_mean(self) -> bool:
        """Whether a report wrote it, of an arm."""
        first = self.files[0]
        return first.name == MEAN_FILE and first.parent.name.startswith(MEAN_OF)


class Logdir:
    """Links to the event files at and below some folders, in a folder for each run.

    A run is called ``deep · adam · lr=0.01/seed=3``: its arm, as a report on all of them would
    name it, and its seed. Mean curves that a report wrote of an arm are its ``mean``. What tells
    no config is called by its path. Whatever is called as another, or would be, has its path too.

    Args:
        place: an empty folder for the links.
        folders: of runs, of sweeps or above them.

    Raises:
        DataError: one of ``folders`` is none.
    """

    def __init__(self, place: Path, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                problem = "is a file; give a folder" if folder.exists() else "no such folder"
                raise DataError(f"{folder}: {problem}")
        self._place = place
        self._folders = [folder.resolve() for folder in folders]
        self._starts: dict[Path, Start] = {}  # by a run's oldest event file, as its name
        self._names: dict[Path, str] = {}
        self._links: dict[Path, Path] = {}

    @property
    def names(self) -> list[str]:
        """What the runs are called, sorted."""
        return sorted(self._names.values())

    def refresh(self) -> None:
        """Link what is there now. A run keeps its name as long as its event file is there.

        Raises:
            DataError: links cannot be made here.
        """
        runs = {run.files[0]: run for run in self._found()}
        for first, run in runs.items():
            if first not in self._starts and (start := _start(run)) is not None:
                self._starts[first] = start
        self._names = {first: name for first, name in self._names.items() if first in runs}
        self._name({first: run for first, run in runs.items() if first in self._starts})
        self._link(
            {
                self._place / name / file.name: file
                for first, name in self._names.items()
                for file in runs[first].files
            }
        )

    def _found(self) -> Iterator[_Run]:
        seen = set()
        above = os.path.commonpath([folder.parent for folder in self._folders])
        for folder in self._folders:
            for run in _walk(folder, folder.relative_to(above).as_posix()):
                if run.files[0] not in seen:
                    seen.add(run.files[0])
                    yield run

    def _name(self, runs: dict[Path, _Run]) -> None:
        """Give a name to each of these that has none."""
        if runs.keys() <= self._names.keys():
            return
        told = [(first, s, s.config) for first in runs if (s := self._starts[first]).config]
        arms = arm_names([c or {} for _, _, c in told], [start.dataset for _, start, _ in told])
        wanted = {first: _by_path(run) for first, run in runs.items()}
        wanted |= {
            first: f"{folder_name(arm)}/seed={(config or {}).get('seed')}"
            for (first, _, config), arm in zip(told, arms, strict=True)
        }
        counts = Counter(wanted.values())
        taken = set(self._names.values())
        for first in runs.keys() - self._names.keys():
            name = wanted[first]
            if counts[name] > 1 or name in taken:
                name += f" · {folder_name(runs[first].label.replace('/', ' '))}"
            while name in taken:
                name += "'"
            self._names[first] = name
            taken.add(name)

    def _link(self, wanted: dict[Path, Path]) -> None:
        """Have these links to files, and no others."""
        try:
            for link, target in list(self._links.items()):
                if wanted.get(link) != target:
                    link.unlink(missing_ok=True)
                    del self._links[link]
            for link, target in wanted.items():
                if link not in self._links:
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(target)
                    self._links[link] = target
        except OSError as error:
            raise DataError(f"{self._place}: cannot hold links: {error.strerror}") from error


def _walk(folder: Path, label: str) -> Iterator[_Run]:
    """Folders with event files; what vanishes meanwhile or cannot be read is passed over."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    files = tuple(folder / entry.name for entry in listed if entry.name.startswith(_EVENTS))
    if files:
        yield _Run(label, files)
    for entry in listed:
        if entry.name not in _NOT_SHOWN and entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{label}/{entry.name}")


def _start(run: _Run) -> Start | None:
    try:
        return Start(None) if run.is_mean else read_start(run.files[0])
    except OSError:
        return None


def _by_path(run: _Run) -> str:
    if run.is_mean:
        return f"{run.files[0].parent.name.removeprefix(MEAN_OF)}/mean"
    return "/".join(folder_name(part) for part in run.label.split("/"))
