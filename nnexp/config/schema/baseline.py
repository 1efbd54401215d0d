"""The learners that a run is compared with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from nnexp.config.fields import Problems, ranged, tuned


@dataclass
class TunedConfig:
    """What every baseline has: lists of values, of which the validation rows choose."""

    def __post_init__(self) -> None:
        """One value is a list of one; what is listed twice is tried once."""
        for option in fields(self):
            if "tuned" in option.metadata:
                value = getattr(self, option.name)
                values = value if isinstance(value, list) else [value]
                setattr(self, option.name, list(dict.fromkeys(values)))


@dataclass
class KNNConfig(TunedConfig):
    """K nearest neighbours, exact."""

    k: Any = tuned([1, 3, 5, 7, 9, 11, 15, 21], int, ge=1)
    metric: Any = tuned(["euclidean"], options=("euclidean", "manhattan", "cosine"))
    weights: Any = tuned(["uniform"], options=("uniform", "distance"))  # of a neighbour's vote
    memory_mb: int = ranged(512, ge=1)  # bound on the distances held at once, MiB


@dataclass
class MajorityConfig:
    """The most frequent class of the training rows, whatever the row."""


@dataclass
class FittedConfig(TunedConfig):
    """What the baselines that scikit-learn fits have: bounds on sizes, never on time.

    Rows are taken as dataset.num_train takes them: nested, stratified, drawn with split_seed.
    """

    max_rows: int | None = ranged(None, ge=1)  # trains on so many rows at most; null: on all
    tune_rows: int | None = ranged(10_000, ge=1)  # compares settings on so many; null: on all
    max_cells: int | None = ranged(50_000_000, ge=1)  # rows x features; what has more is left out


@dataclass
class LogisticRegressionConfig(FittedConfig):
    """sklearn.linear_model.LogisticRegression: multinomial, with an L2 penalty."""

    C: Any = tuned([0.01, 0.1, 1.0, 10.0], float, gt=0)  # less is more penalty
    max_iter: int = ranged(1000, ge=1)


@dataclass
class SVMConfig(FittedConfig):
    """sklearn.svm.SVC with an RBF kernel."""

    C: Any = tuned([0.1, 1.0, 10.0, 100.0], float, gt=0)  # less is more penalty
    gamma: Any = tuned([0.1, 0.3, 1.0, 3.0], float, gt=0)  # times scikit-learn's gamma="scale"
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)


@dataclass
class ForestConfig(FittedConfig):
    """sklearn.ensemble.RandomForestClassifier."""

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


@dataclass
class BoostingConfig(FittedConfig):
    """sklearn.ensemble.HistGradientBoostingClassifier; every iteration adds a tree a class."""

    learning_rate: Any = tuned([0.1, 0.2], float, gt=0)
    max_leaf_nodes: Any = tuned([15, 31], int, ge=2)
    max_iter: Any = tuned([25, 50, 100], int, ge=1)  # all from one fit, of the most iterations
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)
    max_cells: int | None = ranged(200_000_000, ge=1)  # rows x features x trees an iteration


@dataclass
class BaselinesConfig:
    """The baselines that a run is compared with, by name."""

    knn: KNNConfig | None = None
    majority: MajorityConfig | None = None
    logistic_regression: LogisticRegressionConfig | None = None
    svm: SVMConfig | None = None
    forest: ForestConfig | None = None
    boosting: BoostingConfig | None = None
