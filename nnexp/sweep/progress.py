"""What a person sees while a sweep trains, and the table of arms at its end."""

from __future__ import annotations

import logging
import math
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
from nnexp.sweep.queue import Progress as Done

log = logging.getLogger(__name__)

_MOST_ROWS = 40
_SECONDS_BETWEEN_LINES = 30.0


class SweepBar:
    """Runs done, groups in flight, run-epochs a second, time left."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, numbers="starting")
        self._began = self._told = time.monotonic()

    def update(self, done: Done) -> None:
        """Show how far the sweep is; where there is no bar, by a line in the log now and then."""
        now = time.monotonic()
        numbers = self._numbers(done, now - self._began)
        self._bar.update(self._task, total=done.cost, completed=done.cost_done, numbers=numbers)
        if self._bar.disable and now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            log.info("%s", numbers)

    @staticmethod
    def _numbers(done: Done, seconds: float) -> str:
        numbers = f"{done.runs_done:,}/{done.runs:,} runs"
        if done.failed:
            numbers += f" ({done.failed} failed)"
        numbers += f"  {done.groups_in_flight} groups in flight"
        if done.baselines:
            numbers += f"  {done.baselines_done:,}/{done.baselines:,} baselines"
        if done.run_epochs:
            numbers += f"  {done.run_epochs / seconds:,.0f} run-epochs/s"
        if done.cost_done:
            left = seconds * (done.cost - done.cost_done) / done.cost_done
            numbers += f"  {_duration(max(0.0, left))} left"
        return numbers


@contextmanager
def sweep_bar() -> Iterator[SweepBar]:
    """A bar on standard error while inside; nothing where that is not a terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("sweep"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[numbers]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        yield SweepBar(bar)


def print_sweep(results: Mapping[int, RunResult], folder: Path) -> None:
    """The arms of a sweep on standard output, and its runs that were not completed.

    Args:
        results: by the number of the job.
        folder: of the sweep.
    """
    console = Console()
    console = Console(
        width=max(console.width, 100) if console.is_terminal else 140, highlight=False
    )
    if any(run.status == "completed" for run in results.values()):
        print()
        console.print(_arms(list(results.values())))
        print("mean ± standard deviation over the runs of an arm; best validation accuracy first")
    counts = Counter(run.status for run in results.values() if run.status != "completed")
    if counts:
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        print(f"\n{counts.total()} of {len(results)} runs were not completed: {statuses}")
    broken = ("diverged", "failed")
    failed = {num: run for num, run in results.items() if run.status in broken}
    if failed:
        console.print(_failed(failed))
    print(f"files        {short(folder)}")
    print(f"tensorboard  tensorboard --logdir {shlex.quote(short(folder))}")


def _arms(results: Sequence[RunResult]) -> Table:
    arms: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        arms.setdefault((result.dataset.name, result.arm), []).append(result)
    several = len({name for name, _ in arms}) > 1
    table = Table(box=SIMPLE_HEAD)
    table.add_column("arm", min_width=24, overflow="fold")
    for name in ("runs", "val acc", "test acc", "KNN test", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(arms.items(), key=lambda arm: _rank(arm[1]))
    for (dataset, name), runs in ordered[:_MOST_ROWS]:
        good = [run for run in runs if run.status == "completed"]
        others = Counter(run.status for run in runs if run.status != "completed")
        nets = [run.metrics["test/acc"] for run in good]
        neighbours = [_knn(run) for run in good]
        pairs = zip(nets, neighbours, strict=True)
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        table.add_row(
            Text(f"{dataset}: {name}" if several else name),
            ", ".join([str(len(runs)), *(f"{n} {status}" for status, n in sorted(others.items()))]),
            _spread([run.metrics["val/acc"] for run in good]),
            _spread(nets),
            _spread(neighbours),
            f"{statistics.fmean(differences):+.4f}" if differences else "-",
        )
    if len(ordered) > _MOST_ROWS:
        table.add_row(f"and {len(ordered) - _MOST_ROWS} more")
    return table


def _failed(results: Mapping[int, RunResult]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("job", justify="right")
    table.add_column("arm", overflow="fold")
    table.add_column("seed", justify="right")
    table.add_column("status")
    table.add_column("error", overflow="ellipsis", no_wrap=True)
    for num, run in list(results.items())[:_MOST_ROWS]:
        table.add_row(
            str(num), Text(run.arm), str(run.seed), run.status, Text((run.error or "")[:60])
        )
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


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4f}"
    return f"{statistics.fmean(known):.4f} ± {statistics.stdev(known):.4f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02} min"
