"""The wording of verdicts: what may be said of a difference, and the headline of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nnexp.analysis.measure import OF_ACCURACY, Measure
from nnexp.analysis.statistics import ALPHA, POWER, Uncertainty
from nnexp.analysis.types import Difference, LearnerOnTask, Task, Verdict, VerdictKind

# --------------------------------------------------------------------------------------------------
# What may be said about a difference, by rule.
#
# A large p value is never taken for "no difference": that two learners are equivalent is said only
# where the whole interval lies within what does not matter (two one-sided tests, Schuirmann 1987).
# --------------------------------------------------------------------------------------------------

GIVEN = "for this training set"
"""What an interval holds for where the test set is fixed; see ``statistics``."""
MOST_SEEDS = 1000  # more than this is no advice
FEWEST_PAIRS = 5  # of fewer the spread is too little known for advice


def verdict(
    difference: Difference,
    error: Uncertainty,
    equivalence: float,
    unit: str = "split",
    measure: Measure = OF_ACCURACY,
) -> Verdict:
    """In this order: too few pairs; better or worse; equivalent; not significant; inconclusive.

    Args:
        error: of the difference; it says what more splits would decide.
        equivalence: in the metric's unit; a difference of less does not matter.
        unit: what a pair is one of, ``split`` or ``seed``.
        measure: what the difference is of.
    """
    made = _verdict(difference, error, equivalence, unit, measure)
    return replace(made, task=difference.task, learner=difference.learner)


def _verdict(
    difference: Difference, error: Uncertainty, equivalence: float, unit: str, measure: Measure
) -> Verdict:
    a, b, task = difference.learner, difference.other, difference.task
    found = difference.interval
    if found is None:
        if not difference.num_pairs:
            return Verdict(kind="too few", sentence=f"{a} and {b} share no split on {task}")
        gap, pair = measure.signed(difference.mean), "one pair"
        if error.one_fit:
            pair = "one fit of each, without predictions on the test set"
        return Verdict(
            kind="too few",
            sentence=f"{a} vs {b} on {task}: {gap} from {pair}, too few to compare",
        )
    within = max(abs(found.low), abs(found.high)) <= equivalence
    excludes = found.low > 0 or found.high < 0
    limit = measure.margin(equivalence)
    pairs = _of_pairs(difference, error, unit)
    gap = measure.gap(difference.mean, found.low, found.high)
    if excludes and (difference.p_adjusted or 0) < ALPHA:
        small = f"; negligible: within {limit}" if within else ""
        kind: VerdictKind = "better" if measure.sign * difference.mean > 0 else "worse"
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
    least = error.detectable(difference.level)
    detectable = least if least <= (1 if measure.is_accuracy else measure.span) else None
    power = "" if detectable is None else f"; {power_text(detectable, measure)}"
    return Verdict(
        kind="undecided",
        sentence=f"{a} vs {b} on {task}: {gap}, {pairs}{power}; inconclusive: {advice}",
        seeds_needed=more,
        detectable=detectable,
    )


def power_text(detectable: float, measure: Measure = OF_ACCURACY) -> str:
    """``a difference of 1.3 pp would have been found with 80 % power``."""
    shown = measure.amount(detectable)
    return f"a difference of {shown} would have been found with {100 * POWER:g} % power"


def _of_pairs(difference: Difference, error: Uncertainty, unit: str) -> str:
    """``better in 8 of 10 splits``, and for which samples the interval holds: where the test set is
    fixed for this training set, and without predictions for this test set alone."""
    rows = ""
    if error.is_given_training_set:
        rows = f", {GIVEN}" if error.tells_of_rows else ", for this training and test set"
    if difference.num_better is None:
        return f"one fit of each{rows}"
    pairs = f"{difference.num_pairs:,} {unit}s"
    if difference.one_fit:
        pairs = f"{difference.num_pairs:,} seeds against one fit"
    ties = ""
    if error.num_ties:
        ties = f" ({error.num_ties:,} {'tie' if error.num_ties == 1 else 'ties'}, counted half)"
    return f"better in {better_text(difference)} of {pairs}{ties}{rows}"


def better_text(difference: Difference, sign: int = 1) -> str:
    """``8``, or ``8.5`` as ties count half: the pairs in which the learner is better.

    Args:
        sign: -1 for the pairs in which the other is.
    """
    assert difference.num_better is not None
    own = difference.num_better
    halves = round(2 * (own if sign > 0 else difference.num_pairs - own))
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


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    return "below 0.001" if value < 0.001 else f"{value:.2g}"


# --------------------------------------------------------------------------------------------------
# The answer to what a task is asked: does a network beat the reference, or which network is best?
#
# It sums up verdicts and never says more than they do.
# --------------------------------------------------------------------------------------------------

_COUNTED: dict[str, tuple[VerdictKind, ...]] = {
    "better": ("better",),
    "equivalent": ("equivalent",),
    "worse": ("worse",),
    "inconclusive": ("undecided", "not significant after correction"),
    "with too few pairs": ("too few",),
}


def headline(
    task: Task,
    results: Sequence[LearnerOnTask],
    reference: str | None,
    equivalence: float,
    measure: Measure = OF_ACCURACY,
) -> Verdict | None:
    """Return whether a network beats the reference on a task, in a sentence.

    Of several networks the best is meant, selected on each split by validation score; it is one
    comparison, and what becomes of the networks one by one is counted behind it. None if no
    network was compared with the reference.

    Args:
        results: of all learners on the task, with their verdicts.
        equivalence: in the metric's unit; a difference of less is negligible.
        measure: what scores are of.
    """
    compared = [r for r in results if r.is_network and r.verdict and r.difference]
    networks = [r for r in compared if not r.is_selection]
    if not networks:
        return None
    base = next((r for r in results if r.learner == reference), None)
    given = f", {GIVEN}" if task.same_test_rows else ""
    its = f" ({measure.value(base.test_score.mean)})" if base and base.test_score else ""
    where = f"{reference} on {task.name}{its}"
    told, name, counts = networks[0], networks[0].learner, ""
    if len(networks) > 1:
        selected = next((r for r in compared if r.is_selection), None)
        if selected is None:
            return _without_selection(networks, where, task)
        told = selected
        name = f"the best of {len(networks)} networks, {selected_by(task.unit, measure)},"
        kinds = Counter(r.verdict.kind for r in networks if r.verdict)
        if kinds["too few"] < len(networks):
            counts = f"; one by one, {_counts(kinds)}"
    assert told.verdict is not None  # compared are those that have one
    return Verdict(
        kind="summary",
        sentence=_answer(told, name, where, given, equivalence, measure) + counts,
        seeds_needed=told.verdict.seeds_needed,
        task=task.name,
        learner=told.learner,
    )


def _without_selection(networks: Sequence[LearnerOnTask], where: str, task: Task) -> Verdict:
    """The answer where there are no validation samples to select a network by."""
    kinds = Counter(r.verdict.kind for r in networks if r.verdict)
    given = f", {GIVEN}" if task.same_test_rows else ""
    return Verdict(
        kind="summary",
        sentence=f"Of {len(networks)} networks against {where}{given}, {_counts(kinds)}; without "
        "validation samples none of them is selected",
        task=task.name,
        learner=networks[0].learner,
    )


def selected_by(unit: str, measure: Measure = OF_ACCURACY) -> str:
    """How the best network is selected, for splits or for seeds on one split."""
    where = "on" if unit == "split" else "for"
    return f"selected {where} each {unit} by validation {measure.label}"


def which_network(summary: Verdict, kinds: Sequence[VerdictKind]) -> Verdict:
    """The answer where networks are compared with a network, before what is said of the best.

    Args:
        summary: of the network with the best validation score.
        kinds: the verdicts on it against each of the others.
    """
    told = set(kinds)
    answer = "No network is clearly the best"
    if told == {"better"}:
        answer = "One network is the best"
    elif told == {"equivalent"}:
        answer = "The best network is equivalent to the others"
    elif told == {"better", "equivalent"}:
        answer = "Several networks are equivalent, and better than the others"
    rest = summary.sentence
    rest = f"of{rest[2:]}" if rest.startswith("Of ") else rest
    return replace(summary, sentence=f"{answer}: {rest}")


def _counts(kinds: Counter[VerdictKind]) -> str:
    """``4 are worse, 2 inconclusive``: networks by what is said of them."""
    told = [
        (count, words)
        for words, alike in _COUNTED.items()
        if (count := sum(kinds[kind] for kind in alike))
    ]
    (first, words), *rest = told
    parts = [f"{first} {'is' if first == 1 else 'are'} {words}"]
    return ", ".join([*parts, *(f"{count} {words}" for count, words in rest)])


def _answer(
    result: LearnerOnTask,
    name: str,
    where: str,
    given: str,
    equivalence: float,
    measure: Measure,
) -> str:
    assert result.verdict is not None  # headline keeps those that have one
    kind, limit = result.verdict.kind, measure.margin(equivalence)
    lead = _lead(result, measure) + given
    if kind == "better":
        small = f", by a negligible margin (within {limit})"
        yes = f"Yes{small if _is_within(result, equivalence) else ''}"
        return f"{yes}: {name} beats {where}: {lead}"
    if kind == "worse":
        return f"No: {name} is worse than {where}: {lead}"
    if kind == "equivalent":
        return f"Equivalent: {name} matches {where} within {limit}: {lead}"
    if kind == "too few":
        return f"Unknown: too few pairs to compare {name} with {where}"
    least = result.verdict.detectable
    power = "" if least is None else f"; {power_text(least, measure)}"
    return f"No evidence that {name} beats {where}: {lead}, inconclusive{power}"


def _lead(result: LearnerOnTask, measure: Measure) -> str:
    """``−1.2 pp (95 % CI −2.0 to −0.4)``."""
    found = result.difference
    assert found is not None  # headline keeps those that have one
    if found.interval is None:
        return measure.signed(found.mean) if found.num_pairs else "no difference is known"
    return measure.gap(found.mean, found.interval.low, found.interval.high)


def _is_within(result: LearnerOnTask, equivalence: float) -> bool:
    found = result.difference.interval if result.difference else None
    return found is not None and max(abs(found.low), abs(found.high)) <= equivalence
