"""Gradient boosting by CatBoost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import Learner, Settings, baseline
from nnexp.baselines.optional import (
    OptionalBoostingConfig,
    OptionalBoostingLearner,
    require_package,
)
from nnexp.config.fields import tuned

if TYPE_CHECKING:
    from nnexp.baselines.selection import Arrays


@baseline("catboost", label="CatBoost")
@dataclass
class CatBoostConfig(OptionalBoostingConfig):
    """catboost.CatBoostClassifier, whose trees are symmetric."""

    learning_rate: Any = tuned([0.05, 0.1, 0.2], float, gt=0)
    depth: Any = tuned([4, 6, 8], int, ge=1, le=16)

    def require(self) -> None:
        """See ``Baseline.require``."""
        require_package("catboost")

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return CatBoostLearner(self, seed)


class CatBoostLearner(OptionalBoostingLearner):
    """On one thread; a column of categories is replaced by statistics of the classes."""

    tuned = ("learning_rate", "depth")

    def estimator(
        self, settings: Settings, x: Any, train: Arrays, places: list[int], held_out: Any
    ) -> tuple[Any, int]:
        from catboost import CatBoostClassifier, Pool

        estimator = CatBoostClassifier(
            **settings,
            iterations=self._config.max_iter,
            loss_function="MultiClass" if train.y.max() > 1 else "Logloss",
            random_seed=self._seed % 2**31,
            thread_count=1,
            allow_writing_files=False,
            verbose=False,
        )
        estimator.nnexp_places = places
        pool = Pool(_cells(x, places), train.y, cat_features=places)
        if held_out is None:
            estimator.fit(pool)
            return estimator, self._config.max_iter
        val = Pool(_cells(held_out[0], places), held_out[1], cat_features=places)
        estimator.fit(pool, eval_set=val, early_stopping_rounds=self._config.patience)
        return estimator, estimator.tree_count_  # those after the best round are dropped

    def predicted(self, estimator: Any, x: Any) -> Any:
        return estimator.predict_proba(_cells(x, estimator.nnexp_places), thread_count=1)


def _cells(x: Any, places: list[int]) -> Any:
    """Numbers, and whole numbers where there are categories; -1 is none of them."""
    if not places:
        return x
    import numpy as np

    cells = x.astype(object)
    cells[:, places] = np.nan_to_num(x[:, places], nan=-1).astype(int)
    return cells
