"""Hydra's callback that ends a sweep in a report, whatever launcher and sweeper ran it.

Hydra loads this file whenever the program starts, so what the work needs is imported at work.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from nnexp.runs.output_folder import runs_before

if TYPE_CHECKING:
    from nnexp.report.inputs import Runs
    from nnexp.runs.folder import Stamps


class ReportCallback(Callback):
    """Writes ``report/`` into the sweep's folder and prints what it says.

    Hydra makes a warning of an exception of a callback. Here it is kept for the program's end, as
    one line: a report that fails costs the sweep nothing but the exit code.
    """

    def __init__(self) -> None:
        self._config: DictConfig | None = None
        self._before: Stamps = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember what began, and what the folder holds: there may be an earlier sweep in it."""
        self._config = config
        if not config.hydra.launcher.get("dry_run"):
            with contextlib.suppress(Exception):  # a folder that cannot be is for Hydra to tell
                self._before = runs_before(Path(str(config.hydra.sweep.dir)))
        _sweeps.append(self)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report."""
        self.report()

    def report(self) -> None:
        """Report on the sweep that has begun, unless that is done or there is nothing to report."""
        config, self._config = self._config, None
        if config is None or config.hydra.launcher.get("dry_run"):
            return
        from nnexp.report.arms import print_arms, print_places
        from nnexp.runs.folder import stamps

        folder = Path(str(config.hydra.sweep.dir))
        runs = None
        try:
            now = stamps(folder)
            own = {run for run, stamp in now.items() if self._before.get(run) != stamp}
            runs = _trained(config, own, now.keys() - own)
            if runs is None or not is_wanted(config):
                return
            _report(runs, folder)
        except BrokenPipeError:  # the reader of our output, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except Exception as error:
            _note(error, folder)
            if runs is not None:
                print_arms(dict(enumerate(record.result for record in runs.records)))
        print_places(folder)


_sweeps: list[ReportCallback] = []


def report_what_is_left() -> None:
    """Report on a sweep of which Hydra did not tell the end, because a job raised."""
    for callback in _sweeps:
        callback.report()


def is_wanted(config: DictConfig) -> bool:
    """Whether the sweep of this config is to end in a report."""
    launcher = config.hydra.launcher
    return bool(
        OmegaConf.select(config, "report.enabled", default=True) and not launcher.get("dry_run")
    )


def _trained(config: DictConfig, own: Set[Path], earlier: Set[Path]) -> Runs | None:
    """The sweep's runs, if one of them was trained. Those before it are kept, and left out."""
    from nnexp.report.inputs import read_runs
    from nnexp.runs.folder import set_aside_earlier, tell_of_moved

    folder = Path(str(config.hydra.sweep.dir))
    if not own:
        return None
    runs = read_runs([folder], own)
    if not any(record.result.status in ("completed", "diverged") for record in runs.records):
        return None
    subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[call-overload, index]
    moved = set_aside_earlier(folder, subdir, earlier)
    if moved:
        tell_of_moved(moved)
        runs = read_runs([folder], own)
    return runs


def _report(runs: Runs, folder: Path) -> None:
    from nnexp.report.inputs import Asked
    from nnexp.report.terminal import print_page, print_report, waiting
    from nnexp.report.write import report_on

    with waiting(f"reporting on {len(runs.records):,} runs"):
        report = report_on(runs, Asked(), folder / "report")
    print()
    print_report(report.comparison, runs.problems)
    print()
    print_page(report.page)


def _note(error: Exception, folder: Path) -> None:
    from nnexp.config.errors import error_line
    from nnexp.runs.failure_log import add_problem, log_traceback
    from nnexp.runs.folder import short

    log_traceback(error, "report")
    again = f"nnexp report {shlex.quote(short(folder))}"
    add_problem(f"no report: {error_line(error)}; all runs are kept, '{again}' tries again")
