"""The tasks of a sweep, and when two of them share data or baselines. Without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnexp.config.schema import BaselinesConfig, Config, DatasetConfig
from nnexp.models.protocol import Network
from nnexp.runs.record import DatasetSummary
from nnexp.runs.run_log import LogFile

# --------------------------------------------------------------------------------------------------
# What there is to do in a sweep, as the main process and its workers both see it.
#
# Everything here can be pickled. This module does not import torch: the main process of a sweep
# composes and plans, and never computes.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A job of the sweep whose config is sound."""

    num: int  # Hydra's number of the job
    config: Config
    folder: Path
    arm: str
    log: LogFile | None = None  # None: it shall have none
    data: DatasetSummary | None = None  # once they have been looked at


@dataclass(frozen=True)
class Kind:
    """What runs must have in common to train together; the order is that of the plan's reasons."""

    source: str  # the data, however they are split
    num_train: int
    num_val: int
    network: Network
    batch_size: int
    drop_last: bool
    precision: str
    device: str  # cpu, cuda or cuda:N
    threads: int
    loss: str = "cross_entropy"  # with what runs must share of it


@dataclass(frozen=True)
class Inspection:
    """What a worker finds out about an entry before anything is planned."""

    kind: Kind
    num_elements: int  # P: numbers in a run's row of the flat buffers
    own_table: int  # bytes of a table that no run with another split shares
    data: DatasetSummary | None = None  # of the entry: the same for every split
    shared_table: int = 0  # bytes of the table where runs share it


@dataclass(frozen=True)
class Refused:
    """In one line why an entry cannot train."""

    error: str


@dataclass(frozen=True)
class Absent:
    """The entry's data are not on this machine, and nothing is to be fetched."""

    what: str  # the name of the data set


@dataclass(frozen=True)
class Machine:
    """The GPUs that the workers find."""

    num_gpus: int = 0
    gpu_bytes: int | None = None  # free memory of the fullest of those that are to be used

    def joined(self, other: Machine) -> Machine:
        """What two workers say together."""
        free = [seen for seen in (self.gpu_bytes, other.gpu_bytes) if seen is not None]
        return Machine(max(self.num_gpus, other.num_gpus), min(free, default=None))


@dataclass(frozen=True)
class Wanted:
    """One baseline on one split. Runs with the same key share what comes of it."""

    key: str
    name: str
    config: Config  # of a run that wants it, with this baseline alone


# --------------------------------------------------------------------------------------------------
# When two configs mean the same data, and two runs the same baseline. Without torch.
# --------------------------------------------------------------------------------------------------

SPLIT_OPTIONS = (
    "split_seed", "val_fraction", "test_fraction", "num_train", "train_fraction", "fraction",
    "scaling", "folds", "fold", "fold_file", "split_file",
)  # fmt: skip


def source_key(config: DatasetConfig) -> str:
    """The same for configs that mean the same source, however they split and scale it."""
    options = dataclasses.asdict(config)
    return repr([type(config).__name__, {k: options[k] for k in options if k not in SPLIT_OPTIONS}])


def wanted_baselines(config: Config) -> Iterator[Wanted]:
    """The baselines that a run is compared with, in the order of their options."""
    for name in _names(config.baseline):
        others = dict.fromkeys(other for other in _names(config.baseline) if other != name)
        options = dataclasses.replace(config.baseline, **others)
        alone = dataclasses.replace(config, baseline=options)
        key = repr((config.dataset, options, config.report.metric, *config.recorded_metrics))
        yield Wanted(key, name, alone)


def _names(options: BaselinesConfig) -> list[str]:
    return [name for name, of_one in vars(options).items() if dataclasses.is_dataclass(of_one)]
