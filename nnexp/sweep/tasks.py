"""What the main process and its workers say to each other. Everything here can be pickled.

This module does not import torch: the main process of a sweep composes and plans, and never
computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnexp.config.schema import Config
from nnexp.models.structure import Structure
from nnexp.results.record import RunResult


@dataclass(frozen=True)
class Entry:
    """A job of the sweep whose config is sound."""

    num: int  # Hydra's number of the job
    config: Config
    folder: Path
    arm: str


@dataclass(frozen=True)
class Kind:
    """What runs must have in common to train together; the order is that of the plan's reasons."""

    source: str  # the data, however they are split
    num_train: int
    num_val: int
    structure: Structure
    batch_size: int
    drop_last: bool
    precision: str
    device: str  # cpu or cuda
    threads: int


@dataclass(frozen=True)
class Prospect:
    """What a worker finds out about an entry before anything is planned."""

    kind: Kind
    num_numbers: int  # P: numbers in a run's row of the flat buffers
    own_table: int  # bytes of a table that no run with another split shares


# ── to a worker ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Survey:
    """Look at the data of these entries."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Train:
    """Train these entries together."""

    entries: tuple[Entry, ...]
    kind: Kind
    device: str  # where: cpu, cuda:0, ...


@dataclass(frozen=True)
class Answer:
    """To ``Want``: baselines that are known, and the key of one that the worker has to compute."""

    known: dict[str, Baselined]
    compute: str | None


@dataclass(frozen=True)
class Stop:
    """Leave off; runs that are not finished are interrupted."""


# ── from a worker ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Surveyed:
    """A prospect for each entry, or in one line why it cannot train."""

    prospects: tuple[Prospect | str, ...]
    num_gpus: int


@dataclass(frozen=True)
class Want:
    """Baselines that runs of a group wait for, by key."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """A baseline that the worker was told to compute."""

    key: str
    found: Baselined


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


@dataclass(frozen=True)
class Warned:
    """A line of the worker's log."""

    level: int
    name: str
    text: str


Baselined = dict[str, dict[str, Any]] | str
"""The results of a run's baselines, or in one line why there are none."""
