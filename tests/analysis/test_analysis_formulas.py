"""Statistics against published numbers, scipy, statsmodels and direct computation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests

from nnexp.analysis.across_datasets import (
    across_tasks,
    cliques,
    critical_difference,
    fewest_tasks,
    friedman,
    mean_over_tasks,
    mean_ranks,
    nemenyi,
    normalised_errors,
    wilcoxon,
)
from nnexp.analysis.curves import expected_maximum
from nnexp.analysis.statistics import holm, interval, num_better, uncertainty
from nnexp.analysis.verdicts import seeds_needed

# Demšar (2006), table 6: AUC of C4.5, with m, with cf, with both, on 14 data sets. His table 2 has
# the first two columns. His ranks tell the 0.975 of voting apart, of which he prints three digits.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
).T


def test_demsars_worked_example() -> None:
    """Section 3.2: mean ranks, chi2 = 9.28, F_F = 3.69, critical differences, groups at .10."""
    ranks = mean_ranks(DEMSAR)
    assert ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    chi2 = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)
    assert chi2 == pytest.approx(9.28, abs=0.005)
    assert 13 * chi2 / (14 * 3 - chi2) == pytest.approx(3.69, abs=0.005)
    # Ours is corrected for ties, which makes it larger.
    f, p = friedman(DEMSAR)
    assert 3.69 < f < 4.3
    assert p == pytest.approx(stats.f.sf(f, 3, 39))
    assert nemenyi(4, 14) == pytest.approx(1.25, abs=0.005)
    assert nemenyi(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)
    # C4.5 is worse than m and m+cf; cf belongs to both groups.
    assert cliques(sorted(ranks), nemenyi(4, 14, alpha=0.10)) == ((0, 2), (2, 3))


@pytest.mark.parametrize(
    ("alpha", "published"),
    [
        (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_nemenyis_critical_values_are_the_published_ones(
    alpha: float, published: list[float]
) -> None:
    """Demšar's table 5 (a), for 2 to 10 classifiers."""
    for count, q in enumerate(published, start=2):
        unit = 1 / math.sqrt(count * (count + 1) / 6)  # of one data set
        assert nemenyi(count, 1, alpha) * unit == pytest.approx(q, abs=0.0015)


def test_critical_differences_of_demsars_example() -> None:
    names = ["C4.5", "m", "cf", "m+cf"]
    found = critical_difference(
        {n: [[acc] for acc in accs] for n, accs in zip(names, DEMSAR.tolist(), strict=True)}
    )
    assert found.learners == ("m+cf", "m", "cf", "C4.5")
    assert found.critical_difference == pytest.approx(1.2536, abs=1e-3)
    # 3.143 - 1.964 < 1.25: by Nemenyi's test at .05 nothing is told apart, as he says.
    assert found.cliques == ((0, 3),)
    assert found.p_friedman is not None
    assert found.p_friedman < 0.05


def test_cliques_are_the_largest_sets_of_neighbours() -> None:
    assert cliques([1.0, 1.5, 2.6, 4.0, 4.1], 1.2) == ((0, 1), (1, 2), (3, 4))
    assert cliques([1.0, 1.1, 1.2], 0.5) == ((0, 2),)
    assert cliques([1.0, 3.0], 0.5) == ()


def test_friedman_is_scipys_in_iman_and_davenports_form() -> None:
    means = np.random.default_rng(0).random((4, 9))
    chi2 = stats.friedmanchisquare(*means).statistic
    f, p = friedman(means)
    assert f == pytest.approx(8 * chi2 / (27 - chi2))
    assert p == pytest.approx(stats.f.sf(f, 3, 24))
    assert friedman(np.ones((3, 5))) == (0.0, 1.0)
    assert friedman(np.array([[3, 3, 3.0], [2, 2, 2], [1, 1, 1]]))[1] == 0.0


def test_wilcoxon_on_demsars_table_2() -> None:
    """Sums of ranks 93 and 12, zeros split evenly; z = -2.54, p about .011 (normal)."""
    assert wilcoxon(DEMSAR[1], DEMSAR[0]) == pytest.approx(0.011, abs=0.006)
    assert wilcoxon(np.arange(6) + 0.1 * np.arange(1, 7), np.arange(6.0)) == 2 / 2**6
    assert wilcoxon(np.ones(5), np.ones(5)) == 1.0


@pytest.mark.parametrize("comparisons", [1, 2, 5, 10])
def test_fewest_tasks_is_where_the_least_p_falls_below_alpha(comparisons: int) -> None:
    needed = fewest_tasks(comparisons)
    assert comparisons * 2 / 2**needed < 0.05 <= comparisons * 2 / 2 ** (needed - 1)
    assert fewest_tasks(1) == 6


def test_holms_worked_example_and_statsmodels() -> None:
    """p = .01, .04, .03, .005 of 4: adjusted .03, .06, .06, .02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p_values = rng.random(size) ** 3
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


def test_without_overlap_the_interval_is_the_plain_t_interval() -> None:
    values = [0.01, 0.03, -0.01, 0.02, 0.015]
    error = uncertainty(values)
    told = stats.ttest_1samp(values, 0)
    expected = told.confidence_interval(0.95)
    found = interval(np.mean(values), error, -1, 1)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert error.p_value(np.mean(values)) == pytest.approx(told.pvalue)


def test_nadeau_and_bengio_directly() -> None:
    """Their t: mean / sqrt((1/n + n2/n1) s^2) with n - 1 degrees of freedom."""
    values = np.array([0.02, 0.01, 0.035, 0.005, 0.02, 0.03])
    t = values.mean() / math.sqrt((1 / 6 + 90 / 270) * values.var(ddof=1))
    error = uncertainty(values.tolist(), overlap=90 / 270)
    assert error.p_value(values.mean()) == pytest.approx(2 * stats.t.sf(t, 5))
    half = stats.t.ppf(0.975, 5) * math.sqrt((1 / 6 + 1 / 3) * values.var(ddof=1))
    assert error.half_width == pytest.approx(half)


@pytest.mark.parametrize("level", [0.05, 0.05 / 7])
@pytest.mark.parametrize(("num", "overlap"), [(5, 0.0), (10, 0.25), (30, 0.25)])
def test_the_detectable_difference_is_found_with_a_power_of_80_percent(
    num: int, overlap: float, level: float
) -> None:
    """Of a t test whose true difference that is, by the non-central t."""
    error = uncertainty(stats.norm.ppf((np.arange(num) + 0.5) / num).tolist(), overlap=overlap)
    scale = error.spread * math.sqrt(1 / num + overlap)
    critical = stats.t.ppf(1 - level / 2, num - 1)
    power = stats.nct.sf(critical, num - 1, error.detectable(level) / scale)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_fixed_test_rows_add_their_variance_in_quadrature() -> None:
    by_seed = [0.02, 0.03, 0.01]
    by_row = np.random.default_rng(0).normal(0.02, 0.3, 500)
    error = uncertainty(by_seed, by_row=by_row)
    parts = [(np.var(by_seed, ddof=1) / 3, 2), (by_row.var(ddof=1) / 500, 499)]

    def half(alpha: float) -> float:
        return math.sqrt(sum(v * stats.t.ppf(1 - alpha / 2, f) ** 2 for v, f in parts))

    assert error.half_width == pytest.approx(half(0.05))
    assert error.p_value(0.02) == pytest.approx(brentq(lambda a: half(a) - 0.02, 1e-9, 1))
    assert error.p_value(error.half_width) == pytest.approx(0.05)
    assert error.p_value(0.0) == 1.0
    assert error.p_value(1e6) < 1e-4


def test_accuracies_that_agree_by_chance_are_no_certainty() -> None:
    """Two splits with one and the same gap: the spread is a test row, 1/360, not 0."""
    error = uncertainty([0.01, 0.01], overlap=0.25, step=1 / 360)
    assert error.half_width == pytest.approx(stats.t.ppf(0.975, 1) * math.sqrt(0.75) / 360)
    assert uncertainty([0.01, 0.01]).p_value(0.01) == 0.0
    assert uncertainty([0.01]).half_width == math.inf


def test_better_in_counts_ties_half() -> None:
    assert num_better([0.1, 0.2, 0.0, -0.1]) == 2.5
    assert num_better([0.0, 0.0]) == 1.0


@pytest.mark.parametrize("by_row", [None, np.random.default_rng(0).normal(0, 0.02, 5000)])
def test_seeds_needed_is_the_first_number_that_decides(by_row: np.ndarray | None) -> None:
    error = uncertainty([0.01, 0.03, -0.02, 0.012], by_row=by_row)
    mean = 0.008
    more = seeds_needed(mean, error, 0.0)
    assert more is not None
    assert error.of(4 + more).half_width < mean <= error.of(3 + more).half_width
    # 0.002 ± 0.003 lies within ± 0.005
    near = seeds_needed(0.002, error, 0.005)
    assert near is not None
    assert error.of(4 + near).half_width <= 0.003 < error.of(3 + near).half_width


def test_no_number_of_seeds_decides_where_splits_share_too_many_rows() -> None:
    error = uncertainty([0.01, 0.03, -0.02, 0.012], overlap=0.25)
    assert error.of(10**6).half_width > 0.008
    assert seeds_needed(0.008, error, 0.0) is None


def test_expected_maximum_by_going_through_all_draws() -> None:
    values = [0.91, 0.85, 0.97, 0.91, 0.6, 0.93]
    expected = [np.mean([max(c) for c in combinations(values, m)]) for m in range(1, 7)]
    assert expected_maximum(values) == pytest.approx(expected)
    assert expected_maximum(np.linspace(0, 1, 400).tolist())[-1] == pytest.approx(1.0)


def test_expected_maximum_is_unbiased_for_fewer_draws() -> None:
    """Of uniform numbers, the expected largest of m is m / (m + 1)."""
    rng = np.random.default_rng(0)
    mean = np.mean([expected_maximum(row.tolist()) for row in rng.random((3000, 5))], axis=0)
    assert mean == pytest.approx(np.arange(1, 6) / np.arange(2, 7), abs=0.008)


def test_normalised_errors_by_hand() -> None:
    """Errors of three learners: .10, .20, .25; .02, .01, .03; .5, .5, .6; .3, .3, .3."""
    means = np.array([[0.90, 0.98, 0.5, 0.7], [0.80, 0.99, 0.5, 0.7], [0.75, 0.97, 0.4, 0.7]])
    assert normalised_errors(means) == pytest.approx(
        np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1.5, 2, 2, 0]])
    )
    # A hopeless learner counts as 2, and does not change what the others are.
    more = normalised_errors(np.vstack([means[:, :1], [[0.1]], [[0.89]]]))
    assert more.ravel() == pytest.approx([0, 1, 1.5, 2, 0.1])


def test_the_mean_over_data_sets_is_bootstrapped_over_them() -> None:
    values = np.random.default_rng(0).random(8)
    found = mean_over_tasks(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.values == pytest.approx(values)
    scipys = stats.bootstrap(
        [values], np.mean, n_resamples=5000, method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.interval is not None
    assert found.interval.low == pytest.approx(scipys.low, abs=0.015)
    assert found.interval.high == pytest.approx(scipys.high, abs=0.015)


def test_a_data_set_counts_once_whatever_its_number_of_splits() -> None:
    """Accuracies pooled, the first data set with its twenty splits would decide."""
    tasks = {"A": [[0.90] * 20, [0.98], [0.5]], "KNN": [[0.80] * 20, [0.99], [0.5]],
             "B": [[0.75] * 20, [0.97], [0.4]]}  # fmt: skip
    found = {line.learner: line.normalised_error for line in across_tasks(tasks, "KNN", {})}
    means = {name: error.mean for name, error in found.items() if error is not None}
    assert means == pytest.approx({"A": 1 / 3, "KNN": 1 / 3, "B": 5.5 / 3})
    two = {name: accs[:2] for name, accs in tasks.items()}
    assert [line.normalised_error for line in across_tasks(two, "KNN", {})] == [None] * 3


def test_across_tasks_tests_from_enough_data_sets_on() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((9, 4))
    values = {"A": base + 0.01 * rng.random((9, 4)), "KNN": base, "B": base - 0.02}
    told = {name: accs.tolist() for name, accs in values.items()}
    kinds = {"A": ["better"] * 5 + ["undecided"] * 4, "B": ["worse"] * 9}
    best, middle, last = across_tasks(told, "KNN", kinds)
    assert [line.learner for line in (best, middle, last)] == ["A", "KNN", "B"]
    assert (best.wins, best.ties, best.losses) == (5, 4, 0)
    assert (last.wins, last.ties, last.losses) == (0, 0, 9)
    assert (middle.wins, middle.ties, middle.losses) == (0, 0, 0)
    assert best.p_value == pytest.approx(2 / 2**9)
    assert best.p_adjusted == pytest.approx(2 * 2 / 2**9)
    assert best.descriptive_only is None
    assert middle.p_value is None
    few = across_tasks({name: accs[:5] for name, accs in told.items()}, "KNN", kinds)
    assert few[0].p_value is None
    assert few[0].descriptive_only == (
        "descriptive only: with 2 comparisons it takes 7 data sets for a signed-rank test to "
        "reach p < 0.05"
    )
