"""Random forests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import (
    FittedConfig,
    Learner,
    Settings,
    baseline,
    grid,
    random_state,
    smoothed,
)
from nnexp.config.fields import Problems, ranged, tuned
from nnexp.lazy import np
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("forest", label="random forest", tasks=(CLASSIFICATION, REGRESSION))
@dataclass
class ForestConfig(FittedConfig):
    """sklearn.ensemble.RandomForestClassifier, or of a regression RandomForestRegressor."""

    n_estimators: int = ranged(200, ge=1)  # trees; more are better, if slowly: nothing to tune
    max_features: Any = tuned(["sqrt", 0.3])  # tried at a split: sqrt, log2 or a share of all
    min_samples_leaf: Any = tuned([1, 3], int, ge=1)
    max_cells: int | None = ranged(4_000_000, ge=1)  # rows x features tried at a split

    def check_rules(self) -> Problems:
        """What scikit-learn takes."""
        for value in self.max_features:
            is_share = type(value) in (int, float) and 0 < value <= 1
            if not is_share and value not in ("sqrt", "log2"):
                yield "max_features", "must be sqrt, log2 or above 0 and at most 1, or a list"

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return ForestLearner(self, seed)

    def quantity_learner(self, seed: int) -> Learner:
        """See ``Baseline.quantity_learner``."""
        return ForestOfMeansLearner(self, seed)


class ForestLearner(Learner):
    """Trees on bootstrap samples; the mean of their leaves' shares, smoothed as so many votes."""

    def __init__(self, config: ForestConfig, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    def groups(self) -> list[list[Settings]]:
        return [[s] for s in grid(self._config, "max_features", "min_samples_leaf")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        (settings,) = group
        trees = self._config.n_estimators
        settings = {**settings, "max_features": _share(settings["max_features"])}
        model = RandomForestClassifier(trees, **settings, random_state=self._seed, n_jobs=1)
        return model.fit(train.x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict_proba(x)]

    def probabilities(self, outputs: Floats, calibration: Any) -> Floats:
        return smoothed(outputs, self._config.n_estimators)

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        share = settings["max_features"]
        functions = {"sqrt": math.sqrt, "log2": math.log2}
        tried = functions[share](num_features) if share in functions else share * num_features
        return [(num_rows, "rows"), (max(1, int(tried)), "features tried at a split")]


class ForestOfMeansLearner(ForestLearner):
    """Of a regression: the mean of their leaves' means."""

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        (settings,) = group
        trees = self._config.n_estimators
        settings = {**settings, "max_features": _share(settings["max_features"])}
        model = RandomForestRegressor(trees, **settings, random_state=self._seed, n_jobs=1)
        return model.fit(train.x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict(x)]


def _share(max_features: str | float) -> str | float:
    """1 is all features, where scikit-learn takes the whole number 1 for one feature."""
    return max_features if isinstance(max_features, str) else float(max_features)
