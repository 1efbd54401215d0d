"""A run's folder: what its files are called, and what an earlier run has left in it."""

from __future__ import annotations

from pathlib import Path

from nnexp.errors import DataError

METRICS_FILE = "metrics.jsonl"
RESULT_FILE = "result.json"
PREDICTIONS_FILE = "predictions.npz"


def read_bytes(path: Path) -> bytes:
    """What a file holds. Raises DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def discard(folder: Path) -> None:
    """Delete what a run that never had a result has left in ``folder``: it is to be run again."""
    if (folder / RESULT_FILE).exists():
        return
    for pattern in (METRICS_FILE, f"{PREDICTIONS_FILE}*", "events.out.tfevents.*",
                    "checkpoints/*.pt*"):  # fmt: skip
        for path in folder.glob(pattern):
            path.unlink()


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier run left in ``folder`` to ``folder/previous/<n>``, and name that place.

    The next run then finds the folder empty of results, and nothing that was written is lost. None
    if there was nothing to move. ``result.json`` goes first: a folder that still has it is whole.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    ours = (RESULT_FILE, METRICS_FILE, PREDICTIONS_FILE, "checkpoints")
    leftovers = [name for name in ours if name in names]
    leftovers += [name for name in names if name.startswith("events.out.tfevents.")]
    if not leftovers:
        return None
    number = 1
    while (place := folder / "previous" / str(number)).exists():
        number += 1
    place.mkdir(parents=True)
    for name in leftovers:
        (folder / name).rename(place / name)
    return place
