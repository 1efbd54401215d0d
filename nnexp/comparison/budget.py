"""Expected best validation accuracy against the number of settings tried.

Axes: S settings, n splits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from nnexp.comparison.entries import Outcome
from nnexp.comparison.types import Band, Estimate

Floats = NDArray[np.float64]


def expected_maximum(values: Sequence[float]) -> Floats:
    """The expected largest of m of the S values, drawn without replacement, for m = 1 ... S [S].

    Unbiased for the expected best of m settings of their distribution (Dodge et al. 2019, whose
    own estimator draws with replacement and is biased down, as Tang et al. 2020 show). The i-th
    smallest is the largest of m in C(i - 1, m - 1) of C(S, m) draws.
    """
    ascending = np.sort(np.asarray(values, np.float64))
    total = len(ascending)
    place = np.arange(1, total + 1)  # i
    drawn = place[:, None]  # m
    ways = _log_choose(np.maximum(place, drawn) - 1, drawn - 1)
    weights = np.where(place >= drawn, np.exp(ways - _log_choose(total, drawn)), 0.0)  # [m, i]
    expected: Floats = weights @ ascending
    return expected


def expected_best(
    outcomes: Sequence[Outcome],
    guess: float,
    estimate: Callable[[Sequence[float]], Estimate | None],
) -> Band | None:
    """Per split, then the mean over splits; None where fewer than two settings were tried.

    Args:
        guess: what a setting gives that failed.
        estimate: mean and interval of one value a split.
    """
    curves = [
        expected_maximum([guess if t.val_acc is None else t.val_acc for t in outcome.tried])
        for outcome in outcomes
    ]
    length = min(map(len, curves), default=0)
    if length < 2:
        return None
    found = [estimate([float(curve[m]) for curve in curves]) for m in range(length)]
    known = [point for point in found if point is not None]
    return Band(
        x=tuple(float(m) for m in range(1, length + 1)),
        mean=tuple(point.mean for point in known),
        low=tuple(point.interval.low if point.interval else point.mean for point in known),
        high=tuple(point.interval.high if point.interval else point.mean for point in known),
    )


def _log_choose(n: NDArray[np.int64] | int, k: NDArray[np.int64]) -> Floats:
    chosen: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
