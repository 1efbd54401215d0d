"""A run's folder: reading its files, and what an earlier run has left in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nnexp.errors import DataError
from nnexp.results.record.ownership import RESULT_FILE, own_files


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
