"""The most frequent class, whatever the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import Baseline, Learner, Settings, baseline
from nnexp.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("majority", label="majority class")
@dataclass
class MajorityConfig(Baseline):
    """The most frequent class of the training rows, whatever the row."""

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return MajorityLearner(self, seed)


class MajorityLearner(Learner):
    """The shares of the classes among the training rows, whatever the row."""

    def __init__(self, config: MajorityConfig, seed: int) -> None:
        """There is nothing to set."""

    def groups(self) -> list[list[Settings]]:
        return [[{}]]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.dummy import DummyClassifier

        return DummyClassifier(strategy="prior").fit(train.x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict_proba(x)]
