"""How good predicted probabilities are: networks and baselines are measured with the same yard.

One rule for all whose probabilities are measured: validation rows have no part in them, and votes,
of neighbours or of trees, are smoothed (``nnexp.baselines.base.smoothed``). Decision values of an
SVM get a temperature by cross-validation on its training rows.

Axes: N rows, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATION_BINS = 10
CLIP = float(np.finfo(np.float32).eps)  # 2 ** -23, 1.2e-7


@dataclass(frozen=True)
class Scores:
    """Of one learner's probabilities on one set of rows. NaN where a probability is none."""

    acc: float  # share of the rows whose likeliest class, the first of equals, is the right one
    clipped_loss: float
    """Mean of ``clipped_losses`` over the rows, in nats: what learners are compared by.

    Recorded as ``test/clipped_loss`` (of baselines ``val/clipped_loss`` too). It is not the
    ``loss`` of a network, which is its exact cross-entropy, computed from logits
    (nnexp/models/cross_entropy.py) and not bounded. Probabilities in float32 may be 0.
    """
    brier: float
    """The sum over the classes of squared differences between probability and outcome, the mean
    over the rows: from 0 to 2 (Brier 1950). Of two classes it is twice the one-sided score."""
    calibration: dict[str, list[Any]]
    """How often the likeliest class is right, by the probability it was given.

    ``count``, mean ``confidence`` and ``accuracy`` of each of ``CALIBRATION_BINS`` bins of equal
    width, each with its upper edge and without its lower; the latter two are None in an empty one.
    """
    primary: Primary | None = None
    """The value of another metric than accuracy, where settings are compared by one."""

    @property
    def rank(self) -> tuple[float, float]:
        """What settings are compared by, the greatest being the best: the primary metric, among
        equals the clipped log-loss."""
        first = self.acc if self.primary is None else self.primary.rank
        return first, -self.clipped_loss

    def compared(self) -> dict[str, float | None]:
        """What is told of a setting that was tried."""
        told: dict[str, float | None] = {"val/acc": self.acc}
        return told if self.primary is None else {**told, **self.primary.told()}

    def recorded(self, split: str) -> dict[str, float | None]:
        """What a result says of a baseline on a split, ``val`` or ``test``."""
        told: dict[str, float | None] = {
            f"{split}/acc": self.acc,
            f"{split}/clipped_loss": self.clipped_loss,
        }
        return {**told, "test/brier": self.brier} if split == "test" else told


@dataclass(frozen=True)
class Primary:
    """The value of the metric that settings are selected by."""

    name: str
    value: float | None  # None: undefined, which is worse than any other
    greater_is_better: bool

    @property
    def rank(self) -> float:
        """The greatest is the best."""
        if self.value is None:
            return -math.inf
        return self.value if self.greater_is_better else -self.value

    def told(self) -> dict[str, float | None]:
        """As a setting's record has it."""
        return {f"val/{self.name}": self.value}


@dataclass(frozen=True)
class ErrorScores:
    """Of one learner's predictions of a quantity on one set of rows, in the unit of the target."""

    rmse: float
    primary: Primary  # RMSE or another metric

    @property
    def rank(self) -> tuple[float, float]:
        """See ``Scores.rank``."""
        return self.primary.rank, -self.rmse

    def compared(self) -> dict[str, float | None]:
        """See ``Scores.compared``."""
        return {"val/rmse": self.rmse, **self.primary.told()}

    def recorded(self, split: str) -> dict[str, float | None]:
        """See ``Scores.recorded``."""
        return {f"{split}/rmse": self.rmse}


def scores(probabilities: Tensor, y: Tensor) -> Scores:
    """Of probabilities [N, C] and right classes [N], on any device; N is at least 1.

    Computed by numpy on one thread, so that the bits depend on nothing but the numbers.
    """
    p = probabilities.detach().float().cpu().numpy()
    labels = y.cpu().numpy()
    predicted = p.argmax(1)
    rows = np.arange(len(p))
    right = predicted == labels
    known = not np.isnan(p).any()  # else the likeliest class would be one without a probability
    differences = p.astype(np.float64)
    differences[rows, labels] -= 1
    return Scores(
        acc=float(right.mean()) if known else math.nan,
        clipped_loss=float(clipped_losses(p[rows, labels]).mean()),
        brier=float((differences**2).sum(1).mean()),
        calibration=calibration(p[rows, predicted], right),
    )


def clipped_losses(right: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return minus the logarithm of each row's probability [N] of its right class, clipped before.

    The probability is clipped to [eps, 1 - eps], with float32's eps of 1.2e-7, as
    ``sklearn.metrics.log_loss`` clips float32: a row that was thought impossible costs 15.9, no
    more. NaN stays NaN.
    """
    losses: NDArray[np.float64] = -np.log(np.clip(right.astype(np.float64), CLIP, 1 - CLIP))
    return losses


def calibration(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], num_bins: int = CALIBRATION_BINS
) -> dict[str, list[Any]]:
    """Of confidences [N] and whether the rows [N] are right; a confidence of NaN is in no bin.

    Returns:
        As :attr:`Scores.calibration`, of so many bins.
    """
    inner = np.linspace(0, 1, num_bins + 1)[1:-1].astype(np.float32)
    known = ~np.isnan(confidence)
    bins = np.searchsorted(inner, confidence[known])  # an edge belongs to the bin below it

    count = np.bincount(bins, minlength=num_bins).tolist()
    total = np.bincount(bins, confidence[known], num_bins).tolist()
    right_ones = np.bincount(bins, right[known], num_bins).tolist()
    return {
        "count": count,
        "confidence": [t / n if n else None for t, n in zip(total, count, strict=True)],
        "accuracy": [r / n if n else None for r, n in zip(right_ones, count, strict=True)],
    }
