"""What a person sees while a sweep trains."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from nnexp.sweep.plan_lines import counted
from nnexp.sweep.queue import Progress as Done

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_STILL = 10.0
_BAR_WIDTH = 24


class SweepBar:
    """Runs done, groups in flight, run-epochs a second, time left; as much as there is room for."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, numbers="starting")
        self._began = self._told = self._moved = time.monotonic()
        self._cost_done = 0.0

    def update(self, done: Done) -> None:
        """Show how far the sweep is; where there is no bar, by a line in the log now and then."""
        now = time.monotonic()
        if done.cost_done != self._cost_done:
            self._cost_done, self._moved = done.cost_done, now
        parts = numbers_of(done, now - self._began, now - self._moved)
        room = self._bar.console.width - len("sweep ") - _BAR_WIDTH - 2
        numbers = parts[0]
        for part in parts[1:]:
            if len(numbers) + 2 + len(part) <= room:
                numbers += f"  {part}"
        self._bar.update(self._task, total=done.cost, completed=done.cost_done, numbers=numbers)
        if self._bar.disable and now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            log.info("%s", "  ".join(parts))


def numbers_of(done: Done, seconds: float, still: float = 0.0) -> list[str]:
    """How far a sweep is after so many seconds, what matters most first.

    Args:
        still: seconds since training last went on. Where it waits for baselines, whose time is not
            known before, nothing is said of the time left.
    """
    failed = f" ({done.failed} failed)" if done.failed else ""
    parts = [f"{done.runs_done:,}/{counted(done.runs, 'run')}{failed}"]
    if still > _SECONDS_STILL and done.baselines_done < done.baselines:
        parts.append("waiting for baselines")
    elif done.cost_done:
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


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02} min"
