"""The record of a run whose config was refused: nothing was loaded, yet its folder says why."""

from __future__ import annotations

import contextlib
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from nnexp.results.record import DatasetSummary, RunResult, set_aside, write_result


def record_failure(folder: Path, composed: DictConfig, arm: str, error: str) -> None:
    """Write a ``result.json`` of status ``failed``, with as much of the config as makes sense."""

    def name(group: str) -> str:
        if group not in composed or OmegaConf.is_missing(composed, group):
            return ""
        return str(OmegaConf.select(composed[group], "name", throw_on_resolution_failure=False))

    seed = OmegaConf.select(composed, "seed", throw_on_resolution_failure=False)
    result = RunResult(
        status="failed",
        error=error,
        seed=seed if isinstance(seed, int) else 0,
        arm=arm,
        model=name("model"),
        optimizer=name("optimizer"),
        dataset=DatasetSummary(name=name("dataset")),
    )
    with contextlib.suppress(OSError):  # the error that is being told matters more
        set_aside(folder)
        write_result(folder, result)
