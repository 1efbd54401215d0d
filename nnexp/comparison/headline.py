"""The answer to what a task is asked: does a network beat the reference, or which network is best?

It sums up verdicts and never says more than they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nnexp.comparison.types import LearnerOnTask, Task, Verdict, VerdictKind
from nnexp.comparison.verdicts import gap_text, points

_COUNTED: dict[VerdictKind, tuple[str, str]] = {  # of one network, of several
    "better": ("beats it", "beat it"),
    "equivalent": ("is equivalent", "are equivalent"),
    "worse": ("loses", "lose"),
    "not significant after correction": ("is not clear", "are not clear"),
    "undecided": ("is undecided", "are undecided"),
    "too few": ("has too few pairs", "have too few pairs"),
}


def headline(
    task: Task,
    results: Sequence[LearnerOnTask],
    reference: str | None,
    favourite: str | None,
    equivalence: float,
) -> Verdict | None:
    """Whether a network beats the reference on a task, in a sentence.

    *Yes*: one is shown to. *No*: each is shown to lose or to be equivalent. *As good*: each is
    equivalent. *Undecided*: none is shown to be anything. *Unknown*: each has too few pairs. *Not
    shown*: what is left, where some lose and others are undecided. None if no network was compared
    with it.

    Args:
        results: of all learners on the task, with their verdicts.
        favourite: the network that the validation rows choose.
        equivalence: a share; a difference of less does not matter.
    """
    compared = [r for r in results if r.is_network and r.verdict and r.difference]
    if not compared:
        return None
    base = next((r for r in results if r.learner == reference), None)
    its = f" ({points(base.test_acc.mean)} %)" if base and base.test_acc else ""
    where = f"{reference} on {task.name}{its}"
    limit = f"±{100 * equivalence:g} points"
    kinds = Counter(r.verdict.kind for r in compared if r.verdict)
    best = next((r for r in compared if r.learner == favourite), compared[0])
    if len(compared) == 1:
        sentence = _of_one(compared[0], where, limit, equivalence)
    else:
        answer, claim = _of_several(compared, kinds, where, limit, equivalence)
        rest = "" if kinds["better"] == len(compared) else _rest(kinds, claim)
        sentence = f"{answer}: {claim}{rest}"
        if best.learner == favourite:
            sentence += f"; the best by validation accuracy, {favourite}, {_lead(best)}"
    return Verdict(kind="summary", sentence=sentence, task=task.name, learner=best.learner)


def which_network(summary: Verdict, kinds: Sequence[VerdictKind]) -> Verdict:
    """The answer where networks are compared with a network, before what is said of the best.

    Args:
        summary: of the network with the best validation accuracy.
        kinds: the verdicts on it against each of the others.
    """
    told = set(kinds)
    answer = "No network is shown to be the best"
    if told == {"better"}:
        answer = "One network is the best"
    elif told == {"equivalent"}:
        answer = "The best network is as good as the others"
    elif told == {"better", "equivalent"}:
        answer = "Some networks are equally good, and better than the others"
    rest = summary.sentence
    rest = f"of{rest[2:]}" if rest.startswith("Of ") else rest
    return replace(summary, sentence=f"{answer}: {rest}")


def _of_several(
    compared: Sequence[LearnerOnTask],
    kinds: Counter[VerdictKind],
    where: str,
    limit: str,
    equivalence: float,
) -> tuple[str, str]:
    """The answer and what it is taken from."""
    total = len(compared)
    if kinds["better"]:
        winners = [r for r in compared if r.verdict and r.verdict.kind == "better"]
        small = all(_is_within(r, equivalence) for r in winners)
        answer = f"Yes, by less than {limit}, which does not matter" if small else "Yes"
        some = f"all {total} networks" if len(winners) == total else f"{len(winners)} of {total}"
        verb = "beats" if len(winners) == 1 else "beat"
        networks = "" if len(winners) == total else " networks"
        return answer, f"{some}{networks} {verb} {where}"
    if kinds["equivalent"] == total:
        return "As good", f"all {total} networks are equivalent to {where} within {limit}"
    if kinds["equivalent"] + kinds["worse"] == total:
        if kinds["worse"] == total:
            return "No", f"all {total} networks lose to {where}"
        # An equivalent one may be better by less.
        return "No", f"none of {total} networks beats {where} by {limit[1:]} or more"
    if kinds["too few"] == total:
        return "Unknown", f"{total} networks and {where} make one pair each, too few to say"
    answer = "Not shown" if kinds["worse"] or kinds["equivalent"] else "Undecided"
    return answer, f"none of {total} networks is shown to beat {where}"


def _rest(kinds: Counter[VerdictKind], claim: str) -> str:
    """``; 4 lose, 2 are undecided``: what the claim has not said."""
    told = [
        f"{kinds[kind]} {words[kinds[kind] > 1]}"
        for kind, words in _COUNTED.items()
        if kinds[kind] and kind != "better"
    ]
    said_of_all = len(told) == 1 and ("shown" not in claim or kinds["undecided"] > 0)
    return "" if said_of_all and not kinds["better"] else f"; {', '.join(told)}"


def _of_one(result: LearnerOnTask, where: str, limit: str, equivalence: float) -> str:
    assert result.verdict is not None  # headline keeps those that have one
    name, kind = result.learner, result.verdict.kind
    lead = _lead(result)
    if kind == "better":
        small = _is_within(result, equivalence)
        answer = f"Yes, by less than {limit}, which does not matter" if small else "Yes"
        return f"{answer}: {name} beats {where}: it {lead}"
    if kind == "worse":
        return f"No: {name} loses to {where}: it {lead}"
    if kind == "equivalent":
        return f"As good: {name} is equivalent to {where} within {limit}: it {lead}"
    if kind == "too few":
        return f"Unknown: {name} and {where} make too few pairs to say"
    return f"Undecided: {name} is not shown to beat {where}: it {lead}"


def _lead(result: LearnerOnTask) -> str:
    """``is 1.2 points below [0.4, 2.0]``."""
    found = result.difference
    assert found is not None  # headline keeps those that have one
    side = "above" if found.mean >= 0 else "below"
    if found.interval is None:
        return f"is {points(abs(found.mean))} points {side}" if found.num_pairs else "is not known"
    low, high = found.interval.low, found.interval.high
    if found.mean < 0:
        low, high = -high, -low
    number, _, interval = gap_text(abs(found.mean), low, high).partition(" [")
    return f"is {number} {side} [{interval}"


def _is_within(result: LearnerOnTask, equivalence: float) -> bool:
    found = result.difference.interval if result.difference else None
    return found is not None and max(abs(found.low), abs(found.high)) <= equivalence
