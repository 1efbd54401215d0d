"""How the jobs of this process ended, and the record of a run that never trained to its end."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnexp.config.selections import PRIMARY, recorded_selection
from nnexp.errors import DataError
from nnexp.runs.folder import METRICS_FILE, ForeignFileError, set_aside
from nnexp.runs.output_folder import claimed_sweeps
from nnexp.runs.record import (
    DatasetSummary,
    RunResult,
    read_metrics,
    result_metrics,
    write_result,
)
from nnexp.runs.result_checks import check

# --------------------------------------------------------------------------------------------------
# How the jobs of this process's sweeps ended, for the end of the program to report.
#
# A job that failed is an error. A run that diverged beside runs that did not is a result: it says
# something of its hyperparameters, and costs the sweep nothing.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A job and what became of it."""

    num: int
    overrides: tuple[str, ...]
    error: str


@dataclass
class _Ends:
    """Of the jobs so far."""

    failures: list[Failure] = field(default_factory=list)
    diverged: list[Failure] = field(default_factory=list)
    num_completed: int = 0
    num_failed_elsewhere: int = 0  # their errors are reported by others

    @property
    def total(self) -> int:
        failed = len(self.failures) + self.num_failed_elsewhere
        return failed + len(self.diverged) + self.num_completed


_ends = _Ends()
_problems: list[str] = []

log = logging.getLogger(__name__)

_FULL_ERRORS = "NNEXP_FULL_ERRORS"


def note_full_errors() -> None:
    """Remember whether ``HYDRA_FULL_ERROR=1`` asks for tracebacks: the program will set it for
    Hydra. Processes that are started later know it as well."""
    os.environ[_FULL_ERRORS] = os.environ.get("HYDRA_FULL_ERROR", "0")


def full_errors() -> bool:
    """Whether somebody asks for tracebacks."""
    return os.environ.get(_FULL_ERRORS) == "1"


def log_traceback(error: Exception, who: str) -> None:
    """Where an error that costs one job comes from, for those who have asked."""
    if full_errors():
        log.error("%s: %s", who, "".join(traceback.format_exception(error)).rstrip())


def add_failure(num: int, overrides: Iterable[str], error: str) -> None:
    """Note a job that failed."""
    _ends.failures.append(Failure(num, tuple(overrides), error))


def add_divergence(num: int, overrides: Iterable[str], error: str) -> None:
    """Note a run of a sweep that diverged."""
    _ends.diverged.append(Failure(num, tuple(overrides), error))


def add_completed() -> None:
    """Note a run of a sweep that was trained to its end."""
    _ends.num_completed += 1


def add_failed_elsewhere() -> None:
    """Note a job that failed in another process, whose error Hydra brings home."""
    _ends.num_failed_elsewhere += 1


def have_ended() -> bool:
    """Return whether a job's end has been noted here: some launchers run jobs elsewhere."""
    return _ends.total > 0


def all_diverged() -> bool:
    """Return whether runs diverged and none was completed: then there is nothing to compare."""
    return bool(_ends.diverged) and not _ends.num_completed


def add_problem(line: str) -> None:
    """Note what went wrong with a sweep as a whole."""
    _problems.append(line)


def failure_lines(most: int = 20) -> Iterator[str]:
    """A line for each error: the job's number and overrides, or how many jobs have the same."""
    yield from _job_lines(most)
    yield from _problems


def divergence_lines() -> Iterator[str]:
    """A line on how many runs diverged, and which, if any did."""
    diverged = sorted(_ends.diverged, key=lambda run: run.num)
    if not diverged:
        return
    number, total = len(diverged), _ends.total
    runs = f"{number} of {total} runs"
    if number == total:
        runs = "the only run" if total == 1 else f"all {total} runs"
    which = f" ({_numbers([run.num for run in diverged])}); the first" if number > 1 else ""
    yield f"{runs} diverged{which}: {_named(diverged[0])}: {diverged[0].error}"


def _numbers(nums: Sequence[int], most: int = 10) -> str:
    """``jobs 2, 3, 7 to 12``, the first ``most`` of them."""
    parts: list[list[int]] = []
    for num in nums:
        if parts and num == parts[-1][-1] + 1:
            parts[-1].append(num)
        else:
            parts.append([num])
    shown = [f"{p[0]} to {p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts[:most]]
    return f"jobs {', '.join(shown)}" + (", ..." if len(parts) > most else "")


def _named(job: Failure) -> str:
    return " ".join(["job", str(job.num), *job.overrides])


def _job_lines(most: int) -> Iterator[str]:
    by_error: dict[str, list[Failure]] = {}
    for failure in sorted(_ends.failures, key=lambda failure: failure.num):
        by_error.setdefault(failure.error, []).append(failure)
    for shown, (error, failures) in enumerate(by_error.items()):
        if shown == most:
            yield f"and {len(by_error) - most} more errors; result.json in each folder has them"
            return
        first = failures[0]
        others = len(failures) - 1
        also = f" (and {others} other job{'s' if others > 1 else ''})" if others else ""
        yield f"{_named(first)}{also}: {error}"


# --------------------------------------------------------------------------------------------------
# How the jobs of a sweep ended that a launcher, such as Joblib's, ran in other processes.
#
# The exit code follows from it, so the program looks itself: callbacks can be switched off.
# --------------------------------------------------------------------------------------------------


def note_ends_elsewhere() -> None:
    """Note how the runs of this program's sweep ended, unless their ends were noted here."""
    for sweep, before in claimed_sweeps():
        if have_ended():
            return
        from nnexp.errors import DataError
        from nnexp.runs.folder import stamps
        from nnexp.runs.record import read_result

        own = [run for run, stamp in stamps(sweep).items() if before.get(run) != stamp]
        for place, run in enumerate(sorted(own, key=lambda run: (len(run.name), run.name))):
            try:
                result = read_result(run)
            except DataError:  # the report says so
                continue
            if result.status == "diverged":
                num = int(run.name) if run.name.isdecimal() else place
                add_divergence(num, [result.arm, f"seed={result.seed}"], result.error or "")
            elif result.status == "completed":
                add_completed()
            elif result.status == "failed":
                add_failed_elsewhere()


# --------------------------------------------------------------------------------------------------
# The record of a run that its training does not write: it was refused, or never got to the end.
# --------------------------------------------------------------------------------------------------


def record_failure(
    folder: Path,
    error: str,
    *,
    arm: str,
    seed: int,
    model: str,
    optimizer: str,
    dataset: str,
    config: Mapping[str, Any] | None = None,
    data: DatasetSummary | None = None,
    status: str = "failed",
    keep: bool = False,
) -> RunResult:
    """Write a ``result.json``, if the folder can be written, and return what it says.

    Args:
        dataset: its name.
        config: all options of the run, if they are sound: the failure then counts against what
            they say.
        data: what is known of the data set beside its name.
        status: ``failed`` or ``interrupted``.
        keep: the run's other files are its own, stay where they are, and tell how far it has
            come; else they are an earlier run's, and move aside.
    """
    result = RunResult(
        status=status,
        error=error,
        seed=seed,
        arm=arm,
        model=model,
        optimizer=optimizer,
        dataset=data or DatasetSummary(name=dataset),
        config=dict(config or {}),
    )
    if keep:
        result = _as_far_as_trained(result, folder)
    # The error that is being told matters more, and what is not ours stays.
    with contextlib.suppress(OSError, ForeignFileError):
        if not keep:
            set_aside(folder)
        write_result(folder, result)
    return result


def _as_far_as_trained(result: RunResult, folder: Path) -> RunResult:
    """With what ``metrics.jsonl`` says, if there is one that can be read."""
    try:
        epochs = read_metrics(folder)
        check(METRICS_FILE, epochs, list[dict[str, float | None]])
        last = epochs[-1]
        best = _best(epochs, result.config)
        known: dict[str, Any] = {
            "epochs": int(last["epoch"] or 0),
            "seconds": {**result.seconds, "train": last["seconds"]},
        }
        if best is not None:
            known["best_epoch"] = int(best["epoch"] or 0)
            of_best = {key: best[key] for key in result_metrics(result.task) if key in best}
            known["metrics"] = {**result.metrics, **of_best}
    except (DataError, LookupError, ValueError):  # none, no epoch, or a damaged one
        return result
    return dataclasses.replace(result, **known)


def _best(
    epochs: Sequence[dict[str, float | None]], config: Mapping[str, Any]
) -> dict[str, float | None] | None:
    """The epoch that the run has kept; None: none was evaluated and had finite losses."""
    trainer = config.get("trainer") or {}
    rule = recorded_selection(trainer.get("select", PRIMARY))
    if rule is None:
        return None
    # A loss that is not finite is null.
    sound = [e for e in epochs if e["train/loss"] is not None and e["val/loss"] is not None]
    # Of equal ones the first of the reversed is taken.
    return min(reversed(sound), key=lambda e: rule.score(e.get(rule.key)), default=None)
