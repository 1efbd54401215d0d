"""From runs to a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from nnexp.analysis.across_datasets import learning_curves, over_tasks
from nnexp.analysis.by_class import by_class, read_quietly
from nnexp.analysis.curves import Histories, cost, curves, expected_best, target_score
from nnexp.analysis.differences import Error, Measures, adjusted
from nnexp.analysis.grouping import GroupedRuns, group_runs, without_unrecorded
from nnexp.analysis.held_out_predictions import ensemble, reliability
from nnexp.analysis.learners import best_first
from nnexp.analysis.measure import RELATIVE_MARGIN, Measure
from nnexp.analysis.protocol import protocol
from nnexp.analysis.records import Entry, RunRecord, TaskFacts
from nnexp.analysis.remarks import (
    budgets,
    edges,
    failed_splits,
    missing_splits,
    num_settings,
    recipe,
    selected_by_accuracy,
    single_splits,
    tried_settings,
)
from nnexp.analysis.selected_network import selected_network
from nnexp.analysis.summaries import (
    best_by_validation,
    best_network,
    chance,
    find_reference,
    over_all,
    selection_over_all,
    untested,
)
from nnexp.analysis.types import (
    AcrossTasks,
    ByClass,
    Comparison,
    Difference,
    LearnerOnTask,
    Options,
    Task,
    Verdict,
    VerdictKind,
)
from nnexp.analysis.verdicts import headline, verdict, which_network

__all__ = ["Options", "compare"]


def compare(records: Sequence[RunRecord], options: Options) -> Comparison:
    """All that can be said of these runs, and what cannot.

    Metrics and predictions are read from the folders of chosen runs alone; a file that is not
    there leaves out what follows from it. No set of records is refused.
    """
    measure = options.measure
    if not measure.is_bounded and options.relative_equivalence is None:
        options = replace(options, relative_equivalence=RELATIVE_MARGIN)
    known, unrecorded = without_unrecorded(records, measure)
    placed = group_runs(known, options)
    reference, warnings = find_reference(placed, options)
    found = [_compare_on(facts, placed, reference, options) for facts in placed.tasks]
    results = [result for task in found for result in task.results]
    across, ranks, about_ranks = over_tasks(placed, results, reference, measure)
    return Comparison(
        title=options.title,
        reference=reference,
        equivalence=options.equivalence,
        relative_equivalence=options.relative_equivalence,
        verdicts=tuple(_verdicts(found, across, reference, measure)),
        warnings=(
            *unrecorded,
            *placed.warnings,
            *warnings,
            *single_splits(placed.tasks),
            *missing_splits(placed.tasks, placed.entries),
            *failed_splits(placed.tasks, placed.entries, measure),
            *(warning for task in found for warning in task.warnings),
            *(f"{r.learner} on {r.task}: {_lowered(edge)}" for r in results for edge in r.edges),
            *about_ranks,
            *selected_by_accuracy(placed.entries, measure),
            *budgets(placed.tasks, placed.entries),
        ),
        tasks=tuple(task.task for task in found),
        learners=placed.learners,
        results=tuple(results),
        pairwise=tuple(difference for task in found for difference in task.pairwise),
        across=across,
        critical_difference=ranks,
        learning_curves=tuple(learning_curves(placed, results)),
        failed=placed.failed,
        protocol=protocol(
            known,
            placed.tasks,
            placed.entries,
            options,
            selects=any(result.is_selection for result in results),
        ),
        num_runs=len(records),
        by_class=tuple(task.by_class for task in found if task.by_class is not None),
        metric=measure,
    )


@dataclass(frozen=True, kw_only=True)
class _OnTask:
    """What was found on one task."""

    task: Task
    results: list[LearnerOnTask]
    pairwise: list[Difference]
    summaries: list[Verdict]
    warnings: list[str]
    by_class: ByClass | None


def _compare_on(
    facts: TaskFacts, placed: GroupedRuns, reference: str | None, options: Options
) -> _OnTask:
    measure = options.measure
    entries = placed.on(facts.task.name)
    base = next((entry for entry in entries if entry.learner == reference), None)
    networks = [entry for entry in entries if entry.is_network and entry.outcomes]
    # Where the reference is one of the networks, it is a candidate too.
    asked = base is not None and base.outcomes and not base.is_network
    selected = selected_network(networks, facts, measure) if asked else None
    measures = Measures(facts, entries if selected is None else [*entries, selected], measure)
    target, target_of = target_score(entries, reference, measure)
    equivalence = _equivalence(base, measures, options)
    histories = Histories()
    against: dict[str, Error] = {}
    if base is not None and base.outcomes:
        others = [entry for entry in entries if entry is not base and entry.outcomes]
        family = adjusted([measures.difference(entry, base) for entry in others])
        if selected is not None:  # the headline's comparison: planned, and a family of its own
            family += adjusted([measures.difference(selected, base)])
        against = {difference.learner: (difference, error) for difference, error in family}
    results = [
        _result(
            entry,
            facts,
            measures,
            histories,
            target,
            against.get(entry.learner),
            equivalence,
            measure,
        )
        for entry in (entries if selected is None else [*entries, selected])
    ]
    pairs = adjusted([measures.difference(a, b) for a, b in combinations(networks, 2)])
    kinds = _kinds(pairs, equivalence, measure)
    scores = {result.learner: result.test_score for result in results}
    best = best_network(facts.task, networks, kinds, scores, measure)
    answer: Verdict | None
    if base is not None and base.is_network and best is not None:
        told = [kind for (learner, _), kind in kinds.items() if learner == best.learner]
        answer, best = which_network(best, told), None
    else:
        answer = headline(facts.task, results, reference, equivalence, measure)
    if answer is not None:
        how = recipe(networks, base)
        answer = replace(answer, sentence=f"{answer.sentence} {how}")
    summaries = [answer, chance(facts, entries, measures, equivalence, measure), best]
    return _OnTask(
        task=replace(facts.task, target_score=target, target_of=target_of, equivalence=equivalence),
        results=results,
        pairwise=[difference for difference, _ in pairs],
        summaries=[summary for summary in summaries if summary is not None],
        warnings=measures.unread(),
        by_class=_by_class(facts, networks, selected, base, measures, measure),
    )


def _by_class(
    facts: TaskFacts,
    networks: Sequence[Entry],
    selected: Entry | None,
    base: Entry | None,
    measures: Measures,
    measure: Measure,
) -> ByClass | None:
    """Of the best network and the reference, where the page shows the task."""
    if not facts.task.is_whole:
        return None
    favourite = best_by_validation(networks, measure)
    best = selected or next((entry for entry in networks if entry.learner == favourite), None)
    shown = [entry for entry in (best, base if base is not best else None) if entry is not None]
    told = [measures.test_metrics(entry) for entry in networks]
    metrics = [name for values in told for name, value in values.items() if value is not None]
    metrics += [measure.name]
    read = measures.held_out.predictions if facts.task.same_test_rows else read_quietly
    return by_class(facts, shown, metrics, read)


def _equivalence(base: Entry | None, measures: Measures, options: Options) -> float:
    """What does not matter on a task: a part of the metric's range, or of the reference's error.

    Nothing is negligible where a metric has no bounds and there is no reference.
    """
    measure = options.measure
    score = None if base is None else measures.test_score(base)
    if options.relative_equivalence is None or score is None:
        return options.equivalence * measure.span if measure.is_bounded else 0.0
    return options.relative_equivalence * measure.error(score.mean)


def _lowered(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


_TURNED: dict[VerdictKind, VerdictKind] = {"better": "worse", "worse": "better"}


def _kinds(
    pairs: Sequence[Error], equivalence: float, measure: Measure
) -> dict[tuple[str, str], VerdictKind]:
    """What is said of each pair of networks, either way round."""
    kinds: dict[tuple[str, str], VerdictKind] = {}
    for difference, error in pairs:
        kind = verdict(difference, error, equivalence, measure=measure).kind
        kinds[difference.learner, difference.other] = kind
        kinds[difference.other, difference.learner] = _TURNED.get(kind, kind)
    return kinds


def _result(
    entry: Entry,
    facts: TaskFacts,
    measures: Measures,
    histories: Histories,
    target: float | None,
    against: Error | None,
    equivalence: float,
    measure: Measure,
) -> LearnerOnTask:
    tried = tried_settings(entry, measures.over)
    chosen = [
        record
        for outcome in (entry.outcomes if entry.is_network else ())
        for record in outcome.records
    ]
    return LearnerOnTask(
        learner=entry.learner,
        task=entry.task,
        is_network=entry.is_network,
        num_runs=entry.num_runs,
        num_failed=entry.num_failed,
        num_settings=num_settings(entry),
        tried=tried,
        choices=entry.choices,
        edges=() if entry.is_selection else edges(entry, tried, facts.task),
        val_score=measures.val_score(entry),
        test_score=measures.test_score(entry),
        test_clipped_loss=measures.test_clipped_loss(entry),
        test_brier=measures.test_brier(entry),
        reliability=reliability(entry),
        difference=against[0] if against else None,
        verdict=verdict(*against, equivalence, facts.task.unit, measure) if against else None,
        cost=cost(entry, target, histories, measure),
        curves=None
        if entry.is_selection
        else curves(
            [histories.of(record.folder) for record in chosen],
            [record.result.group_size for record in chosen],
            facts.overlap,
            measure,
        ),
        expected_best=None
        if entry.is_selection
        else expected_best(entry.outcomes, measures.over, measure),
        ensemble=ensemble(entry, measures.held_out, measure) if facts.task.same_test_rows else None,
        test_metrics=measures.test_metrics(entry),
        notes=entry.notes,
        is_selection=entry.is_selection,
    )


def _verdicts(
    found: Sequence[_OnTask],
    across: Sequence[AcrossTasks],
    reference: str | None,
    measure: Measure,
) -> list[Verdict]:
    """The most important first: over all data sets; then by task the answer, guessing, the best
    network, and every learner against the reference, best first."""
    told = [
        over_all(line, reference)
        for line in across
        if reference is not None and line.learner != reference
        if any(r.learner == line.learner and r.is_network for task in found for r in task.results)
    ]
    selections = [r for task in found if task.task.is_whole for r in task.results if r.is_selection]
    if across and reference is not None and len(selections) == across[0].num_tasks:
        told.insert(0, selection_over_all(selections, reference, measure))
    told += untested(across) if told else []
    for task in found:
        told += task.summaries
        ordered = best_first(task.results, task.task, measure)
        told += [result.verdict for result in ordered if result.verdict is not None]
    return told
