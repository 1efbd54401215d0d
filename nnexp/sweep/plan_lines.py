"""A plan in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnexp.sweep.group_size import why_alone
from nnexp.sweep.keys import SPLIT_OPTIONS
from nnexp.sweep.plan import Plan, PlannedTask
from nnexp.sweep.tasks import Kind

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
