"""Multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import FittedConfig, Learner, Settings, baseline, grid
from nnexp.config.fields import ranged, tuned
from nnexp.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("logistic_regression", label="logistic regression")
@dataclass
class LogisticRegressionConfig(FittedConfig):
    """sklearn.linear_model.LogisticRegression: multinomial, with an L2 penalty."""

    C: Any = tuned([0.01, 0.1, 1.0, 10.0], float, gt=0)  # less is more penalty
    max_iter: int = ranged(1000, ge=1)

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return LogisticRegressionLearner(self, seed)


class LogisticRegressionLearner(Learner):
    """Multinomial, by L-BFGS in float64: in float32 it stops early."""

    def __init__(self, config: LogisticRegressionConfig, seed: int) -> None:
        """It draws nothing at random."""
        self._config = config

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in grid(self._config, "C")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.linear_model import LogisticRegression

        (settings,) = group
        model = LogisticRegression(C=settings["C"], max_iter=self._config.max_iter)
        return model.fit(train.x.astype(np.float64), train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict_proba(x.astype(np.float64))]
