"""Verdicts in few lines: many of one kind on a task become one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.comparison.types import Comparison, Difference, Verdict, VerdictKind
from nnexp.report.numbers import points, points_interval

_FOLDED_FROM = 5  # verdicts on learners of one task
_NAMED = 6  # learners in a folded sentence
_ANSWERS = ("summary", "chance")
_HEADS: dict[VerdictKind, str] = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "undecided": "inconclusive against",
    "not significant after correction": "not significant after correction against",
    "too few": "too few pairs to compare with",
}


def bullets(comparison: Comparison, most: int) -> tuple[list[str], int]:
    """Sentences, the answers of all tasks among them, and how many verdicts they leave out.

    Args:
        most: how many sentences, unless there are more tasks.
    """
    by_task: dict[str | None, list[Verdict]] = {}
    for verdict in comparison.verdicts:
        by_task.setdefault(verdict.task, []).append(verdict)
    found = {(d.learner, d.task): d for r in comparison.results if (d := r.difference) is not None}
    told: list[tuple[bool, str, int]] = []  # is it the first of its task; how many verdicts
    for verdicts in by_task.values():
        told += [
            (i == 0, sentence, count)
            for i, (sentence, count) in enumerate(_of_task(verdicts, found))
        ]
    room = most - sum(first for first, _, _ in told)
    kept = []
    hidden = 0
    for first, sentence, count in told:
        if first or room > 0:
            kept.append(sentence)
        else:
            hidden += count
        room -= not first
    return kept, hidden


def _of_task(
    verdicts: Sequence[Verdict], found: dict[tuple[str, str], Difference]
) -> list[tuple[str, int]]:
    """Sentences with the number of verdicts in each, in order of the first of each kind."""
    answers = [(v.sentence, 1) for v in verdicts if v.kind in _ANSWERS]
    rest = [v for v in verdicts if v.kind not in _ANSWERS]
    pairs = [(v, found.get((v.learner or "", v.task or ""))) for v in rest]
    if len(rest) < _FOLDED_FROM or any(difference is None for _, difference in pairs):
        return [*answers, *((v.sentence, 1) for v in rest)]
    by_kind: dict[VerdictKind, list[tuple[Verdict, Difference]]] = {}
    for verdict, difference in pairs:
        if difference is not None:
            by_kind.setdefault(verdict.kind, []).append((verdict, difference))
    folded = [
        (_folded(kind, [d for _, d in mine]) if len(mine) > 1 else mine[0][0].sentence, len(mine))
        for kind, mine in by_kind.items()
    ]
    return [*answers, *folded]


def _folded(kind: VerdictKind, differences: Sequence[Difference]) -> str:
    """``worse than KNN on digits, in pp [95 % CI]: a −1.20 [−2.00, −0.40], b ...``."""
    first = differences[0]
    named = ", ".join(
        f"{d.learner} {points(d.mean)} {points_interval(d.interval)}".strip()
        for d in differences[:_NAMED]
    )
    more = len(differences) - _NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"{_HEADS[kind]} {first.other} on {first.task}, in pp [95 % CI]: {named}{rest}"
