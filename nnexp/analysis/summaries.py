"""Sentences over several differences, and the reference that learners are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from scipy.special import ndtr

from nnexp.analysis.differences import Measures
from nnexp.analysis.grouping import GroupedRuns
from nnexp.analysis.majority import CONSTANTS
from nnexp.analysis.measure import Measure, signed_points
from nnexp.analysis.records import Entry, TaskFacts
from nnexp.analysis.remarks import listed
from nnexp.analysis.statistics import ALPHA, LEVEL, holm
from nnexp.analysis.types import (
    AcrossTasks,
    Difference,
    Estimate,
    Interval,
    LearnerOnTask,
    Options,
    Task,
    Verdict,
    VerdictKind,
)
from nnexp.analysis.verdicts import GIVEN, selected_by
from nnexp.baselines.base import labels
from nnexp.errors import did_you_mean

# --------------------------------------------------------------------------------------------------
# Sentences over several differences: the best network of a task, guessing, all data sets.
# --------------------------------------------------------------------------------------------------

_MOST_NAMED = 6

_PHRASES: dict[VerdictKind, str] = {
    "better": "better than",
    "equivalent": "equivalent to",
    "undecided": "inconclusive against",
    "not significant after correction": "not significantly different after correction from",
    "too few": "not compared with",
    "worse": "worse than",
}


def best_by_validation(entries: Sequence[Entry], measure: Measure) -> str | None:
    """The learner with the best mean validation score on common splits; the first of equals.

    What failed on a split counts there as the worst that there can be.
    """
    splits = common_splits(entries)
    badness = {
        entry.learner: measure.badness(
            fmean(_or_worst(entry.by_split[split].choice.val_score, measure) for split in splits)
        )
        for entry in _candidates(entries)
        if splits and any(choice.val_score is not None for choice in entry.choices)
    }
    return min(badness, key=lambda name: badness[name]) if badness else None


def _or_worst(score: float | None, measure: Measure) -> float:
    return measure.worst if score is None else score


def common_splits(entries: Sequence[Entry]) -> set[str]:
    """The splits of all learners that have at least half as many as the one with the most.

    A learner with fewer is no candidate: its splits could be easy ones, and to compare all on
    these few would be to choose by chance.
    """
    own = [set(entry.by_split) for entry in _candidates(entries)]
    return set.intersection(*own) if own else set()


def _candidates(entries: Sequence[Entry]) -> list[Entry]:
    most = max((len(entry.outcomes) for entry in entries), default=0)
    return [entry for entry in entries if entry.outcomes and 2 * len(entry.outcomes) >= most]


def best_network(
    task: Task,
    networks: Sequence[Entry],
    pairwise: Mapping[tuple[str, str], VerdictKind],
    test_scores: Mapping[str, Estimate | None],
    measure: Measure,
) -> Verdict | None:
    """Which network the validation rows favour, and what the test rows say of it.

    Where splits are drawn anew, the test rows of one validate on others, and have a say in which.

    Args:
        pairwise: verdicts on the first of two networks against the second, either way round.

    None for fewer than two networks.
    """
    best = best_by_validation(networks, measure)
    if best is None or len(networks) < 2:
        return None
    groups: dict[VerdictKind, list[str]] = {}
    for entry in networks:
        if entry.learner != best:
            kind = pairwise.get((best, entry.learner), "too few")
            groups.setdefault(kind, []).append(entry.learner)
    told = "; ".join(
        f"{phrase} {_listed(groups[kind])}" for kind, phrase in _PHRASES.items() if kind in groups
    )
    score = test_scores.get(best)
    reached = f"no {measure.label}" if score is None else measure.value(score.mean)
    splits = common_splits(networks)
    over = ""
    if any(set(entry.by_split) != splits for entry in networks):
        over = f" on the {len(splits)} common {task.unit}s"
    sentence = f"Of {len(networks)} networks on {task.name}, {best} has the best "
    if task.same_test_rows:
        sentence += (
            f"validation {measure.label}{over}; on the test set, which had no part in this, it "
            f"reaches {reached} and, {GIVEN}, is {told}"
        )
    else:
        sentence += (
            f"mean validation {measure.label}{over}; on the test sets it reaches {reached} and is "
            f"{told} (biased in its favour: test sets share samples with the validation sets of "
            "other splits)"
        )
    return Verdict(kind="summary", sentence=sentence, task=task.name, learner=best)


def chance(
    facts: TaskFacts,
    entries: Sequence[Entry],
    measures: Measures,
    equivalence: float,
    measure: Measure,
) -> Verdict | None:
    """How learners compare with guessing, where none is shown to lie above it.

    That none beats it, or all are equivalent to it, is said only where it is shown: every learner's
    95 % interval of the difference ends within the equivalence (each of these holds at its level,
    so all do: Berger 1982). Else it is said that none is shown to. There is no verdict where
    ``beats_guessing``, nor where a learner has no interval. Guessing is the majority-class
    baseline, else as ``Measures.guess``; of another metric than accuracy there is no verdict
    without such a baseline.
    """
    majority = next((e for e in entries if e.baseline in CONSTANTS and e.outcomes), None)
    learners = [entry for entry in entries if entry.outcomes and entry.baseline not in CONSTANTS]
    if not learners or (majority is None and not measure.is_accuracy):
        return None
    if majority is not None:
        name = CONSTANTS[majority.baseline or ""]
        share = fmean(choice.test_score for choice in majority.choices)
        found = [measures.difference(entry, majority) for entry in learners]
    else:
        guess = measures.guess()
        name, share = guess.name, guess.share
        found = [measures.over_guessing(entry, guess) for entry in learners]
    told = [difference for difference, _ in found]
    intervals = [difference.interval for difference in told if difference.interval is not None]
    num_rows = facts.task.num_test if measure.is_accuracy else 0
    better = [_in_direction(difference, measure) for difference in told]
    if len(intervals) < len(told) or beats_guessing(better, share, num_rows):
        return None
    best, error = min(found, key=lambda pair: measure.badness(pair[0].mean))
    # Simultaneous over the learners (Bonferroni): the best of many is picked out.
    half = error.half_width_at((1 - LEVEL) / len(found))
    ends = max(best.mean - half, -measure.span), min(best.mean + half, measure.span)
    over = f", simultaneous over {len(found)} models" if len(found) > 1 else ""
    gap = measure.gap(best.mean, *ends, over)
    if measure.is_accuracy:
        mean, low, high = map(signed_points, (best.mean, *ends))
        gap = f"{mean} pp (95 % CI{over} {low} to {high})"
    gap += f", {GIVEN}" if facts.task.same_test_rows else ""
    most, task = f"the best, {best.learner}: {gap}", facts.task.name
    limit = measure.margin(equivalence)
    intervals = [difference.interval for difference in better if difference.interval is not None]
    if any(interval.high > equivalence for interval in intervals):
        sentence = f"No evidence that any model beats guessing {name} on {task}; {most}"
    elif any(interval.low < -equivalence for interval in intervals):
        sentence = (
            f"No model beats guessing {name} on {task} by more than {limit.lstrip('±')}; {most}"
        )
    else:
        sentence = f"All models are equivalent to guessing {name} on {task} within {limit}; {most}"
    return Verdict(kind="chance", sentence=sentence, task=task)


def _in_direction(difference: Difference, measure: Measure) -> Difference:
    """The same with values of which more is better."""
    found = difference.interval
    if measure.greater_is_better or found is None:
        return difference
    turned = Interval(low=-found.high, high=-found.low)
    return replace(difference, mean=-difference.mean, interval=turned)


def beats_guessing(differences: Sequence[Difference], share: float, num_test: int) -> bool:
    """Whether a learner is shown to beat guessing, with at most 5 % of error where none does.

    Two tests share the 5 %, each with Holm's correction over the learners. The paired t test of
    the verdicts, of which the upper side alone counts, finds small differences over many splits.
    The second finds large ones on two or three, where t can show nothing: on one split a learner
    that is no better than guessing classifies at most Binomial(N, ``share``) samples correctly,
    and the mean over splits that test other samples varies less than one of them, so the
    normal approximation with the variance of one split errs on the safe side.
    """
    tested = [d.p_value for d in differences if d.p_value is not None]
    by_t = zip(differences, holm(tested), strict=True) if len(tested) == len(differences) else ()
    if any(p < ALPHA and difference.mean > 0 for difference, p in by_t):
        return True
    if not num_test or not 0 < share < 1:
        return False
    error = math.sqrt(share * (1 - share) / num_test)
    by_rows = holm([float(ndtr(-difference.mean / error)) for difference in differences])
    return min(by_rows, default=1.0) < ALPHA / 2


def over_all(line: AcrossTasks, reference: str) -> Verdict:
    """A learner against the reference over all data sets."""
    tested = ""
    if line.p_adjusted is not None:
        tested = f"; Wilcoxon signed-rank test: p {line.p_adjusted:.2g} after Holm's correction"
    return Verdict(
        kind="summary",
        sentence=(
            f"{line.learner} vs {reference} over these {line.num_tasks} data sets: "
            f"{line.wins} won, {line.ties} inconclusive or equivalent, {line.losses} lost{tested}"
        ),
        learner=line.learner,
    )


def selection_over_all(
    selections: Sequence[LearnerOnTask], reference: str, measure: Measure
) -> Verdict:
    """The best network per split against the reference, on each data set once; not tested."""
    kinds = [result.verdict.kind for result in selections if result.verdict is not None]
    won, lost = kinds.count("better"), kinds.count("worse")
    how = selected_by(selections[0].learner.rpartition(" ")[2], measure)
    return Verdict(
        kind="summary",
        sentence=(
            f"The best network, {how}, vs {reference} over these {len(selections)} data sets: "
            f"{won} won, {len(selections) - won - lost} inconclusive or equivalent, {lost} lost"
        ),
        learner=selections[0].learner,
    )


def untested(across: Sequence[AcrossTasks]) -> list[Verdict]:
    """Why there is no test over the data sets, once for all learners."""
    reasons = dict.fromkeys(line.descriptive_only for line in across if line.descriptive_only)
    return [
        Verdict(kind="summary", sentence=f"Results over data sets are {reason}")
        for reason in reasons
    ]


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"
    return listed(names)


# --------------------------------------------------------------------------------------------------
# The learner that all others are compared with.
# --------------------------------------------------------------------------------------------------


def find_reference(placed: GroupedRuns, options: Options) -> tuple[str | None, list[str]]:
    """The reference, and warnings about it.

    It is a baseline by its name in a config (``knn``) or a learner by its name in the comparison.
    If no run has it, the network with the best validation score takes its place: validation
    rows may choose it, as no test row does.
    """
    alive = {entry.learner: entry for entry in placed.entries if entry.outcomes}
    asked = options.reference
    named = [n for n, e in alive.items() if asked in (e.baseline, n)]
    if not named:  # as somebody typed it
        named = [n for n in alive if n.casefold() == asked.casefold()]
    if not alive:
        return None, ["no run was completed: there is nothing to compare"]
    if len(alive) == 1:
        (only,) = alive
        return None, [f"{only} is the only model: there is nothing to compare it with"]
    if named:
        told = []
        if len(named) > 1:
            rest = ", ".join(named[1:])
            told.append(f"the reference is {named[0]}; compared with it is also {rest}")
        lacking = [
            facts.task.name
            for facts in placed.tasks
            if not any(e.learner == named[0] and e.outcomes for e in placed.on(facts.task.name))
        ]
        if lacking:
            told.append(
                f"the reference {named[0]} was not run on {', '.join(lacking)}: no verdicts there"
            )
        return named[0], told
    networks = [entry for entry in alive.values() if entry.is_network]
    best = _best_over_tasks(placed, options.measure)
    told_name = labels().get(asked, asked)
    hint = did_you_mean(asked, [*alive, *labels()])
    hint = "" if asked in labels() else hint
    if best is None or len(networks) == 0:
        return None, [f"no run was compared with {told_name}{hint}: there are no verdicts"]
    return best, [
        f"no run was compared with {told_name}{hint}: the reference is {best}, the network with "
        f"the best validation {options.measure.label}"
    ]


def _best_over_tasks(placed: GroupedRuns, measure: Measure) -> str | None:
    """The network that is best by validation score on most tasks; the first of equals."""
    wins: dict[str, int] = {}
    for facts in placed.tasks:
        best = best_by_validation([e for e in placed.on(facts.task.name) if e.is_network], measure)
        if best is not None:
            wins[best] = wins.get(best, 0) + 1
    return max(wins, key=lambda name: wins[name]) if wins else None
