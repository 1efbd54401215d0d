"""A sweep in TensorBoard: mean curves of arms, and runs named by what varies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import metadata

from nnexp.analysis.names import arm_names
from nnexp.analysis.records import RunRecord
from nnexp.errors import DataError
from nnexp.runs import event_records
from nnexp.runs.files import to_object, write_atomically
from nnexp.runs.folder import WRITER
from nnexp.runs.record import read_metrics

# --------------------------------------------------------------------------------------------------
# What the event file of a run tells from its start: its config, and the name of its data.
# --------------------------------------------------------------------------------------------------

_LOOKED_AT = 4  # events: the version, hyperparameters, config
_LONGEST_EVENT = 2**24  # bytes of an event
_FENCE = b"```"


@dataclass(frozen=True)
class Start:
    """Of a run's event file."""

    config: dict[str, Any] | None  # all options of the run; None: somebody else's file
    dataset: str = ""  # the name of its data


def read_start(path: Path) -> Start | None:
    """None while the run has not come so far as to tell: the file is to be looked at again.

    Raises:
        OSError: it cannot be read.
    """
    dataset, comes = "", True
    for number, event in enumerate(_events(path)):
        if number == 0:
            comes = event.source_metadata.writer == WRITER
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                content = value.metadata.plugin_data.content
                told = metadata.parse_session_start_info_plugin_data(content)
                dataset = told.hparams["dataset.name"].string_value
            elif value.tag == "config" and value.tensor.string_val:
                config = _config(value.tensor.string_val[0])
                if config is None:
                    return Start(None)
                return Start(config, dataset or str(config["dataset"]["name"]))
            elif value.HasField("simple_value"):
                return Start(None)
    return None if comes else Start(None)


def _config(markdown: bytes) -> dict[str, Any] | None:
    """The JSON object in a block of Markdown, if it is a run's config."""
    try:
        config = to_object(markdown.partition(b"\n")[2].rpartition(_FENCE)[0])
    except ValueError:
        return None
    groups = [config.get(group) for group in ("model", "optimizer", "dataset")]
    return config if all(isinstance(g, dict) and "name" in g for g in groups) else None


def _events(path: Path) -> Iterator[Event]:
    """The first events that are there as a whole."""
    with path.open("rb") as file:
        for _ in range(_LOOKED_AT):
            header = file.read(12)
            if len(header) < 12:
                return
            (length,) = struct.unpack("<Q", header[:8])
            if length > _LONGEST_EVENT:
                return
            content = file.read(length + 4)
            if len(content) < length + 4:
                return
            try:
                yield Event.FromString(content[:-4])
            except DecodeError:
                return


# --------------------------------------------------------------------------------------------------
# The mean curves of an arm as a run of their own in TensorBoard. Needs no torch.
# --------------------------------------------------------------------------------------------------

MEAN_FILE = "events.out.tfevents.mean"
"""One name, so that a later report takes the place of this one."""
MEAN_OF = "mean of "
"""What a folder's name begins with; the arm follows."""
_NO_CURVES = ("epoch", "step", "seconds")
_LONGEST_FOLDER_NAME = 150  # bytes of a folder's name


def write_mean_curves(
    folder: Path, name: str, runs: Sequence[Sequence[Mapping[str, float | None]]]
) -> Path:
    """Write an event file with the mean over the runs of an arm, in the folder ``mean of <arm>``.

    A tag has a point at each step at which at least half of the runs have a value, which is the
    mean over those that have; beyond it a few long runs would speak for all.

    Args:
        folder: where the arm's folder is made.
        name: of the arm.
        runs: for each the epochs as ``read_metrics`` has them.

    Returns:
        The event file; an older one of the same arm is replaced.

    Raises:
        OSError: it cannot be written.
    """
    now = time.time()
    events = [event_records.file_version(now)]
    for step, epochs in sorted(_by_step(runs).items()):
        seconds = _mean([epoch["seconds"] for epoch in epochs], 1)
        tags = dict.fromkeys(tag for epoch in epochs for tag in epoch if tag not in _NO_CURVES)
        curves = {
            tag: _mean([epoch.get(tag) for epoch in epochs], max(1, len(runs) / 2)) for tag in tags
        }
        events.append(event_records.scalars(curves, step, now + (seconds or 0.0)))
    path = folder / folder_name(f"{MEAN_OF}{name}") / MEAN_FILE
    write_atomically(path, event_records.records(events))
    return path


def folder_name(name: str) -> str:
    """``name`` as a folder may be called anywhere; what had to be changed is told by a hash."""
    safe = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(". ")
    safe = safe.encode("utf-8", "replace")[:_LONGEST_FOLDER_NAME].decode("utf-8", "ignore")
    if safe == name and safe:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}"


def _by_step(
    runs: Sequence[Sequence[Mapping[str, float | None]]],
) -> dict[int, list[Mapping[str, float | None]]]:
    found: dict[int, list[Mapping[str, float | None]]] = {}
    for run in runs:
        for epoch in run:
            if (step := epoch["step"]) is not None:
                found.setdefault(int(step), []).append(epoch)
    return found


def _mean(values: Sequence[float | None], at_least: float) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) >= at_least else None


# --------------------------------------------------------------------------------------------------
# The arms of a sweep in TensorBoard: their mean curves, beside those of the runs.
# --------------------------------------------------------------------------------------------------

_FOLDER = "curves"


def write_arms(records: Sequence[RunRecord], out: Path) -> list[Path]:
    """Write ``curves/mean of <arm>/`` into a report's folder for each arm of at least two completed
    runs, called as :func:`~nnexp.analysis.names.arm_names` does.

    Arms of an earlier report that this one does not have are deleted. A run whose ``metrics.jsonl``
    cannot be read is left out of its arm's mean.

    Returns:
        The event files.

    Raises:
        OSError: one of them cannot be written.
    """
    arms: dict[str, list[RunRecord]] = {}
    for record, name in zip(records, _names(records), strict=True):
        if record.result.status == "completed":
            arms.setdefault(name, []).append(record)
    written = []
    for arm, runs in arms.items():
        curves = []
        for run in runs:
            with contextlib.suppress(DataError):
                curves.append(read_metrics(run.folder))
        if len(curves) > 1:
            written.append(write_mean_curves(out / _FOLDER, arm, curves))
    for stale in set((out / _FOLDER).glob(f"{MEAN_OF}*/{MEAN_FILE}")) - set(written):
        stale.unlink()
        with contextlib.suppress(OSError):
            stale.parent.rmdir()
    return written


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Of the arm of each; as recorded where there is no config."""
    results = [record.result for record in records]
    known = [result for result in results if result.config]
    told = iter(arm_names([r.config for r in known], [r.dataset.name for r in known]))
    several = len({result.dataset.name for result in results}) > 1
    return [
        next(told) if r.config else f"{r.dataset.name} · {r.arm}" if several else r.arm
        for r in results
    ]


# --------------------------------------------------------------------------------------------------
# A folder for TensorBoard in which runs are called by what tells them apart.
#
# TensorBoard calls a run by its folder, and those of a sweep are numbers.
# --------------------------------------------------------------------------------------------------

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


def _seeds(config: Mapping[str, Any]) -> str:
    """What tells a run from others of its arm."""
    seed, dataset = config.get("seed"), config.get("dataset") or {}
    told = [f"seed={seed}"]
    if dataset.get("fold") is not None:
        own = dataset.get("split_seed")
        told += [*([f"split_seed={own}"] if own != seed else []), f"fold={dataset['fold']}"]
    return " ".join(told)


class Logdir:
    """Links to the event files at and below some folders, in a folder for each run.

    A run is called ``deep · adam · lr=0.01/seed=3``: its arm, as a report on all of them would
    name it, and its seed; of K folds ``seed=3 split_seed=1 fold=0``. Mean curves that a report
    wrote of an arm are its ``mean``. What tells no config is called by its path. Whatever is called
    as another, or would be, has its path too.

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
            first: f"{folder_name(arm)}/{_seeds(config or {})}"
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
