"""Support vector machines with an RBF kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import FittedConfig, Learner, Settings, baseline, grid
from nnexp.config.fields import ranged, tuned
from nnexp.lazy import np
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    import numpy.typing as npt

    from nnexp.baselines.base import Floats
    from nnexp.baselines.selection import Arrays

    Features = npt.NDArray[np.float32]


@baseline("svm", label="SVM (RBF)", tasks=(CLASSIFICATION, REGRESSION))
@dataclass
class SVMConfig(FittedConfig):
    """sklearn.svm.SVC with an RBF kernel; of a regression SVR, whose errors count from a tenth of
    the target's standard deviation on."""

    C: Any = tuned([0.1, 1.0, 10.0, 100.0], float, gt=0)  # less is more penalty
    gamma: Any = tuned([0.03, 0.1, 0.3, 1.0, 3.0, 10.0], float, gt=0)  # times gamma="scale"
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(3_000, ge=1)

    def learner(self, seed: int) -> Learner:
        """See ``Baseline.learner``."""
        return SVMLearner(self, seed)

    def quantity_learner(self, seed: int) -> Learner:
        """See ``Baseline.quantity_learner``."""
        return SVRLearner(self, seed)


class SVMLearner(Learner):
    """One against one, with an RBF kernel. Of equal votes the summed confidences decide.

    Its probabilities are a softmax of the decision values, divided by a temperature (Guo et al.
    2017, "On calibration of modern neural networks"), which leaves every prediction as it is. The
    temperature is fitted to decision values on training rows that a fit did not have, by
    cross-validation, as scikit-learn's ``CalibratedClassifierCV(method="temperature",
    ensemble=False)`` does, and for the chosen setting alone.
    """

    note = (
        "probabilities: softmax of decision values, temperature by cross-validation on the "
        "training rows"
    )
    has_probabilities = False

    def __init__(self, config: SVMConfig, seed: int) -> None:
        """It draws nothing at random."""
        self._config = config

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in grid(self._config, "C", "gamma")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.svm import SVC

        (settings,) = group
        x = train.x.astype(np.float64)
        gamma = settings["gamma"] / (x.shape[1] * (x.var() or 1.0))
        return SVC(C=settings["C"], gamma=gamma, break_ties=True, cache_size=500).fit(x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        values = model.decision_function(x)
        return [np.stack([-values, values], 1) if values.ndim == 1 else values]

    def calibration(self, settings: Settings, train: Arrays) -> float:
        """The temperature of the least log-loss on rows that were held out; 1 where none can be."""
        folds = _folds(train.y)
        outputs, y = [], []
        for fold in range(_FOLDS):
            held = folds == fold
            if held.any():
                model = self.fit([settings], replace(train, x=train.x[~held], y=train.y[~held]))
                outputs += self.outputs(model, [settings], train.x[held])
                y.append(train.y[held])
        return _temperature(np.concatenate(outputs), np.concatenate(y)) if y else 1.0

    def probabilities(self, outputs: Floats, calibration: float) -> Floats:
        from scipy.special import softmax

        found: Floats = softmax(outputs / calibration, axis=1)
        return found


class SVRLearner(Learner):
    """Of a regression, with an RBF kernel."""

    def __init__(self, config: SVMConfig, seed: int) -> None:
        """It draws nothing at random."""
        self._config = config

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in grid(self._config, "C", "gamma")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.svm import SVR

        (settings,) = group
        x = train.x.astype(np.float64)
        gamma = settings["gamma"] / (x.shape[1] * (x.var() or 1.0))
        return SVR(C=settings["C"], gamma=gamma, epsilon=0.1, cache_size=500).fit(x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict(x)]


_FOLDS = 5


def _folds(y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which fold holds out each training row [M]: those of a class in turn, and none (-1) of a
    class with a single row, without which it could not be learned."""
    folds = np.full(len(y), -1)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        if len(rows) > 1:
            folds[rows] = np.arange(len(rows)) % _FOLDS
    return folds


def _temperature(outputs: Floats, y: npt.NDArray[np.int64]) -> float:
    """Of the least log-loss, from 0.001 to 1,000.

    Few rows may all be right, which would make the SVM certain of everything. As in
    Platt 1999 ("Probabilistic outputs for support vector machines") the right class of a row
    counts (M + 1) / (M + 2), not 1; the rest is its strongest rival's.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, rest = np.arange(len(y)), 1 / (len(y) + 2)
    rivals = outputs.copy()
    rivals[rows, y] = -np.inf
    rival = rivals.argmax(1)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(outputs / math.exp(log_temperature), axis=1)
        return -float(((1 - rest) * logs[rows, y] + rest * logs[rows, rival]).mean())

    bound = math.log(1000)
    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)
