"""What the main process and its workers say to each other. Everything here can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnexp.results.record import RunResult
from nnexp.sweep.tasks import Absent, Entry, Kind, Machine, Prospect, Refused, Wanted

# ── to a worker ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Survey:
    """Look at the data of these entries, which share a source."""

    entries: tuple[Entry, ...]
    fetch: bool  # data that are absent


@dataclass(frozen=True)
class Train:
    """Train these entries together."""

    entries: tuple[Entry, ...]
    kind: Kind
    device: str  # where: cpu, cuda:0, ...


@dataclass(frozen=True)
class Compute:
    """Compute a baseline and leave what comes of it in the folder that all workers share."""

    wanted: Wanted
    device: str


@dataclass(frozen=True)
class Found:
    """To ``Want``: all of them are there, but for those that are left out."""

    left_out: Mapping[str, str] = field(default_factory=dict)  # reasons by key


@dataclass(frozen=True)
class Stop:
    """Leave off; runs that are not finished are interrupted."""


# ── from a worker ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True)
class Unable:
    """The worker cannot work, and ends."""

    error: str


@dataclass(frozen=True)
class Surveyed:
    """For each entry what was found."""

    found: tuple[Prospect | Refused | Absent, ...]
    machine: Machine


@dataclass(frozen=True)
class Want:
    """A run waits for these baselines. The answer is ``Compute`` or, once all are there, ``Found``;
    after a ``Compute`` it has to be asked again."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """A baseline is there, or cannot be handed on."""

    key: str
    seconds: float
    error: str | None = None  # why, in one line


@dataclass(frozen=True)
class Advanced:
    """So many run-epochs have been trained since the last such message."""

    run_epochs: int


@dataclass(frozen=True)
class Ended:
    """A run has its ``result.json``."""

    num: int
    result: RunResult


@dataclass(frozen=True)
class Trained:
    """The task is over; all its runs have ended."""


@dataclass(frozen=True)
class Broken:
    """The group as a whole could not be trained.

    Fewer runs at a time may fit into memory, and a run that breaks its group is found by halving.
    """

    error: str
    out_of_memory: bool = False


@dataclass(frozen=True)
class Warned:
    """A line of the worker's log."""

    level: int
    name: str
    text: str
