"""A run's folder: which files are nnexp's own, what an earlier run left, how paths are shown."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from nnexp.errors import DataError
from nnexp.runs.files import to_object

# --------------------------------------------------------------------------------------------------
# How paths are shown.
# --------------------------------------------------------------------------------------------------


def short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# --------------------------------------------------------------------------------------------------
# Which files nnexp wrote. It moves and replaces those alone: a folder may be somebody's own.
# --------------------------------------------------------------------------------------------------

METRICS_FILE = "metrics.jsonl"
RESULT_FILE = "result.json"
PREDICTIONS_FILE = "predictions.npz"
CHECKPOINTS = ("checkpoints/best.pt", "checkpoints/last.pt")
EVENTS = "events.out.tfevents."

SEAL = b"nnexp sha256 "
"""What the last bytes of a checkpoint begin with; the hexadecimal hash follows."""
SEAL_LENGTH = len(SEAL) + 64
WRITER = "nnexp"
"""Who wrote an event file, as its first event says."""

_MADE_AT_ONCE = (f"{PREDICTIONS_FILE}.tmp", *(f"{name}.tmp" for name in CHECKPOINTS))
_PAGE = 4096  # bytes of a file that are lost together
_ZIP = b"PK\x03\x04"  # how checkpoints and predictions begin
_FIRST_EVENT = 100  # bytes, at most, of the one that tells the writer


class ForeignFileError(DataError):
    """A file that nnexp would replace is not its own."""


def own_files(folder: Path) -> list[str]:
    """What nnexp has written into a run's folder and a next run would write again, as paths in it.

    ``result.json`` comes first. Event files of others are left out: ours have names of their own.
    What a loss of power has damaged is nnexp's where Hydra's or other files of nnexp lie beside it.

    Raises:
        ForeignFileError: a file of one of these names is somebody else's.
        OSError: the folder cannot be read.
    """
    found, others = [], []
    for name, is_ours in _KINDS.items():
        path = folder / name
        if not path.is_file():
            if path.exists():
                raise ForeignFileError(f"{path}: is a folder, where nnexp writes a file")
            continue
        found.append(name)
        if not is_ours(path):
            others.append(name)
    events = own_events(folder)
    is_of_a_run = len(found) > len(others) or events or (folder / ".hydra").is_dir()
    for name in others:
        if not (is_of_a_run and _is_damaged(folder / name)):
            raise ForeignFileError(
                f"{folder / name}: is damaged, or was not written by nnexp, which would replace "
                "it; give another folder, or move it"
            )
    found += [name for name in _MADE_AT_ONCE if (folder / name).is_file()]
    return found + events


def own_events(folder: Path) -> list[str]:
    """The names of event files in ``folder`` that nnexp wrote."""
    return sorted(path.name for path in folder.glob(f"{EVENTS}*") if _is_event_file(path))


def _is_result(path: Path) -> bool:
    try:
        fields = to_object(path.read_bytes())
    except ValueError:
        return False
    return {"schema", "status", "seed", "arm", "dataset"} <= fields.keys()


def _is_metrics(path: Path) -> bool:
    """Its first line may be torn."""
    with path.open("rb") as file:
        line = file.readline(4096)
    if not line.endswith(b"\n"):
        return b'{"epoch": '.startswith(line[:10])
    try:
        fields = to_object(line)
    except ValueError:
        return False
    return {"epoch", "step", "train/loss", "val/loss", "lr", "seconds"} <= fields.keys()


def _is_predictions(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return False
    return {"probabilities.npy", "labels.npy", "rows.npy"} <= names


def _is_checkpoint(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - SEAL_LENGTH))
        return file.read().startswith(SEAL)


def _is_event_file(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_FIRST_EVENT)
    return not start.strip(b"\0") or WRITER.encode() in start.partition(b"brain.Event:")[2]


def _is_damaged(path: Path) -> bool:
    """Whether a file that is not ours as it stands can have been: it is empty, begins with zeros,
    or begins as ours do and is broken off. What is whole and of another kind is somebody's."""
    with path.open("rb") as file:
        start = file.read(_PAGE)
    if not start.strip(b"\0"):
        return True
    match path.suffix:
        case ".json":
            return _is_broken_json(path.read_bytes(), b'{\n  "schema": ')
        case ".jsonl":
            return _is_broken_json(start.partition(b"\n")[0], b'{"epoch": ')
        case _:
            return start.startswith(_ZIP) and not zipfile.is_zipfile(path)


def _is_broken_json(text: bytes, beginning: bytes) -> bool:
    if not (text.startswith(beginning) or beginning.startswith(text.rstrip(b"\0"))):
        return False
    try:
        to_object(text)
    except ValueError:
        return True
    return False


_KINDS: dict[str, Callable[[Path], bool]] = {
    RESULT_FILE: _is_result,
    METRICS_FILE: _is_metrics,
    PREDICTIONS_FILE: _is_predictions,
    **dict.fromkeys(CHECKPOINTS, _is_checkpoint),
}

# --------------------------------------------------------------------------------------------------
# A run's folder: reading its files, and what an earlier run has left in it.
# --------------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    """What a file holds. Raises DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def discard(folder: Path) -> None:
    """Delete what a run that never had a result has left in ``folder``: it is to be run again."""
    if not (folder / RESULT_FILE).exists():
        for name in own_files(folder):
            (folder / name).unlink()


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier run left in ``folder`` to ``folder/previous/<n>``, and name that place.

    The next run then finds the folder empty of results, and nothing that was written is lost. None
    if there was nothing to move. ``result.json`` goes first: a folder that still has it is whole.

    Raises:
        ForeignFileError: a file that the next run would replace is not nnexp's. Nothing was moved.
        OSError: the files cannot be moved.
    """
    leftovers = own_files(folder) if folder.is_dir() else []
    if not leftovers:
        return None
    number = 1
    while (place := folder / "previous" / str(number)).exists():
        number += 1
    place.mkdir(parents=True)
    for name in leftovers:
        (place / name).parent.mkdir(exist_ok=True)
        (folder / name).rename(place / name)
    with contextlib.suppress(OSError):  # somebody may have more in it
        (folder / "checkpoints").rmdir()
    return place


# --------------------------------------------------------------------------------------------------
# What a sweep's folder holds from before: runs of an earlier sweep are none of this one's.
# --------------------------------------------------------------------------------------------------

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


def run_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders below ``folder`` that hold a result, numbers by their size."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((f for f in folders if may_hold_runs(f, files)), key=_by_number)
        if RESULT_FILE in files:
            yield Path(place)


def _by_number(name: str) -> tuple[bool, int, str]:
    is_number = name.isdecimal()
    return not is_number, int(name) if is_number else 0, name


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
