"""The groups of ``conf/``, their kinds, and what of them a comparison may tune."""

from __future__ import annotations

import functools
from typing import Any

from nnexp.config.keys import options_of
from nnexp.config.schema.dataset import (
    ArraysConfig,
    BundledConfig,
    CSVConfig,
    GeneratedConfig,
    IDXConfig,
)
from nnexp.config.schema.model import ModelConfig
from nnexp.config.schema.optimizer import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    RMSpropConfig,
    SGDConfig,
)
from nnexp.config.schema.scheduler import (
    ConstantConfig,
    CosineConfig,
    ExponentialConfig,
    StepConfig,
)
from nnexp.config.schema.trainer import TrainerConfig

SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "model": {"mlp": ModelConfig},
    "optimizer": {
        "sgd": SGDConfig,
        "adagrad": AdagradConfig,
        "adam": AdamConfig,
        "adamw": AdamWConfig,
        "rmsprop": RMSpropConfig,
    },
    "scheduler": {
        "constant": ConstantConfig,
        "cosine": CosineConfig,
        "step": StepConfig,
        "exponential": ExponentialConfig,
    },
    "dataset": {
        "bundled": BundledConfig,
        "generated": GeneratedConfig,
        "idx": IDXConfig,
        "csv": CSVConfig,
        "arrays": ArraysConfig,
    },
    "trainer": {"trainer": TrainerConfig},
}

GLOBAL_GROUPS = ("experiment", "debug")  # whose files speak of the whole config
GROUPS = (*SCHEMAS, "baseline", *GLOBAL_GROUPS)

_TUNABLE = ("model", "optimizer", "scheduler", "trainer")


@functools.cache
def tunable_keys() -> frozenset[str]:
    """The options of a network and of its training, ``optimizer.lr``, and their groups, which stand
    for all of theirs: ``optimizer``."""
    schemas = [(group, schema) for group in _TUNABLE for schema in SCHEMAS[group].values()]
    keys = {key for group, schema in schemas for key, _ in options_of(schema, f"{group}.")}
    return frozenset(keys.union(_TUNABLE))
