"""Boosting by packages that nnexp does not need, and an extra installs."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import FittedConfig, Learner, Settings, grid, random_state
from nnexp.baselines.categories import Categories
from nnexp.config.fields import ranged
from nnexp.errors import ConfigError
from nnexp.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@dataclass
class OptionalBoostingConfig(FittedConfig):
    """Boosting that stops by the validation loss, of a package that may be absent."""

    max_iter: int = ranged(1000, ge=1)  # rounds at most; as many are kept as serve validation best
    patience: int = ranged(20, ge=1)  # rounds without a lower validation loss that end a fit
    max_rows: int | None = ranged(50_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)
    max_cells: int | None = ranged(200_000_000, ge=1)  # rows x features x trees a round


def require_package(package: str) -> None:
    """Raise ``ConfigError`` where the package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"baseline={package}: {package} is not installed; pip install 'nnexp[boosting]'"
        )


class OptionalBoostingLearner(Learner):
    """As ``nnexp.baselines.boosting``, by the estimator of another package."""

    tuned: tuple[str, ...]

    def __init__(self, config: Any, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    @abstractmethod
    def estimator(
        self, settings: Settings, x: Any, train: Arrays, places: list[int], held_out: Any
    ) -> tuple[Any, int]:
        """Fit one, with an early stop where there are held-out rows (x, y); and its rounds."""

    def most_rows(self, num_features: int, num_classes: int) -> int | None:
        config: OptionalBoostingConfig = self._config
        if config.max_cells is None:
            return None
        trees = num_classes if num_classes > 2 else 1
        return max(config.max_cells // (num_features * trees), config.tune_rows or 1)

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in grid(self._config, *self.tuned)]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        return self._fit(group, train, None)

    def fit_watched(self, group: Sequence[Settings], train: Arrays, val: Arrays) -> Any:
        return self._fit(group, train, val)

    def _fit(self, group: Sequence[Settings], train: Arrays, val: Arrays | None) -> Any:
        (settings,) = group
        categories = Categories.of(train.one_hot)
        x = categories.coded(train.x)
        held_out = None if val is None else (categories.coded(val.x), val.y)
        places = categories.places(x.shape[1])
        return categories, *self.estimator(settings, x, train, places, held_out)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        categories, estimator, _ = model
        return [np.asarray(self.predicted(estimator, categories.coded(x)), dtype=np.float64)]

    def predicted(self, estimator: Any, x: Any) -> Any:
        """Probabilities [M, C]."""
        return estimator.predict_proba(x)

    def learned(self, model: Any) -> Settings:
        return {"n_iter": model[2]}

    def limits(self, model: Any) -> list[str]:
        most = self._config.max_iter
        return [f"n_iter={most} is the largest allowed"] * (model[2] == most)

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        trees = num_classes if num_classes > 2 else 1
        return [(num_rows, "rows"), (num_features, "features"), (trees, "trees a round")]
