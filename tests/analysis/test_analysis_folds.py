"""Splits that are folds, that follow time, and runs without validation samples."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from nnexp.analysis.compare import compare
from nnexp.analysis.names import arm_names
from nnexp.analysis.records import RunRecord, find_tasks
from nnexp.analysis.types import Options
from nnexp.cli.compare_rows import read_rows, warnings
from nnexp.runs.record import write_result
from tests.helpers import comparison_cases as cases
from tests.helpers.comparison_cases import baseline, run

FOLDS, REPEATS = 5, 3
RNG = np.random.default_rng(0)
DEEP = 0.95 + 0.01 * RNG.standard_normal((REPEATS, FOLDS))
KNN = 0.94 + 0.01 * RNG.standard_normal((REPEATS, FOLDS))


def of_folds(**more: Any) -> list[RunRecord]:
    """A run of each fold of each repetition; the last fold has a row less to test."""
    records = []
    for repeat in range(REPEATS):
        for fold in reversed(range(FOLDS)):
            odd = int(fold == FOLDS - 1)
            data = replace(cases.DIGITS, num_train=1222 + odd, num_test=360 - odd, num_val=215)
            folds = {"dataset.folds": FOLDS, "dataset.fold": fold, **more}
            records.append(
                run(
                    seed=0,
                    split_seed=repeat,
                    data=data,
                    test_acc=float(DEEP[repeat, fold]),
                    baselines={"knn": baseline(0.9, float(KNN[repeat, fold]), {"k": 1})},
                    overrides=folds,
                )
            )
    return records


def test_repeated_folds_are_splits_with_a_variance_of_their_own() -> None:
    """Bouckaert and Frank (2004): t with k r - 1 degrees of freedom, s^2 (1 / (k r) + 1 / (k - 1)),
    and the test set a quarter of what is trained on."""
    comparison = compare(of_folds(), Options())
    (task,) = comparison.tasks  # though parts differ in size
    assert task.splits == tuple(f"{r} fold {f}" for r in range(REPEATS) for f in range(FOLDS))
    assert (task.unit, task.same_test_rows) == ("split", False)
    (result,) = (r for r in comparison.results if r.is_network)
    assert result.learner == "deep · adam"
    assert len(result.choices) == 15
    gaps = (DEEP - KNN).reshape(-1)
    error = np.sqrt(gaps.var(ddof=1) * (1 / 15 + 1 / 4))
    assert result.difference is not None
    assert result.difference.interval is not None
    assert result.difference.mean == pytest.approx(gaps.mean())
    half = student.ppf(0.975, 14) * error
    assert result.difference.interval.high == pytest.approx(gaps.mean() + half)
    assert result.difference.p_value == pytest.approx(2 * student.sf(gaps.mean() / error, 14))
    assert "1/15 + 0.25" in result.difference.method
    told = dict(comparison.protocol.lines)
    assert "15 splits, each a fold of K-fold cross-validation" in told["samples of digits"]
    json.dumps(asdict(comparison), allow_nan=False)


def test_folds_that_are_given_do_not_follow_the_split_seed() -> None:
    """Three runs of each fold: five splits."""
    records = of_folds(**{"dataset.folds": None, "dataset.fold_file": "f.txt"})
    (facts,) = find_tasks(records)
    assert facts.task.splits == tuple(f"fold {fold}" for fold in range(FOLDS))
    assert facts.overlap == pytest.approx(359 / (1223 + 215))  # of the first run
    assert not facts.task.same_test_rows


def test_folds_are_of_one_arm() -> None:
    configs = [record.result.config for record in of_folds()]
    assert set(arm_names(configs, ["digits"] * 15)) == {"deep · adam"}
    other = [record.result.config for record in of_folds(**{"optimizer.lr": 0.1})]
    assert len(set(arm_names(configs + other, ["digits"] * 30))) == 2


def test_folds_are_averaged_in_a_row(tmp_path: Path) -> None:
    for number, record in enumerate(of_folds()):
        (tmp_path / str(number)).mkdir()
        write_result(tmp_path / str(number), record.result)
    ((row,), problems) = read_rows([tmp_path], all_settings=False)
    assert not problems
    assert (len(row.runs), row.seeds("dataset.fold")) == (15, [0, 1, 2, 3, 4])
    found = row.value("test/acc")
    assert found is not None
    assert found.mean == pytest.approx(DEEP.mean())
    (single,) = read_rows([tmp_path / "0"], all_settings=False)[0]
    (other,) = read_rows([tmp_path / "1"], all_settings=False)[0]
    (told,) = warnings([single, other])
    assert "split seed 0, fold 4 with 215+359 held out (1 row)" in told


def test_a_split_by_time_is_one_whatever_the_seed(tmp_path: Path) -> None:
    time = {"dataset.time": "day"}
    records = [
        run(seed=s, lr=lr, val_acc=0.9 + (lr == 0.1) * 0.01 * (s - 1), overrides=time)
        for s in range(4)
        for lr in (0.1, 0.01)
    ]
    (facts,) = find_tasks(records)
    assert (facts.task.unit, facts.task.same_test_rows, facts.overlap) == ("seed", True, 0)
    assert facts.task.splits == ("seed 0", "seed 1", "seed 2", "seed 3")
    comparison = compare(records, Options())
    (result,) = (r for r in comparison.results if r.is_network)
    # One choice for all seeds: their validation samples are the same.
    assert {choice.setting["optimizer.lr"] for choice in result.choices} == {0.1}


def test_groups_of_different_sizes_are_of_one_task() -> None:
    records = [
        run(
            seed=s,
            data=replace(cases.DIGITS, num_train=1000 + s),
            overrides={"dataset.group": "g", "dataset.train_fraction": share},
        )
        for s in range(3)
        for share in (1.0, 0.5)
    ]
    assert len(find_tasks(records)) == 2


def test_without_validation_samples_nothing_is_selected() -> None:
    data = replace(cases.MNIST, num_val=0)
    records = [
        run(
            seed=s, lr=lr, model=model, data=data, val_acc=None, test_acc=0.9 + lr,
            baselines={"knn": baseline(None, 0.97, {"k": 3})},
        )
        for s in range(3)
        for lr in (0.01, 0.001)
        for model in ("deep", "shallow")
    ]  # fmt: skip
    comparison = compare(records, Options())
    assert {r.learner for r in comparison.results} == {
        "KNN", *(f"{m} · adam · lr={lr}" for m in ("deep", "shallow") for lr in (0.01, 0.001))
    }  # fmt: skip
    by_learner = {r.learner: r for r in comparison.results}
    deep = by_learner["deep · adam · lr=0.01"]
    assert deep.test_score is not None
    assert deep.test_score.mean == pytest.approx(0.91)
    assert (deep.val_score, deep.num_failed, deep.num_runs) == (None, {}, 3)
    knn = by_learner["KNN"]
    assert knn.test_score is not None
    assert (knn.test_score.mean, knn.val_score) == (pytest.approx(0.97), None)
    told = [verdict.sentence for verdict in comparison.verdicts]
    assert any("without validation samples none of them is selected" in line for line in told)
    assert not any("best" in line for line in told)
    assert (
        "mnist: without validation samples nothing can be tuned, so that every setting is a model "
        "of its own"
    ) in comparison.warnings
    assert not any("no run has" in line for line in comparison.warnings)
    json.dumps(asdict(comparison), allow_nan=False)
