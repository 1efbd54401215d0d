"""Which files nnexp wrote. It moves and replaces those alone: a folder may be somebody's own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from nnexp.errors import DataError
from nnexp.results.strict_json import to_object

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
