"""The progress of a sweep in the terminal, its plan first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from nnexp.sweeps.plan import Plan, PlannedTask, why_alone
from nnexp.sweeps.task_queue import Progress as Done
from nnexp.sweeps.tasks import SPLIT_OPTIONS, Kind

# --------------------------------------------------------------------------------------------------
# A plan in words.
# --------------------------------------------------------------------------------------------------

_WORDS = {
    "source": "the data",
    "num_train": "the number of training samples",
    "num_val": "the number of validation samples",
    "network": "the network",
    "batch_size": "trainer.batch_size",
    "loss": "the loss",
    "drop_last": "trainer.drop_last",
    "precision": "trainer.precision",
    "device": "trainer.device",
    "threads": "the number of threads",
}
_IN_EVERY_LINE = ("batch_size", "device")
_ROWS = {"num_train": "{} training samples", "num_val": "{} validation samples"}


def lines(plan: Plan, *, refused: int = 0, absent: Mapping[str, int] | None = None) -> list[str]:
    """The plan, a line for each kind of run; no two of them are the same.

    Args:
        refused: jobs that cannot be trained.
        absent: runs that are not planned, by the data set that is not here.
    """
    runs = sum(len(task.entries) for task in plan.tasks)
    by_kind: dict[Kind, list[PlannedTask]] = {}
    for task in plan.tasks:
        by_kind.setdefault(task.kind, []).append(task)
    told = [
        f"{counted(runs, 'run')} in {counted(len(plan.tasks), 'group')} on "
        f"{counted(plan.num_workers, 'worker')}"
        + (f"; {counted(refused, 'job')} cannot be trained" if refused else "")
    ]
    apart = _differences(list(by_kind))
    if apart:
        told.append(f"runs cannot all be batched together: {', '.join(apart)}")
    names = _names(by_kind)
    for kind, tasks in by_kind.items():
        sizes = sorted({len(task.entries) for task in tasks}, reverse=True)
        sized = f"{sizes[-1]} to {sizes[0]}" if len(sizes) > 1 else f"{sizes[0]}"
        alone = why_alone(kind)
        told.append(
            f"  {names[kind]}: "
            f"{counted(sum(len(task.entries) for task in tasks), 'run')} in "
            f"{counted(len(tasks), 'group')} of {sized}" + (f": {alone}" if alone else "")
        )
    told += [
        f"data not here yet: {name}; {counted(number, 'run')} not planned"
        for name, number in sorted((absent or {}).items())
    ]
    return told


def counted(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _names(by_kind: Mapping[Kind, Sequence[PlannedTask]]) -> dict[Kind, str]:
    """``digits, deep 64-128-10, batch 32, cpu``, and what else tells kinds apart; the data where
    there are several."""
    several = len({kind.source for kind in by_kind}) > 1
    short: dict[Kind, str] = {}
    for kind, tasks in by_kind.items():
        configs = [entry.config for task in tasks for entry in task.entries]
        names = "/".join(sorted({config.model.name for config in configs}))
        network = f"{names} {kind.network.summary}".rstrip()
        data = f"{configs[0].dataset.name}, " if several else ""
        short[kind] = f"{data}{network}, batch {kind.batch_size}, {kind.device}"
    namesakes: dict[str, list[Kind]] = {}
    for kind, name in short.items():
        namesakes.setdefault(name, []).append(kind)
    sources = {kind: vars(tasks[0].entries[0].config.dataset) for kind, tasks in by_kind.items()}
    return {
        kind: ", ".join([name, *_distinctions(kind, namesakes[name], sources)])
        for kind, name in short.items()
    }


def _distinctions(
    kind: Kind, namesakes: Sequence[Kind], sources: Mapping[Kind, Mapping[str, Any]]
) -> Iterator[str]:
    """What tells a kind from others of the same name."""
    for name in _WORDS:
        value = getattr(kind, name)
        if name in _IN_EVERY_LINE or len({getattr(other, name) for other in namesakes}) == 1:
            continue
        if name == "source":
            own, others = sources[kind], [sources[other] for other in namesakes]
            for option in own:
                if option not in SPLIT_OPTIONS and any(
                    other.get(option) != own[option] for other in others
                ):
                    yield f"{option}={_shown(own[option])}"
        elif name == "network":
            for option, its in value.options().items():
                if any(other.network.options().get(option) != its for other in namesakes):
                    yield f"{option}={_shown(its)}"
        elif name in _ROWS:
            yield _ROWS[name].format(value)
        else:
            yield f"{name}={_shown(value)}"


def _shown(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _differences(kinds: Sequence[Kind]) -> list[str]:
    """In what the kinds differ: ``trainer.batch_size differs (32, 64)``."""
    told = []
    for name, words in _WORDS.items():
        values = list(dict.fromkeys(getattr(kind, name) for kind in kinds))
        if len(values) > 1:
            plain = all(isinstance(value, int | str) for value in values) and name != "source"
            some = [str(value) for value in values[:6]] + ["..."] * (len(values) > 6)
            told.append(f"{words} differs" + (f" ({', '.join(some)})" if plain else ""))
    return told


# --------------------------------------------------------------------------------------------------
# What a person sees while a sweep trains.
# --------------------------------------------------------------------------------------------------

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
