"""The answer to what a task is asked: does a network beat the reference, or which network is best?

It sums up verdicts and never says more than they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nnexp.comparison.types import LearnerOnTask, Task, Verdict, VerdictKind
from nnexp.comparison.verdicts import gap_text, points, signed

_COUNTED: dict[str, tuple[VerdictKind, ...]] = {
    "equivalent": ("equivalent",),
    "worse": ("worse",),
    "inconclusive": ("undecided", "not significant after correction"),
    "with too few pairs": ("too few",),
}


def headline(
    task: Task,
    results: Sequence[LearnerOnTask],
    reference: str | None,
    favourite: str | None,
    equivalence: float,
) -> Verdict | None:
    """Return whether a network beats the reference on a task, in a sentence.

    *Yes*: one is shown to. *No*: each is shown to be worse or equivalent. *Equivalent*: each is.
    *No evidence*: none is shown to beat it, and not all are shown not to. *Unknown*: each has too
    few pairs. None if no network was compared with the reference.

    Args:
        results: of all learners on the task, with their verdicts.
        favourite: the network that the validation rows choose.
        equivalence: a share; a difference of less is negligible.
    """
    compared = [r for r in results if r.is_network and r.verdict and r.difference]
    if not compared:
        return None
    base = next((r for r in results if r.learner == reference), None)
    its = f" ({points(base.test_acc.mean)} %)" if base and base.test_acc else ""
    where = f"{reference} on {task.name}{its}"
    limit = f"±{100 * equivalence:g} pp"
    kinds = Counter(r.verdict.kind for r in compared if r.verdict)
    best = next((r for r in compared if r.learner == favourite), compared[0])
    if len(compared) == 1:
        sentence = _of_one(compared[0], where, limit, equivalence)
    else:
        sentence = _of_several(compared, kinds, where, limit, equivalence)
        if best.learner == favourite:
            sentence += f"; the best by validation accuracy, {favourite}: {_lead(best)}"
    return Verdict(kind="summary", sentence=sentence, task=task.name, learner=best.learner)


def which_network(summary: Verdict, kinds: Sequence[VerdictKind]) -> Verdict:
    """The answer where networks are compared with a network, before what is said of the best.

    Args:
        summary: of the network with the best validation accuracy.
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


def _of_several(
    compared: Sequence[LearnerOnTask],
    kinds: Counter[VerdictKind],
    where: str,
    limit: str,
    equivalence: float,
) -> str:
    """The answer, and how many networks are what."""
    total = len(compared)
    if kinds["better"]:
        winners = [r for r in compared if r.verdict and r.verdict.kind == "better"]
        answer = _yes(winners, limit, equivalence)
        if len(winners) == total:
            return f"{answer}: all {total} networks beat {where}"
        verb = "beats" if len(winners) == 1 else "beat"
        return f"{answer}: {len(winners)} of {total} networks {verb} {where}; {_counts(kinds)}"
    if kinds["equivalent"] == total:
        return f"Equivalent: all {total} networks match {where} within {limit}"
    if kinds["worse"] == total:
        return f"No: all {total} networks are worse than {where}"
    if kinds["equivalent"] + kinds["worse"] == total:
        # An equivalent one may be better by less.
        few = limit.removeprefix("±")
        return f"No: none of the {total} networks beats {where} by {few} or more: {_counts(kinds)}"
    if kinds["too few"] == total:
        return f"Unknown: too few pairs to compare the {total} networks with {where}"
    claim = f"No evidence that any of the {total} networks beats {where}"
    return f"{claim}: {_counts(kinds)}"


def _counts(kinds: Counter[VerdictKind]) -> str:
    """``4 are worse, 2 inconclusive``: the networks that do not beat the reference."""
    told = [
        (count, words)
        for words, alike in _COUNTED.items()
        if (count := sum(kinds[kind] for kind in alike))
    ]
    (first, words), *rest = told
    parts = [f"{first} {'is' if first == 1 else 'are'} {words}"]
    return ", ".join([*parts, *(f"{count} {words}" for count, words in rest)])


def _of_one(result: LearnerOnTask, where: str, limit: str, equivalence: float) -> str:
    assert result.verdict is not None  # headline keeps those that have one
    name, kind = result.learner, result.verdict.kind
    lead = _lead(result)
    if kind == "better":
        return f"{_yes([result], limit, equivalence)}: {name} beats {where}: {lead}"
    if kind == "worse":
        return f"No: {name} is worse than {where}: {lead}"
    if kind == "equivalent":
        return f"Equivalent: {name} matches {where} within {limit}: {lead}"
    if kind == "too few":
        return f"Unknown: too few pairs to compare {name} with {where}"
    return f"No evidence that {name} beats {where}: {lead}, inconclusive"


def _yes(winners: Sequence[LearnerOnTask], limit: str, equivalence: float) -> str:
    small = all(_is_within(winner, equivalence) for winner in winners)
    return f"Yes, by a negligible margin (within {limit})" if small else "Yes"


def _lead(result: LearnerOnTask) -> str:
    """``−1.2 pp (95 % CI −2.0 to −0.4)``."""
    found = result.difference
    assert found is not None  # headline keeps those that have one
    if found.interval is None:
        return f"{signed(found.mean)} pp" if found.num_pairs else "no difference is known"
    return gap_text(found.mean, found.interval.low, found.interval.high)


def _is_within(result: LearnerOnTask, equivalence: float) -> bool:
    found = result.difference.interval if result.difference else None
    return found is not None and max(abs(found.low), abs(found.high)) <= equivalence
