"""Scores by class and of the majority class: scikit-learn's numbers, in the report as they are."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_cases import Data, baseline, run
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from nnexp.analysis.compare import compare
from nnexp.analysis.records import RunRecord
from nnexp.analysis.types import Comparison, Options
from nnexp.metrics import metric_keys
from nnexp.report.page import write_page
from nnexp.report.write import summary_json
from nnexp.runs.predictions import Predictions, write_predictions
from nnexp.scoring_rules import clipped_losses

RARE = Data("rare", 800, 100, 200, 5, 3, acc=0.9)
NAMES = ["none", "mild", "severe"]
OPTIONS = Options(tuned=("optimizer.lr",), reference="knn", equivalence=0.005, title="")


def rare_labels(seed: int) -> NDArray[np.int32]:
    """Nine in ten are of the first class."""
    rng = np.random.default_rng(seed)
    return rng.choice(3, 200, p=[0.9, 0.07, 0.03]).astype(np.int32)


def a_sweep(
    folder: Path,
    seeds: Sequence[int] = (0, 1),
    models: Mapping[str, float] | None = None,
    metrics: Sequence[str] = (),
    data: Data = RARE,
    split_seed: int | None = None,
    baselines: Sequence[str] = ("knn",),
    names: list[str] | None = NAMES,
) -> list[RunRecord]:
    """Runs of models by their validation accuracy. Networks never predict the last class."""
    records = []
    for model, val_acc in (models or {"deep": 0.9}).items():
        for seed in seeds:
            place = folder / f"{model}-{seed}"
            place.mkdir(parents=True)
            labels = rare_labels(seed if split_seed is None else split_seed)
            rng = np.random.default_rng([seed, len(model)])
            p = rng.dirichlet(np.ones(data.num_classes), len(labels)).astype(np.float32)
            p[:, -1] = 0
            told = {"knn": rng.integers(0, 3, 200), "majority": np.zeros(200)}
            values = dict.fromkeys(metric_keys(metrics), 0.5)
            of_baselines = {b: baseline(0.8, 0.8, {}) | values for b in baselines}
            record = run(
                model=model, seed=seed, data=data, val_acc=val_acc, folder=place,
                baselines=of_baselines, split_seed=split_seed,
            )  # fmt: skip
            result = record.result
            record = RunRecord(
                place,
                dataclasses.replace(
                    result,
                    metrics={**result.metrics, **values},
                    config={**result.config, "metrics": [*metrics]},
                    dataset=dataclasses.replace(result.dataset, class_names=names),
                ),
            )
            classes = {name: told[name].astype(np.int32) for name in baselines}
            rows = np.arange(200, dtype=np.int32)
            write_predictions(place, Predictions(p, labels, rows, classes))
            records.append(record)
    return records


def pooled(folder: Path, folders: Sequence[str], of: str | None = None) -> Any:
    """scikit-learn's precision, recall and F1 [C] over all test rows of several runs."""
    predicted, labels = [], []
    for name in folders:
        with np.load(folder / name / "predictions.npz") as file:
            labels.append(file["labels"])
            predicted.append(file[f"baseline:{of}"] if of else file["probabilities"].argmax(1))
    return precision_recall_fscore_support(
        np.concatenate(labels),
        np.concatenate(predicted),
        labels=range(len(NAMES)),
        zero_division=np.nan,
    )


def floats(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


@pytest.mark.parametrize("split_seed", [None, 0])
def test_scores_are_scikit_learns_over_all_splits(tmp_path: Path, split_seed: int | None) -> None:
    comparison = compare(a_sweep(tmp_path, split_seed=split_seed), OPTIONS)
    (found,) = comparison.by_class
    assert found.names == tuple(NAMES)
    network, knn = found.learners
    assert (network.learner, knn.learner) == ("deep · adam", "KNN")
    precision, recall, f1, support = pooled(tmp_path, ["deep-0", "deep-1"])
    assert floats(network.precision) == pytest.approx(precision, nan_ok=True)
    assert network.precision[2] is None
    assert floats(network.recall) == pytest.approx(recall)
    assert floats(network.f1) == pytest.approx(f1)
    assert found.support == pytest.approx(support / 2)
    # On a split that stays a baseline is one fit.
    runs = ["deep-0"] if split_seed == 0 else ["deep-0", "deep-1"]
    precision, recall, f1, _ = pooled(tmp_path, runs, "knn")
    assert floats(knn.precision) == pytest.approx(precision)
    assert floats(knn.recall) == pytest.approx(recall)
    assert floats(knn.f1) == pytest.approx(f1)


def test_of_several_networks_the_selected_one_is_shown(tmp_path: Path) -> None:
    comparison = compare(a_sweep(tmp_path, models={"deep": 0.8, "shallow": 0.9}), OPTIONS)
    first, second = comparison.by_class[0].learners
    assert (first.learner, second.learner) == ("best network per split", "KNN")
    assert floats(first.f1) == pytest.approx(pooled(tmp_path, ["shallow-0", "shallow-1"])[2])


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    records = a_sweep(tmp_path, names=None)
    (tmp_path / "deep-1" / "predictions.npz").unlink()
    assert compare(records, OPTIONS).by_class == ()
    records = a_sweep(tmp_path / "other", baselines=())
    (found,) = compare(records, OPTIONS).by_class
    assert [scores.learner for scores in found.learners] == ["deep · adam"]


def test_a_learner_with_a_failed_run_is_named_as_left_out(tmp_path: Path) -> None:
    """KNN's predictions are there on both splits, by another network's runs."""
    records = a_sweep(tmp_path, models={"deep": 0.9, "shallow": 0.8})
    (tmp_path / "deep-1" / "predictions.npz").unlink()
    comparison = compare(records, OPTIONS)
    (found,) = comparison.by_class
    assert [scores.learner for scores in found.learners] == ["KNN"]
    assert found.left_out == ("best network per split",)
    assert (
        "Left out, as a run failed or its predictions are missing: best network per split."
    ) in section_of(comparison, tmp_path / "page", "classes")


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    (found,) = compare(a_sweep(tmp_path, names=None), OPTIONS).by_class
    assert found.names == ("0", "1", "2")


def test_the_majority_class_is_measured_by_the_labels(tmp_path: Path) -> None:
    metrics = ["macro_f1", "mcc", "roc_auc", "not_registered"]
    (found,) = compare(a_sweep(tmp_path, metrics=metrics), OPTIONS).by_class
    majority = found.majority
    accs, balanced, f1s, losses = [], [], [], []
    for seed in (0, 1):
        labels, zeros = rare_labels(seed), np.zeros(200, int)
        accs.append((labels == 0).mean())
        balanced.append(balanced_accuracy_score(labels, zeros))
        f1s.append(f1_score(labels, zeros, average="macro", zero_division=0.0))
        losses.append(clipped_losses((np.bincount(labels) / 200)[labels]).mean())
    assert majority.name == "none"
    assert majority.test_acc == pytest.approx(np.mean(accs))
    assert majority.balanced_accuracy == pytest.approx(np.mean(balanced))
    assert majority.macro_f1 == pytest.approx(np.mean(f1s))
    assert majority.log_loss == pytest.approx(np.mean(losses))
    assert majority.test_metrics == {
        "macro_f1": pytest.approx(np.mean(f1s)), "mcc": 0.0, "roc_auc": 0.5,
    }  # fmt: skip


# ── on the page ───────────────────────────────────────────────────────────────────────────────


def section_of(comparison: Comparison, folder: Path, name: str) -> str:
    """The text of a section of the page."""
    folder.mkdir(exist_ok=True)
    write_page(comparison, folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    section = page[page.index(f'id="{name}"') :].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", section).split())


def test_the_page_has_a_row_a_class(tmp_path: Path) -> None:
    comparison = compare(a_sweep(tmp_path), OPTIONS)
    text = section_of(comparison, tmp_path / "page", "classes")
    precision, recall, f1, support = pooled(tmp_path, ["deep-0", "deep-1"])
    knn = pooled(tmp_path, ["deep-0", "deep-1"], "knn")
    values = [precision[1], recall[1], f1[1], *(column[1] for column in knn[:3])]
    row = " ".join(f"{100 * value:.2f}" for value in values)
    assert f"mild {support[1] / 2:,.0f} {row}" in text
    assert f"severe {support[2] / 2:,.0f} – 0.00 0.00" in text
    majority = comparison.by_class[0].majority
    assert (
        f"Always predicting the most frequent class, none, gives an accuracy of "
        f"{100 * majority.test_acc:.2f} %, a balanced accuracy of 33.33 %"
    ) in text
    told = json.loads(summary_json(comparison))["by_class"]
    assert told[0]["learners"][0]["precision"][2] is None
    assert told[0]["majority"]["name"] == "none"


def test_the_majority_is_a_row_of_further_metrics_unless_it_was_run(tmp_path: Path) -> None:
    metrics = ["macro_f1", "mcc"]
    comparison = compare(a_sweep(tmp_path / "a", metrics=metrics), OPTIONS)
    text = section_of(comparison, tmp_path / "page", "metrics")
    majority = comparison.by_class[0].majority
    expected = f"{100 * majority.test_acc:.2f} {majority.macro_f1:.4f} 0.0000"
    assert f"majority class by the test labels, not a run {expected}" in text
    records = a_sweep(tmp_path / "b", metrics=metrics, baselines=("knn", "majority"))
    text = section_of(compare(records, OPTIONS), tmp_path / "page", "metrics")
    assert "by the test labels" not in text
    assert "majority class 80.00" in text


def test_the_page_says_which_of_two_classes_is_meant(tmp_path: Path) -> None:
    metrics = ["macro_f1", "f1", "roc_auc"]
    comparison = compare(a_sweep(tmp_path, metrics=metrics), OPTIONS)
    (task,), (found,) = comparison.tasks, comparison.by_class
    assert "of class 1" not in section_of(comparison, tmp_path / "page", "metrics")
    of_two = dataclasses.replace(
        comparison,
        tasks=(dataclasses.replace(task, num_classes=2),),
        by_class=(dataclasses.replace(found, names=("no", "yes")),),
    )
    text = section_of(of_two, tmp_path / "page", "metrics")
    assert text.endswith("F1, ROC AUC are of class 1, yes.")


def test_of_many_classes_the_hardest_are_listed(tmp_path: Path) -> None:
    comparison = compare(a_sweep(tmp_path), OPTIONS)
    (found,) = comparison.by_class
    f1 = tuple(i / 100 for i in range(50, 90))
    first = dataclasses.replace(found.learners[0], precision=f1, recall=f1, f1=f1)
    many = dataclasses.replace(
        found, names=tuple(f"class {i}" for i in range(40)), support=(5.0,) * 40, learners=(first,)
    )
    text = section_of(
        dataclasses.replace(comparison, by_class=(many,)), tmp_path / "page", "classes"
    )
    assert "class 29 5 79.00 79.00 79.00" in text
    assert "class 30" not in text
    assert (
        "The 30 of 40 classes on which deep · adam has the lowest F1; on the other 10 it is at "
        "least 79.00 %."
    ) in text


def test_without_predictions_there_is_no_section(tmp_path: Path) -> None:
    records = [run(seed=seed, baselines={"knn": baseline(0.9, 0.9, {})}) for seed in (0, 1)]
    comparison = compare(records, OPTIONS)
    assert comparison.by_class == ()
    write_page(comparison, tmp_path)
    assert 'id="classes"' not in (tmp_path / "index.html").read_text(encoding="utf-8")
