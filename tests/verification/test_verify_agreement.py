"""How far two trainings on CUDA agree, on made-up records."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from record_cases import a_result, an_epoch

from nnexp.runs.record import DatasetSummary
from nnexp.verification.agreement import Agreement, Epochs, agreement

TOLERANCE = 1e-3
ROWS = DatasetSummary(
    name="d", fingerprint="f", num_train=1000, num_val=100, num_test=50, num_features=2,
    num_classes=2,
)  # fmt: skip
RESULT = a_result(dataset=ROWS)


def epochs(count: int = 4, **changes: dict[int, float | None]) -> list[dict[str, float | None]]:
    """Epochs of which some have other values: ``loss={3: 0.5}`` for ``train/loss`` of the third."""
    names = {"loss": "train/loss", "acc": "val/acc", "val": "val/loss", "lr": "lr", "step": "step"}
    return [
        an_epoch(
            number,
            **{names[key]: values[number] for key, values in changes.items() if number in values},
        )
        for number in range(1, count + 1)
    ]


def compare(alone: Epochs, recorded: Epochs | None = None, **changes: Any) -> Agreement:
    """With the result of the run trained alone changed."""
    theirs = recorded if recorded is not None else epochs()
    return agreement((theirs, RESULT), (alone, dataclasses.replace(RESULT, **changes)), TOLERANCE)


def test_equal_trainings_agree() -> None:
    found = compare(epochs())
    assert (found.epochs, found.until, found.largest, found.parting) == (4, 4, 0.0, None)
    assert found.verdict(1) == found.verdict(9) == "agrees"


def test_the_epoch_of_drifting_apart_is_named_with_its_worst_metric() -> None:
    """What comes later counts for the largest difference alone."""
    found = compare(epochs(loss={2: 0.3005, 3: 0.304, 4: 0.9}, val={3: 0.007}))
    assert (found.epochs, found.until) == (4, 2)
    assert found.largest == pytest.approx(0.6)
    assert str(found.parting) == (
        "metrics.jsonl, epoch 3, val/loss: 1e-17, alone 0.007 (0.007 apart, 0.001 allowed)"
    )
    assert found.verdict(1) == found.verdict(2) == "drifts apart from epoch 3"
    assert found.verdict(3) == found.verdict(9) == "differs"


def test_a_first_epoch_that_is_apart_is_no_drifting() -> None:
    found = compare(epochs(loss={1: 0.31}))
    assert found.until == 0
    assert found.verdict(1) == "differs"


@pytest.mark.parametrize(
    ("recorded", "alone", "agrees"),
    [
        (0.5, 0.5009, True), (0.5, 0.5011, False), (1e-9, 9e-4, True),  # absolutely below 1
        (8e5, 8e5 + 790, True), (8e5, 8e5 - 810, False),  # relatively above
        (math.inf, math.nan, True), (math.inf, 1e30, False), (2.0, math.nan, False),
        (None, None, True), (None, 0.5, False), (0.5, None, False),  # an epoch not evaluated
    ],
)  # fmt: skip
def test_losses(recorded: float | None, alone: float | None, agrees: bool) -> None:
    found = compare(epochs(val={2: alone}), epochs(val={2: recorded}))
    assert (found.until == 4) == agrees
    assert (found.parting is None) == agrees


@pytest.mark.parametrize(("samples", "agrees"), [(1, True), (-1, True), (2, False), (-2, False)])
def test_one_sample_may_tip_over(samples: int, agrees: bool) -> None:
    """Of 100 in the validation set, at a tolerance of a tenth of one."""
    found = compare(epochs(acc={3: 0.97 + samples / 100}), epochs(acc={3: 0.97}))
    assert found.until == (4 if agrees else 2)


def test_an_unknown_number_of_rows_allows_no_sample() -> None:
    result = dataclasses.replace(RESULT, dataset=DatasetSummary(name="d"))
    pairs = [(epochs(acc={2: acc}), result) for acc in (0.97, 0.975)]
    assert agreement(pairs[0], pairs[1], TOLERANCE).until == 1


def test_a_training_that_ends_earlier_parts_there() -> None:
    """By early stopping, or as it diverges."""
    for one, other in ((4, 3), (3, 4)):
        found = compare(epochs(one), epochs(other))
        assert (found.epochs, found.until) == (4, 3)
        assert found.largest == math.inf
        assert found.parting is not None
        assert found.parting.place == "metrics.jsonl, epoch 4"
        assert found.verdict(3) == "drifts apart from epoch 4"


@pytest.mark.parametrize(
    "changes", [{"lr": {2: 1e-3 + 1e-12}}, {"step": {2: 91}}], ids=["lr", "step"]
)
def test_rounding_explains_no_other_schedule(changes: dict[str, Any]) -> None:
    found = compare(epochs(**changes))
    assert found.parting is None
    assert found.verdict(1) == "differs"
    assert found.facts[0].place.startswith("metrics.jsonl, epoch 2, ")


KNN = RESULT.baselines["knn"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"dataset": dataclasses.replace(ROWS, fingerprint="g")}, "dataset, fingerprint"),
        ({"num_parameters": 7}, "num_parameters"),
        ({"baselines": {"knn": {**KNN, "k": 4}}}, "baselines, knn, k"),
        ({"baselines": {}}, "baselines, knn"),
    ],
)  # fmt: skip
def test_rounding_explains_no_other_data_nor_baselines(changes: dict[str, Any], place: str) -> None:
    found = compare(epochs(), **changes)
    assert [fact.place for fact in found.facts] == [f"result.json, {place}"]
    assert found.verdict(1) == "differs"


def test_last_bits_of_a_baseline_may_be_the_devices() -> None:
    baselines = {"knn": {**KNN, "test/clipped_loss": 0.25 + 1e-9, "seconds": 9.0}}
    assert baselines["knn"] != KNN
    assert compare(epochs(), baselines=baselines).verdict(1) == "agrees"


def test_metrics_of_the_test_rows_are_compared_where_epochs_agree() -> None:
    changed = {**RESULT.metrics, "test/acc": RESULT.metrics["test/acc"] + 0.1}
    found = compare(epochs(), metrics=changed)
    assert found.until == 4
    assert found.parting is not None
    assert found.parting.place == "result.json, test/acc"
    assert found.verdict(1) == "differs"
    other_epoch = compare(epochs(), metrics=changed, best_epoch=RESULT.best_epoch - 1)
    assert other_epoch.verdict(1) == "agrees"  # two epochs whose losses rounding has exchanged


def test_nothing_is_required_of_runs_that_diverge() -> None:
    """But that both do, and what rounding does not touch."""
    diverged = dataclasses.replace(RESULT, status="diverged")
    theirs, ours = epochs(3, loss={1: 1e9, 3: math.inf}), epochs(2, loss={1: 3e9, 2: math.nan})
    found = agreement((theirs, diverged), (ours, diverged), TOLERANCE)
    assert found.verdict(1) == "diverges solo as well"
    assert agreement((theirs, diverged), (ours, RESULT), TOLERANCE).verdict(1) == "differs"
    other = dataclasses.replace(diverged, seed=diverged.seed + 1)
    assert agreement((theirs, diverged), (ours, other), TOLERANCE).verdict(1) == "differs"
