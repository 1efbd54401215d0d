"""Sentences over several differences: the best network of a task, guessing, all data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from nnexp.comparison.differences import Error, Measures, adjusted
from nnexp.comparison.entries import Entry
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import AcrossTasks, Estimate, Verdict, VerdictKind
from nnexp.comparison.verdicts import ALPHA, points

_MOST_NAMED = 6

_PHRASES: dict[VerdictKind, str] = {
    "better": "better than",
    "equivalent": "equivalent to",
    "undecided": "undecided against",
    "not significant after correction": "not told apart after correction from",
    "too few": "not compared with",
    "worse": "worse than",
}


def best_by_validation(entries: Sequence[Entry]) -> str | None:
    """The learner with the best mean validation accuracy; the first of equals."""
    means = {
        entry.learner: fmean(accs)
        for entry in entries
        if (accs := [c.val_acc for c in entry.choices if c.val_acc is not None])
    }
    return max(means, key=lambda name: means[name]) if means else None


def best_network(
    task: str,
    networks: Sequence[Entry],
    pairwise: Mapping[tuple[str, str], VerdictKind],
    test_accs: Mapping[str, Estimate | None],
) -> Verdict | None:
    """Which network the validation rows favour, and what the test rows say of it.

    Args:
        pairwise: verdicts on the first of two networks against the second, either way round.

    None for fewer than two networks.
    """
    best = best_by_validation(networks)
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
    acc = test_accs.get(best)
    sentence = (
        f"Of {len(networks)} networks on {task}, {best} has the best validation accuracy; on the "
        f"test rows it has {points(acc.mean) if acc else 'no'} % and is {told}"
    )
    return Verdict(kind="summary", sentence=sentence, task=task, learner=best)


def chance(facts: TaskFacts, entries: Sequence[Entry], measures: Measures) -> Verdict | None:
    """That nothing beats guessing, where nothing is shown to.

    Guessing is the majority-class baseline where it was run, on the same splits, else one of the
    classes at random. A learner beats it if the 95 % interval of its difference lies above 0, also
    after Holm's correction over the learners: of many that guess, some lie above by chance. None
    where something beats it or a learner has too few splits to tell.
    """
    majority = next((entry for entry in entries if entry.baseline == "majority"), None)
    learners = [entry for entry in entries if entry.outcomes and entry is not majority]
    family: list[Error] = []
    for entry in learners:
        if majority is not None and majority.outcomes:
            family.append(measures.difference(entry, majority))
        else:
            family.append(measures.over_guessing(entry, facts.guess))
    if not family or any(difference.num_pairs < 2 for difference, _ in family):
        return None
    told = [difference for difference, _ in adjusted(family)]
    if any(d.mean > 0 and (d.p_adjusted or 0) < ALPHA for d in told):
        return None
    guessing = "the most frequent class"
    if majority is None or not majority.outcomes:
        guessing = f"one of {facts.task.num_classes} classes"
    best = max(told, key=lambda d: d.mean)
    gap = f"{points(best.mean)} points"
    if best.interval is not None:
        gap += f" [{points(best.interval.low)}, {points(best.interval.high)}]"
    return Verdict(
        kind="chance",
        sentence=(
            f"nothing beats guessing {guessing} on {facts.task.name}: the most that a learner "
            f"lies above it is {gap}, of {best.learner}"
        ),
        task=facts.task.name,
    )


def over_all(line: AcrossTasks, reference: str) -> Verdict:
    """A learner against the reference over all data sets."""
    rest = line.descriptive_only
    if line.p_adjusted is not None:
        rest = f"signed-rank test p {line.p_adjusted:.2g} after Holm's correction"
    return Verdict(
        kind="summary",
        sentence=(
            f"{line.learner} against {reference} over these {line.num_tasks} data sets: "
            f"{line.wins} won, {line.ties} open or equivalent, {line.losses} lost"
            + (f"; {rest}" if rest else "")
        ),
        learner=line.learner,
    )


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
