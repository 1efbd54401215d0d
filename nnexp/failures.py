"""What failed in this process's sweeps, jobs above all, for the end of the program to tell."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A job and what became of it."""

    num: int
    overrides: tuple[str, ...]
    error: str


_failures: list[Failure] = []
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
    _failures.append(Failure(num, tuple(overrides), error))


def add_problem(line: str) -> None:
    """Note what went wrong with a sweep as a whole."""
    _problems.append(line)


def failure_lines(most: int = 20) -> Iterator[str]:
    """A line for each error: the job's number and overrides, or how many jobs have the same."""
    yield from _job_lines(most)
    yield from _problems


def _job_lines(most: int) -> Iterator[str]:
    by_error: dict[str, list[Failure]] = {}
    for failure in sorted(_failures, key=lambda failure: failure.num):
        by_error.setdefault(failure.error, []).append(failure)
    for shown, (error, failures) in enumerate(by_error.items()):
        if shown == most:
            yield f"and {len(by_error) - most} more errors; result.json in each folder has them"
            return
        first = failures[0]
        name = " ".join(["job", str(first.num), *first.overrides])
        others = len(failures) - 1
        also = f" (and {others} other job{'s' if others > 1 else ''})" if others else ""
        yield f"{name}{also}: {error}"
