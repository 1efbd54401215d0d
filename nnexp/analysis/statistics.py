"""Means over splits with what is known of their error, and paired differences.

Two kinds of splits call for two variances of a mean over n of them.

Rows are drawn anew for every split. Splits share rows, so that their results are correlated, and
s^2 / n is too small. Corrected resampled t (Nadeau and Bengio 2003, section 5): with a correlation
of n_test / (n_test + n_other) it is ``s^2 (1/n + n_test / n_other)``. n_other counts all rows that
are not tested: a learner's procedure has them for training and for validation, which chooses; one
that trains on a subset draws it from them. (Counting the rows that are trained on instead is wider:
in ``tests/analysis/test_analysis_calibration.py`` equal learners are then told apart in 2 to 3 % of
all sweeps instead of 4 to 5 %, and hardly ever where training takes a subset.)

Folds of K-fold cross-validation are such splits, with n_test / n_other = 1 / (K - 1), and n = r K
where it is repeated r times: the corrected repeated K-fold test of Bouckaert and Frank (2004).

The test rows stay, and seeds vary: an official test set, or one split. The mean over seeds says how
training varies, and nothing of other test rows. Both are random and crossed, as in Owen (2007),
whose pigeonhole bootstrap adds the variances of both factors: ``s^2 / n + v / N``, with v the
variance over the N test rows of what is averaged over seeds. The sum counts their interaction
twice, so it errs to the wide side.

That is a claim for this training set: seeds that draw training and validation rows anew draw them
from the same pool, and share most of them. For fresh training rows the interval is too short (it
misses in 16 to 28 % of simulated sweeps whose test set is large), and nothing in the results tells
by how much: were all of s due to the rows that are drawn, a fraction f of the pool, a correlation
of f^2 would be right (2 to 5 %); where seeds vary as well it makes the interval several times too
wide (0 to 2 %, on MNIST 4.7 times for five seeds). So the claim is kept, and told with every
interval. ``tests/analysis/test_analysis_calibration.py`` has the simulation.

Each part has a half-width with its own degrees of freedom, n - 1 and N - 1, and they add in
quadrature (Howe 1974; Zou and Donner 2008). One quantile for the sum, with Satterthwaite's degrees
of freedom, missed the truth in 6 to 10 % of simulated sweeps of two or three seeds instead of 2
to 5 %.

Where both sides were fitted once, as baselines are where the split stays, there is the variance
over test rows alone: of a difference it is that of McNemar's test. Nothing is said of other fits.

A metric that is no mean over rows takes the pseudo-values of G groups of rows where an accuracy has
its N rows: see ``jackknife``.

An accuracy moves in steps of a test row: values that agree by chance must not pass for certainty,
so s, or without seeds the standard error over rows, is taken to be a step at least.

Axes: n splits, N test rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import nctdtrinc, stdtr, stdtrit

from nnexp.analysis.types import Interval

LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
_LEAST_LOG_P = -100.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """What the error of a mean over splits is made of."""

    num: int  # splits, n
    spread: float  # standard deviation between splits, s
    overlap: float = 0.0  # n_test / n_other where splits are drawn anew
    row_variance: float | None = None  # v; None: not known, or rows are drawn anew
    num_rows: int = 0  # N, or G
    in_groups: bool = False  # rows are pseudo-values of groups of rows
    one_fit: bool = False  # nothing was fitted twice: test rows alone
    num_ties: int = 0  # splits without a difference

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        if self.one_fit:
            return self.row_variance is not None and self.num_rows > 1
        return self.num > 1

    @property
    def tells_of_rows(self) -> bool:
        """Whether it says how other test rows would differ."""
        return self.overlap > 0 or self.row_variance is not None

    @property
    def is_given_training_set(self) -> bool:
        """Whether nothing is said of other training rows: these are not drawn anew, or from one
        pool."""
        return self.overlap == 0

    @property
    def half_width(self) -> float:
        """Of the 95 % interval. Not finite for a single split."""
        return self.half_width_at(1 - LEVEL)

    def p_value(self, mean: float) -> float:
        """Two-sided, of the hypothesis that the expectation is 0: 1 - the level of the interval
        that ends at 0."""
        if not self.is_known or mean == 0:
            return 1.0
        parts = [(variance, freedom) for variance, freedom in self._parts if variance > 0]
        if not parts:
            return 0.0
        if len(parts) == 1:
            ((variance, freedom),) = parts
            return float(2 * stdtr(freedom, -abs(mean) / math.sqrt(variance)))
        ends: list[float] = [_LEAST_LOG_P, 0.0]
        if self.half_width_at(10 ** ends[0]) < abs(mean):
            return 0.0
        log_p = brentq(lambda log: self.half_width_at(10**log) - abs(mean), *ends, xtol=1e-9)
        return float(10**log_p)

    def half_width_at(self, alpha: float) -> float:
        """Of the interval at the level 1 - ``alpha``."""
        if not self.is_known:
            return math.inf
        parts = [variance * stdtrit(freedom, alpha / 2) ** 2 for variance, freedom in self._parts]
        return math.sqrt(sum(parts))

    def detectable(self, level: float = ALPHA) -> float:
        """The smallest true difference that is found with a probability of ``POWER``, by a
        two-sided test at this level, if the spread is as it was seen.

        The minimum detectable effect (Bloom 1995), by the non-central t; of two parts in
        quadrature, as half-widths are. It does not depend on the difference that was seen, as
        "observed power" does.
        """
        if not self.is_known:
            return math.inf
        parts = [
            variance * nctdtrinc(freedom, 1 - POWER, -stdtrit(freedom, level / 2)) ** 2
            for variance, freedom in self._parts
        ]
        return math.sqrt(sum(parts))

    def of(self, num: int) -> Uncertainty:
        """The same with another number of splits."""
        return replace(self, num=num)

    @property
    def method(self) -> str:
        """How the interval is made, in words."""
        if self.one_fit and not self.is_known:
            return (
                "no interval: one fit of each, and without predictions.npz no variance over test "
                "samples"
            )
        if not self.is_known:
            return "no interval from a single pair"
        if self.one_fit:
            return f"t interval over {self._rows}, one fit of each; for this training set"
        if self.overlap:
            return (
                f"t interval over {self.num} splits, variance corrected for samples that "
                f"splits share (Nadeau and Bengio 2003: 1/{self.num} + {self.overlap:.3g})"
            )
        if self.row_variance is not None:
            return (
                f"t interval over {self.num} seeds and {self._rows}, the same for all; for this "
                "training set"
            )
        return (
            f"t interval over {self.num} seeds alone, for this training and test set: the variance "
            "over test samples is not known without predictions.npz"
        )

    @property
    def _rows(self) -> str:
        if self.in_groups:
            return f"{self.num_rows:,} groups of test samples (delete-a-group jackknife)"
        return f"{self.num_rows:,} test samples"

    @property
    def _parts(self) -> list[tuple[float, float]]:
        """Variances of the mean, each with its degrees of freedom."""
        parts: list[tuple[float, float]] = []
        if not self.one_fit:
            between = self.spread**2 * (1 / self.num + self.overlap)
            parts.append((between, max(self.num - 1, 1)))
        if self.row_variance is not None and self.num_rows > 1:
            parts.append((self.row_variance / self.num_rows, self.num_rows - 1))
        return parts


def uncertainty(
    values: Sequence[float],
    *,
    overlap: float = 0.0,
    step: float = 0.0,
    by_row: Floats | None = None,
    in_groups: bool = False,
    one_fit: bool = False,
) -> Uncertainty:
    """Of the mean of ``values`` [n].

    Args:
        overlap: n_test / n_other where splits are drawn anew, else 0.
        step: the smallest difference there can be between two values, 1/N for accuracies.
        by_row: [N], of a fixed set of test rows, each row's mean over the splits.
        in_groups: ``by_row`` are pseudo-values of groups of rows [G].
        one_fit: the value, or the difference, is of what was fitted once.
    """
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    row_variance = None if by_row is None else float(np.var(by_row, ddof=1))
    if one_fit and by_row is not None and row_variance is not None:
        row_variance = max(row_variance, step**2 * len(by_row))
    return Uncertainty(
        num=len(values),
        spread=max(spread, step),
        overlap=overlap,
        row_variance=row_variance,
        num_rows=0 if by_row is None else len(by_row),
        in_groups=in_groups,
        one_fit=one_fit,
        num_ties=sum(value == 0 for value in values),
    )


def interval(mean: float, error: Uncertainty, low: float, high: float) -> Interval | None:
    """The 95 % interval within the range that is possible; None where it is not known."""
    if not error.is_known:
        return None
    half = error.half_width
    return Interval(low=max(mean - half, low), high=min(mean + half, high))


def num_better(differences: Sequence[float]) -> float:
    """The number of pairs with a difference above 0, ties counted half.

    A count, and no estimate of the probability of outperforming (Bouthillier et al. 2021), so it
    has no interval: binomial ones, of Wilson or of Clopper and Pearson, and a bootstrap over pairs
    take pairs to be independent. These share training and test samples, and there is no unbiased
    estimate of the variance that this leaves (Bengio and Grandvalet 2004). The interval of the mean
    difference says how certain a lead is.
    """
    signs = np.sign(differences)
    return float((1 + signs).sum() / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for several comparisons (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and none is less than one before it.
    statsmodels' ``multipletests`` gives the same (a test compares them), but imports pandas and
    collects garbage at every call, which took most of the time of a report.
    """
    raw = np.asarray(p_values, np.float64)
    ascending = np.argsort(raw, kind="stable")
    factors = np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(raw[ascending] * factors), 1)
    return [float(p) for p in adjusted]


def holm_levels(p_values: Sequence[float]) -> list[float]:
    """What each p must fall below at its place in Holm's order: of m the smallest alpha / m, the
    next alpha / (m - 1)."""
    ascending = np.argsort(np.asarray(p_values, np.float64), kind="stable")
    levels = np.empty(len(p_values))
    levels[ascending] = ALPHA / np.arange(len(p_values), 0, -1)
    return [float(level) for level in levels]
