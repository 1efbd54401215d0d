"""The tables at a sweep's end, which need no report: arms, and runs that were not completed."""

from __future__ import annotations

import math
import os
import shlex
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnexp.metrics import ACCURACY, metric_key, metric_label
from nnexp.runs.folder import short
from nnexp.runs.record import RunResult
from nnexp.runs.selection import badness, primary_of

_MOST_ROWS = 40
_ERROR = 60  # letters of one, at most
_LOG_WIDTH = 140  # of tables that go to no terminal
_WIDE, _MEDIUM = 100, 76  # columns at which tables have all, and most, that they can have
_SEPARATOR = " · "  # between the parts of an arm's name


def print_arms(results: Mapping[int, RunResult]) -> None:
    """The arms of a sweep on standard output, if a run was completed.

    Args:
        results: by the number of the job.
    """
    if not any(run.status == "completed" for run in results.values()):
        return
    console = _console()
    common, arms = _arms(list(results.values()))
    metric = primary_of(run.config for run in results.values())
    print()
    if common:
        console.print(Text(f"all arms: {_SEPARATOR.join(common)}"), soft_wrap=True)
    console.print(_table_of(arms, console.width, metric))
    console.print(
        "mean ± standard deviation over the completed runs of an arm; best validation "
        f"{metric_label(metric)} first"
    )


def print_failed(results: Mapping[int, RunResult]) -> None:
    """How many runs were not completed, and which failed.

    Args:
        results: by the number of the job.
    """
    counts = Counter(run.status for run in results.values() if run.status != "completed")
    if not counts:
        return
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    print(f"\n{counts.total()} of {len(results)} runs were not completed: {statuses}")
    failed = {num: run for num, run in results.items() if run.status in ("diverged", "failed")}
    if failed:
        console = _console()
        console.print(_failed(failed, console.width))


def print_places(folder: Path, *, unreported: bool = False) -> None:
    """Where a sweep's files are, and how to look at its curves.

    Args:
        unreported: there is something to report on, and nobody has.
    """
    place = shlex.quote(short(folder))
    if unreported:
        print(f"report       nnexp report {place}")
    print(f"files        {short(folder)}")
    print(f"tensorboard  nnexp tensorboard {place}")


def _console() -> Console:
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(width=_LOG_WIDTH, highlight=False)


def _arms(results: Sequence[RunResult]) -> tuple[list[str], dict[str, list[RunResult]]]:
    """What is said of all arms, and the runs of each by what remains of its name.

    Arms on several data sets have theirs in their name; data sets of one name are told apart by
    their fingerprint.
    """
    prints: dict[str, set[str]] = {}
    for run in results:
        if run.dataset.fingerprint is not None:
            prints.setdefault(run.dataset.name, set()).add(run.dataset.fingerprint)
    names = {run.dataset.name for run in results}
    results = [run for run in results if _SEPARATOR in run.arm]  # else it was not even composed
    parts = [run.arm.split(_SEPARATOR) for run in results]
    # What was overridden comes after the model and the optimizer.
    common = [part for part in parts[0][2:] if all(part in other[2:] for other in parts)]
    arms: dict[str, list[RunResult]] = {}
    for run, own in zip(results, parts, strict=True):
        name = _SEPARATOR.join([*own[:2], *(part for part in own[2:] if part not in common)])
        data = run.dataset.name
        if len(prints.get(data, ())) > 1:
            data += f" {(run.dataset.fingerprint or 'not read')[:8]}"
        several = len(names) > 1 or data != run.dataset.name
        arms.setdefault(f"{data}: {name}" if several else name, []).append(run)
    if len(arms) == 1:
        return [], {results[0].arm: list(results)}
    return common, arms


def _table_of(arms: Mapping[str, Sequence[RunResult]], width: int, metric: str) -> Table:
    """A row an arm. Where there is little room KNN's spread goes, then KNN, and the spread on
    validation rows."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("arm", overflow="fold")
    short_name = "acc" if metric == ACCURACY else metric_label(metric)
    val_key, test_key = metric_key(metric, "val"), metric_key(metric, "test")
    names = ["runs", f"val {short_name}", f"test {short_name}", "KNN test", "difference"]
    if width < _WIDE:
        names[-2:] = ["KNN", "vs KNN"]
    if width < _MEDIUM:
        names.remove("KNN")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(arms.items(), key=lambda arm: _rank(arm[1], metric))
    for name, runs in ordered[:_MOST_ROWS]:
        good = [run for run in runs if run.status == "completed"]
        nets = [run.metrics.get(test_key) for run in good]
        neighbours = [_knn(run, test_key) for run in good]
        pairs = zip(nets, neighbours, strict=True)
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        cells = [
            str(len(runs)) if len(good) == len(runs) else f"{len(good)} of {len(runs)}",
            _spread([run.metrics.get(val_key) for run in good], briefly=width < _MEDIUM),
            _spread(nets),
            _spread(neighbours, briefly=width < _WIDE),
            f"{statistics.fmean(differences):+.4f}" if differences else "-",
        ]
        if width < _MEDIUM:
            del cells[3]
        table.add_row(Text(name), *cells)
    if len(ordered) > _MOST_ROWS:
        table.add_row(f"and {len(ordered) - _MOST_ROWS} more")
    return table


def _failed(results: Mapping[int, RunResult], width: int) -> Table:
    """A row a run; its error, which the end of the program tells, where there is room."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("arm", overflow="fold")
    table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    if width >= _WIDE:
        table.add_column("error", overflow="ellipsis", no_wrap=True)
    for num, run in list(results.items())[:_MOST_ROWS]:
        told = run.error or ""
        brief = told if len(told) <= _ERROR else f"{told[: _ERROR - 1]}…"
        error = [Text(brief)] if width >= _WIDE else []
        table.add_row(str(num), Text(run.arm), str(run.seed), run.status, *error)
    if len(results) > _MOST_ROWS:
        table.add_row("...", f"and {len(results) - _MOST_ROWS} more")
    return table


def _rank(runs: Sequence[RunResult], metric: str) -> tuple[float, str]:
    values = [badness(run.metrics, metric) for run in runs if run.status == "completed"]
    known = [value for value in values if math.isfinite(value)]
    return (statistics.fmean(known) if known else math.inf, runs[0].arm)


def _knn(run: RunResult, key: str) -> float | None:
    found = run.baselines.get("knn", {}).get(key)
    return found if isinstance(found, float) else None


def _spread(values: Sequence[float | None], *, briefly: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1 or briefly:
        return f"{statistics.fmean(known):.4f}"
    return f"{statistics.fmean(known):.4f} ± {statistics.stdev(known):.4f}"
