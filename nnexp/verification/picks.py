"""The runs of a sweep, and a few of them that stand for the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnexp.errors import DataError
from nnexp.runs.folder import RESULT_FILE
from nnexp.runs.record import RunResult, read_result

REPEATABLE = ("completed", "diverged")


@dataclass(frozen=True)
class Recorded:
    """A run that has ended."""

    name: str  # its number in the sweep: the path of its folder from that of the sweep
    folder: Path  # absolute
    result: RunResult


def find_runs(folder: Path) -> list[Recorded]:
    """The runs below a sweep's folder that can be trained again, in the order of their numbers.

    ``folder`` may also be that of a run. Results that a later run has set aside are left out.

    Raises:
        DataError: no such folder, a ``result.json`` that is damaged, or no run that has completed
            or diverged.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    places = [path.parent for path in folder.rglob(RESULT_FILE)]
    places = [place for place in places if "previous" not in place.relative_to(folder).parts]
    runs = [Recorded(_name(place, folder), place, read_result(place)) for place in places]
    if not runs:
        raise DataError(f"{folder}: no run in it has a {RESULT_FILE}")
    repeatable = [run for run in runs if run.result.status in REPEATABLE]
    if not repeatable:
        statuses = [run.result.status for run in runs]
        counts = ", ".join(f"{statuses.count(s)} {s}" for s in sorted(set(statuses)))
        raise DataError(f"{folder}: no run in it has completed: {counts}")
    return sorted(repeatable, key=lambda run: _order(run.name))


def picked(runs: list[Recorded], count: int | None) -> list[Recorded]:
    """``count`` of the runs, in their order; all if it is None. The same ones every time.

    As many arms as can be, evenly over the sweep, and of each another seed; but those first that
    had company, and of an arm the runs of its largest group.
    """
    if count is None or count >= len(runs):
        return runs
    arms: dict[tuple[str, str], list[Recorded]] = {}
    for run in runs:
        arms.setdefault((run.result.dataset.name, run.result.arm), []).append(run)
    queues = [_by_company(arm, place) for place, arm in enumerate(arms.values())]
    chosen: list[Recorded] = []
    while len(chosen) < count:
        wanted = count - len(chosen)
        with_company = [queue for queue in queues if queue and queue[0].result.group_size > 1]
        offered = with_company or [queue for queue in queues if queue]
        chosen += [queue.pop(0) for queue in _evenly(offered, wanted)]
    return [run for run in runs if run in chosen]


def _by_company(arm: list[Recorded], turn: int) -> list[Recorded]:
    """The runs of an arm, largest group first; which of equal ones comes first takes turns."""
    turn %= len(arm)
    return sorted(arm[turn:] + arm[:turn], key=lambda run: -run.result.group_size)


def _evenly(queues: list[list[Recorded]], count: int) -> list[list[Recorded]]:
    count = min(count, len(queues))
    return [queues[place * len(queues) // count] for place in range(count)]


def _name(place: Path, folder: Path) -> str:
    return place.name if place == folder else place.relative_to(folder).as_posix()


def _order(name: str) -> list[tuple[bool, int, str]]:
    """Numbers by their size, before other names."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in name.split("/")
    ]
