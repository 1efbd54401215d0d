"""The baselines that a run is compared with."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from nnexp import registry
from nnexp.baselines.boosting import BoostingConfig
from nnexp.baselines.forest import ForestConfig
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.logistic_regression import LogisticRegressionConfig
from nnexp.baselines.majority import MajorityConfig
from nnexp.baselines.svm import SVMConfig


@dataclass
class BaselinesConfig:
    """The baselines that a run is compared with, by name."""

    knn: KNNConfig | None = None
    majority: MajorityConfig | None = None
    logistic_regression: LogisticRegressionConfig | None = None
    svm: SVMConfig | None = None
    forest: ForestConfig | None = None
    boosting: BoostingConfig | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """By values: the class may be one that ``baselines_config`` has made."""
        return _remade, (
            {field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
        )


def baselines_config() -> type[BaselinesConfig]:
    """``BaselinesConfig`` with a field for each baseline of another package."""
    return _baselines_config(registry.version())


@functools.lru_cache(maxsize=1)
def _baselines_config(_: int) -> type[BaselinesConfig]:
    own = {field.name for field in dataclasses.fields(BaselinesConfig)}
    added: list[Any] = [
        (name, cls | None, dataclasses.field(default=None))
        for name, cls in registry.components("baseline").items()
        if name not in own
    ]
    if not added:
        return BaselinesConfig
    made: type[BaselinesConfig] = dataclasses.make_dataclass(
        "BaselinesConfig", added, bases=(BaselinesConfig,)
    )
    return made


def _remade(values: dict[str, Any]) -> BaselinesConfig:
    """Unpickling the values has imported their modules, which register their baselines."""
    return baselines_config()(**values)
