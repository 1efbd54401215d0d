"""Learners over several data sets: ranks, wins, numbers of training rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nnexp.analysis.grouping import GroupedRuns
from nnexp.analysis.measure import Measure
from nnexp.analysis.records import TaskFacts
from nnexp.analysis.statistics import LEVEL, holm
from nnexp.analysis.types import (
    AcrossTasks,
    CriticalDifference,
    Estimate,
    Interval,
    LearnerOnTask,
    LearningCurve,
    VerdictKind,
)

# --------------------------------------------------------------------------------------------------
# Learners over several data sets, each at its most training rows.
#
# Axes: T data sets, L learners, n splits.
# --------------------------------------------------------------------------------------------------

ALPHA = 0.05
_DRAWS = 2000
WORST = 2.0  # the largest normalised error: as far behind the median as that is behind the best
FEWEST_TO_AVERAGE = 3  # data sets

Floats = NDArray[np.float64]


def across_tasks(
    values: Mapping[str, Sequence[Sequence[float]]],
    reference: str | None,
    verdicts: Mapping[str, Sequence[VerdictKind]],
) -> tuple[AcrossTasks, ...]:
    """A line a learner, best mean rank first.

    Args:
        values: test scores by learner, of which more is better, for each of T data sets [T][n]; all
            learners have all.
        verdicts: of each learner against the reference, a data set each.
    """
    names = list(values)
    means = np.array([[np.mean(task) for task in values[name]] for name in names])  # [L, T]
    ranks = mean_ranks(means)
    num_tasks = means.shape[1]
    others = [name for name in names if name != reference]
    why = _descriptive_only(num_tasks, len(others)) if reference in names else _NO_REFERENCE
    p_values: dict[str, tuple[float, float]] = {}
    if why is None and reference is not None:
        base = means[names.index(reference)]
        raw = [wilcoxon(means[names.index(name)], base) for name in others]
        p_values = dict(zip(others, zip(raw, holm(raw), strict=True), strict=True))
    lines = [
        AcrossTasks(
            learner=name,
            num_tasks=num_tasks,
            wins=sum(kind == "better" for kind in verdicts.get(name, ())),
            ties=sum(kind not in ("better", "worse") for kind in verdicts.get(name, ())),
            losses=sum(kind == "worse" for kind in verdicts.get(name, ())),
            mean_rank=float(rank),
            normalised_error=mean_over_tasks(errors) if num_tasks >= FEWEST_TO_AVERAGE else None,
            p_value=p_values[name][0] if name in p_values else None,
            p_adjusted=p_values[name][1] if name in p_values else None,
            descriptive_only=why,
        )
        for name, rank, errors in zip(names, ranks, normalised_errors(means), strict=True)
    ]
    return tuple(sorted(lines, key=lambda line: line.mean_rank))


_NO_REFERENCE = "descriptive only: the reference was not run on all of these data sets"


def mean_ranks(means: Floats) -> Floats:
    """Of scores [L, T], of which more is better, the mean rank [L] of each learner; 1 is best, ties
    share."""
    ranks: Floats = stats.rankdata(-np.round(means, 12), axis=0).mean(1)
    return ranks


def wilcoxon(accs: Floats, others: Floats) -> float:
    """Two-sided p of the signed-rank test over data sets [T], ties split evenly (Demšar 2006).

    Exact where scipy has it, else its normal approximation or permutations.
    """
    differences = np.round(accs - others, 12)
    if not differences.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's words on ties and small samples
        return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)


def fewest_tasks(num_comparisons: int) -> int:
    """From how many data sets on a two-sided signed-rank test can reach p < .05 after Holm.

    The smallest p over T data sets is 2 / 2^T, of one of so many comparisons.
    """
    return math.floor(1 + math.log2(num_comparisons / ALPHA)) + 1


def _descriptive_only(num_tasks: int, num_comparisons: int) -> str | None:
    if not num_comparisons or num_tasks >= (needed := fewest_tasks(num_comparisons)):
        return None
    comparisons = f"{num_comparisons} comparison{'s' if num_comparisons > 1 else ''}"
    return (
        f"descriptive only: with {comparisons} it takes {needed} data sets for a signed-rank test "
        f"to reach p < {ALPHA:g}"
    )


def normalised_errors(means: Floats) -> Floats:
    """Of accuracies [L, T] the errors, scaled on each data set: the best learner has 0, the median
    learner 1, and nobody more than ``WORST``. Of other scores it is the same, as differences alone
    count.

    Errors of hard and of easy data sets become comparable, and each data set counts once (the
    distance to the best of Wistuba et al. 2015, with the median in the place of the worst, which
    one bad learner would set; clipped as by Grinsztajn et al. 2022). Where the median is the best,
    others have ``WORST``.
    """
    errors = np.round(1 - means, 12)
    behind = errors - errors.min(0)
    scale = np.median(errors, axis=0) - errors.min(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(behind > 0, behind / scale, 0.0)
    return np.minimum(scaled, WORST)


def mean_over_tasks(values: Floats) -> Estimate:
    """The mean of one value a data set [T].

    The interval is a percentile bootstrap that draws data sets, with a generator of its own, the
    same for all learners: how the mean would vary with other data sets of the kind.
    """
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(0, len(values), (_DRAWS, len(values)))].mean(1)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(
        mean=float(values.mean()),
        interval=Interval(low=float(low), high=float(high)),
        values=tuple(float(value) for value in values),
    )


def critical_difference(values: Mapping[str, Sequence[Sequence[float]]]) -> CriticalDifference:
    """Mean ranks, Friedman's test and Nemenyi's critical difference (Demšar 2006, section 3.2).

    Friedman's p is that of Iman and Davenport's F. With fewer data sets than a signed-rank test
    needs, or where no two learners could differ by more than the critical difference, there are
    ranks alone.
    """
    means = np.array([[np.mean(task) for task in tasks] for tasks in values.values()])
    num_learners, num_tasks = means.shape
    ranks = mean_ranks(means)
    best_first = np.argsort(ranks, kind="stable")
    names = list(values)
    sorted_ranks = tuple(float(ranks[i]) for i in best_first)
    difference = None
    if num_learners > 1 and num_tasks >= fewest_tasks(1):
        difference = nemenyi(num_learners, num_tasks)
        difference = difference if difference < num_learners - 1 else None
    return CriticalDifference(
        learners=tuple(names[i] for i in best_first),
        mean_ranks=sorted_ranks,
        cliques=() if difference is None else cliques(sorted_ranks, difference),
        critical_difference=difference,
        p_friedman=friedman(means)[1] if num_learners > 2 and difference is not None else None,
    )


def nemenyi(num_learners: int, num_tasks: int, alpha: float = ALPHA) -> float:
    """How far two mean ranks must lie apart: q sqrt(L (L + 1) / (6 T))."""
    q = stats.studentized_range.isf(alpha, num_learners, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(num_learners * (num_learners + 1) / (6 * num_tasks)))


def friedman(means: Floats) -> tuple[float, float]:
    """Iman and Davenport's F of accuracies [L, T], L > 2, and its p."""
    num_learners, num_tasks = means.shape
    ranks = stats.rankdata(-np.round(means, 12), axis=0)
    if np.ptp(ranks, axis=0).max() == 0:  # no data set tells any two apart
        return 0.0, 1.0
    chi2 = float(stats.friedmanchisquare(*ranks).statistic)
    rest = num_tasks * (num_learners - 1) - chi2
    if rest <= 1e-9:
        return math.inf, 0.0
    f = (num_tasks - 1) * chi2 / rest
    freedom = num_learners - 1
    return f, float(stats.f.sf(f, freedom, freedom * (num_tasks - 1)))


def cliques(ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """First and last place of each bar: as many neighbours as lie within the difference.

    ``ranks`` ascend. A bar within another is left out.
    """
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(j for j in range(first, len(ranks)) if ranks[j] - ranks[first] <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)


# --------------------------------------------------------------------------------------------------
# From results on single tasks to what holds over several: data sets, numbers of training rows.
# --------------------------------------------------------------------------------------------------


def over_tasks(
    placed: GroupedRuns,
    results: Sequence[LearnerOnTask],
    reference: str | None,
    measure: Measure,
) -> tuple[tuple[AcrossTasks, ...], CriticalDifference | None, list[str]]:
    """Over data sets, one task each: the one with most training rows, then with most learners.

    One network of a family stands for it: see ``_of_families``.
    """
    by_learner = {
        (r.learner, r.task): r for r in results if r.test_score is not None and not r.is_selection
    }
    chosen: dict[str, TaskFacts] = {}
    for facts in placed.tasks:
        count = sum(task == facts.task.name for _, task in by_learner)
        before = chosen.get(facts.source)
        if facts.task.is_whole and count:
            others = 0 if before is None else sum(t == before.task.name for _, t in by_learner)
            if count > others:
                chosen[facts.source] = facts
    names = [facts.task.name for facts in chosen.values()]
    if len(names) < 2:
        return (), None, []
    complete = [n for n in placed.learners if all((n, task) in by_learner for task in names)]
    partly = [n for n in placed.learners if n not in complete]
    told = []
    if partly:
        told.append(
            f"ranks over data sets are of models that were run on all {len(names)}; left out: "
            + ", ".join(partly)
        )
    ranked, copies = _of_families(complete, placed.families, by_learner, names, reference, measure)
    if copies:
        beside = ", beside the reference" if reference in placed.families else ""
        told.append(
            f"ranks over data sets take one network of each {FAMILY}, the one with the best "
            f"validation {measure.label}{beside}; left out: {', '.join(copies)}"
        )
    complete = ranked
    if len(complete) < 2:
        return (), None, told
    values: dict[str, list[list[float]]] = {}
    kinds: dict[str, list[VerdictKind]] = {}
    for name in complete:
        mine = [by_learner[name, task] for task in names]
        values[name] = [
            [measure.sign * value for value in r.test_score.values]
            for r in mine
            if r.test_score is not None
        ]
        kinds[name] = [r.verdict.kind for r in mine if r.verdict is not None]
    return across_tasks(values, reference, kinds), critical_difference(values), told


FAMILY = "model, depth and optimizer"


def _of_families(
    learners: Sequence[str],
    families: Mapping[str, str],
    by_learner: Mapping[tuple[str, str], LearnerOnTask],
    tasks: Sequence[str],
    reference: str | None,
    measure: Measure,
) -> tuple[list[str], list[str]]:
    """The learners to rank, and those for which another network of their family stands.

    Settings of one network that tuning could have selected are no learners of their own: many
    near-copies of one would move the ranks of all others, and lengthen Holm's correction. Of each
    family the network with the best mean rank by validation score stays, the first of equals;
    no test sample has a part in it. The reference always stays, as others are compared with it.
    """
    others: dict[str, list[str]] = {}
    for name in learners:
        if name in families and name != reference:
            others.setdefault(families[name], []).append(name)
    copies: set[str] = set()
    worst = measure.worst
    for members in others.values():
        accs = [
            [
                measure.sign
                * (found.mean if (found := by_learner[name, task].val_score) else worst)
                for task in tasks
            ]
            for name in members
        ]
        best = members[int(np.argmin(mean_ranks(np.array(accs))))]
        copies.update(name for name in members if name != best)
    return [n for n in learners if n not in copies], [n for n in learners if n in copies]


def learning_curves(placed: GroupedRuns, results: Sequence[LearnerOnTask]) -> list[LearningCurve]:
    """Of every learner with test scores at two or more numbers of training rows."""
    series: dict[str, list[TaskFacts]] = {}
    for facts in placed.tasks:
        series.setdefault(facts.series, []).append(facts)
    accs = {(r.learner, r.task): r.test_score for r in results if r.test_score is not None}
    found = []
    for group in series.values():
        for learner in placed.learners:
            points = [
                (facts.task.num_train, accs[learner, facts.task.name])
                for facts in group
                if (learner, facts.task.name) in accs
            ]
            if len(points) > 1:
                found.append(
                    LearningCurve(
                        dataset=group[0].series_name,
                        learner=learner,
                        num_train=tuple(rows for rows, _ in points),
                        test_score=tuple(acc for _, acc in points),
                    )
                )
    return found
