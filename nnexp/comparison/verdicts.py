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


def verdict(
    difference: Difference, error: Uncertainty, equivalence: float, unit: str = "split"
) -> Verdict:
    """In this order: too few pairs; better or worse; equivalent; not significant; inconclusive.

    Args:
        error: of the difference; it says what more splits would decide.
        equivalence: a share; a difference of less does not matter.
        unit: what a pair is one of, ``split`` or ``seed``.
    """
    made = _verdict(difference, error, equivalence, unit)
    return replace(made, task=difference.task, learner=difference.learner)


def _verdict(difference: Difference, error: Uncertainty, equivalence: float, unit: str) -> Verdict:
    a, b, task = difference.learner, difference.other, difference.task
    found = difference.interval
    if found is None:
        if not difference.num_pairs:
            return Verdict(kind="too few", sentence=f"{a} and {b} share no split on {task}")
        gap, pair = signed(difference.mean), "one pair"
        if error.one_fit:
            pair = "one fit of each, without predictions on the test set"
        return Verdict(
            kind="too few",
            sentence=f"{a} vs {b} on {task}: {gap} pp from {pair}, too few to compare",
        )
    within = max(abs(found.low), abs(found.high)) <= equivalence
    excludes = found.low > 0 or found.high < 0
    limit = f"±{100 * equivalence:g} pp"
    pairs = _of_pairs(difference, error, unit)
    gap = gap_text(difference.mean, found.low, found.high)
    if excludes and (difference.p_adjusted or 0) < ALPHA:
        small = f"; negligible: within {limit}" if within else ""
        kind: VerdictKind = "better" if difference.mean > 0 else "worse"
        verb = "beats" if kind == "better" else "is worse than"
        return Verdict(kind=kind, sentence=f"{a} {verb} {b} on {task}: {gap}, {pairs}{small}")
    if within:
        return Verdict(
            kind="equivalent",
            sentence=f"{a} and {b} are equivalent within {limit} on {task}: {gap}, {pairs}",
        )
    if excludes:
        return Verdict(
            kind="not significant after correction",
            sentence=(
                f"{a} vs {b} on {task}: {gap}, {pairs}; not significant after correction for "
                f"multiple comparisons (p {_p(difference.p_value)}, "
                f"adjusted {_p(difference.p_adjusted)})"
            ),
        )
    more, advice = _advice(difference, error, equivalence)
    return Verdict(
        kind="undecided",
        sentence=f"{a} vs {b} on {task}: {gap}, {pairs}; inconclusive: {advice}",
        seeds_needed=more,
    )


def _of_pairs(difference: Difference, error: Uncertainty, unit: str) -> str:
    """``better in 8 of 10 splits``; without predictions nothing is said of other test samples."""
    rows = "" if error.tells_of_rows else ", on this test set"
    if difference.p_better is None:
        return f"one fit of each{rows}"
    pairs = f"{difference.num_pairs:,} {unit}s"
    if difference.one_fit:
        pairs = f"{difference.num_pairs:,} seeds against one fit"
    ties = ""
    if error.num_ties:
        ties = f" ({error.num_ties:,} {'tie' if error.num_ties == 1 else 'ties'}, counted half)"
    return f"better in {num_better(difference)} of {pairs}{ties}{rows}"


def num_better(difference: Difference, sign: int = 1) -> str:
    """``8``, or ``8.5`` as ties count half: the pairs in which the learner is better.

    Args:
        sign: -1 for the pairs in which the other is.
    """
    assert difference.p_better is not None
    share = difference.p_better if sign > 0 else 1 - difference.p_better
    halves = round(2 * share * difference.num_pairs)
    return f"{halves // 2:,}{'.5' if halves % 2 else ''}"


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
        return None, "more seeds cannot change it"
    if error.num < FEWEST_PAIRS:
        return None, "too few pairs to estimate how many more are needed"
    more = seeds_needed(difference.mean, error, equivalence, difference.level)
    assumed = "if mean and spread stay the same, "
    level = ""
    if difference.level < ALPHA:
        level = f" (at p < {difference.level:.2g}, corrected for multiple comparisons)"
    if more is not None:
        return (
            more,
            f"{assumed}about {more} more seed{'s' if more > 1 else ''} would settle it{level}",
        )
    if error.overlap:
        why = ": the splits share too many samples"
    elif error.row_variance is not None:
        why = ": there are too few test samples"
    else:
        return None, f"{assumed}{MOST_SEEDS:,} seeds would not settle it{level}"
    return None, f"{assumed}no number of seeds would settle it{level}{why}"


def gap_text(mean: float, low: float, high: float) -> str:
    """``+0.8 pp (95 % CI +0.3 to +1.2)``, with the decimals that show that an end is not 0."""
    decimals = 1
    if low * high > 0:
        nearest = 100 * min(abs(low), abs(high))
        decimals = min(max(1, math.ceil(-math.log10(2 * nearest))), 3)
    elif high - low < 0.002:
        decimals = 2
    told = [signed(value, decimals) for value in (mean, low, high)]
    return f"{told[0]} pp (95 % CI {told[1]} to {told[2]})"


def signed(share: float, decimals: int = 1) -> str:
    """A difference of shares in percentage points, with its sign: ``+0.8``."""
    text = points(share, decimals)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def points(share: float, decimals: int = 1) -> str:
    """A share in per cent, without a sign of nothing."""
    text = f"{100 * share:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "below 0.001" if value < 0.001 else f"{value:.2g}"
