"""What a person sees while a sweep trains, and the tables at its end."""

from __future__ import annotations

import logging
import math
import os
import shlex
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nnexp.paths import short
from nnexp.results.record import RunResult
from nnexp.sweep.plan_lines import counted
from nnexp.sweep.queue import Progress as Done

log = logging.getLogger(__name__)

_MOST_ROWS = 40
_SECONDS_BETWEEN_LINES = 30.0
_LOG_WIDTH = 140  # of tables that go to no terminal
_WIDE, _MEDIUM = 100, 76  # columns at which tables have all, and most, that they can have
_BAR_WIDTH = 24
_SEPARATOR = " · "  # between the parts of an arm's name


class SweepBar:
    """Runs done, groups in flight, run-epochs a second, time left; as much as there is room for."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, numbers="starting")
        self._began = self._told = time.monotonic()

    def update(self, done: Done) -> None:
        """Show how far the sweep is; where there is no bar, by a line in the log now and then."""
        now = time.monotonic()
        parts = numbers_of(done, now - self._began)
        room = self._bar.console.width - len("sweep ") - _BAR_WIDTH - 2
        numbers = parts[0]
        for part in parts[1:]:
            if len(numbers) + 2 + len(part) <= room:
                numbers += f"  {part}"
        self._bar.update(self._task, total=done.cost, completed=done.cost_done, numbers=numbers)
        if self._bar.disable and now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            log.info("%s", "  ".join(parts))


def numbers_of(done: Done, seconds: float) -> list[str]:
    """How far a sweep is after so many seconds, what matters most first."""
    failed = f" ({done.failed} failed)" if done.failed else ""
    parts = [f"{done.runs_done:,}/{counted(done.runs, 'run')}{failed}"]
    if done.cost_done:
        left = seconds * (done.cost - done.cost_done) / done.cost_done
        parts.append(f"{_duration(max(0.0, left))} left")
    if done.run_epochs:
        parts.append(f"{done.run_epochs / seconds:,.0f} run-epochs/s")
    parts.append(f"{counted(done.groups_in_flight, 'group')} in flight")
    if done.baselines:
        parts.append(f"{done.baselines_done:,}/{counted(done.baselines, 'baseline')}")
    return parts


@contextmanager
def sweep_bar() -> Iterator[SweepBar]:
    """A bar on standard error while inside; nothing where that is not a terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("sweep"),
        BarColumn(bar_width=_BAR_WIDTH),
        TextColumn("{task.fields[numbers]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        yield SweepBar(bar)


# ── at the end ────────────────────────────────────────────────────────────────────────────────


def print_arms(results: Mapping[int, RunResult]) -> None:
    """The arms of a sweep on standard output, if a run was completed.

    Args:
        results: by the number of the job.
    """
    if not any(run.status == "completed" for run in results.values()):
        return
    console = _console()
    common, arms = _arms(list(results.values()))
    print()
    if common:
        console.print(Text(f"all arms: {_SEPARATOR.join(common)}"), soft_wrap=True)
    console.print(_table_of(arms, console.width))
    console.print(
        "mean ± standard deviation over the completed runs of an arm; best validation accuracy "
        "first"
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
        print(f"report       python -m nnexp.report {place}")
    print(f"files        {short(folder)}")
    print(f"tensorboard  tensorboard --logdir {place}")


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


def _table_of(arms: Mapping[str, Sequence[RunResult]], width: int) -> Table:
    """A row an arm. Where there is little room KNN's spread goes, then KNN, and the spread on
    validation rows."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("arm", overflow="fold")
    names = ["runs", "val acc", "test acc", "KNN test", "difference"]
    if width < _WIDE:
        names[-2:] = ["KNN", "vs KNN"]
    if width < _MEDIUM:
        names.remove("KNN")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(arms.items(), key=lambda arm: _rank(arm[1]))
    for name, runs in ordered[:_MOST_ROWS]:
        good = [run for run in runs if run.status == "completed"]
        nets = [run.metrics["test/acc"] for run in good]
        neighbours = [_knn(run) for run in good]
        pairs = zip(nets, neighbours, strict=True)
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        cells = [
            str(len(runs)) if len(good) == len(runs) else f"{len(good)} of {len(runs)}",
            _spread([run.metrics["val/acc"] for run in good], briefly=width < _MEDIUM),
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
        error = [Text((run.error or "")[:60])] if width >= _WIDE else []
        table.add_row(str(num), Text(run.arm), str(run.seed), run.status, *error)
    if len(results) > _MOST_ROWS:
        table.add_row("...", f"and {len(results) - _MOST_ROWS} more")
    return table


def _rank(runs: Sequence[RunResult]) -> tuple[float, str]:
    values = [run.metrics["val/acc"] for run in runs if run.status == "completed"]
    known = [value for value in values if value is not None]
    return (-statistics.fmean(known) if known else math.inf, runs[0].arm)


def _knn(run: RunResult) -> float | None:
    found = run.baselines.get("knn", {}).get("test/acc")
    return found if isinstance(found, float) else None


def _spread(values: Sequence[float | None], *, briefly: bool = False) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1 or briefly:
        return f"{statistics.fmean(known):.4f}"
    return f"{statistics.fmean(known):.4f} ± {statistics.stdev(known):.4f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02} min"
