"""Gradient boosting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import FittedConfig, Learner, Settings, baseline, grid, random_state
from nnexp.baselines.categories import Categories
from nnexp.config.fields import ranged, tuned
from nnexp.lazy import np
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("boosting", label="gradient boosting", tasks=(CLASSIFICATION, REGRESSION))
@dataclass
class BoostingConfig(FittedConfig):
    """sklearn.ensemble.HistGradientBoostingClassifier; every round adds a tree a class. Of a
    regression HistGradientBoostingRegressor, by the squared error."""

    learning_rate: Any = tuned([0.05, 0.1, 0.2], float, gt=0)
    max_leaf_nodes: Any = tuned([7, 15, 31], int, ge=2)
    max_iter: int = ranged(1000, ge=1)  # rounds at most; as many are kept as serve validation best
    patience: int = ranged(20, ge=1)  # rounds without a lower validation loss that end a fit
    max_rows: int | None = ranged(50_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)
    max_cells: int | None = ranged(200_000_000, ge=1)  # rows x features x trees a round

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return BoostingLearner(self, seed)

    def quantity_learner(self, seed: int) -> Learner:
        """See ``Baseline.quantity_learner``."""
        return BoostingOfMeansLearner(self, seed)


@dataclass(frozen=True)
class Boosted:
    """A fitted estimator, of which the first ``n_iter`` rounds count."""

    estimator: Any
    categories: Categories
    n_iter: int


class BoostingLearner(Learner):
    """Trees on binned features, each round's on what the earlier ones leave.

    Rounds are added until the validation loss has not fallen for ``patience`` of them, and those up
    to its least are kept: no training row is held out for stopping early. Columns of categories are
    split by sets of them, not by one category at a time.
    """

    def __init__(self, config: BoostingConfig, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    def most_rows(self, num_features: int, num_classes: int) -> int | None:
        """So many that ``max_cells`` is kept, but enough to compare settings."""
        config = self._config
        if config.max_cells is None:
            return None
        return max(config.max_cells // (num_features * _trees(num_classes)), config.tune_rows or 1)

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in grid(self._config, "learning_rate", "max_leaf_nodes")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Boosted:
        """All of ``max_iter`` rounds."""
        categories = Categories.of(train.one_hot)
        x = categories.coded(train.x)
        estimator = self._estimator(group, categories, x.shape[1]).set_params(early_stopping=False)
        return Boosted(estimator.fit(x, train.y), categories, self._config.max_iter)

    def fit_watched(self, group: Sequence[Settings], train: Arrays, val: Arrays) -> Boosted:
        categories = Categories.of(train.one_hot)
        x, val_x = categories.coded(train.x), categories.coded(val.x)
        estimator = self._estimator(group, categories, x.shape[1])
        estimator.fit(x, train.y, X_val=val_x, y_val=val.y)
        scores = estimator.validation_score_[1:]  # minus the losses; the first is before any tree
        return Boosted(estimator, categories, int(scores.argmax()) + 1)

    def _estimator(
        self, group: Sequence[Settings], categories: Categories, num_columns: int
    ) -> Any:
        (settings,) = group
        return self._kind()(
            **settings,
            max_iter=self._config.max_iter,
            early_stopping=True,
            n_iter_no_change=self._config.patience,
            tol=0.0,
            categorical_features=categories.places(num_columns) or None,
            random_state=self._seed,
        )

    def _kind(self) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier

    def outputs(self, model: Boosted, group: Sequence[Settings], x: Features) -> list[Floats]:
        staged = model.estimator.staged_predict_proba(model.categories.coded(x))
        return [next(itertools.islice(staged, model.n_iter - 1, None))]

    def learned(self, model: Boosted) -> Settings:
        return {"n_iter": model.n_iter}

    def limits(self, model: Boosted) -> list[str]:
        most = self._config.max_iter
        return [f"n_iter={most} is the largest allowed"] * (model.n_iter == most)

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        trees = _trees(num_classes)
        return [(num_rows, "rows"), (num_features, "features"), (trees, "trees a round")]


class BoostingOfMeansLearner(BoostingLearner):
    """Of a regression."""

    def _kind(self) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor

    def outputs(self, model: Boosted, group: Sequence[Settings], x: Features) -> list[Floats]:
        staged = model.estimator.staged_predict(model.categories.coded(x))
        return [next(itertools.islice(staged, model.n_iter - 1, None))]


def _trees(num_classes: int) -> int:
    """Of one round."""
    return num_classes if num_classes > 2 else 1
