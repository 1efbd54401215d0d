"""What a person sees while a sweep trains, and the table of arms at its end."""

from __future__ import annotations

import math
import shlex
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from nnexp.paths import short
from nnexp.results.record import RunResult
from nnexp.sweep.pool import Progress as Done

_MOST_ARMS = 40


class SweepBar:
    """Runs done, groups in flight, run-epochs a second, time left."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, numbers="starting")
        self._began = time.monotonic()

    def update(self, done: Done) -> None:
        """Show how far the sweep is."""
        seconds = time.monotonic() - self._began
        numbers = f"{done.runs_done:,}/{done.runs:,} runs"
        if done.failed:
            numbers += f" ({done.failed} failed)"
        numbers += f"  {done.groups_in_flight} groups in flight"
        if done.run_epochs:
            numbers += f"  {done.run_epochs / seconds:,.0f} run-epochs/s"
        if done.cost_done:
            left = seconds * (done.cost - done.cost_done) / done.cost_done
            numbers += f"  {_duration(max(0.0, left))} left"
        self._bar.update(self._task, total=done.cost, completed=done.cost_done, numbers=numbers)


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


def print_arms(results: Sequence[RunResult], folder: Path) -> None:
    """The arms of a sweep on standard output, the best on the validation rows first."""
    arms: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        arms.setdefault((result.dataset.name, result.arm), []).append(result)
    several = len({name for name, _ in arms}) > 1
    table = Table(box=SIMPLE_HEAD)
    table.add_column("arm", min_width=24, overflow="fold")
    for name in ("runs", "val acc", "test acc", "KNN test", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(arms.items(), key=lambda arm: _rank(arm[1]))
    for (dataset, name), runs in ordered[:_MOST_ARMS]:
        good = [run for run in runs if run.status == "completed"]
        failed = len(runs) - len(good)
        nets = [run.metrics["test/acc"] for run in good]
        neighbours = [_knn(run) for run in good]
        pairs = [
            (a, b) for a, b in zip(nets, neighbours, strict=True) if a is not None and b is not None
        ]
        table.add_row(
            f"{dataset}: {name}" if several else name,
            f"{len(runs)}" + (f", {failed} failed" if failed else ""),
            _spread([run.metrics["val/acc"] for run in good]),
            _spread(nets),
            _spread(neighbours),
            f"{statistics.fmean(a - b for a, b in pairs):+.4f}" if pairs else "-",
        )
    print()
    console = Console()
    Console(width=max(console.width, 100) if console.is_terminal else 140).print(table)
    if len(ordered) > _MOST_ARMS:
        print(f"and {len(ordered) - _MOST_ARMS} more arms")
    print("mean ± standard deviation over the runs of an arm; best validation accuracy first")
    print(f"files        {short(folder)}")
    print(f"tensorboard  tensorboard --logdir {shlex.quote(short(folder))}")


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
