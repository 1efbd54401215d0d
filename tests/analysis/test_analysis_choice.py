"""Which runs belong together, and which setting is chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import comparison_cases as cases
import numpy as np
import pytest
from comparison_cases import baseline, run

from nnexp.analysis.compare import Options, compare
from nnexp.analysis.records import RunRecord
from nnexp.analysis.types import Comparison, LearnerOnTask
from nnexp.runs.predictions import Predictions, write_predictions


def found(comparison: Comparison, learner: str, task: str = "digits") -> LearnerOnTask:
    (result,) = [r for r in comparison.results if (r.learner, r.task) == (learner, task)]
    return result


def only(records: list[RunRecord], **options: Any) -> LearnerOnTask:
    (result,) = compare(records, Options(**options)).results
    return result


# ── names ─────────────────────────────────────────────────────────────────────────────────────


def test_learners_are_named_by_what_tells_them_apart() -> None:
    records = [
        run(model="deep"),
        run(model="deep", overrides={"model.hidden": [64, 64]}),
        run(model="shallow"),
        run(model="shallow", lr=0.1, overrides={"trainer.device": "cuda", "trainer.threads": 1}),
    ]
    assert compare(records, Options()).learners == (
        "deep · adam · hidden=[128,128,128,128]",
        "deep · adam · hidden=[64,64]",
        "shallow · adam",
    )


def test_what_is_not_tuned_tells_learners_apart() -> None:
    records = [run(lr=0.1), run(lr=0.01)]
    assert compare(records, Options(tuned=())).learners == (
        "deep · adam · lr=0.01",
        "deep · adam · lr=0.1",
    )
    assert compare(records, Options()).learners == ("deep · adam",)
    named = compare([run(optimizer="sgd"), run()], Options(tuned=("optimizer",)))
    assert named.learners == ("deep",)
    assert [t.setting for t in named.results[0].tried] == [
        {"optimizer.name": "adam"},
        {"optimizer.name": "sgd"},
    ]


def test_tasks_are_named_as_far_as_needed() -> None:
    def names(records: list[RunRecord]) -> list[str]:
        return [task.name for task in compare(records, Options()).tasks]

    assert names([run(), run(data=cases.LETTER)]) == ["digits", "letter"]
    assert names([run(num_train=500), run(num_train=100), run()]) == [
        "digits · 100 rows",
        "digits · 500 rows",
        "digits · 1,149 rows",
    ]
    assert names([run(), run(overrides={"dataset.scaling": "none"})]) == [
        "digits · scaling=none",
        "digits · scaling=standard",
    ]
    assert names([run(fingerprint="0123456789"), run(fingerprint="abcdefghij")]) == [
        "digits (01234567)",
        "digits (abcdefgh)",
    ]
    assert names([run(), run(overrides={"dataset.train_fraction": 0.999})]) == ["digits"]


def test_few_rows_to_validate_make_another_task_of_as_many_training_rows() -> None:
    """dataset.fraction takes them; else a task's name and its series are the same."""

    def names(records: list[RunRecord]) -> list[str]:
        return [task.name for task in compare(records, Options()).tasks]

    few = replace(cases.DIGITS, num_val=144)
    half = run(num_train=574, overrides={"dataset.train_fraction": 0.5})
    halves = [half, run(data=few, num_train=574, overrides={"dataset.fraction": 0.5})]
    assert names([run(overrides={"dataset.fraction": 1.0}), run()]) == ["digits"]
    assert sorted(names([run(), *halves[:1]])) == ["digits · 1,149 rows", "digits · 574 rows"]
    assert sorted(names([run(), *halves[1:]])) == ["digits · 1,149 rows", "digits · 574 rows"]
    assert sorted(names([run(), *halves])) == [
        "digits · 1,149 rows", "digits · 574 rows, 144 to validate",
        "digits · 574 rows, 288 to validate",
    ]  # fmt: skip


def test_only_whole_tasks_of_data_sets_are_whole() -> None:
    tasks = compare([run(num_train=500), run(), run(data=cases.LETTER)], Options()).tasks
    assert [task.is_whole for task in tasks] == [False, True, True]


@pytest.mark.parametrize(
    ("data", "split_seed", "splits", "unit", "same"),
    [
        (cases.DIGITS, None, ("2", "10"), "split", False),
        (cases.DIGITS, 7, ("seed 2", "seed 10"), "seed", True),
        (cases.MNIST, None, ("2", "10"), "split", True),
        (cases.MNIST, 7, ("seed 2", "seed 10"), "seed", True),
    ],
)
def test_splits_are_draws_of_rows_or_seeds_on_one_draw(
    data: cases.Data, split_seed: int | None, splits: tuple[str, ...], unit: str, same: bool
) -> None:
    records = [run(seed=seed, data=data, split_seed=split_seed) for seed in (10, 2)]
    (task,) = compare(records, Options()).tasks
    assert (task.splits, task.unit, task.same_test_rows) == (splits, unit, same)


def test_seeds_that_share_a_split_are_one_value() -> None:
    records = [
        run(seed=seed, split_seed=split, test_acc=0.9 + 0.01 * seed + 0.03 * split)
        for split in (0, 1)
        for seed in (0, 1)
    ]
    result = only(records)
    assert [choice.split for choice in result.choices] == ["0", "1"]
    assert result.test_score is not None
    assert result.test_score.values == pytest.approx((0.905, 0.935))


# ── the choice ────────────────────────────────────────────────────────────────────────────────


def test_every_split_chooses_by_its_own_validation_rows() -> None:
    records = [
        run(seed=0, lr=0.01, val_acc=0.9, test_acc=0.1),
        run(seed=0, lr=0.1, val_acc=0.8, test_acc=0.99),
        run(seed=1, lr=0.01, val_acc=0.7, test_acc=0.98),
        run(seed=1, lr=0.1, val_acc=0.8, test_acc=0.2),
    ]
    result = only(records)
    assert [c.setting for c in result.choices] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.1}]
    assert [c.test_score for c in result.choices] == [0.1, 0.2]
    assert [c.folders for c in result.choices] == [
        (str(records[0].folder),),
        (str(records[3].folder),),
    ]
    assert [(t.setting["optimizer.lr"], t.times_chosen) for t in result.tried] == [
        (0.01, 1),
        (0.1, 1),
    ]


def test_ties_go_to_the_lower_loss_then_to_the_smaller_setting() -> None:
    def chosen(*runs: RunRecord) -> Any:
        return only(list(runs)).choices[0].setting["optimizer.lr"]

    assert chosen(run(lr=0.01, val_loss=0.3), run(lr=0.1, val_loss=0.2)) == 0.1
    assert chosen(run(lr=0.1, val_loss=0.2), run(lr=0.02, val_loss=0.2)) == 0.02


def test_a_setting_with_a_failed_run_ranks_below_all_without() -> None:
    """On one draw of rows, seeds share the choice."""
    records = [
        run(seed=0, split_seed=3, lr=0.1, val_acc=0.99),
        run(seed=1, split_seed=3, lr=0.1, status="diverged"),
        run(seed=0, split_seed=3, lr=0.01, val_acc=0.7),
        run(seed=1, split_seed=3, lr=0.01, val_acc=0.7),
    ]
    result = only(records)
    assert {c.setting["optimizer.lr"] for c in result.choices} == {0.01}
    assert result.num_failed == {"diverged": 1}
    partly = only(records[:2])  # nothing else: a seed failed
    assert [(c.test_score, c.failed) for c in partly.choices] == [(0.94, False), (0.1, True)]


def test_a_learner_of_which_all_failed_without_class_frequencies() -> None:
    result = only([run(seed=s, status="diverged", val_acc=None) for s in (0, 1)] + [run(seed=2)])
    assert [(c.test_score, c.failed) for c in result.choices] == [
        (0.1, True),
        (0.1, True),
        (0.94, False),
    ]
    assert result.test_clipped_loss is not None
    assert result.test_clipped_loss.values[0] == pytest.approx(math.log(10))
    assert result.test_brier is not None
    assert result.test_brier.values[0] == pytest.approx(0.9)


def test_a_failed_network_scores_what_the_majority_class_does(tmp_path: Path) -> None:
    """On classes of 63 and 37 %: as the baseline measured it, else by the test labels."""
    two = cases.Data(num_test=200, num_classes=2)
    majority = {"majority": baseline(0.62, 0.63)}
    broken = [run(seed=s, data=two, status="diverged", baselines=majority) for s in (0, 1)]
    whole = [run(seed=s, data=two, model="shallow", baselines=majority) for s in (0, 1)]
    comparison = compare([*broken, *whole], Options())
    result = found(comparison, "deep · adam")
    assert [(c.test_score, c.failed) for c in result.choices] == [(0.63, True)] * 2
    assert result.test_brier is not None
    assert result.test_brier.values == pytest.approx((0.74, 0.74))  # as the baseline has it
    assert (
        "deep · adam on digits: failed on 2 of 2 splits; what failed counts as the majority class "
        "(63.0 %)"
    ) in comparison.warnings
    labels = np.repeat(np.array([0, 1], np.int32), [126, 74])
    p = np.tile(np.array([[0.6, 0.4]], np.float32), (200, 1))
    write_predictions(tmp_path, Predictions(p, labels, np.arange(200, dtype=np.int32)))
    broken = [run(seed=s, data=two, status="diverged") for s in (0, 1)]
    whole = [run(seed=1, data=two, model="shallow", folder=tmp_path)]
    result = found(compare([*broken, *whole], Options()), "deep · adam")
    assert [c.test_score for c in result.choices] == pytest.approx([0.63, 0.63])
    assert result.test_clipped_loss is not None
    entropy = -(0.63 * math.log(0.63) + 0.37 * math.log(0.37))
    assert result.test_clipped_loss.values == pytest.approx((entropy, entropy))
    assert result.test_brier is not None
    assert result.test_brier.values[0] == pytest.approx(1 - 0.63**2 - 0.37**2)


def test_a_failed_setting_counts_as_the_majority_class_in_the_expected_best() -> None:
    majority = {"majority": baseline(0.62, 0.63)}
    records = [
        run(lr=0.1, status="diverged", baselines=majority),
        run(lr=0.01, val_acc=0.9, baselines=majority),
    ]
    band = found(compare(records, Options()), "deep · adam").expected_best
    assert band is not None
    assert band.mean == pytest.approx(((0.62 + 0.9) / 2, 0.9))


@pytest.mark.parametrize("told", [{"failed": True}, {}])
def test_a_failed_baseline_scores_what_the_majority_class_does(told: dict[str, bool]) -> None:
    """Left out on one of two splits it failed there, in older records without a mark too."""
    majority = {"majority": baseline(0.62, 0.63)}
    svm = (baseline(0.9, 0.91, {"C": 1.0}), cases.skipped_baseline("it broke") | told)
    records = [run(seed=s, baselines={"svm": svm[s], **majority}) for s in (0, 1)]
    comparison = compare(records, Options())
    result = found(comparison, "SVM (RBF)")
    assert [(c.test_score, c.failed) for c in result.choices] == [(0.91, False), (0.63, True)]
    assert (
        "SVM (RBF) on digits: failed on 1 of 2 splits; what failed counts as the majority class "
        "(63.0 %)"
    ) in comparison.warnings
    assert not any("has no run" in warning for warning in comparison.warnings)


def test_a_baseline_that_failed_on_every_split_is_compared() -> None:
    svm = cases.skipped_baseline("it broke") | {"failed": True}
    records = [run(seed=s, baselines={"svm": svm}) for s in (0, 1)]
    result = found(compare(records, Options()), "SVM (RBF)")
    assert [c.test_score for c in result.choices] == [0.1, 0.1]
    assert (
        "SVM (RBF) on digits: failed on 2 of 2 splits; what failed counts as the majority class, "
        "taken as one of equally frequent ones, as no run records frequencies (10.0 %)"
    ) in compare(records, Options()).warnings
    assert result.notes == ("failed: it broke",)


def test_interrupted_runs_say_nothing_against_a_learner() -> None:
    comparison = compare(
        [run(seed=0), run(seed=1, status="interrupted"), run(seed=0, model="shallow"),
         run(seed=1, model="shallow")], Options()
    )  # fmt: skip
    result = found(comparison, "deep · adam")
    assert [c.split for c in result.choices] == ["0"]
    assert result.num_failed == {"interrupted": 1}
    assert any("deep · adam was not run to completion on 1 of 2" in w for w in comparison.warnings)


def test_test_rows_of_settings_that_were_not_chosen_change_nothing() -> None:
    records = cases.sweep(datasets=[cases.DIGITS], seeds=range(4))
    before = compare(records, Options())
    chosen = {folder for r in before.results for c in r.choices for folder in c.folders}
    for record in records:
        if str(record.folder) not in chosen and record.result.status == "completed":
            record.result.metrics.update(
                {"test/acc": 1.0, "test/clipped_loss": 0.0, "test/brier": 0.0}
            )
    assert compare(records, Options()) == before


def test_a_run_that_repeats_another_counts_once() -> None:
    first, other = run(test_acc=0.9), run(test_acc=0.8)
    comparison = compare([first, replace(other, folder=first.folder / "again")], Options())
    assert comparison.results[0].num_runs == 1
    assert comparison.results[0].choices[0].test_score == 0.9
    assert any("a repetition" in warning for warning in comparison.warnings)


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_was_completed_counts_before_one_that_was_not(status: str) -> None:
    broken, whole = run(status=status), run(test_acc=0.8)
    comparison = compare([broken, replace(whole, folder=broken.folder / "again")], Options())
    assert comparison.results[0].num_failed == {}
    assert comparison.results[0].choices[0].test_score == 0.8


# ── what was never trained ────────────────────────────────────────────────────────────────────


def test_what_never_trained_is_not_compared() -> None:
    """It did not guess either: what does not fit into memory says nothing about accuracy."""
    rows = [run(val_acc=0.9, test_acc=0.8 + seed / 100, seed=seed) for seed in (0, 1)]
    lost = [run(status="failed", model="wide", seed=seed) for seed in (0, 1)]
    records = [
        *rows,
        *(replace(r, result=replace(r.result, epochs=0, error="out of memory")) for r in lost),
    ]
    comparison = compare(records, Options())
    assert comparison.learners == ("deep · adam",)
    assert [result.learner for result in comparison.results] == ["deep · adam"]
    assert len(comparison.failed) == 2
    told = "wide · adam on digits: none of 2 runs trained, so it is not compared: out of memory"
    assert told in comparison.warnings


def refused(arm: str, model: str = "deep", seed: int = 0) -> RunRecord:
    """A run whose config cannot be."""
    record = run(model=model, seed=seed, status="failed", with_config=False, fingerprint=None)
    return replace(record, result=replace(record.result, arm=arm))


def test_a_refused_config_counts_against_its_learner() -> None:
    sound = [run(seed=seed, lr=lr) for seed in (0, 1) for lr in (0.01, 0.1)]
    wrong = [refused("deep · adam · lr=-1", seed=seed) for seed in (0, 1)]
    comparison = compare([*sound, *wrong], Options(tuned=("optimizer.lr",)))
    (result,) = comparison.results
    assert (result.num_runs, result.num_failed, result.num_settings) == (6, {"failed": 2}, 2)
    assert comparison.warnings[0] == (
        "2 runs never trained (their config was refused): they count as failed for deep · adam"
    )
    assert [run.arm for run in comparison.failed] == ["deep · adam · lr=-1"] * 2


@pytest.mark.parametrize(
    "lost",
    [
        refused("optimizer=adm"),  # not composed: its names are the sweep's
        refused("wide · adam · lr=-1", model="wide"),  # a learner without a run
    ],
)
def test_what_is_of_no_learner_is_told(lost: RunRecord) -> None:
    comparison = compare([run(), lost], Options())
    assert comparison.results[0].num_failed == {}
    assert comparison.warnings[0] == (
        "1 run never trained (failed before their data were read): it counts for no model"
    )


def test_a_refused_config_of_one_of_two_learners_is_of_none() -> None:
    two = [run(overrides={"trainer.epochs": epochs}) for epochs in (5, 10)]
    comparison = compare([*two, refused("deep · adam · lr=-1")], Options())
    assert [result.num_failed for result in comparison.results] == [{}, {}]


# ── what a reader must know ───────────────────────────────────────────────────────────────────


def test_edges_of_ranges_are_told() -> None:
    records = [
        run(seed=s, lr=lr, val_acc=0.9 + (lr if s < 3 else -lr))
        for s in range(4)
        for lr in (0.001, 0.01, 0.1)
    ]
    assert only(records).edges == (
        "The best lr is at the edge of the grid (0.1, in 3 of 4 splits): widen the range",
    )
    assert only([r for r in records if r.result.seed in (2, 3)]).edges == ()  # a half is not more
    held = [
        run(seed=s, lr=lr, split_seed=7, val_acc=0.9 + lr) for s in range(4) for lr in (0.01, 0.1)
    ]
    assert only(held).edges == ("The best lr is at the edge of the grid (0.1): widen the range",)


def test_ends_that_nothing_lies_beyond_are_no_edges() -> None:
    told = {"knn": baseline(0.9, 0.9, {"k": 1}, [{"k": 1, "val/acc": 0.9}, {"k": 3, "val/acc": 0}])}
    assert found(compare([run(baselines=told)], Options()), "KNN").edges == ()
    told = {"knn": baseline(0.9, 0.9, {"k": 3}, [{"k": 1, "val/acc": 0.8}, {"k": 3, "val/acc": 0}])}
    (edge,) = found(compare([run(baselines=told)], Options()), "KNN").edges
    assert edge == "The best k is at the edge of the grid (3, in 1 of 1 splits): widen the range"


def test_budgets_that_differ_are_told() -> None:
    knn = baseline(0.9, 0.9, {"k": 3}, [{"k": k, "val/acc": 0.9 - k / 99} for k in (1, 3, 5)])
    majority = baseline(0.1, 0.1)
    records = [run(lr=lr, baselines={"knn": knn, "majority": majority}) for lr in (0.1, 0.01)]
    told = [w for w in compare(records, Options()).warnings if w.startswith("Unequal tuning")]
    assert told == ["Unequal tuning budgets on digits: KNN 3 configurations, deep · adam 2"]


# ── baselines ─────────────────────────────────────────────────────────────────────────────────


def test_a_baseline_is_read_once_a_split() -> None:
    tried = [{"C": c, "gamma": 1.0, "val/acc": 0.9 + c / 100} for c in (0.1, 1.0)]
    told = {"svm": baseline(0.91, 0.93, {"C": 1.0, "gamma": 1.0}, tried, note="on 500 rows")}
    records = [run(seed=s, lr=lr, baselines=told) for s in (0, 1) for lr in (0.1, 0.01)]
    result = found(compare(records, Options()), "SVM (RBF)")
    assert [(c.setting, c.test_score) for c in result.choices] == [
        ({"C": 1.0, "gamma": 1.0}, 0.93)
    ] * 2
    assert result.num_settings == 2
    assert result.cost.tune_seconds == 0.2
    assert result.cost.predict_seconds == 0.05
    assert result.notes == ("on 500 rows",)
    assert result.expected_best is not None
    assert result.expected_best.mean == pytest.approx((0.9055, 0.91))


def test_a_baseline_that_was_left_out_says_why() -> None:
    told = {"svm": cases.skipped_baseline("60,000 rows are too many")}
    result = found(compare([run(baselines=told)], Options()), "SVM (RBF)")
    assert result.notes == ("left out: 60,000 rows are too many",)
    assert result.choices == ()
    assert result.test_score is None


def test_baselines_with_other_options_are_other_learners() -> None:
    told = {"knn": baseline(0.9, 0.9, {"k": 3})}
    metrics = ("euclidean", "cosine")
    records = [
        run(seed=s, baselines=told, overrides={"baseline.knn": {"metric": m, "memory_mb": 512 + s}})
        for s in (0, 1)
        for m in metrics
    ]
    learners = compare(records, Options()).learners
    assert learners == ("deep · adam", "KNN · metric=cosine", "KNN · metric=euclidean")


def test_results_recorded_without_new_keys_are_read() -> None:
    old = {"k": 3, "val/acc": 0.9, "test/acc": 0.91, "seconds": 0.1, "metric": "euclidean",
           "val/acc by k": {"1": 0.8, "3": 0.9}}  # fmt: skip
    records = [run(seed=s, with_config=False, baselines={"knn": old}) for s in (0, 1)]
    comparison = compare(records, Options())
    assert comparison.learners == ("deep · adam · lr=0.01", "KNN")
    knn = found(comparison, "KNN")
    assert [t.setting for t in knn.tried] == [{"k": 1}, {"k": 3}]
    assert knn.choices[0].setting == {"k": 3}
    assert any("recorded without a config" in warning for warning in comparison.warnings)
