"""The base of baselines: hyperparameters to select from, how one is fitted, what it is called."""

from __future__ import annotations

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nnexp import registry
from nnexp.config.fields import ranged
from nnexp.errors import ConfigError
from nnexp.lazy import np
from nnexp.registry import register_class
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from nnexp.baselines.selection import Arrays, Data, Found

    Floats = npt.NDArray[np.floating[Any]]
    SharesT = TypeVar("SharesT", npt.NDArray[Any], Tensor)

# --------------------------------------------------------------------------------------------------
# What a person reads for the name of a baseline.
# --------------------------------------------------------------------------------------------------

_FIRST = (
    "knn", "svm", "logistic_regression", "ridge", "forest", "boosting", "lightgbm", "catboost",
)  # fmt: skip
_LAST = ("majority", "constant")  # guessing


def labels() -> dict[str, str]:
    """By the name in a config, in the order in which a report tells them: guessing comes last."""
    known = registry.components("baseline")
    others = [name for name in known if name not in (*_FIRST, *_LAST)]
    names = [*_FIRST, *others, *_LAST]
    return {name: known[name].label for name in names if name in known}


# --------------------------------------------------------------------------------------------------
# What a baseline is: settings that the validation rows choose from, and how one is fitted.
#
# Axes: ``M`` rows, ``D`` features, ``C`` classes.
# --------------------------------------------------------------------------------------------------

Settings = dict[str, Any]
BaselineT = TypeVar("BaselineT", bound="Baseline")


@dataclass
class Baseline:
    """Base of all baselines: a dataclass whose ``tuned`` fields list what is tried.

    The validation rows choose among all combinations; the best is tested, once. A baseline of
    another package defines ``estimator``.
    """

    label: ClassVar[str] = ""
    """What reports call it."""
    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    """Of what it is a baseline."""

    budget: int | None = dataclasses.field(
        default=None, kw_only=True, metadata={"bounds": {"ge": 1}}
    )  # tries at most so many of its settings, drawn at random; null: all

    def __post_init__(self) -> None:
        """One value is a list of one; what is listed twice is tried once."""
        for option in fields(self):
            if "tuned" in option.metadata:
                value = getattr(self, option.name)
                values = value if isinstance(value, list) else [value]
                setattr(self, option.name, list(dict.fromkeys(values)))

    def estimator(self, seed: int, **settings: Any) -> Any:
        """Return an estimator as scikit-learn has them, with ``fit`` and ``predict_proba``.

        Args:
            seed: for what it draws at random, from 0 to 2**32 - 1.
            settings: one of the values of each ``tuned`` field.
        """
        raise NotImplementedError

    def regressor(self, seed: int, **settings: Any) -> Any:
        """Return an estimator of a quantity, with ``fit`` and ``predict``: the same of a
        regression, where ``tasks`` have it. The target that it learns is standardised."""
        raise NotImplementedError

    def require(self) -> None:
        """Raise ``ConfigError``, in one line, where it needs what is not installed."""

    def learner(self, seed: int) -> Learner:
        """How models are fitted and asked; ``seed`` is that of the split."""
        return _EstimatorLearner(self, seed)

    def quantity_learner(self, seed: int) -> Learner:
        """The same of a regression, whose outputs are predictions [M]."""
        return _RegressorLearner(self, seed)

    def find(self, data: Data, name: str) -> Found:
        """Choose by the validation rows, then read the test rows. Raises as ``fitted.tuned``."""
        from threadpoolctl import threadpool_limits

        from nnexp.baselines.scikit_learn import tuned

        options = self if isinstance(self, FittedConfig) else FittedConfig(None, None, None)
        with threadpool_limits(1):
            of_task = self.learner if data.target is None else self.quantity_learner
            return tuned(of_task(data.seed), options, data, name)


@dataclass
class FittedConfig(Baseline):
    """A baseline with bounds on sizes, never on time.

    Rows are taken as dataset.num_train takes them: nested, stratified, drawn with split_seed.
    """

    max_rows: int | None = ranged(None, ge=1)  # trains on so many rows at most; null: on all
    tune_rows: int | None = ranged(10_000, ge=1)  # compares settings on so many; null: on all
    max_cells: int | None = ranged(50_000_000, ge=1)  # rows x features; what has more is left out


def baseline(
    name: str, *, label: str | None = None, tasks: Sequence[str] = (CLASSIFICATION,)
) -> Callable[[type[BaselineT]], type[BaselineT]]:
    """Register a baseline, a dataclass derived from ``Baseline``, as ``baseline=<name>``.

    Args:
        label: what reports call it; by default the name, its underscores being blanks.
        tasks: of what it is one: ``classification``, for which it defines ``estimator``,
            ``regression``, for which it defines ``regressor``, or both.

    Raises:
        ConfigError: the class is no such dataclass, lacks what its tasks need, or the name is
            taken.
    """

    def decorate(cls: type[BaselineT]) -> type[BaselineT]:
        if REGRESSION in tasks:
            needs = ("regressor", "quantity_learner", "find")
            register_class("baseline", name, cls, Baseline, needs=needs)
        if CLASSIFICATION in tasks:
            register_class("baseline", name, cls, Baseline, needs=("estimator", "learner", "find"))
        cls.tasks = tuple(tasks)
        cls.label = label or name.replace("_", " ")
        return cls

    return decorate


class Learner(ABC):
    """One kind of model.

    A fit may serve a group of settings: what boosting is after 25 iterations is known from a fit of
    100. Every class has a training row.
    """

    note: str | None = None
    """What a reader of its figures must know."""
    has_probabilities: bool = True
    """Whether outputs are such before ``probabilities`` corrects them, so that of settings which
    are equally accurate the one with the lower log-loss is chosen. Else they are confidences, only
    the chosen model is calibrated, and the first of equals is chosen."""

    def most_rows(self, num_features: int, num_classes: int) -> int | None:
        """The most rows that it learns from, where that hangs on their width; None: any number."""
        return None

    @abstractmethod
    def groups(self) -> list[list[Settings]]:
        """All settings to try, in order, those of one fit together."""

    @abstractmethod
    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        """A model for all settings of a group."""

    def fit_watched(self, group: Sequence[Settings], train: Arrays, val: Arrays) -> Any:
        """As ``fit``, of a model that the validation rows tell when to stop."""
        return self.fit(group, train)

    def learned(self, model: Any) -> Settings:
        """What a reader wants to know that the model found by itself, as its number of trees."""
        return {}

    def limits(self, model: Any) -> list[str]:
        """Remarks on limits that the model has run into; see :mod:`nnexp.baselines.edges`."""
        return []

    @abstractmethod
    def outputs(
        self, model: Any, group: Sequence[Settings], x: npt.NDArray[np.float32]
    ) -> list[Floats]:
        """What the model says of rows [M, D] under each of the settings: an array [M, ...] each."""

    def calibration(self, settings: Settings, train: Arrays) -> Any:
        """What is needed to make probabilities of outputs, learned from the training rows alone: no
        model has validation rows for its probabilities, which would favour it over the others."""
        return None

    def probabilities(self, outputs: Floats, calibration: Any) -> Floats:
        """Of outputs [M, C], for each class [M, C]; predictions and choices go by the outputs."""
        return outputs

    def work(
        self, settings: Settings, num_rows: int, num_features: int, num_classes: int
    ) -> list[tuple[int, str]]:
        """What the time of a fit grows with: numbers to be multiplied, each with what it counts."""
        return [(num_rows, "rows"), (num_features, "features")]


class _EstimatorLearner(Learner):
    """By an estimator of scikit-learn's kind."""

    def __init__(self, options: Baseline, seed: int) -> None:
        self._options, self._seed = options, random_state(seed)

    def groups(self) -> list[list[Settings]]:
        names = [field.name for field in fields(self._options) if "tuned" in field.metadata]
        return [[settings] for settings in grid(self._options, *names)]

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        (settings,) = group
        return self._options.estimator(self._seed, **settings).fit(train.x, train.y)

    def outputs(
        self, model: Any, group: Sequence[Settings], x: npt.NDArray[np.float32]
    ) -> list[Floats]:
        found = np.asarray(model.predict_proba(x), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(x):
            raise ConfigError(
                f"{type(model).__name__}: predict_proba must return [rows, classes], "
                f"not {list(found.shape)} for {len(x)} rows"
            )
        return [found]


class _RegressorLearner(_EstimatorLearner):
    """By a regressor of scikit-learn's kind."""

    def fit(self, group: Sequence[Settings], train: Arrays) -> Any:
        (settings,) = group
        x = train.x.astype(np.float64)
        return self._options.regressor(self._seed, **settings).fit(x, train.y)

    def outputs(
        self, model: Any, group: Sequence[Settings], x: npt.NDArray[np.float32]
    ) -> list[Floats]:
        found = np.asarray(model.predict(x.astype(np.float64)), dtype=np.float64)
        if found.shape != (len(x),):
            raise ConfigError(
                f"{type(model).__name__}: predict must return [rows], not {list(found.shape)} for "
                f"{len(x)} rows"
            )
        return [found]


def drawn(
    groups: Sequence[Sequence[Settings]], budget: int | None, seed: int
) -> list[list[Settings]]:
    """At most so many of the settings, drawn at random with ``seed``, in their groups and order.

    A smaller budget draws some of what a larger one does.
    """
    total = sum(map(len, groups))
    if budget is None or budget >= total:
        return [list(group) for group in groups]
    from nnexp.rng import random_bits  # imports torch

    words = random_bits(total, seed, "settings of baselines")
    kept = iter((words.argsort().argsort() < budget).tolist())
    some = [[settings for settings in group if next(kept)] for group in groups]
    return [group for group in some if group]


def smoothed(shares: SharesT, num_votes: int) -> SharesT:
    """Probabilities [M, C] of so many votes, of which each class has a share: (n_c + 1) / (n + C).

    The mean of the posterior under a uniform prior (Laplace's rule of succession). A class without
    a vote has been seen n times not to win, which is not to be impossible: a probability of 0 would
    cost an infinite log-loss, or what a bound on it happens to be. The order of classes stays.
    """
    probabilities: SharesT = (num_votes * shares + 1) / (num_votes + shares.shape[1])
    return probabilities


def random_state(seed: int) -> int:
    """A seed as scikit-learn takes it, of 32 bits."""
    return seed % 2**32


def grid(options: Any, *names: str) -> list[Settings]:
    """Every combination of the values that are listed under the names, the last varying fastest."""
    values = asdict(options)
    return [
        dict(zip(names, chosen, strict=True))
        for chosen in itertools.product(*(values[name] for name in names))
    ]
