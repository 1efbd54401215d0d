"""The launcher: Hydra's jobs as one batched computation."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    env_override,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from nnexp.environment import available_cores
from nnexp.errors import ConfigError
from nnexp.report.arms import print_arms, print_failed, print_places
from nnexp.report.callback import ReportCallback, is_wanted
from nnexp.runs.folder import tell_of_moved
from nnexp.sweeps.composition import Composer
from nnexp.sweeps.executor import Pool
from nnexp.sweeps.job_folders import Folders
from nnexp.sweeps.jobs import Jobs, LazyJobReturn
from nnexp.sweeps.plan import Plan, make_plan
from nnexp.sweeps.progress import counted, lines, sweep_bar
from nnexp.sweeps.sweeper import searched, value_for
from nnexp.sweeps.tasks import Absent, Entry, Inspection, Refused

# --------------------------------------------------------------------------------------------------
# What ``hydra.launcher`` and ``hydra.job`` ask of a sweep, checked before anything is written.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What ``hydra.launcher`` says.

    Raises:
        ConfigError: a count is none.
    """

    workers: int | None
    group_size: int | None
    dry_run: bool

    def __post_init__(self) -> None:
        """Counts are counts."""
        for name in ("workers", "group_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"hydra.launcher.{name}={value}: must be at least 1, or null")


def environment_of(config: DictConfig) -> dict[str, str]:
    """``hydra.job.env_set``, which holds for the whole sweep.

    Raises:
        ConfigError: options of Hydra's that a group of jobs cannot honour.
    """
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: runs that train together have one working directory; "
            "use hydra/launcher=basic"
        )
    environment = {str(key): str(value) for key, value in config.hydra.job.env_set.items()}
    for name in environment:
        if name.startswith(("OMP_", "MKL_")):
            raise ConfigError(
                f"hydra.job.env_set.{name}: is read when torch is loaded; set it in the shell"
            )
    return environment


# --------------------------------------------------------------------------------------------------
# Hydra's jobs as one batched computation: compose, plan, train, hand back.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)


def launch(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[list[str]],
    first: int,
    options: Options,
    folders: Folders,
) -> Sequence[JobReturn]:
    """Run the jobs, numbered from ``first``; a ``JobReturn`` for each.

    Jobs of another program's task function are run one after the other, as by Hydra's launcher.

    Args:
        folders: of the sweep, over all its batches.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    if not options.dry_run:
        folders.sweep.mkdir(parents=True, exist_ok=True)
    composer = Composer(hydra_context.config_loader, config)
    if not getattr(task_function, "trains_in_groups", False):
        return _one_by_one(hydra_context, task_function, config, composer, job_overrides, first)
    overrides = dict(enumerate(job_overrides, first))
    jobs = Jobs(config, composer, folders, overrides, writes=not options.dry_run)
    launched = _Launched(hydra_context, task_function, config, composer, options, folders, jobs)
    launched.run(len(overrides))
    return [launched.returned(num, overrides[num]) for num in overrides]


def _one_by_one(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    composer: Composer,
    job_overrides: Sequence[list[str]],
    first: int,
) -> list[JobReturn]:
    returns = []
    for num, overrides in enumerate(job_overrides, first):
        log.info("\t#%d : %s", num, " ".join(filter_overrides(overrides)))
        returns.append(
            run_job(
                hydra_context=hydra_context,
                task_function=task_function,
                config=composer.compose(overrides, num),
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return returns


class _Launched:
    """One batch of jobs on its way."""

    def __init__(
        self,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        composer: Composer,
        options: Options,
        folders: Folders,
        jobs: Jobs,
    ) -> None:
        self._callbacks = hydra_context.callbacks
        self._task_function = task_function
        self._config = config
        self._composer = composer
        self._options = options
        self._folders = folders
        self._jobs = jobs
        self._absent: Counter[str] = Counter()
        self._started: dict[int, list[str]] = {}  # overrides of the jobs that train

    def run(self, count: int) -> None:
        """Compose so many jobs, plan, and train if that is wanted."""
        ready = min(self._options.workers or available_cores(), count)
        environment = environment_of(self._config)
        with env_override(environment), Pool(ready, environment) as pool:
            log.info("%s", counted(count, "job"))
            self._jobs.compose()
            self._tell_objective()
            for note in self._jobs.notes:
                log.info("%s", note)
            try:
                plan = self._plan(pool)
            except KeyboardInterrupt:
                self._jobs.interrupt()
                raise
            if plan.tasks or self._absent:
                refused = self._jobs.num_refused
                for line in lines(plan, refused=refused, absent=self._absent):
                    log.info("%s", line)
            will_train = bool(plan.tasks) and not self._options.dry_run
            self._see_to_earlier(move=will_train)
            if will_train:
                self._train(pool, plan)

    def _plan(self, pool: Pool) -> Plan:
        """Of the entries that can train. A dry run does not fetch data, and plans without those."""
        outlook = pool.survey(self._jobs.entries, fetch=not self._options.dry_run)
        entries, inspections = [], []
        for entry, found in zip(self._jobs.entries, outlook.found, strict=True):
            match found:
                case Inspection():
                    known = dataclasses.replace(entry, data=found.data)
                    if self._options.dry_run or self._jobs.make_ready(known):
                        entries.append(known)
                        inspections.append(found)
                case Refused(error):
                    self._jobs.refuse(entry, error)
                case Absent(name):
                    self._absent[name] += 1
        return make_plan(
            entries,
            inspections,
            num_workers=self._options.workers,
            largest=self._options.group_size,
            cores=available_cores(),
            machine=outlook.machine,
        )

    def _tell_objective(self) -> None:
        """Name what a search goes by; a grid goes by nothing."""
        direction = searched(self._config.hydra.sweeper)
        for objective in dict.fromkeys(self._jobs.objectives.values()):
            if direction is not None and objective is not None:
                log.info("objective, to %s: %s at the best epoch", direction, objective)

    def _see_to_earlier(self, *, move: bool) -> None:
        """Whoever reads the sweep's folder as a whole reads what was there before, too."""
        if move:
            moved = self._folders.set_aside_earlier()
            if moved:
                tell_of_moved(moved)
        earlier = sorted(str(f.relative_to(self._folders.sweep)) for f in self._folders.earlier())
        if earlier:
            shown = ", ".join(earlier[:6]) + (", ..." if len(earlier) > 6 else "")
            count = counted(len(earlier), "folder")
            log.info("%s holds %s of an earlier sweep: %s", self._folders.sweep, count, shown)

    def _train(self, pool: Pool, plan: Plan) -> None:
        entries = [entry for task in plan.tasks for entry in task.entries]
        self._tell_start(entries)
        reported = False
        try:
            with (
                sweep_bar() as bar,
                contextlib.closing(pool.train(plan, self._jobs.end)) as training,
            ):
                for progress in training:
                    bar.update(progress)
            reported = self._ends_in_report()
        finally:
            results = dict(sorted(self._jobs.results.items()))
            if not reported:
                print_arms(results)
            print_failed(results)
            if not reported:
                statuses = {result.status for result in results.values()}
                print_places(
                    self._folders.sweep, unreported={"completed", "interrupted"} <= statuses
                )

    def returned(self, num: int, overrides: list[str]) -> JobReturn:
        """What Hydra's ``run_job`` would have returned. A job that failed has the worst objective
        there is, so that a sweeper that searches goes on; the program's end tells the failures."""
        job_return = LazyJobReturn(self._composer, overrides, num)
        result = self._jobs.results.get(num)
        metrics = result.metrics if result is not None and result.error is None else None
        job_return.working_dir = str(Path.cwd())
        job_return.task_name = JobRuntime.instance().get("name")
        job_return.status = JobStatus.COMPLETED
        direction = searched(self._config.hydra.sweeper)  # also of a job that did not compose
        job_return.return_value = value_for(self._jobs.objectives.get(num), metrics, direction)
        if num in self._started and self._is_listened_to("on_job_end"):
            tree = self._composer.compose(overrides, num)
            self._callbacks.on_job_end(config=tree, job_return=job_return)
        return job_return

    # ── callbacks ─────────────────────────────────────────────────────────────────────────────

    def _tell_start(self, entries: Sequence[Entry]) -> None:
        self._started = {entry.num: self._jobs.overrides[entry.num] for entry in entries}
        if self._is_listened_to("on_job_start"):
            for num, overrides in self._started.items():
                tree = self._composer.compose(overrides, num)
                self._callbacks.on_job_start(config=tree, task_function=self._task_function)

    def _ends_in_report(self) -> bool:
        """Whether a callback will tell the arms when the whole sweep is done."""
        has_one = any(isinstance(c, ReportCallback) for c in self._callbacks.callbacks)
        statuses = {result.status for result in self._jobs.results.values()}
        return has_one and bool(statuses & {"completed", "diverged"}) and is_wanted(self._config)

    def _is_listened_to(self, event: str) -> bool:
        """Whether a callback does more at it than Hydra's, which does nothing: to call it takes a
        job's whole config, and that takes 4 ms."""
        nothing = getattr(Callback, event)
        return any(getattr(type(c), event, None) is not nothing for c in self._callbacks.callbacks)
