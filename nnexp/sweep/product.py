"""Every combination of the overrides of a command line, in batches, through a launcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from nnexp.errors import ConfigError


def sweep(
    hydra_context: HydraContext,
    config: DictConfig,
    launcher: Launcher,
    arguments: Sequence[str],
    max_batch_size: int | None,
) -> list[Sequence[JobReturn]]:
    """The jobs of Hydra's own sweeper in its order.

    It composes every job's config only to see whether it can be composed. That is left to the
    launcher: a job that cannot be composed costs the others nothing.

    Raises:
        ConfigError: ``max_batch_size`` is no size.
        HydraException: an override cannot be read, or cannot be multiplied out (``interval``).
        Exception: what a job raised, after all batches are done.
    """
    if max_batch_size is not None and max_batch_size < 1:
        raise ConfigError(
            f"hydra.sweeper.max_batch_size={max_batch_size}: must be at least 1, or null"
        )
    parser = OverridesParser.create(config_loader=hydra_context.config_loader)
    batches = BasicSweeper.split_arguments(parser.parse_overrides(list(arguments)), max_batch_size)
    if not getattr(launcher, "dry_run", False):
        folder = Path(str(config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
    returns: list[Sequence[JobReturn]] = []
    first = 0
    for batch in batches:
        returns.append(launcher.launch(batch, initial_job_idx=first))
        first += len(batch)
    for result in (result for batch in returns for result in batch):
        _ = result.return_value  # raises what a job has raised
    return returns
