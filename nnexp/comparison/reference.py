"""The learner that all others are compared with."""

from __future__ import annotations

from nnexp.baselines.labels import labels
from nnexp.comparison.options import Options
from nnexp.comparison.placing import Placed
from nnexp.comparison.summaries import best_by_validation
from nnexp.errors import did_you_mean


def find_reference(placed: Placed, options: Options) -> tuple[str | None, list[str]]:
    """The reference, and warnings about it.

    It is a baseline by its name in a config (``knn``) or a learner by its name in the comparison.
    If no run has it, the network with the best validation accuracy takes its place: validation
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
    best = _best_over_tasks(placed)
    told_name = labels().get(asked, asked)
    hint = did_you_mean(asked, [*alive, *labels()])
    hint = "" if asked in labels() else hint
    if best is None or len(networks) == 0:
        return None, [f"no run was compared with {told_name}{hint}: there are no verdicts"]
    return best, [
        f"no run was compared with {told_name}{hint}: the reference is {best}, the network with "
        "the best validation accuracy"
    ]


def _best_over_tasks(placed: Placed) -> str | None:
    """The network that is best by validation accuracy on most tasks; the first of equals."""
    wins: dict[str, int] = {}
    for facts in placed.tasks:
        best = best_by_validation([e for e in placed.on(facts.task.name) if e.is_network])
        if best is not None:
            wins[best] = wins.get(best, 0) + 1
    return max(wins, key=lambda name: wins[name]) if wins else None
