"""Hydra's jobs as one batched computation: compose, plan, train, hand back."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from nnexp.config.arm import arm_name, identity, names_of
from nnexp.config.compose import to_config
from nnexp.config.messages import told
from nnexp.environment import available_cores
from nnexp.errors import ConfigError
from nnexp.results.failure import record_failure
from nnexp.results.record import RunResult, set_aside
from nnexp.sweep.composition import Composer
from nnexp.sweep.failures import add_failure
from nnexp.sweep.grids import refuse_unexpanded
from nnexp.sweep.hydra_files import hydra_files
from nnexp.sweep.job_return import LazyJobReturn
from nnexp.sweep.plan import Plan, counted, lines, make_plan
from nnexp.sweep.pool import Pool
from nnexp.sweep.progress import print_sweep, sweep_bar
from nnexp.sweep.queue import unfinished
from nnexp.sweep.tasks import Absent, Entry, Prospect, Refused
from nnexp.sweep.trees import plain, without_hydra

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What ``hydra.launcher`` says."""

    workers: int | None
    group_size: int | None
    dry_run: bool

    def __post_init__(self) -> None:
        """Counts are counts."""
        for name in ("workers", "group_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"hydra.launcher.{name}={value}: must be at least 1, or null")


def launch(
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[list[str]],
    first: int,
    options: Options,
) -> Sequence[JobReturn]:
    """Run the jobs, numbered from ``first``; a ``JobReturn`` for each.

    Jobs of another program's task function are run one after the other, as by Hydra's launcher.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    if not options.dry_run:
        Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    composer = Composer(hydra_context.config_loader, config)
    if not getattr(task_function, "trains_in_groups", False):
        return _one_by_one(hydra_context, task_function, config, composer, job_overrides, first)
    launched = _Launched(hydra_context, task_function, config, composer, options)
    return launched.returns(job_overrides, first)


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
    ) -> None:
        self._callbacks = hydra_context.callbacks
        self._task_function = task_function
        self._config = config
        self._composer = composer
        self._options = options
        self._overrides: dict[int, list[str]] = {}
        self._entries: list[Entry] = []
        self._files: dict[int, dict[str, str]] = {}
        self._folders: dict[Path, int] = {}
        self._refused: dict[int, RunResult] = {}
        self._num_refused = 0
        self._results: dict[int, RunResult] = {}
        self._absent: Counter[str] = Counter()

    def returns(self, job_overrides: Sequence[list[str]], first: int) -> list[JobReturn]:
        """Do it all."""
        self._overrides = dict(enumerate(job_overrides, first))
        ready = min(self._options.workers or available_cores(), len(self._overrides))
        environment = environment_of(self._config)
        with env_override(environment), Pool(ready, environment) as pool:
            log.info("%s", counted(len(self._overrides), "job"))
            for num, overrides in self._overrides.items():
                self._compose(num, overrides)
            plan = self._plan(pool)
            if plan.tasks or self._absent:
                for line in lines(plan, refused=self._num_refused, absent=self._absent):
                    log.info("%s", line)
            if plan.tasks and not self._options.dry_run:
                self._train(pool, plan)
        return [self._return(num) for num in self._overrides]

    # ── before training ───────────────────────────────────────────────────────────────────────

    def _compose(self, num: int, overrides: list[str]) -> None:
        """An entry, or a record of why there is none."""
        task = None
        folder = Path(str(self._config.hydra.sweep.dir)).absolute() / str(num)
        try:
            tree = self._composer.compose(overrides, num)
            folder = Path(tree.hydra.runtime.output_dir)
            self._claim(folder, num)
            self._files[num] = hydra_files(tree)
            task = without_hydra(tree)
            refuse_unexpanded(tree.hydra, overrides)
            arm = arm_name(task, tree.hydra.overrides.task)
            self._entries.append(Entry(num, to_config(task), folder, arm))
        except Exception as error:
            if isinstance(error, _SharedFolderError):
                raise ConfigError(str(error)) from None
            who = identity(self._config if task is None else task)
            unnamed = " ".join(text for text in overrides if not text.startswith("seed="))
            arm = unnamed if task is None else arm_name(task, overrides)
            seeds = [text.removeprefix("seed=") for text in overrides if text.startswith("seed=")]
            if task is None and seeds and seeds[-1].isdecimal():
                who["seed"] = int(seeds[-1])
            self._refuse(num, folder, told(error), arm, who)

    def _claim(self, folder: Path, num: int) -> None:
        other = self._folders.setdefault(folder, num)
        if other != num:
            subdir = plain(self._config.hydra.sweep._get_node("subdir"))
            raise _SharedFolderError(
                f"hydra.sweep.subdir={subdir}: jobs {other} and {num} would both write to {folder}"
            )

    def _refuse(self, num: int, folder: Path, error: str, arm: str, who: dict[str, Any]) -> None:
        self._num_refused += 1
        if not self._options.dry_run:
            self._write_files(num, folder)
            self._refused[num] = record_failure(folder, error, arm=arm, **who)
        add_failure(num, self._overrides[num], error)

    def _plan(self, pool: Pool) -> Plan:
        """Of the entries that can train. A dry run does not fetch data, and plans without those."""
        try:
            outlook = pool.survey(self._entries, fetch=not self._options.dry_run)
        except KeyboardInterrupt:
            for entry in self._entries:
                if not self._options.dry_run:
                    self._write_files(entry.num, entry.folder)
                    self._results[entry.num] = unfinished(entry, "interrupted", "interrupted")
            raise
        entries, prospects = [], []
        for entry, found in zip(self._entries, outlook.found, strict=True):
            match found:
                case Prospect():
                    entries.append(entry)
                    prospects.append(found)
                case Refused(error):
                    who = names_of(entry.config)
                    self._refuse(entry.num, entry.folder, error, entry.arm, who)
                case Absent(name):
                    self._absent[name] += 1
        return make_plan(
            entries,
            prospects,
            num_workers=self._options.workers,
            largest=self._options.group_size,
            cores=available_cores(),
            machine=outlook.machine,
        )

    def _write_files(self, num: int, folder: Path) -> None:
        """``.hydra/``, as Hydra leaves it in the folder of a job."""
        subdir = self._config.hydra.output_subdir
        if subdir is None or num not in self._files:
            return
        place = folder / str(subdir)
        with contextlib.suppress(OSError):  # the run itself will say that it cannot write
            place.mkdir(parents=True, exist_ok=True)
            for name, text in self._files.pop(num).items():
                (place / name).write_text(text, encoding="utf-8")

    # ── training ──────────────────────────────────────────────────────────────────────────────

    def _train(self, pool: Pool, plan: Plan) -> None:
        entries = [entry for task in plan.tasks for entry in task.entries]
        for entry in sorted(entries, key=lambda entry: entry.num):
            with contextlib.suppress(OSError):
                set_aside(entry.folder)  # a result that is found there later is of this sweep
            self._write_files(entry.num, entry.folder)
        if self._is_listened_to("on_job_start"):
            for entry in entries:
                tree = self._composer.compose(self._overrides[entry.num], entry.num)
                self._callbacks.on_job_start(config=tree, task_function=self._task_function)
        try:
            with (
                sweep_bar() as bar,
                contextlib.closing(pool.train(plan, self._end)) as training,
            ):
                for progress in training:
                    bar.update(progress)
        finally:
            results = {**self._refused, **self._results}
            folder = Path(str(self._config.hydra.sweep.dir))
            print_sweep({num: results[num] for num in sorted(results)}, folder)

    def _end(self, entry: Entry, result: RunResult) -> None:
        self._results[entry.num] = result
        if result.status != "completed" or result.error is not None:
            error = result.error or result.status
            if result.status != "interrupted":
                add_failure(entry.num, self._overrides[entry.num], error)

    def _return(self, num: int) -> JobReturn:
        """What Hydra's ``run_job`` would have returned. A job that failed has an infinite loss, so
        that a sweeper that minimises goes on; the program's end tells the failures."""
        job_return = LazyJobReturn(self._composer, self._overrides[num], num)
        result = self._results.get(num)
        loss = result.metrics["val/loss"] if result is not None and result.error is None else None
        job_return.working_dir = str(Path.cwd())
        job_return.task_name = JobRuntime.instance().get("name")
        job_return.status = JobStatus.COMPLETED
        job_return.return_value = math.inf if loss is None else loss
        if self._is_listened_to("on_job_end") and num in self._results:
            tree = self._composer.compose(self._overrides[num], num)
            self._callbacks.on_job_end(config=tree, job_return=job_return)
        return job_return

    def _is_listened_to(self, event: str) -> bool:
        """Whether a callback does more at it than Hydra's, which does nothing: to call it takes a
        job's whole config, and that takes 4 ms."""
        nothing = getattr(Callback, event)
        return any(getattr(type(c), event, None) is not nothing for c in self._callbacks.callbacks)


class _SharedFolderError(Exception):
    """Two jobs have one folder."""


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
