"""What may be said about a difference, by rule.

A large p value is never taken for "no difference": that two learners are equivalent is said only
where the whole interval lies within what does not matter (two one-sided tests, Schuirmann 1987).
"""

from __future__ import annotations

import math
from dataclasses import replace

from nnexp.comparison.estimates import ALPHA, Uncertainty
from nnexp.comparison.types import Difference, Verdict, VerdictKind

MOST_SEEDS = 1000  # more than this is no advice
FEWEST_PAIRS = 5  # of fewer the spread is too little known for advice


def verdict(difference: Difference, error: Uncertainty, equivalence: float) -> Verdict:
    """In this order: too few pairs; better or worse; equivalent; not significant; undecided.

    Args:
        error: of the difference; it says what more splits would decide.
        equivalence: a share; a difference of less does not matter.
    """
    made = _verdict(difference, error, equivalence)
    return replace(made, task=difference.task, learner=difference.learner)


def _verdict(difference: Difference, error: Uncertainty, equivalence: float) -> Verdict:
    a, b, task = difference.learner, difference.other, difference.task
    found = difference.interval
    if found is None:
        if not difference.num_pairs:
            return Verdict(kind="too few", sentence=f"{a} and {b} have no pair of runs on {task}")
        gap, pair = points(difference.mean), "one pair"
        if error.one_fit:
            pair = "one fit of each, without predictions of their test rows"
        return Verdict(
            kind="too few",
            sentence=f"{a} minus {b} on {task} is {gap} points, of {pair}: too few to say more",
        )
    within = max(abs(found.low), abs(found.high)) <= equivalence
    excludes = found.low > 0 or found.high < 0
    limit = f"±{100 * equivalence:g} points"
    pairs = _of_pairs(difference, error)
    if excludes and (difference.p_adjusted or 0) < ALPHA:
        small = f": less than {limit}, which does not matter" if within else ""
        kind: VerdictKind = "better" if difference.mean > 0 else "worse"
        verb, gap = "beats", gap_text(difference.mean, found.low, found.high)
        if kind == "worse":
            verb, gap = "loses to", gap_text(-difference.mean, -found.high, -found.low)
        sentence = f"{a} {verb} {b} on {task} by {gap}, {pairs}{small}"
        return Verdict(kind=kind, sentence=sentence)
    gap = gap_text(difference.mean, found.low, found.high)
    if within:
        return Verdict(
            kind="equivalent",
            sentence=f"{a} and {b} are equivalent within {limit} on {task}: {gap}, {pairs}",
        )
    if excludes:
        return Verdict(
            kind="not significant after correction",
            sentence=(
                f"{a} minus {b} on {task} is {gap}, {pairs}: not significant after correction for "
                f"the number of comparisons (p {_p(difference.p_value)}, "
                f"adjusted {_p(difference.p_adjusted)})"
            ),
        )
    more, advice = _advice(difference, error, equivalence)
    return Verdict(
        kind="undecided",
        sentence=f"{a} minus {b} on {task} is {gap}, {pairs}, undecided: {advice}",
        seeds_needed=more,
    )


def _of_pairs(difference: Difference, error: Uncertainty) -> str:
    """What the difference was seen on; without predictions nothing is said of other test rows."""
    rows = "" if error.tells_of_rows else ", on these test rows"
    if difference.p_better is None:
        return f"one fit of each{rows}"
    pairs = f"{difference.num_pairs:,} pairs"
    if difference.one_fit:
        pairs = f"{difference.num_pairs} seeds against one fit"
    return f"P(better) {difference.p_better:.2f}, {pairs}{rows}"


def seeds_needed(
    mean: float, error: Uncertainty, equivalence: float, level: float = ALPHA
) -> int | None:
    """How many more splits would decide, if mean and spread stayed as they are.

    p then is below ``level`` or the 95 % interval lies within the equivalence. None if no number
    would, or more than ``MOST_SEEDS``: overlapping splits and a fixed set of test rows leave an
    error that no number of splits takes away.
    """

    def decides(num: int) -> bool:
        more = error.of(num)
        within = abs(mean) + more.half_width <= equivalence
        return within or more.half_width_at(level) < abs(mean)

    if not decides(MOST_SEEDS):
        return None
    low, high = error.num, MOST_SEEDS  # the half-width falls with every split
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high - error.num


def _advice(
    difference: Difference, error: Uncertainty, equivalence: float
) -> tuple[int | None, str]:
    """How many more seeds, and in words; what was seen so far is taken for the truth, and this is
    said."""
    if error.one_fit:
        return None, "more seeds do not change it"
    if error.num < FEWEST_PAIRS:
        return None, "too few pairs to say how many more would decide"
    more = seeds_needed(difference.mean, error, equivalence, difference.level)
    assumed = "if mean and spread stayed as they are, "
    level = ""
    if difference.level < ALPHA:
        level = f" (at p < {difference.level:.2g}, for the number of comparisons)"
    if more is not None:
        return more, f"{assumed}about {more} more seed{'s' if more > 1 else ''} would decide{level}"
    if error.overlap:
        why = ": the splits share too many rows"
    elif error.row_variance is not None:
        why = ": there are too few test rows"
    else:
        return None, f"{assumed}{MOST_SEEDS:,} seeds would not decide{level}"
    return None, f"{assumed}no number of seeds would decide{level}{why}"


def gap_text(mean: float, low: float, high: float) -> str:
    """``0.8 points [0.3, 1.2]``, with as many decimals as it takes to see that an end is not 0."""
    decimals = 1
    if low * high > 0:
        nearest = 100 * min(abs(low), abs(high))
        decimals = min(max(1, math.ceil(-math.log10(2 * nearest))), 3)
    elif high - low < 0.002:
        decimals = 2
    told = [points(value, decimals) for value in (mean, low, high)]
    return f"{told[0]} points [{told[1]}, {told[2]}]"


def points(share: float, decimals: int = 1) -> str:
    """A share in points of per cent, without a sign of nothing."""
    text = f"{100 * share:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "below 0.001" if value < 0.001 else f"{value:.2g}"
