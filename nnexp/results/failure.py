"""The record of a run that its training does not write: it was refused, or never got to the end."""

from __future__ import annotations

import contextlib
from pathlib import Path

from nnexp.results.record import DatasetSummary, RunResult, set_aside, write_result


def record_failure(
    folder: Path,
    error: str,
    *,
    arm: str,
    seed: int,
    model: str,
    optimizer: str,
    dataset: str,
    status: str = "failed",
    keep: bool = False,
) -> RunResult:
    """Write a ``result.json``, if the folder can be written, and return what it says.

    Args:
        status: ``failed`` or ``interrupted``.
        keep: leave the run's other files where they are; else they are an earlier run's, and move
            aside.
    """
    result = RunResult(
        status=status,
        error=error,
        seed=seed,
        arm=arm,
        model=model,
        optimizer=optimizer,
        dataset=DatasetSummary(name=dataset),
    )
    with contextlib.suppress(OSError):  # the error that is being told matters more
        if not keep:
            set_aside(folder)
        write_result(folder, result)
    return result
