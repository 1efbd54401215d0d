"""Gradient boosting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import FittedConfig, Learner, Settings, baseline, grid, random_state
from nnexp.config.fields import ranged, tuned
from nnexp.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("boosting", label="gradient boosting")
@dataclass
class BoostingConfig(FittedConfig):
    """sklearn.ensemble.HistGradientBoostingClassifier; every iteration adds a tree a class."""

    learning_rate: Any = tuned([0.1, 0.2], float, gt=0)
    max_leaf_nodes: Any = tuned([15, 31], int, ge=2)
    max_iter: Any = tuned([25, 50, 100], int, ge=1)  # all from one fit, of the most iterations
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)
    max_cells: int | None = ranged(200_000_000, ge=1)  # rows x features x trees an iteration

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return BoostingLearner(self, seed)


class BoostingLearner(Learner):
    """Trees on binned features, each iteration's on what the earlier ones leave.

    The number of iterations is a setting like the others, so that no training row is held out
    for stopping early.
    """

    def __init__(self, config: BoostingConfig, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    def groups(self) -> list[list[Settings]]:
        stages = sorted(self._config.max_iter)
        fits = grid(self._config, "learning_rate", "max_leaf_nodes")
        return [[{**settings, "max_iter": stage} for stage in stages] for settings in fits]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            **group[-1], early_stopping=False, random_state=self._seed
        )
        return model.fit(train.x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        stages = {settings["max_iter"] for settings in group}
        if stages == {model.n_iter_}:
            return [model.predict_proba(x)]
        staged = itertools.islice(model.staged_predict_proba(x), max(stages))
        return [found for stage, found in enumerate(staged, 1) if stage in stages]

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        trees = num_classes if num_classes > 2 else 1
        return [(num_rows, "rows"), (num_features, "features"), (trees, "trees an iteration")]
