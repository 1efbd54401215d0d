"""The arms of a sweep in TensorBoard: their mean curves, beside those of the runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from nnexp.comparison.naming import arm_names
from nnexp.comparison.records import RunRecord
from nnexp.errors import DataError
from nnexp.results.mean_curves import MEAN_FILE, MEAN_OF, write_mean_curves
from nnexp.results.record import read_metrics

_FOLDER = "curves"


def write_arms(records: Sequence[RunRecord], out: Path) -> list[Path]:
    """Write ``curves/mean of <arm>/`` into a report's folder for each arm of at least two completed
    runs, called as :func:`~nnexp.comparison.naming.arm_names` does.

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
