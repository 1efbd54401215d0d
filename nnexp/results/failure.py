"""The record of a run that its training does not write: it was refused, or never got to the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnexp.errors import DataError
from nnexp.results.record import (
    METRICS_FILE,
    RESULT_METRICS,
    DatasetSummary,
    ForeignFileError,
    RunResult,
    read_metrics,
    set_aside,
    write_result,
)
from nnexp.results.typed import check


def record_failure(
    folder: Path,
    error: str,
    *,
    arm: str,
    seed: int,
    model: str,
    optimizer: str,
    dataset: str,
    config: Mapping[str, Any] | None = None,
    data: DatasetSummary | None = None,
    status: str = "failed",
    keep: bool = False,
) -> RunResult:
    """Write a ``result.json``, if the folder can be written, and return what it says.

    Args:
        dataset: its name.
        config: all options of the run, if they are sound: the failure then counts against what
            they say.
        data: what is known of the data set beside its name.
        status: ``failed`` or ``interrupted``.
        keep: the run's other files are its own, stay where they are, and tell how far it has
            come; else they are an earlier run's, and move aside.
    """
    result = RunResult(
        status=status,
        error=error,
        seed=seed,
        arm=arm,
        model=model,
        optimizer=optimizer,
        dataset=data or DatasetSummary(name=dataset),
        config=dict(config or {}),
    )
    if keep:
        result = _as_far_as_trained(result, folder)
    # The error that is being told matters more, and what is not ours stays.
    with contextlib.suppress(OSError, ForeignFileError):
        if not keep:
            set_aside(folder)
        write_result(folder, result)
    return result


def _as_far_as_trained(result: RunResult, folder: Path) -> RunResult:
    """With what ``metrics.jsonl`` says, if there is one that can be read."""
    try:
        epochs = read_metrics(folder)
        check(METRICS_FILE, epochs, list[dict[str, float | None]])
        last = epochs[-1]
        validated = [epoch for epoch in epochs if epoch["val/loss"] is not None]
        best = min(validated, key=lambda epoch: epoch["val/loss"] or 0.0, default=None)
        known: dict[str, Any] = {
            "epochs": int(last["epoch"] or 0),
            "seconds": {**result.seconds, "train": last["seconds"]},
        }
        if best is not None:
            known["best_epoch"] = int(best["epoch"] or 0)
            of_best = {key: best[key] for key in RESULT_METRICS if key in best}
            known["metrics"] = {**result.metrics, **of_best}
    except (DataError, LookupError, ValueError):  # none, no epoch, or a damaged one
        return result
    return dataclasses.replace(result, **known)
