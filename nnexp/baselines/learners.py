"""The models of scikit-learn that serve as baselines.

What they draw at random follows from the split's seed, never from a global generator, and each
computes on one thread: sums of several threads would differ in their last bits.

Axis legend: ``M`` rows, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from nnexp.baselines.choice import Settings
from nnexp.baselines.data import Arrays
from nnexp.baselines.fitted import Floats, Learner
from nnexp.config.schema import (
    BoostingConfig,
    ForestConfig,
    LogisticRegressionConfig,
    MajorityConfig,
    SVMConfig,
)

Features = npt.NDArray[np.float32]


def random_state(seed: int) -> int:
    """A seed as scikit-learn takes it, of 32 bits."""
    return seed % 2**32


class Majority(Learner):
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


class LogisticRegression(Learner):
    """Multinomial, by L-BFGS in float64: in float32 it stops early."""

    def __init__(self, config: LogisticRegressionConfig, seed: int) -> None:
        """It draws nothing at random."""
        self._config = config

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in _grid(self._config, "C")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.linear_model import LogisticRegression

        (settings,) = group
        model = LogisticRegression(C=settings["C"], max_iter=self._config.max_iter)
        return model.fit(train.x.astype(np.float64), train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict_proba(x.astype(np.float64))]


class SVM(Learner):
    """One against one, with an RBF kernel. Of equal votes the summed confidences decide.

    Its probabilities are a softmax of the decision values, divided by a temperature that is fitted
    on the validation rows (Guo et al. 2017, "On calibration of modern neural networks"). This
    leaves every prediction as it is, other than the calibration that scikit-learn has for it.
    """

    note = "probabilities: softmax of decision values, temperature fitted on the validation rows"

    def __init__(self, config: SVMConfig, seed: int) -> None:
        """It draws nothing at random."""
        self._config = config

    def groups(self) -> list[list[Settings]]:
        return [[settings] for settings in _grid(self._config, "C", "gamma")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.svm import SVC

        (settings,) = group
        x = train.x.astype(np.float64)
        gamma = settings["gamma"] / (x.shape[1] * (x.var() or 1.0))
        return SVC(C=settings["C"], gamma=gamma, break_ties=True, cache_size=500).fit(x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        values = model.decision_function(x)
        return [np.stack([-values, values], 1) if values.ndim == 1 else values]

    def calibration(self, outputs: Floats, y: npt.NDArray[np.int64]) -> float:
        """The temperature of the least log-loss, from 0.001 to 1,000.

        Few validation rows may all be right, which would make the SVM certain of everything. As in
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

    def probabilities(self, outputs: Floats, calibration: float) -> Floats:
        from scipy.special import softmax

        found: Floats = softmax(outputs / calibration, axis=1)
        return found


class Forest(Learner):
    """Trees on bootstrap samples; their mean."""

    def __init__(self, config: ForestConfig, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    def groups(self) -> list[list[Settings]]:
        return [[s] for s in _grid(self._config, "max_features", "min_samples_leaf")]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        (settings,) = group
        trees = self._config.n_estimators
        settings = {**settings, "max_features": _share(settings["max_features"])}
        model = RandomForestClassifier(trees, **settings, random_state=self._seed, n_jobs=1)
        return model.fit(train.x, train.y)

    def outputs(self, model: Any, group: Sequence[Settings], x: Features) -> list[Floats]:
        return [model.predict_proba(x)]

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        share = settings["max_features"]
        functions = {"sqrt": math.sqrt, "log2": math.log2}
        tried = functions[share](num_features) if share in functions else share * num_features
        return [(num_rows, "rows"), (max(1, int(tried)), "features tried at a split")]


class Boosting(Learner):
    """Trees on binned features, each iteration's on what the earlier ones leave.

    The number of iterations is a setting like the others, so that no training row is held out
    for stopping early.
    """

    def __init__(self, config: BoostingConfig, seed: int) -> None:
        self._config, self._seed = config, random_state(seed)

    def groups(self) -> list[list[Settings]]:
        stages = sorted(self._config.max_iter)
        fits = _grid(self._config, "learning_rate", "max_leaf_nodes")
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


def _grid(config: Any, *keys: str) -> list[Settings]:
    """Every combination of the values that are listed under the keys, the last varying fastest."""
    options = asdict(config)
    return [
        dict(zip(keys, values, strict=True))
        for values in itertools.product(*(options[key] for key in keys))
    ]


def _share(max_features: str | float) -> str | float:
    """1 is all features, where scikit-learn takes the whole number 1 for one feature."""
    return max_features if isinstance(max_features, str) else float(max_features)
