"""When two configs mean the same data, and two runs the same baseline. Without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from nnexp.config.schema import BaselinesConfig, Config, DatasetConfig
from nnexp.sweep.tasks import Wanted

SPLIT_OPTIONS = (
    "split_seed", "val_fraction", "test_fraction", "num_train", "train_fraction", "scaling",
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
        key = repr((config.dataset, options, *_distinct(config.metrics)))
        yield Wanted(key, name, alone)


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _names(options: BaselinesConfig) -> list[str]:
    return [name for name, of_one in vars(options).items() if dataclasses.is_dataclass(of_one)]
