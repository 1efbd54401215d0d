"""What waits for a worker: groups of runs, and baselines with the cache of their results."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import math
import pickle
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnexp.config.compose import names_of
from nnexp.errors import DataError
from nnexp.runs.failure_log import record_failure
from nnexp.runs.files import write_atomically
from nnexp.runs.record import RunResult, read_result
from nnexp.sweeps.plan import Plan, PlannedTask
from nnexp.sweeps.tasks import Entry, Kind, Wanted, wanted_baselines

# --------------------------------------------------------------------------------------------------
# The groups of a sweep: which wait, and what becomes of their runs.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # of a run whose worker died


@dataclass(eq=False)
class Group:
    """Runs that are handed out together."""

    planned: PlannedTask
    attempt: int = 1
    left: dict[int, Entry] = field(default_factory=dict)  # by number, those without a result

    def __post_init__(self) -> None:
        """None has a result yet."""
        self.left = {entry.num: entry for entry in self.planned.entries}


@dataclass
class Progress:
    """What a display shows. Costs are in microseconds of a core, as the plan has them."""

    runs: int = 0
    runs_done: int = 0
    failed: int = 0
    groups_in_flight: int = 0
    baselines: int = 0
    baselines_done: int = 0
    run_epochs: int = 0
    cost: float = 0.0
    cost_done: float = 0.0


class Queue:
    """Groups that wait, the longest first, and the fate of those that were handed out.

    Args:
        ended: called for every run that has its ``result.json``.
    """

    def __init__(self, plan: Plan, ended: Callable[[Entry, RunResult], None]) -> None:
        self._waiting = deque(Group(planned) for planned in plan.tasks)
        self._most: dict[Kind, int] = {}  # runs a group, where memory did not suffice for more
        self._ended = ended
        runs = sum(len(task.entries) for task in plan.tasks)
        self.progress = Progress(runs=runs, cost=plan.cost)

    def __len__(self) -> int:
        """Groups that wait."""
        return len(self._waiting)

    def next(self, suits: Callable[[Kind], bool] = lambda _: True) -> Group | None:
        """The next one of a kind that suits, which waits no longer."""
        for group in self._waiting:
            if suits(group.planned.kind):
                self._waiting.remove(group)
                return group
        return None

    def advance(self, group: Group, run_epochs: int) -> None:
        """A group has trained so many epochs of a run."""
        self.progress.run_epochs += run_epochs
        self.progress.cost_done += run_epochs * group.planned.cost_of_an_epoch

    def end(self, group: Group, num: int, result: RunResult) -> None:
        """A run of the group has its result."""
        entry = group.left.pop(num)
        self.progress.runs_done += 1
        self.progress.failed += result.status != "completed"
        self._ended(entry, result)

    def put_back(self, group: Group, error: str) -> None:
        """What is left of a group that broke as a whole waits again, in halves."""
        log.info("%d runs are trained as two groups: %s", len(group.left), error)
        self._put_first(group, math.ceil(len(group.left) / 2))

    def put_back_smaller(self, group: Group, error: str) -> None:
        """What is left of a group for which memory did not suffice waits again, in halves, and no
        group of the kind is tried again with as many runs."""
        kind, tried = group.planned.kind, len(group.planned.entries)
        most = math.ceil(tried / 2)
        if most < self._most.get(kind, tried):
            self._most[kind] = most
            log.warning(
                "%s; what is left of them starts anew, in groups of %d at most", error, most
            )
        for _ in range(len(self._waiting)):
            other = self._waiting.popleft()
            of_kind = other.planned.kind == kind
            self._waiting.extend(self._parts(other, self._most[kind]) if of_kind else [other])
        self._put_first(group, min(self._most[kind], math.ceil(len(group.left) / 2)))

    def _put_first(self, group: Group, most: int) -> None:
        self._waiting.extendleft(reversed(self._parts(group, most)))

    def _parts(self, group: Group, most: int) -> list[Group]:
        """What is left of a group, evenly, in groups of at most so many runs."""
        rest = tuple(group.left.values())
        count = math.ceil(len(rest) / max(1, most))
        bounds = [len(rest) * i // count for i in range(count + 1)]
        return [
            Group(group.planned.part(rest[start:stop]), group.attempt)
            for start, stop in itertools.pairwise(bounds)
        ]

    def lose(self, group: Group, how: str, *, innocent: bool) -> None:
        """The group's worker has died: its runs are tried once more, by another.

        Args:
            innocent: it was not busy with the group, which may be tried yet again.
        """
        self._take_written(group)
        if not group.left:
            return
        if innocent or group.attempt < _ATTEMPTS:
            log.warning("a worker process %s; its %d runs start anew", how, len(group.left))
            rest = group.planned.part(tuple(group.left.values()))
            self._waiting.append(Group(rest, group.attempt + (not innocent)))
        else:
            self._give_up(group, "failed", f"its worker process {how}, twice")

    def give_up_all(self, status: str, error: str, in_flight: list[Group]) -> None:
        """Runs without a result get one that says why they have no more."""
        for group in [*self._waiting, *in_flight]:
            self._take_written(group)
            self._give_up(group, status, error)
        self._waiting.clear()

    def _take_written(self, group: Group) -> None:
        """Runs that have their result, though the worker has not come to say so."""
        for num, entry in list(group.left.items()):
            with contextlib.suppress(DataError):
                self.end(group, num, read_result(entry.folder))

    def _give_up(self, group: Group, status: str, error: str) -> None:
        for num, entry in list(group.left.items()):
            self.end(group, num, unfinished(entry, status, error))


def unfinished(entry: Entry, status: str, error: str) -> RunResult:
    """Leave a ``result.json`` for a run that no worker will end."""
    return record_failure(
        entry.folder,
        error,
        status=status,
        keep=True,
        arm=entry.arm,
        config=dataclasses.asdict(entry.config),
        data=entry.data,
        **names_of(entry.config),
    )


# --------------------------------------------------------------------------------------------------
# What the baselines of a sweep have come to, in the folder that its workers share.
#
# The main process knows which are there and never reads one: an array in it would cost an import.
# --------------------------------------------------------------------------------------------------

Finding = dict[str, dict[str, Any]] | str
"""A baseline's results by its name; or in one line what is wrong with the config of all that want
it."""


class BaselineCache:
    """A file for each baseline of a split, by key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "baselines"

    def put(self, key: str, finding: Finding) -> None:
        """Let the others have it. Raises OSError."""
        write_atomically(self._place(key), pickle.dumps(finding))

    def get(self, key: str) -> Finding:
        """What was put there."""
        found: Finding = pickle.loads(self._place(key).read_bytes())
        return found

    def __contains__(self, key: str) -> bool:
        """Whether it was, as far as can be seen."""
        try:
            return self._place(key).exists()
        except OSError:
            return False

    def _place(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]


# --------------------------------------------------------------------------------------------------
# The baselines of a sweep: which are wanted, who computes which, and which are there.
# --------------------------------------------------------------------------------------------------


class BaselineScheduler:
    """Every baseline is computed once, for all runs that want it.

    Args:
        entries: in the order in which their baselines will be needed.
        baseline_cache: where what was computed is found.
    """

    def __init__(self, entries: Iterable[Entry], baseline_cache: BaselineCache) -> None:
        self._baseline_cache = baseline_cache
        self._open: dict[str, Wanted] = {}  # that nobody computes, in the order of need
        self._claimed: dict[str, Wanted] = {}
        self._wanted_by: defaultdict[str, set[int]] = defaultdict(set)  # runs without a result
        self._keys_of: dict[int, list[str]] = {}
        self._deaths: defaultdict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = {}  # by name, what the last one took
        self._left_out: dict[str, str] = {}  # why, by key
        for entry in entries:
            for wanted in wanted_baselines(entry.config):
                self._open.setdefault(wanted.key, wanted)
                self._wanted_by[wanted.key].add(entry.num)
                self._keys_of.setdefault(entry.num, []).append(wanted.key)
        self.total = len(self._open)
        self.done = 0

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those that are not there yet."""
        return [key for key in keys if key in self._open or key in self._claimed]

    def left_out(self, keys: Iterable[str]) -> dict[str, str]:
        """Why, of those that are settled without being there."""
        return {key: self._left_out[key] for key in keys if key in self._left_out}

    def claim(
        self, first: Collection[str] = (), *, left_alone: Collection[str] = ()
    ) -> Wanted | None:
        """One that nobody computes and some run waits for, which is then the caller's to compute.

        The dearest first, as far as is known, so that no long one is left for the end.

        Args:
            first: keys of those that come before all others.
            left_alone: names of those that others compute, unless they come first.
        """
        candidates = [self._open[key] for key in first if key in self._open]
        candidates = candidates or [
            wanted
            for wanted in self._open.values()
            if self._wanted_by[wanted.key] and wanted.name not in left_alone
        ]
        if not candidates:
            return None
        wanted = max(candidates, key=lambda wanted: self._seconds.get(wanted.name, 0.0))
        self._claimed[wanted.key] = self._open.pop(wanted.key)
        return wanted

    def settle(self, key: str, seconds: float | None = None, error: str | None = None) -> None:
        """It is there; or, for the reason that ``error`` is, never will be."""
        wanted = self._claimed.pop(key)
        self.done += 1
        if seconds is not None:
            self._seconds[wanted.name] = seconds
        if error is not None:
            self._left_out[key] = error
            log.warning("%s on %s is left out: %s", wanted.name, wanted.config.dataset.name, error)

    def lose(self, wanted: Wanted, how: str) -> None:
        """The worker that computed it has died. One that kills two workers is left out."""
        key = wanted.key
        self._deaths[key] += 1
        if key in self._baseline_cache:
            self.settle(key)
        elif self._deaths[key] < _ATTEMPTS:
            log.warning("a worker process %s while it computed %s", how, wanted.name)
            self._open = {key: self._claimed.pop(key), **self._open}
        else:
            self.settle(key, error=f"its worker process {how}, twice")

    def drop(self, num: int) -> None:
        """A run wants nothing any more."""
        for key in self._keys_of.pop(num, ()):
            self._wanted_by[key].discard(num)
