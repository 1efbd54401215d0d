"""The best network, selected on each split: a learner whose choice no test sample has part in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from nnexp.analysis.measure import Measure
from nnexp.analysis.records import Entry, Outcome, TaskFacts

# --------------------------------------------------------------------------------------------------
# The network with the best mean validation score over splits is chosen with the help of test
# samples: those of one split validate on others. What somebody gets who compares these networks
# and keeps the best is told by a learner that chooses anew on every split, on that split's
# validation samples alone, as each network chooses its hyperparameters (Varma and Simon 2006;
# Cawley and Talbot 2010).
# --------------------------------------------------------------------------------------------------

NETWORK = "network"  # the key of a selected setting that names the network


def selected_network(networks: Sequence[Entry], facts: TaskFacts, measure: Measure) -> Entry | None:
    """On each split the outcome of the network with the best validation score there.

    Ties go as between hyperparameters: to the lower validation loss, then to the first by name; a
    network with a failed run on the split ranks below all without. It is trained at the cost of
    all. None for fewer than two networks, and where there are no validation samples.
    """
    choices = [choice for entry in networks for choice in entry.choices]
    if len(networks) < 2 or all(choice.val_score is None for choice in choices):
        return None
    outcomes = []
    for split in facts.task.splits:
        there = [(e.learner, e.by_split[split]) for e in networks if split in e.by_split]
        if there:
            outcomes.append(_selected(there, measure))
    counts: dict[str, int] = {}
    for status, number in (item for entry in networks for item in entry.num_failed.items()):
        counts[status] = counts.get(status, 0) + number
    unit = facts.task.unit
    return Entry(
        learner=f"best network per {unit}",
        task=facts.task.name,
        baseline=None,
        outcomes=tuple(outcomes),
        num_runs=sum(entry.num_runs for entry in networks),
        num_failed=counts,
        notes=(f"of {len(networks)} networks, by validation {measure.label}; p not adjusted",),
        is_selection=True,
    )


def _selected(there: Sequence[tuple[str, Outcome]], measure: Measure) -> Outcome:
    """Of the outcomes of all networks on one split."""
    learner, best = min(there, key=lambda one: _rank(one[0], one[1], measure))
    seconds = [outcome.tune_seconds for _, outcome in there if outcome.tune_seconds is not None]
    return replace(
        best,
        choice=replace(best.choice, setting={NETWORK: learner, **best.choice.setting}),
        tried=tuple(
            replace(tried, setting={NETWORK: name, **tried.setting})
            for name, outcome in there
            for tried in outcome.tried
        ),
        tune_seconds=sum(seconds) if seconds else None,
    )


def _rank(learner: str, outcome: Outcome, measure: Measure) -> tuple[bool, bool, float, float, str]:
    loss = math.inf if outcome.val_loss is None else outcome.val_loss
    badness = measure.badness(outcome.choice.val_score)
    return outcome.choice.failed, outcome.num_failed > 0, badness, loss, learner
