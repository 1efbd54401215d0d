"""The groups of ``conf/``, their kinds, and what of them a comparison may tune."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import nnexp.config.schema.dataset  # noqa: F401  # registers those that come with nnexp
from nnexp import registry
from nnexp.config.keys import options_of
from nnexp.config.schema.model import ModelConfig
from nnexp.config.schema.trainer import TrainerConfig

registry.register("model", "mlp", ModelConfig)

SCHEMAS: dict[str, Mapping[str, type[Any]]] = {
    **{
        group: registry.components(group)
        for group in ("model", "optimizer", "scheduler", "loss", "dataset")
    },
    "trainer": {"trainer": TrainerConfig},
}
"""By group the dataclass of each kind; they are views, to which a package of one's own may add."""

GLOBAL_GROUPS = ("experiment", "debug")  # whose files speak of the whole config
GROUPS = (*SCHEMAS, "baseline", *GLOBAL_GROUPS)

_TUNABLE = ("model", "optimizer", "scheduler", "loss", "trainer")


def tunable_keys() -> frozenset[str]:
    """The options of a network and of its training, ``optimizer.lr``, and their groups, which stand
    for all of theirs: ``optimizer``."""
    return _tunable_keys(registry.version())


@functools.lru_cache(maxsize=1)
def _tunable_keys(_: int) -> frozenset[str]:
    schemas = [(group, schema) for group in _TUNABLE for schema in SCHEMAS[group].values()]
    keys = {key for group, schema in schemas for key, _ in options_of(schema, f"{group}.")}
    return frozenset(keys.union(_TUNABLE))
