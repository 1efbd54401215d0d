"""The jobs of a batch: composed, placed in folders or refused; and what Hydra gets back."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from nnexp.config import compose as compose_module
from nnexp.config.compose import arm_name, identity, names_of, to_config
from nnexp.config.errors import error_line
from nnexp.runs.failure_log import (
    add_completed,
    add_divergence,
    add_failure,
    log_traceback,
    record_failure,
)
from nnexp.runs.folder import ForeignFileError, set_aside
from nnexp.runs.record import RunResult
from nnexp.runs.run_log import LogFile
from nnexp.sweeps.composition import Composer
from nnexp.sweeps.config_trees import without_hydra
from nnexp.sweeps.job_folders import Folders, LogFiles, hydra_files
from nnexp.sweeps.sweeper import check_direction, objective_of, refuse_unexpanded
from nnexp.sweeps.tasks import Entry

# --------------------------------------------------------------------------------------------------
# The jobs of a batch before they train: composed, given their folders, or refused.
# --------------------------------------------------------------------------------------------------


class Jobs:
    """Of one batch.

    Attributes:
        entries: the jobs whose config is sound.
        results: of all that have come to an end, by number.
        num_refused: how many jobs cannot be trained.
        objectives: of the jobs that were composed, by number.

    Args:
        config: of the sweep, with its ``hydra`` node.
        overrides: of each job, by its number.
        writes: whether anything is to be written; not in a dry run.
    """

    def __init__(
        self,
        config: DictConfig,
        composer: Composer,
        folders: Folders,
        overrides: Mapping[int, list[str]],
        *,
        writes: bool,
    ) -> None:
        self.entries: list[Entry] = []
        self.results: dict[int, RunResult] = {}
        self.num_refused = 0
        self.objectives: dict[int, str | None] = {}
        self._config = config
        self._composer = composer
        self._folders = folders
        self.overrides = overrides
        self._writes = writes
        self._notes: dict[int, list[str]] = {}  # for the logs of the runs
        self._files: dict[int, dict[str, str]] = {}  # of .hydra/, by number and name
        self._logs = LogFiles(config)

    def compose(self) -> None:
        """An entry for each job, or a record of why there is none.

        Raises:
            ConfigError: two jobs have one folder, or the sweeper would search for the worst runs.
        """
        uncomposed = []
        for num, overrides in self.overrides.items():
            try:
                tree = self._composer.compose(overrides, num)
            except Exception as error:
                log_traceback(error, f"job {num}")
                uncomposed.append((num, error_line(error, overrides)))
                continue
            self.objectives[num] = objective_of(tree)
            check_direction(tree.hydra.sweeper, self.objectives[num])
            self._folders.claim(Path(tree.hydra.runtime.output_dir), num)
            self._enter(num, tree)
        for num, line in uncomposed:
            folder = self._folders.claim_for_uncomposed(num, self.overrides[num])
            arm, who = _as_far_as_known(self._config, self.overrides[num])
            self._refuse(num, folder, None, line, arm, who)

    @property
    def notes(self) -> list[str]:
        """What is to be known of the experiments of jobs that are not ready yet, each line once."""
        return list(dict.fromkeys(note for notes in self._notes.values() for note in notes))

    def refuse(self, entry: Entry, error: str) -> None:
        """A sound config does not make a sound run."""
        who = names_of(entry.config)
        who |= {"config": dataclasses.asdict(entry.config), "data": entry.data}
        self._refuse(entry.num, entry.folder, entry.log, error, entry.arm, who)

    def make_ready(self, entry: Entry) -> bool:
        """Its folder, as Hydra would, so that a result that is found there later is of this sweep.
        Where the files of an earlier run stand in the way, the entry is refused."""
        try:
            earlier = set_aside(entry.folder)
        except (OSError, ForeignFileError) as error:
            log_traceback(error, f"job {entry.num}")
            self.refuse(entry, error_line(error))
            return False
        self._write_files(entry.num, entry.folder)
        lines = [(compose_module.__name__, note) for note in self._notes.pop(entry.num, ())]
        if earlier:
            text = f"the files of an earlier run in this folder were moved to {earlier}"
            lines.append((__name__, text))
        if entry.log is not None:
            for name, text in lines:
                entry.log.tell(logging.INFO, name, text)
        return True

    def interrupt(self) -> None:
        """The entries will not be trained."""
        for entry in self.entries:
            if entry.num not in self.results and self._writes:
                self._write_files(entry.num, entry.folder)
                self.results[entry.num] = record_failure(
                    entry.folder, "interrupted", status="interrupted", arm=entry.arm,
                    config=dataclasses.asdict(entry.config), **names_of(entry.config),
                )  # fmt: skip

    def end(self, entry: Entry, result: RunResult) -> None:
        """A run has its result."""
        self.results[entry.num] = result
        if result.status == "interrupted":
            return
        error = result.error or (None if result.status == "completed" else result.status)
        if error is None:
            add_completed()
            return
        diverged = result.status == "diverged"
        (add_divergence if diverged else add_failure)(entry.num, self.overrides[entry.num], error)
        if entry.log is not None:
            entry.log.tell(logging.WARNING if diverged else logging.ERROR, "nnexp", error)

    def _enter(self, num: int, tree: DictConfig) -> None:
        folder = Path(tree.hydra.runtime.output_dir)
        task = without_hydra(tree)
        file, arm = None, ""
        try:
            file = self._logs.of(tree)
            self._files[num] = hydra_files(tree)
            refuse_unexpanded(tree.hydra, self.overrides[num])
            arm = arm_name(task, tree.hydra.overrides.task)
            self.entries.append(Entry(num, to_config(task), folder, arm, file))
            self._notes[num] = compose_module.notes(tree.hydra)
        except Exception as error:
            log_traceback(error, f"job {num}")
            arm = arm or arm_name(task, self.overrides[num])
            self._refuse(num, folder, file, error_line(error), arm, identity(task))

    def _refuse(
        self, num: int, folder: Path, file: LogFile | None, error: str, arm: str,
        who: dict[str, Any],
    ) -> None:  # fmt: skip
        self.num_refused += 1
        if self._writes:
            self._write_files(num, folder)
            self.results[num] = record_failure(folder, error, arm=arm, **who)
            if file is not None:
                file.tell(logging.ERROR, "nnexp", error)
        add_failure(num, self.overrides[num], error)

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


def _as_far_as_known(config: DictConfig, overrides: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What a job that was not composed is called: its overrides, and what the sweep's config says
    of seed and names."""
    who = identity(config)
    seeds = [text.removeprefix("seed=") for text in overrides if text.startswith("seed=")]
    if seeds and seeds[-1].isdecimal():
        who["seed"] = int(seeds[-1])
    return " ".join(text for text in overrides if not text.startswith("seed=")), who


# --------------------------------------------------------------------------------------------------
# What a finished job hands back to Hydra, without its configs until somebody looks at them.
# --------------------------------------------------------------------------------------------------


class LazyJobReturn(JobReturn):
    """A ``JobReturn`` whose ``cfg`` and ``hydra_cfg`` are composed when one of them is first read.

    The trees of thousands of jobs would take gigabytes, and hardly a sweeper reads one. Pickled and
    copied it is a plain ``JobReturn``.
    """

    def __init__(self, composer: Composer, overrides: Sequence[str], num: int) -> None:
        """All fields but ``overrides`` and the two configs are the launcher's to fill in.

        Args:
            overrides: the job's own, as ``Composer.compose`` takes them.
            num: the job's number in the sweep.
        """
        lines = list(overrides)
        self._compose: Callable[[], DictConfig] = lambda: composer.compose(lines, num)
        self._configs: tuple[DictConfig, DictConfig] | None = None
        super().__init__(overrides=[line for line in lines if not _is_of_hydra(line)])

    @property
    def cfg(self) -> DictConfig | None:
        """The task's config."""
        return self._composed()[0]

    @cfg.setter
    def cfg(self, value: DictConfig | None) -> None:
        assert value is None, "cfg is composed from the overrides"

    @property
    def hydra_cfg(self) -> DictConfig | None:
        """Hydra's own config, below the key ``hydra``."""
        return self._composed()[1]

    @hydra_cfg.setter
    def hydra_cfg(self, value: DictConfig | None) -> None:
        assert value is None, "hydra_cfg is composed from the overrides"

    def _composed(self) -> tuple[DictConfig, DictConfig]:
        """As ``run_job`` of Hydra's parts a job's tree."""
        if self._configs is None:
            tree = self._compose()
            self._configs = without_hydra(tree), OmegaConf.masked_copy(tree, "hydra")
        return self._configs

    def __reduce__(self) -> tuple[Any, ...]:
        """The composer stays here."""
        fields = (self.overrides, self.cfg, self.hydra_cfg, self.working_dir, self.task_name)
        return JobReturn, (*fields, self.status, self._return_value)


def _is_of_hydra(override: str) -> bool:
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))
