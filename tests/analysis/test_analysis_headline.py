"""The answer to a task's question, the order of its learners, and what they are called."""

from __future__ import annotations

from dataclasses import replace

import pytest
import report_cases as cases
from comparison_cases import run

from nnexp.analysis.compare import Options, compare
from nnexp.analysis.learners import best_first, splits_in_order
from nnexp.analysis.types import Interval, LearnerOnTask, Task, Verdict, VerdictKind
from nnexp.analysis.verdicts import headline, which_network

KINDS: dict[str, VerdictKind] = {
    "b": "better", "w": "worse", "e": "equivalent", "u": "undecided",
    "n": "not significant after correction", "t": "too few",
}  # fmt: skip
RESULTS = [r for r in cases.small().results if r.test_score is not None]
TASK = cases.small().tasks[0]


def compared(name: str, kind: str, mean: float, low: float, high: float) -> LearnerOnTask:
    """A network with a verdict; only what the answer reads of it matters."""
    network = next(r for r in RESULTS if r.is_network and r.difference is not None)
    assert network.difference is not None
    difference = replace(network.difference, learner=name, mean=mean,
                         interval=Interval(low=low, high=high))  # fmt: skip
    verdict = Verdict(kind=KINDS[kind], sentence="", task=TASK.name, learner=name)
    return replace(network, learner=name, difference=difference, verdict=verdict)


def knn(accuracy: float = 0.985) -> LearnerOnTask:
    base = next(r for r in RESULTS if not r.is_network)
    acc = replace(base.test_score, mean=accuracy)  # type: ignore[type-var]
    return replace(base, learner="KNN", test_score=acc)


def answer(kinds: str, mean: float, low: float, high: float) -> str:
    """Of networks a, b, ... of the kinds behind the first, which is that of their selection; one
    kind is of one network."""
    networks = [
        compared(name, kind, mean, low, high)
        for name, kind in zip("abcdef", kinds[1:] or kinds, strict=False)
    ]
    name = "a"
    if len(networks) > 1:
        name = "best network per split"
        selected = compared(name, kinds[0], mean, low, high)
        networks.append(replace(selected, is_selection=True))
    task: Task = replace(TASK, name="digits")
    told = headline(task, [*networks, knn()], "KNN", 0.005)
    assert told is not None
    assert (told.kind, told.task, told.learner) == ("summary", "digits", name)
    return told.sentence


WHERE = "KNN on digits (98.5 %)"


def of(number: int) -> str:
    return f"the best of {number} networks, selected on each split by validation accuracy,"


@pytest.mark.parametrize(
    ("kinds", "numbers", "sentence"),
    [
        ("bbbw", (0.021, 0.018, 0.024),
         f"Yes: {of(3)} beats {WHERE}: +2.1 pp (95 % CI +1.8 to +2.4); one by one, 2 are better, "
         "1 worse"),
        ("bun", (0.021, 0.018, 0.024),
         f"Yes: {of(2)} beats {WHERE}: +2.1 pp (95 % CI +1.8 to +2.4); one by one, 2 are "
         "inconclusive"),
        ("bbb", (0.003, 0.002, 0.004),
         f"Yes, by a negligible margin (within ±0.5 pp): {of(2)} beats {WHERE}: +0.3 pp "
         "(95 % CI +0.2 to +0.4); one by one, 2 are better"),
        ("www", (-0.012, -0.02, -0.004),
         f"No: {of(2)} is worse than {WHERE}: −1.2 pp (95 % CI −2.0 to −0.4); one by one, 2 are "
         "worse"),
        ("eewe", (-0.001, -0.004, 0.002),
         f"Equivalent: {of(3)} matches {WHERE} within ±0.5 pp: −0.1 pp (95 % CI −0.4 to +0.2); "
         "one by one, 2 are equivalent, 1 worse"),
        ("uwwwwun", (-0.012, -0.03, 0.006),
         f"No evidence that {of(6)} beats {WHERE}: −1.2 pp (95 % CI −3.0 to +0.6), inconclusive; "
         "one by one, 4 are worse, 2 inconclusive"),
        ("ttt", (0.01, -0.01, 0.03),
         f"Unknown: too few pairs to compare {of(2)} with {WHERE}"),
        ("b", (0.021, 0.018, 0.024),
         f"Yes: a beats {WHERE}: +2.1 pp (95 % CI +1.8 to +2.4)"),
        ("w", (-0.02, -0.03, -0.01),
         f"No: a is worse than {WHERE}: −2.0 pp (95 % CI −3.0 to −1.0)"),
        ("e", (0.001, -0.002, 0.004),
         f"Equivalent: a matches {WHERE} within ±0.5 pp: +0.1 pp (95 % CI −0.2 to +0.4)"),
        ("u", (0.01, -0.01, 0.03),
         f"No evidence that a beats {WHERE}: +1.0 pp (95 % CI −1.0 to +3.0), inconclusive"),
        ("t", (0.01, -0.01, 0.03), f"Unknown: too few pairs to compare a with {WHERE}"),
    ],
)  # fmt: skip
def test_the_answer_says_what_the_verdicts_do(
    kinds: str, numbers: tuple[float, float, float], sentence: str
) -> None:
    assert answer(kinds, *numbers) == sentence


def test_what_is_inconclusive_tells_what_would_have_been_found() -> None:
    network = compared("a", "u", 0.01, -0.01, 0.03)
    assert network.verdict is not None
    told = replace(network, verdict=replace(network.verdict, detectable=0.0284))
    found = headline(replace(TASK, name="digits"), [told, knn()], "KNN", 0.005)
    assert found is not None
    assert found.sentence == (
        f"No evidence that a beats {WHERE}: +1.0 pp (95 % CI −1.0 to +3.0), inconclusive; "
        "a difference of 2.8 pp would have been found with 80 % power"
    )


def test_no_network_no_answer() -> None:
    assert headline(TASK, [knn()], "KNN", 0.005) is None


@pytest.mark.parametrize(
    ("kinds", "start"),
    [
        ("bb", "One network is the best: of 3"),
        ("ee", "The best network is equivalent to the others: of 3"),
        ("be", "Several networks are equivalent, and better than the others: of 3"),
        ("bu", "No network is clearly the best: of 3"),
        ("w", "No network is clearly the best: of 3"),
    ],
)
def test_networks_alone_are_asked_which_is_best(kinds: str, start: str) -> None:
    summary = Verdict(kind="summary", sentence="Of 3 networks, a ...", task="t", learner="a")
    told = which_network(summary, [KINDS[kind] for kind in kinds])
    assert told.sentence == f"{start} networks, a ..."


def of_splits(result: LearnerOnTask, name: str, mean: float, number: int) -> LearnerOnTask:
    acc = replace(result.test_score, mean=mean)  # type: ignore[type-var]
    return replace(result, learner=name, test_score=acc, choices=result.choices[:number])


def test_learners_without_all_splits_come_last() -> None:
    network = next(r for r in RESULTS if r.is_network)
    total = len(TASK.splits)
    assert total > 1
    results = [
        replace(network, learner="nothing", test_score=None),
        of_splits(network, "one split", 0.99, 1),
        of_splits(network, "worse", 0.8, total),
        of_splits(network, "better", 0.9, total),
    ]
    ordered = best_first(results, TASK)
    assert [r.learner for r in ordered] == ["better", "worse", "one split", "nothing"]
    assert [splits_in_order(r, TASK) for r in ordered[:3]] == ["", "", f"1 of {total} splits"]


def test_one_fit_of_a_baseline_lacks_nothing() -> None:
    task: Task = replace(TASK, same_test_rows=True, unit="seed")
    base = next(r for r in RESULTS if not r.is_network)
    once = replace(base, choices=base.choices[:1])
    assert splits_in_order(once, task) == ""
    network = of_splits(next(r for r in RESULTS if r.is_network), "network", 0.9, 1)
    assert splits_in_order(network, task) == f"1 of {len(TASK.splits)} seeds"
    drawn: Task = replace(TASK, same_test_rows=True)  # official test rows, other rows drawn anew
    assert splits_in_order(once, drawn) == f"1 of {len(TASK.splits)} splits"


def test_a_component_is_named_by_its_group_and_what_follows_is_left_out() -> None:
    scheduled = []
    for seed, (name, options) in enumerate(
        [("constant", {}), ("cosine", {"eta_min": 0.0}), ("step", {"gamma": 0.1, "step_size": 5}),
         ("step", {"gamma": 0.5, "step_size": 5})]
    ):  # fmt: skip
        record = run(seed=seed)
        config = {**record.result.config, "scheduler": {"name": name, **options}}
        scheduled.append(replace(record, result=replace(record.result, config=config)))
    assert compare(scheduled, Options()).learners == (
        "deep · adam · scheduler=constant",
        "deep · adam · scheduler=cosine",
        "deep · adam · scheduler=step · gamma=0.1",
        "deep · adam · scheduler=step · gamma=0.5",
    )
