"""The record of a run whose config was refused: nothing was loaded, yet its folder says why."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nnexp.results.record import DatasetSummary, RunResult, set_aside, write_result


def record_failure(
    folder: Path, error: str, *, arm: str, seed: int, model: str, optimizer: str, dataset: str
) -> None:
    """Write a ``result.json`` of status ``failed``, if the folder can be written."""
    result = RunResult(
        status="failed",
        error=error,
        seed=seed,
        arm=arm,
        model=model,
        optimizer=optimizer,
        dataset=DatasetSummary(name=dataset),
    )
    with contextlib.suppress(OSError):  # the error that is being told matters more
        set_aside(folder)
        write_result(folder, result)
