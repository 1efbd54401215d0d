"""All jobs of a sweep, in batches, through a launcher."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from nnexp.errors import ConfigError
from nnexp.sweep.grids import checked, jobs_of

log = logging.getLogger(__name__)

_BASELINE = "baseline="


def sweep(
    hydra_context: HydraContext,
    config: DictConfig,
    launcher: Launcher,
    arguments: Sequence[str],
    *,
    params: Mapping[str, str],
    grids: Any,
    max_batch_size: int | None,
) -> list[Sequence[JobReturn]]:
    """Without ``grids`` the jobs of Hydra's own sweeper, in its order.

    It composes every job's config only to see whether it can be composed. That is left to the
    launcher: a job that cannot be composed costs the others nothing.

    Raises:
        ConfigError: ``max_batch_size`` is no size, ``grids`` are none, or none of them goes with
            the command line.
        HydraException: an override cannot be read, or cannot be multiplied out (``interval``).
        Exception: what a job raised, after all batches are done.
    """
    if max_batch_size is not None and max_batch_size < 1:
        raise ConfigError(
            f"hydra.sweeper.max_batch_size={max_batch_size}: must be at least 1, or null"
        )
    jobs = jobs_of(hydra_context.config_loader, params, checked(grids), arguments)
    if not getattr(launcher, "dry_run", False):
        folder = Path(str(config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
    advice = about_baselines(jobs)
    if advice:
        log.info("%s", advice)
    returns: list[Sequence[JobReturn]] = []
    first = 0
    batches = BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size) if jobs else [jobs]
    for batch in batches:
        returns.append(launcher.launch(batch, initial_job_idx=first))
        first += len(batch)
    for result in (result for batch in returns for result in batch):
        _ = result.return_value  # raises what a job has raised
    return returns


def about_baselines(jobs: Sequence[Sequence[str]]) -> str:
    """What to say where baselines are multiplied out: each of them trains the same networks again.

    Args:
        jobs: the overrides of each.
    """
    choices = [line.partition("=")[2] for job in jobs for line in job if line.startswith(_BASELINE)]
    each = list(dict.fromkeys(choices))
    names = list(dict.fromkeys(name for choice in each for name in choice.strip("[]").split(",")))
    if len(each) < 2 or {"none", "all"} & set(names):
        return ""
    return (
        f"baseline={','.join(each)} trains every network {len(each)} times; "
        f"baseline=[{','.join(names)}] trains it once, beside them all"
    )
