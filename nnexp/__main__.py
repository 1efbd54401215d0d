"""The entry point: Hydra composes a config, ``run`` trains it."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.arm import arm_name, identity
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.messages import one_line
from nnexp.errors import ConfigError, NnexpError
from nnexp.results.failure import record_failure

_traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(composed: DictConfig) -> float | None:
    """One job of Hydra's: a run. Returns the least validation loss, for sweepers that minimise."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # As typed: a reference such as ${seed} is no concern of the arm's name.
    overrides = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    arm = arm_name(composed, cast(list[str], overrides))
    try:
        try:
            config = to_config(composed)
        except ConfigError as error:
            record_failure(folder, str(error), arm=arm, **identity(composed))
            raise
        from nnexp.run import run  # torch takes its time, and a wrong config should not wait for it

        result = run(config, folder, arm)
    except BrokenPipeError:
        _hang_up()
    except Exception as error:
        if hydra_config.mode == RunMode.RUN and not _traceback_wanted:
            _exit(error)  # Hydra would put a line of its own above the error's
        logging.getLogger("nnexp").error("%s", _told(error))
        raise
    return result.metrics["val/loss"]


def main() -> None:
    """Run Hydra; tell errors in one line unless ``HYDRA_FULL_ERROR=1`` asks for more."""
    # The defaults list names both groups (as null), so Hydra wants no plus sign; users type it.
    sys.argv[1:] = [re.sub(r"^\+(experiment|debug)=", r"\1=", arg) for arg in sys.argv[1:]]
    register()
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them
    try:
        job()
    except BrokenPipeError:
        _hang_up()
    except KeyboardInterrupt:
        print("nnexp: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if _traceback_wanted:
            raise
        _exit(error)


def _hang_up() -> NoReturn:
    """The reader of our output, such as head, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)  # as a process that SIGPIPE ends


def _exit(error: Exception) -> NoReturn:
    print(f"nnexp: {_told(error)}", file=sys.stderr)
    sys.exit(1)


def _told(error: Exception) -> str:
    """The error in one line; one that nobody foresaw says how to see where it comes from."""
    line = one_line(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, NnexpError | HydraException | OmegaConfBaseException | OSError):
        return line
    return f"unexpected {type(error).__name__}: {line} (HYDRA_FULL_ERROR=1 shows the traceback)"


if __name__ == "__main__":
    main()
