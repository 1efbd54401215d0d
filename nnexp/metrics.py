"""Metrics beside loss and accuracy, ``metrics=[macro_f1]``: recorded, and no choice is made by them
unless somebody asks for it (``report.metric``, ``nnexp compare --sort``, ``Sweep.best``).

They are computed on validation and test rows, for the network at its best epoch and for every
baseline.

Axes: ``N`` rows, ``C`` classes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nnexp.errors import ConfigError
from nnexp.lazy import np
from nnexp.registry import component, components, register
from nnexp.tasks import CLASSIFICATION, REGRESSION, TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Labels = NDArray[np.int64]
    Compute = Callable[[Doubles, Any], float]

log = logging.getLogger(__name__)

ACCURACY = "accuracy"
"""The primary metric unless ``report.metric`` names another; its keys are ``val/acc``, ``test/acc``
and it is recorded of every run, so that nobody registers it."""
_RECORDED_ANYWAY = (ACCURACY, "loss", "acc", "clipped_loss", "brier")
_UNBOUNDED = (-math.inf, math.inf)
_SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """A function of probabilities and labels, and how reports show it."""

    compute: Compute
    label: str
    greater_is_better: bool
    bounds: tuple[float, float]
    """Between which all values lie; a report cuts intervals to them."""
    origin: Any  # what it was made from
    task: str = CLASSIFICATION


METRICS = components("metric")


def metric(
    name: str,
    *,
    label: str | None = None,
    greater_is_better: bool = True,
    bounds: tuple[float, float] = _UNBOUNDED,
    task: str = CLASSIFICATION,
) -> Callable[[Compute], Compute]:
    """Register a function as a metric, ``metrics=[<name>]``.

    The function takes probabilities [N, C] float64 and the right classes [N] int64, N at least 1,
    and returns a float. Not every class need be among the rows: where the metric is undefined it
    returns NaN, which is recorded as null.

    Args:
        label: what reports call it; by default the name, its underscores being blanks.
        bounds: between which all values lie.
        task: what it measures. Of ``regression`` the function takes predictions [N] float64 and the
            right values [N] float64, both in the unit of the target.

    Raises:
        ConfigError: the name is taken, or one of what is recorded in any case.
    """

    def decorate(function: Compute) -> Compute:
        if name in _RECORDED_ANYWAY:
            raise ConfigError(f"metric {name}: is recorded in any case; use another name")
        text = label or _spaced(name)
        register("metric", name, Metric(function, text, greater_is_better, bounds, function, task))
        return function

    return decorate


def metric_label(name: str) -> str:
    """What reports call a metric, which need not be registered where the report is made."""
    return METRICS[name].label if name in METRICS else _spaced(name)


def metric_bounds(name: str) -> tuple[float, float]:
    """Between which the values of a metric lie, as far as is known here."""
    if name == ACCURACY:
        return _SHARE
    return METRICS[name].bounds if name in METRICS else _UNBOUNDED


def is_known(name: str) -> bool:
    """Whether it is accuracy or a registered metric, so that its direction is known."""
    return name == ACCURACY or name in METRICS


def greater_is_better(name: str) -> bool:
    """The direction of a metric that ``is_known``."""
    return name == ACCURACY or bool(METRICS[name].greater_is_better)


def task_of_metric(name: str) -> str:
    """What a metric that ``is_known`` measures, classification or regression."""
    return CLASSIFICATION if name == ACCURACY else str(METRICS[name].task)


def metric_key(name: str, split: str) -> str:
    """Where a metric of a split stands in ``result.json``: ``val/acc`` of accuracy,
    ``val/macro_f1``."""
    return f"{split}/{'acc' if name == ACCURACY else name}"


def primary_metric(config: Mapping[str, Any]) -> str:
    """What a run's config, as ``result.json`` has it, says that reports judge by."""
    return (config.get("report") or {}).get("metric") or ACCURACY


def recorded_metrics(metrics: Iterable[str] | None, primary: str | None) -> list[str]:
    """The further metrics that a run records: those that it asks for, and the primary one.

    Args:
        metrics: of the config.
        primary: ``report.metric``; None, accuracy and RMSE, which are recorded anyway, add nothing.
    """
    names = [*(metrics or ()), *([primary] if primary else [])]
    anyway = {task.metric for task in TASKS.values()}
    return [name for name in _distinct(names) if name not in anyway]


def metric_keys(names: Iterable[str], *splits: str) -> list[str]:
    """The keys in ``result.json``, ``val/<name>`` and ``test/<name>``, or of ``splits`` alone."""
    distinct = _distinct(names)
    return [f"{split}/{name}" for split in splits or ("val", "test") for name in distinct]


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
            raise ValueError("some predictions are not finite")
        # Copies: a metric may sort in place.
        kind = np.float64 if labels.dtype.kind == "f" else np.int64
        value = float(compute(np.array(probabilities, np.float64), np.array(labels, kind)))
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


# ── those that come with nnexp: scikit-learn computes ─────────────────────────────────────────
#
# The predicted class of a row is the likeliest, the first of equals. scikit-learn is imported by
# what needs it: a run without further metrics does without. Its warnings on cases without a value
# are errors in tests, so each function says itself what such a case gives.

CALIBRATION_BINS = 15
OF_CLASS_1 = ("precision", "recall", "f1", "roc_auc", "average_precision")
"""Metrics that are of class 1, the second by name or by number, where there are two."""


@metric("balanced_accuracy", bounds=_SHARE)
def balanced_accuracy(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean recall of the classes among the labels: a class counts as much as another.

    A class that is predicted but not among the labels has no recall and is left out.
    """
    from sklearn.metrics import recall_score

    predicted, present = probabilities.argmax(1), np.unique(labels)
    return float(
        recall_score(labels, predicted, labels=present, average="macro", zero_division=0.0)
    )


@metric("macro_f1", label="macro F1", bounds=_SHARE)
def macro_f1(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean F1 of the classes that are among the labels or predicted."""
    return _averaged("f1", probabilities, labels, "macro")


@metric("roc_auc", label="ROC AUC", bounds=_SHARE)
def roc_auc(probabilities: Doubles, labels: Labels) -> float:
    """Return the area under the ROC curve: of two classes that of class 1, of more the mean of each
    class against the rest. NaN where a class has no row."""
    return _one_vs_rest(_area_under_roc, probabilities, labels)


@metric("weighted_f1", label="weighted F1", bounds=_SHARE)
def weighted_f1(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean F1 of the classes, weighted by their number of labels."""
    return _averaged("f1", probabilities, labels, "weighted")


@metric("macro_precision", bounds=_SHARE)
def macro_precision(probabilities: Doubles, labels: Labels) -> float:
    """Return the mean precision of the classes that are among the labels or predicted; that of a
    class that is never predicted is 0."""
    return _averaged("precision", probabilities, labels, "macro")


@metric("precision", bounds=_SHARE)
def precision(probabilities: Doubles, labels: Labels) -> float:
    """Return the fraction of correct ones among the predictions of class 1, of two classes; 0 where
    it is never predicted.

    Raises:
        ValueError: there are more than two classes.
    """
    return _of_positives("precision", probabilities, labels)


@metric("recall", bounds=_SHARE)
def recall(probabilities: Doubles, labels: Labels) -> float:
    """Return the fraction of the rows of class 1 that are predicted as such, of two classes; NaN
    where there are none.

    Raises:
        ValueError: there are more than two classes.
    """
    return _of_positives("recall", probabilities, labels)


@metric("f1", label="F1", bounds=_SHARE)
def f1(probabilities: Doubles, labels: Labels) -> float:
    """Return the harmonic mean of precision and recall of class 1, of two classes; 0 where it is
    never predicted correctly, NaN where it is neither among the labels nor predicted.

    Raises:
        ValueError: there are more than two classes.
    """
    return _of_positives("f1", probabilities, labels)


@metric("average_precision", bounds=_SHARE)
def average_precision(probabilities: Doubles, labels: Labels) -> float:
    """Return the area under the precision-recall curve as a sum of steps, not interpolated: of two
    classes that of class 1, of more the mean of each class against the rest. NaN where a class has
    no row."""
    from sklearn.metrics import average_precision_score

    return _one_vs_rest(average_precision_score, probabilities, labels)


@metric("mcc", label="MCC", bounds=(-1.0, 1.0))
def mcc(probabilities: Doubles, labels: Labels) -> float:
    """Return Matthews' correlation coefficient of labels and predictions (of more than two classes:
    Gorodkin 2004). 0 where all labels, or all predictions, are of one class."""
    from sklearn.metrics import matthews_corrcoef

    predicted = probabilities.argmax(1)
    if len(np.unique(labels)) == 1 or len(np.unique(predicted)) == 1:
        return 0.0  # scikit-learn's value, without its warning
    return float(matthews_corrcoef(labels, predicted))


@metric(
    "calibration_error",
    label=f"calibration error, {CALIBRATION_BINS} bins",
    greater_is_better=False,
    bounds=_SHARE,
)
def calibration_error(probabilities: Doubles, labels: Labels) -> float:
    """Return the expected calibration error of the predicted class (Guo et al. 2017, eq. 3): the
    mean over the rows of the difference between accuracy and mean confidence in their bin, of 15
    bins of equal width, each with its upper edge and without its lower."""
    from nnexp.scoring_rules import calibration

    confidence = probabilities.max(1).astype(np.float32)
    bins = calibration(confidence, probabilities.argmax(1) == labels, CALIBRATION_BINS)
    filled = zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)
    gaps = [count * abs(right - sure) for count, sure, right in filled if count]
    return math.fsum(gaps) / len(labels)


# Of a regression. Predictions and right values [N] are in the unit of the target.


@metric("rmse", label="RMSE", greater_is_better=False, bounds=(0.0, math.inf), task=REGRESSION)
def rmse(predicted: Doubles, right: Doubles) -> float:
    """Return the root of the mean squared error."""
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(right, predicted))


@metric("mae", label="MAE", greater_is_better=False, bounds=(0.0, math.inf), task=REGRESSION)
def mae(predicted: Doubles, right: Doubles) -> float:
    """Return the mean absolute error."""
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(right, predicted))


@metric("r2", label="R²", bounds=(-math.inf, 1.0), task=REGRESSION)
def r2(predicted: Doubles, right: Doubles) -> float:
    """Return the coefficient of determination: the share of the variance of these rows that is
    explained; below 0 where their mean would have been better. NaN where all have one value."""
    from sklearn.metrics import r2_score

    if len(right) < 2 or right.min() == right.max():
        return math.nan
    return float(r2_score(right, predicted))


@metric("median_absolute_error", greater_is_better=False, bounds=(0.0, math.inf), task=REGRESSION)
def median_absolute_error(predicted: Doubles, right: Doubles) -> float:
    """Return the median of the absolute errors, which outliers do not touch."""
    return float(np.median(np.abs(right - predicted)))


def _pinball_at(q: float) -> Compute:
    """The mean pinball loss of a prediction of the quantile ``q``."""

    def pinball(predicted: Doubles, right: Doubles) -> float:
        from sklearn.metrics import mean_pinball_loss

        return float(mean_pinball_loss(right, predicted, alpha=q))

    return pinball


for _percent in (5, 10, 50, 90, 95):
    metric(
        f"pinball_{_percent}",
        label=f"pinball loss of the {_percent} % quantile",
        greater_is_better=False,
        bounds=(0.0, math.inf),
        task=REGRESSION,
    )(_pinball_at(_percent / 100))


def _averaged(
    which: str, probabilities: Doubles, labels: Labels, average: Literal["macro", "weighted"]
) -> float:
    """The mean of precision or F1 over the classes that are among the labels or predicted."""
    from sklearn.metrics import f1_score, precision_score

    score = {"precision": precision_score, "f1": f1_score}[which]
    return float(score(labels, probabilities.argmax(1), average=average, zero_division=0.0))


def _of_positives(which: str, probabilities: Doubles, labels: Labels) -> float:
    """Precision, recall or F1 of class 1 of two."""
    from sklearn.metrics import f1_score, precision_score, recall_score

    num_classes = probabilities.shape[1]
    if num_classes != 2:
        instead = "balanced_accuracy" if which == "recall" else f"macro_{which}"
        raise ValueError(f"is of two classes, and there are {num_classes}: use {instead}")
    score = {"precision": precision_score, "recall": recall_score, "f1": f1_score}[which]
    undefined = 0.0 if which == "precision" else math.nan
    return float(score(labels, probabilities.argmax(1), zero_division=undefined))


def _one_vs_rest(
    score: Callable[[NDArray[np.bool_], Doubles], float], probabilities: Doubles, labels: Labels
) -> float:
    """Of two classes the score of class 1, of more the mean of each class against the rest; NaN
    where a class has no row."""
    num_classes = probabilities.shape[1]
    if not np.bincount(labels, minlength=num_classes).all():
        return math.nan
    classes = [1] if num_classes == 2 else range(num_classes)
    return float(np.mean([score(labels == c, probabilities[:, c]) for c in classes]))


def _area_under_roc(positive: NDArray[np.bool_], scores: Doubles) -> float:
    """The fraction of pairs of a positive and a negative row [N] in which the positive one has the
    higher score, ties counted half (Mann and Whitney 1947). Sums of half ranks are exact: it is
    scikit-learn's value but for the rounding of its trapezoids."""
    from scipy.stats import rankdata

    num_positive = int(positive.sum())
    num_pairs = num_positive * (len(positive) - num_positive)
    above = rankdata(scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / num_pairs)
