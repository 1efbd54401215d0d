"""Gradient boosting by LightGBM."""

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


@baseline("lightgbm", label="LightGBM")
@dataclass
class LightGBMConfig(OptionalBoostingConfig):
    """lightgbm.LGBMClassifier; every round adds a tree a class."""

    learning_rate: Any = tuned([0.05, 0.1, 0.2], float, gt=0)
    num_leaves: Any = tuned([7, 15, 31], int, ge=2)

    def require(self) -> None:
        """See ``Baseline.require``."""
        require_package("lightgbm")

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return LightGBMLearner(self, seed)


class LightGBMLearner(OptionalBoostingLearner):
    """The same numbers with any number of threads: it has one, and adds up by columns."""

    tuned = ("learning_rate", "num_leaves")

    def estimator(
        self, settings: Settings, x: Any, train: Arrays, places: list[int], held_out: Any
    ) -> tuple[Any, int]:
        from lightgbm import LGBMClassifier, early_stopping

        estimator = LGBMClassifier(
            **settings,
            n_estimators=self._config.max_iter,
            random_state=self._seed % 2**31,
            n_jobs=1,
            deterministic=True,
            force_col_wise=True,
            verbosity=-1,
        )
        if held_out is None:
            estimator.fit(x, train.y, categorical_feature=places)
            return estimator, self._config.max_iter
        estimator.fit(
            x,
            train.y,
            eval_X=held_out[0],
            eval_y=held_out[1],
            categorical_feature=places,
            callbacks=[early_stopping(self._config.patience, verbose=False)],
        )
        return estimator, estimator.best_iteration_

    def predicted(self, estimator: Any, x: Any) -> Any:
        # The booster has no names of columns to miss, which scikit-learn would warn of.
        found = estimator.booster_.predict(x, num_iteration=estimator.best_iteration_ or None)
        return found if found.ndim == 2 else _both(found)


def _both(of_second: Any) -> Any:
    """Probabilities [M, 2] from those of the second class [M]."""
    import numpy as np

    return np.stack([1 - of_second, of_second], axis=1)
