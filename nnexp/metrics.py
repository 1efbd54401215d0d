"""Metrics beside loss and accuracy, ``metrics=[macro_f1]``: recorded, and chosen by nowhere.

They are computed on validation and test rows, for the network at its best epoch and for every
baseline.

Axes: ``N`` rows, ``C`` classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.errors import ConfigError
from nnexp.lazy import np
from nnexp.registry import component, components, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Labels = NDArray[np.int64]
    Compute = Callable[[Doubles, Labels], float]

log = logging.getLogger(__name__)

_RECORDED_ANYWAY = ("loss", "acc", "clipped_loss", "brier")
_UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Metric:
    """A function of probabilities and labels, and how reports show it."""

    compute: Compute
    label: str
    greater_is_better: bool
    bounds: tuple[float, float]
    """Between which all values lie; a report cuts intervals to them."""
    origin: Any  # what it was made from


METRICS = components("metric")


def metric(
    name: str,
    *,
    label: str | None = None,
    greater_is_better: bool = True,
    bounds: tuple[float, float] = _UNBOUNDED,
) -> Callable[[Compute], Compute]:
    """Register a function as a metric, ``metrics=[<name>]``.

    The function takes probabilities [N, C] float64 and the right classes [N] int64, N at least 1,
    and returns a float. Not every class need be among the rows: where the metric is undefined it
    returns NaN, which is recorded as null.

    Args:
        label: what reports call it; by default the name, its underscores being blanks.
        bounds: between which all values lie.

    Raises:
        ConfigError: the name is taken, or one of what is recorded in any case.
    """

    def decorate(function: Compute) -> Compute:
        if name in _RECORDED_ANYWAY:
            raise ConfigError(f"metric {name}: is recorded in any case; use another name")
        text = label or _spaced(name)
        register("metric", name, Metric(function, text, greater_is_better, bounds, function))
        return function

    return decorate


def metric_label(name: str) -> str:
    """What reports call a metric, which need not be registered where the report is made."""
    return METRICS[name].label if name in METRICS else _spaced(name)


def metric_bounds(name: str) -> tuple[float, float]:
    """Between which the values of a metric lie, as far as is known here."""
    return METRICS[name].bounds if name in METRICS else _UNBOUNDED


def metric_keys(names: Iterable[str], *splits: str) -> list[str]:
    """The keys in ``result.json``, ``val/<name>`` and ``test/<name>``, or of ``splits`` alone."""
    return [f"{split}/{name}" for split in splits or ("val", "test") for name in _distinct(names)]


def measured(
    names: Iterable[str], probabilities: NDArray[Any], labels: NDArray[Any], of: str
) -> dict[str, float | None]:
    """Compute metrics of probabilities [N, C] and the right classes [N].

    A metric that fails, or that returns no finite number, is None and costs a warning.

    Args:
        of: what is measured, for the warning: ``"KNN on the test rows"``.

    Returns:
        By name.
    """
    return {name: _value(name, probabilities, labels, of) for name in _distinct(names)}


def _value(name: str, probabilities: NDArray[Any], labels: NDArray[Any], of: str) -> float | None:
    compute: Compute = component("metric", name).compute
    try:
        if not np.isfinite(probabilities).all():
            raise ValueError("some probabilities are not finite")
        # Copies: a metric may sort in place.
        value = float(compute(np.array(probabilities, np.float64), np.array(labels, np.int64)))
        problem = "" if math.isfinite(value) else f"is {value}"
    except Exception as error:  # the run is worth having without it
        value = math.nan
        lines = str(error).splitlines()
        problem = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if problem:
        log.warning("metric %s of %s: %s; recorded as null", name, of, problem)
        return None
    return value


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _spaced(name: str) -> str:
    return name.replace("_", " ")


# ── those that come with nnexp, with scikit-learn's values ────────────────────────────────────


@metric("balanced_accuracy", bounds=(0.0, 1.0))
def balanced_accuracy(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean recall of the classes among the labels: a class counts as much as another."""
    counts = _confusion(probabilities, labels)
    totals = counts.sum(1)
    present = totals > 0
    return float((counts.diagonal()[present] / totals[present]).mean())


@metric("macro_f1", label="macro F1", bounds=(0.0, 1.0))
def macro_f1(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean F1 of the classes that are among the labels or predicted."""
    counts = _confusion(probabilities, labels)
    totals = counts.sum(0) + counts.sum(1)  # 2 true positives + false ones + false negatives
    present = totals > 0
    return float((2 * counts.diagonal()[present] / totals[present]).mean())


@metric("roc_auc", label="ROC AUC", bounds=(0.0, 1.0))
def roc_auc(probabilities: Doubles, labels: Labels) -> float:
    """Return the area under the ROC curve: of two classes that of class 1, of more the mean of each
    class against the rest. NaN where a class has no row, or all of them."""
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    areas = [_area(probabilities[:, label], labels == label) for label in classes]
    return float(np.mean(areas))


def _confusion(probabilities: Doubles, labels: Labels) -> NDArray[np.int64]:
    """Counts [C, C] of rows by right and likeliest class, the first of equals."""
    size = probabilities.shape[1]
    pairs = labels * size + probabilities.argmax(1)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def _area(scores: Doubles, positive: NDArray[np.bool_]) -> float:
    """The share of pairs of a positive and a negative row [N] in which the positive one has the
    higher score, ties counted half (Mann and Whitney 1947); NaN without such pairs."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not (num_positive and num_negative):
        return math.nan
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[places]  # of equals the mean of theirs
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))
