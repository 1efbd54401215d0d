"""The groups of a sweep: which wait, and what becomes of their runs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from nnexp.config.arm import names_of
from nnexp.errors import DataError
from nnexp.results.failure import record_failure
from nnexp.results.record import RunResult, read_result
from nnexp.sweep.plan import Plan, PlannedTask
from nnexp.sweep.tasks import Entry, Kind

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
