"""``nnexp train``, and ``nnexp`` without a verb: Hydra composes a config, ``run`` trains it."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nnexp.cli.exit_codes import (
    FAILED,
    INTERRUPTED,
    TERMINATED,
    hang_up,
    refuse_undecodable,
    report_lines,
)
from nnexp.config import compose
from nnexp.config.compose import CONF, arm_name, identity, register, to_config
from nnexp.config.errors import error_line
from nnexp.config.overrides_text import OPEN_MAPPINGS, mended
from nnexp.environment import allow_any_text, make_logs_utf8, prepare
from nnexp.errors import ConfigError, DivergedError
from nnexp.registry import import_components
from nnexp.report.callback import report_what_is_left
from nnexp.runs.failure_log import (
    add_completed,
    add_divergence,
    add_failure,
    all_diverged,
    divergence_lines,
    failure_lines,
    full_errors,
    log_traceback,
    note_ends_elsewhere,
    note_full_errors,
    record_failure,
)
from nnexp.runs.output_folder import FolderInUse
from nnexp.sweeps.processes import is_wanted, start_server
from nnexp.sweeps.sweeper import (
    ObjectiveError,
    check_direction,
    objective_of,
    refuse_unexpanded,
    searched,
    value_for,
)

# Hydra's flags that take the next argument.
_OPEN = "|".join(map(re.escape, OPEN_MAPPINGS))
_VALUED_FLAGS = (
    "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun",
)  # fmt: skip

_main_process = 0
trained_folders: list[Path] = []
"""Of the runs that this process has trained to their end, one by one."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, with which schedulers end a job: as Ctrl-C, but for the word and the exit code."""


def _job(composed: DictConfig) -> float | None:
    """One job of Hydra's: a run. Returns its objective, for sweepers that search.

    For a run that fails or diverges in a sweep that is the worst there is, so that the sweep goes
    on; ``train`` reports both at its end. Where a launcher trains in other processes, Hydra brings
    the error home, and ``note_ends_elsewhere`` counts the runs that diverged.
    """
    allow_any_text()  # a launcher's process may be no child of this program's
    make_logs_utf8()
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # As typed: a reference such as ${seed} is no concern of the arm's name.
    overrides = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    arm = arm_name(composed, cast(list[str], overrides))
    direction = None
    try:
        try:
            if hydra_config.mode == RunMode.RUN and hydra_config.launcher.get("dry_run"):
                raise ConfigError("hydra.launcher.dry_run=true: a plan is made for sweeps, with -m")
            if hydra_config.mode == RunMode.MULTIRUN:
                direction = searched(hydra_config.sweeper)
                refuse_unexpanded(hydra_config, cast(list[str], overrides))
            config = to_config(composed)
            if hydra_config.mode == RunMode.MULTIRUN:
                check_direction(hydra_config.sweeper, config.objective)
            for note in compose.notes(HydraConfig.get()):
                logging.getLogger(compose.__name__).info("%s", note)
        except ConfigError as error:
            record_failure(folder, str(error), arm=arm, **identity(composed))
            raise
        from nnexp.trainer import (
            run,  # torch takes its time, and a wrong config should not wait for it
        )

        result = run(config, folder, arm)
        trained_folders.append(folder)
    except BrokenPipeError:
        hang_up()
    except Exception as error:
        if hydra_config.mode == RunMode.RUN:
            if full_errors():
                raise
            _exit(error)  # Hydra would put a line of its own above the error's
        _note_end(error, int(hydra_config.job.num), cast(list[str], overrides))
        return value_for(objective_of(composed), None, direction)
    add_completed()
    value = value_for(config.objective, result.metrics, direction)
    if direction is not None:
        logging.getLogger("nnexp").info(
            "objective, to %s: %s=%.6g", direction, config.objective, value
        )
    return value


def _note_end(error: Exception, num: int, overrides: Sequence[str]) -> None:
    """Log and note how a job of a sweep ended, if not well.

    Raises:
        SystemExit: the error is about all jobs.
        Exception: ``error``, where it would not come home otherwise.
    """
    if isinstance(error, ObjectiveError) and os.getpid() == _main_process:
        _exit(error)
    log = logging.getLogger("nnexp")
    if isinstance(error, DivergedError):
        log.warning("%s", error_line(error))
        add_divergence(num, overrides, error_line(error))
        return
    log_traceback(error, f"job {num}")
    log.error("%s", error_line(error))
    if os.getpid() != _main_process:
        raise error
    add_failure(num, overrides, error_line(error))


# The fused launcher trains all jobs together, as this function would one by one.
_job.trains_in_groups = True  # type: ignore[attr-defined]
job = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_job)


def train(arguments: Sequence[str]) -> None:
    """Run Hydra; report errors in one line unless ``HYDRA_FULL_ERROR=1`` asks for more.

    Args:
        arguments: of the command line, without the verb. They take its place in ``sys.argv``,
            where Hydra reads them.
    """
    global _main_process
    _main_process = os.getpid()
    note_full_errors()
    sys.argv[1:] = arranged(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    prepare()
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    try:
        refuse_undecodable(sys.argv[1:])
        import_components(imports_of(sys.argv[1:]), export=True)
        register()
        if is_wanted(sys.argv):
            start_server()
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them
        job()
        note_ends_elsewhere()
    except BrokenPipeError:
        hang_up()
    except FolderInUse as refused:
        if full_errors():
            raise refused.error from None
        _exit(refused.error)
    except KeyboardInterrupt as stop:
        ended = (*failure_lines(), *divergence_lines())
        report_lines(*ended, "terminated" if isinstance(stop, Terminated) else "interrupted")
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except Exception as error:
        note_ends_elsewhere()
        report_what_is_left()
        if full_errors():
            raise
        report_lines(*failure_lines(), *divergence_lines())
        _exit(error)
    failures = list(failure_lines())
    report_lines(*failures, *divergence_lines())
    if failures or all_diverged():
        sys.exit(FAILED)


def arranged(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra takes it: flags first, and groups that are null in conf/ as such.

    argparse stumbles over ``seed=1 -m lr=0.1``, overrides on both sides of a flag. The defaults
    list names ``experiment`` and ``debug`` (as null), so Hydra wants no plus sign, and no null.
    The keys of ``dataset.columns`` are a table's, and those of ``trainer.class_weights`` are
    classes, so that Hydra does not know them.
    """
    flags: list[str] = []
    overrides: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        is_override = not argument.startswith("-") and ("=" in argument or argument[:1] == "~")
        if before in _VALUED_FLAGS or not is_override:
            flags.append(argument)
        elif not re.fullmatch(r"\+*(experiment|debug)=null", argument):
            argument = re.sub(r"^\+(experiment|debug)=", r"\1=", argument)
            argument = re.sub(rf"^\+*(?=(?:{_OPEN})[.=])", "++", argument)
            argument = re.sub(r"^\+*imports=([^\[].*)$", r"imports=[\1]", argument)
            overrides.append(mended(argument))
    return flags + overrides


def imports_of(arguments: Sequence[str]) -> list[str]:
    """The modules of ``imports=[a,b]``: they must be there before Hydra composes a config."""
    named = [re.fullmatch(r"\+*imports=\[?(.*?)\]?", text) for text in arguments]
    texts = [match[1] for match in named if match]
    return [name for text in texts for name in re.findall(r"[^\s,'\"\[\]]+", text)]


def _terminate(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) sends it twice
    raise Terminated


def _exit(error: Exception) -> NoReturn:
    report_lines(error_line(error, sys.argv[1:]))
    sys.exit(FAILED)
