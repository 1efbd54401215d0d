"""The door through which Hydra finds nnexp's launcher and sweeper: ``fused``.

Hydra loads this file whenever it starts, so what the two do stands in ``nnexp.sweeps`` and is
loaded when they do it. (It has no ``from __future__ import annotations``: Hydra runs the file
before Python knows the module, in which dataclasses would look up the names.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class FusedLauncherConf:
    """``hydra/launcher=fused``: all jobs of a batch at once, in groups that train together."""

    _target_: str = "hydra_plugins.nnexp_fused.FusedLauncher"
    workers: int | None = None  # processes; null: as many as cores and threads allow, or one a GPU
    group_size: int | None = None  # runs that train together at most; null: what suits the work
    dry_run: bool = False  # print the plan and train nothing


@dataclass
class FusedSweeperConf:
    """``hydra/sweeper=fused``: every combination, as Hydra's own sweeper, in less time.

    ``grids`` makes several products of which the jobs are the union, each multiplied with
    ``params`` and the command line: conditions, such as learning rates that go with an optimizer.
    """

    _target_: str = "hydra_plugins.nnexp_fused.FusedSweeper"
    max_batch_size: int | None = None  # jobs that are launched at once; null: all
    params: dict[str, str] | None = field(default_factory=dict)  # overrides that every sweep has
    grids: Any = None  # a list of such: every job has one of these as well


ConfigStore.instance().store(
    group="hydra/launcher", name="fused", node=FusedLauncherConf, provider="nnexp"
)
ConfigStore.instance().store(
    group="hydra/sweeper", name="fused", node=FusedSweeperConf, provider="nnexp"
)


class FusedLauncher(Launcher):
    """See ``nnexp.sweeps.launcher``."""

    def __init__(self, workers: int | None, group_size: int | None, dry_run: bool) -> None:
        self.workers = workers
        self.group_size = group_size
        self.dry_run = dry_run

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the work needs; a sweep that cannot be launched leaves no folder."""
        from nnexp.sweeps.job_folders import Folders
        from nnexp.sweeps.launcher import Options, environment_of

        self.options = Options(self.workers, self.group_size, self.dry_run)
        if getattr(task_function, "trains_in_groups", False):
            environment_of(config)
        self.folders = Folders(config)
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs; a ``JobReturn`` for each, in their order."""
        from nnexp.sweeps.launcher import launch

        return launch(
            self.hydra_context, self.task_function, self.config,
            [list(overrides) for overrides in job_overrides], initial_job_idx, self.options,
            self.folders,
        )  # fmt: skip


class FusedSweeper(Sweeper):
    """See ``nnexp.sweeps.sweeper``."""

    def __init__(
        self, max_batch_size: int | None, params: dict[str, str] | None, grids: Any
    ) -> None:
        self.max_batch_size = max_batch_size
        self.params = params or {}
        self.grids = grids

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the work needs, and make the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context: HydraContext = hydra_context
        self.config: DictConfig = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch every combination; the batches' lists of ``JobReturn``."""
        from nnexp.sweeps.sweeper import sweep

        return sweep(
            self.hydra_context, self.config, self.launcher, arguments,
            params=self.params, grids=self.grids, max_batch_size=self.max_batch_size,
        )  # fmt: skip
