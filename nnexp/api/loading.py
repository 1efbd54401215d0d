"""Runs and sweeps that lie on the disk."""

from __future__ import annotations

from pathlib import Path

from nnexp.api.run_object import Run
from nnexp.api.sweep_object import Sweep, run_folders
from nnexp.errors import DataError
from nnexp.results.record import METRICS_FILE, RESULT_FILE

_SWEEP = "multirun.yaml"  # what Hydra writes into a sweep's folder


def load(folder: str | Path) -> Run | Sweep:
    """Return the run or the sweep of this folder.

    Raises:
        DataError: it is no folder of a run or a sweep that has ended, or its record is damaged.
    """
    place = Path(folder)
    if not place.is_dir():
        problem = "is a file, not a folder" if place.exists() else "no such folder"
        raise DataError(f"{place}: {problem}")
    if (place / RESULT_FILE).exists():
        return Run(place)
    if (place / METRICS_FILE).exists():
        raise DataError(f"{place}: holds no {RESULT_FILE}: the run was killed or is still training")
    if (place / _SWEEP).exists():
        return Sweep(place)
    below = next(run_folders(place), None)
    if below is None:
        raise DataError(f"{place}: holds no run and no sweep")
    raise DataError(f"{place}: is no run and no sweep, but holds some, such as {below}")
