"""The arms of a sweep in TensorBoard: their mean curves, beside those of the runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from nnexp.comparison.records import RunRecord
from nnexp.errors import DataError
from nnexp.results.mean_curves import write_mean_curves
from nnexp.results.record import read_metrics

_FOLDER = "curves"


def write_arms(records: Sequence[RunRecord], out: Path) -> list[Path]:
    """Write ``curves/<arm>/`` into a report's folder for each arm of at least two completed runs.

    Arms of an earlier report that this one does not have are deleted. A run whose ``metrics.jsonl``
    cannot be read is left out of its arm's mean.

    Returns:
        The event files.

    Raises:
        OSError: one of them cannot be written.
    """
    arms: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        if record.result.status == "completed":
            arms.setdefault((record.result.dataset.name, record.result.arm), []).append(record)
    several = len({dataset for dataset, _ in arms}) > 1
    written = []
    for (dataset, arm), runs in arms.items():
        curves = []
        for run in runs:
            with contextlib.suppress(DataError):
                curves.append(read_metrics(run.folder))
        if len(curves) > 1:
            name = f"{dataset}: {arm}" if several else arm
            written.append(write_mean_curves(out / _FOLDER, f"mean of {name}", curves))
    for stale in set((out / _FOLDER).glob("mean of */events.out.tfevents.*")) - set(written):
        stale.unlink()
        with contextlib.suppress(OSError):
            stale.parent.rmdir()
    return written
