"""Further metrics: scikit-learn's values, and their way into records, tables and the report."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
from comparison_cases import baseline, run
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from record_cases import a_result, an_epoch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nnexp import registry
from nnexp.analysis.compare import Options, compare
from nnexp.analysis.records import RunRecord
from nnexp.analysis.types import LearnerOnTask
from nnexp.api.sweep_object import Sweep
from nnexp.config.compose import CONF, arm_name, register, to_config
from nnexp.config.schema import Config
from nnexp.errors import ConfigError, DataError
from nnexp.metrics import (
    METRICS,
    average_precision,
    balanced_accuracy,
    calibration_error,
    f1,
    macro_f1,
    macro_precision,
    mcc,
    measured,
    metric,
    metric_bounds,
    metric_keys,
    metric_label,
    precision,
    recall,
    recorded_metrics,
    roc_auc,
    weighted_f1,
)
from nnexp.runs.predictions import read_predictions
from nnexp.runs.result_checks import check_values
from nnexp.runs.selection import primary_of, selectable, validation_rank
from nnexp.sweeps.tasks import wanted_baselines
from nnexp.verification.agreement import agreement

NAMES = ["macro_f1", "cost", "broken", "mcc", "average_precision", "calibration_error"]
OUTSIDE = """
import nnexp


@nnexp.metric("cost", label="cost in euros", greater_is_better=False)
def cost(probabilities, labels):
    assert probabilities.dtype == "float64" and labels.dtype == "int64"
    assert probabilities.ndim == 2 and len(probabilities) == len(labels)
    return 100.0 * (probabilities.argmax(1) != labels).mean()


@nnexp.metric("broken")
def broken(probabilities, labels):
    raise ZeroDivisionError("by design\\nand on a second line")
"""


# ── values ────────────────────────────────────────────────────────────────────────────────────


def random_case(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities, of which many are equal, and labels, among which classes may lack."""
    rng = np.random.default_rng(seed)
    num_rows, num_classes = int(rng.integers(1, 40)), int(rng.integers(2, 7))
    raw = rng.integers(1, 6, (num_rows, num_classes)).astype(np.float64)
    present = rng.permutation(num_classes)[: rng.integers(1, num_classes + 1)]
    labels = rng.choice(present, num_rows).astype(np.int64)
    return raw / raw.sum(1, keepdims=True), labels


@pytest.mark.parametrize("seed", range(60))
def test_values_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, labels = random_case(seed)
    predicted = probabilities.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are predicted and lack among the labels
        expected = balanced_accuracy_score(labels, predicted)
    assert balanced_accuracy(probabilities, labels) == pytest.approx(expected, abs=1e-12)
    expected = f1_score(labels, predicted, average="macro")
    assert macro_f1(probabilities, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_the_area_is_that_of_scikit_learn(seed: int) -> None:
    probabilities, labels = random_case(seed)
    num_classes = probabilities.shape[1]
    if len(set(labels.tolist())) < num_classes:
        assert math.isnan(roc_auc(probabilities, labels))
        return
    if num_classes == 2:
        expected = roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert roc_auc(probabilities, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_means_over_classes_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, labels = random_case(seed)
    predicted = probabilities.argmax(1)
    told = {"zero_division": 0.0}
    precisions, _, f1s, support = precision_recall_fscore_support(labels, predicted, **told)
    assert macro_precision(probabilities, labels) == pytest.approx(precisions.mean(), abs=1e-12)
    expected = (f1s * support).sum() / support.sum()
    assert weighted_f1(probabilities, labels) == pytest.approx(expected, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single class
        expected = matthews_corrcoef(labels, predicted)
    assert mcc(probabilities, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    probabilities, labels = random_case(seed)
    num_classes = probabilities.shape[1]
    found = average_precision(probabilities, labels)
    if len(set(labels.tolist())) < num_classes:
        assert math.isnan(found)
        return
    if num_classes == 2:
        expected = average_precision_score(labels, probabilities[:, 1])
    else:
        indicators = np.eye(num_classes, dtype=int)[labels]
        expected = average_precision_score(indicators, probabilities, average="macro")
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_those_of_the_positive_class_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, int(rng.integers(1, 12)))
    scores = rng.integers(0, 4, len(labels)) / 3
    probabilities = np.stack([1 - scores, scores], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is undefined
        expected = precision_recall_fscore_support(
            labels, probabilities.argmax(1), average="binary", zero_division=np.nan
        )
    named = dict(zip(("precision", "recall", "f1"), expected[:3], strict=True))
    if math.isnan(named["precision"]):
        named["precision"] = 0.0
    if math.isnan(named["recall"]) and probabilities.argmax(1).any():
        named["f1"] = 0.0
    for name, value in named.items():
        found = METRICS[name].compute(probabilities, labels)
        assert found == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_cases_without_a_value() -> None:
    """What the docstrings say of classes that lack, in silence: warnings are errors here."""
    zero, one = [0.9, 0.1], [0.2, 0.8]
    never = np.array([zero, zero, zero])
    both, none, all_one = np.array([0, 1, 1]), np.array([0, 0, 0]), np.array([1, 1, 1])
    # Class 1 is there and never predicted.
    assert [f(never, both) for f in (precision, recall, f1)] == [0, 0, 0]
    assert macro_precision(never, both) == pytest.approx((1 / 3 + 0) / 2)
    assert mcc(never, both) == 0
    # Class 1 is predicted and not there.
    some = np.array([zero, one, zero])
    assert precision(some, none) == 0
    assert math.isnan(recall(some, none))
    assert f1(some, none) == 0
    assert mcc(some, none) == 0
    # It is neither.
    assert precision(never, none) == 0
    assert math.isnan(recall(never, none))
    assert math.isnan(f1(never, none))
    assert mcc(never, none) == 0
    assert balanced_accuracy(never, none) == macro_f1(never, none) == weighted_f1(never, none) == 1
    for labels in (none, all_one):
        assert math.isnan(average_precision(some, labels))
        assert math.isnan(roc_auc(some, labels))


@pytest.mark.parametrize(
    ("name", "instead"),
    [("precision", "macro_precision"), ("recall", "balanced_accuracy"), ("f1", "macro_f1")],
)
def test_metrics_of_two_classes_name_the_one_for_more(
    name: str, instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert measured([name], np.eye(3), np.arange(3), "KNN on test rows") == {name: None}
    assert caplog.records[0].getMessage() == (
        f"metric {name} of KNN on test rows: ValueError: is of two classes, and there are 3: "
        f"use {instead}; recorded as null"
    )


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: two rows in (8/15, 9/15], one right of confidence 0.55; one in (14/15, 1].
    scores = np.array([0.55, 0.57, 0.99, 0.99])
    probabilities = np.stack([scores, 1 - scores], axis=1)
    labels = np.array([0, 1, 0, 1])
    expected = (2 * abs(0.5 - 0.56) + 2 * abs(0.5 - 0.99)) / 4
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-6)
    # An edge belongs to the bin below it: 0.6 = 9/15 is with 0.55, and the gaps cancel.
    scores = np.array([0.6, 0.55])
    probabilities = np.stack([scores, 1 - scores], axis=1)
    assert calibration_error(probabilities, np.array([0, 1])) == pytest.approx(0.075, abs=1e-6)
    assert calibration_error(np.eye(3), np.arange(3)) == 0
    assert calibration_error(np.eye(3), np.array([1, 2, 0])) == 1


@pytest.mark.parametrize("seed", range(20))
def test_calibration_error_is_the_mean_gap_of_the_bins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(4, 0.5), int(rng.integers(1, 200)))
    labels = rng.integers(0, 4, len(probabilities))
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for place in range(15):
        inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", sorted(n for n in METRICS if METRICS[n].task == "classification"))
def test_values_lie_within_the_bounds_of_the_registration(name: str) -> None:
    low, high = metric_bounds(name)
    assert METRICS[name].greater_is_better == (name != "calibration_error")
    values = []
    for seed in range(60):
        probabilities, labels = random_case(seed)
        if probabilities.shape[1] == 2 or name not in ("precision", "recall", "f1"):
            values.append(METRICS[name].compute(probabilities, labels))
    known = [value for value in values if not math.isnan(value)]
    assert len(known) > 5
    assert low <= min(known)
    assert max(known) <= high


def test_nothing_is_imported_for_metrics_that_nobody_asks_for() -> None:
    code = "import sys, nnexp.metrics as m; assert m.METRICS; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_values_by_hand() -> None:
    # Three rows of class 0 and one of class 1; class 2 lacks. Right: two of class 0.
    probabilities = np.array([[0.8, 0.2, 0], [0.5, 0.5, 0], [0.1, 0.2, 0.7], [0.9, 0.1, 0]])
    labels = np.array([0, 0, 0, 1])
    assert balanced_accuracy(probabilities, labels) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(probabilities, labels) == pytest.approx((4 / 6 + 0 + 0) / 3)
    assert math.isnan(roc_auc(probabilities, labels))
    # Of the four pairs of a positive and a negative row two are in order and one is a tie.
    scores = np.array([0.1, 0.4, 0.4, 0.3])
    found = roc_auc(np.stack([1 - scores, scores], axis=1), np.array([0, 0, 1, 1]))
    assert found == pytest.approx(2.5 / 4)


# ── the registry, and what goes wrong ─────────────────────────────────────────────────────────


def test_names_that_are_recorded_anyway_are_refused() -> None:
    for name in ("acc", "loss", "clipped_loss", "brier"):
        with pytest.raises(ConfigError, match=f"metric {name}: is recorded in any case"):
            metric(name)(lambda probabilities, labels: 0.0)
    assert [*METRICS][:3] == ["balanced_accuracy", "macro_f1", "roc_auc"]
    assert metric_label("macro_f1") == "macro F1"
    assert metric_label("not_registered_here") == "not registered here"


def test_what_is_no_finite_number_is_none_and_costs_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnexp.registry._registered", {"metric": {}})

    @metric("sorted_in_place")
    def sorted_in_place(probabilities: Any, labels: Any) -> float:
        probabilities.sort(0)
        labels[:] = 7
        return np.float32(0.5)  # type: ignore[return-value]

    metric("infinite")(lambda probabilities, labels: math.inf)
    metric("text")(lambda probabilities, labels: "much")  # type: ignore[arg-type, return-value]
    metric("nothing")(lambda probabilities, labels: None)  # type: ignore[arg-type, return-value]
    probabilities, labels = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 1])
    names = ["sorted_in_place", "infinite", "text", "nothing", "infinite"]
    with caplog.at_level(logging.WARNING):
        found = measured(names, probabilities, labels, "KNN on test rows")
    assert found == {"sorted_in_place": 0.5, "infinite": None, "text": None, "nothing": None}
    assert probabilities[0, 0] == np.float32(0.9)
    assert labels.tolist() == [0, 1]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "metric infinite of KNN on test rows: is inf; recorded as null"
    assert [line.split()[1] for line in lines] == ["infinite", "text", "nothing"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        probabilities[1] = np.nan
        assert measured(["sorted_in_place"], probabilities, labels, "x") == {
            "sorted_in_place": None
        }
    assert "some predictions are not finite" in caplog.text


def config_of(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(compose("config", list(overrides)))


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("metrics=[makro_f1]")
    told = str(caught.value)
    assert told.startswith(
        "metrics=[makro_f1]: makro_f1 is no registered metric (did you mean 'macro_f1'?); "
        "registered are balanced_accuracy, macro_f1, roc_auc"
    )
    assert "\n" not in told


def test_the_arm_does_not_tell_of_metrics() -> None:
    overrides = ["metrics=[macro_f1]"]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert arm_name(compose("config", overrides), overrides) == "deep · adam"


def test_baselines_are_shared_between_runs_that_ask_for_the_same_metrics() -> None:
    plain, one, two = (
        {w.name: w.key for w in wanted_baselines(config_of("baseline=[knn,svm]", *overrides))}
        for overrides in ([], ["metrics=[macro_f1]"], ["metrics=[macro_f1,roc_auc]"])
    )
    for name in ("knn", "svm"):
        assert len({plain[name], one[name], two[name]}) == 3
    again = wanted_baselines(config_of("baseline=[knn]", "metrics=[macro_f1]", "optimizer.lr=0.5"))
    assert next(iter(again)).key == next(
        iter(wanted_baselines(config_of("baseline=[knn]", "metrics=[macro_f1,macro_f1]")))
    ).key  # fmt: skip


def test_a_value_of_a_baseline_is_a_number_or_null() -> None:
    fields: dict[str, Any] = {
        "dataset": {},
        "metrics": {},
        "baselines": {"knn": {"test/macro_f1": "much"}},
        "config": {"metrics": ["macro_f1"]},
    }
    with pytest.raises(ValueError, match=r"baselines\.knn\.test/macro_f1 is 'much'"):
        check_values(fields)


# ── in comparisons ────────────────────────────────────────────────────────────────────────────


def with_metric(record: RunRecord, value: float | None) -> RunRecord:
    """The same run with macro F1 on the test rows; its KNN has 0.25 more."""
    result = record.result
    told = {"test/macro_f1": value}
    knn = {**result.baselines["knn"], "test/macro_f1": (value or 0) + 0.25}
    return RunRecord(
        record.folder,
        dataclasses.replace(
            result,
            metrics={**result.metrics, **told},
            baselines={"knn": knn},
            config={**result.config, "metrics": ["macro_f1"]},
        ),
    )


def compared(records: Sequence[RunRecord]) -> dict[str, LearnerOnTask]:
    options = Options(tuned=("optimizer.lr",), reference="knn", equivalence=0.005, title="")
    return {result.learner: result for result in compare(records, options).results}


def test_a_report_has_the_mean_of_the_chosen_runs() -> None:
    records = []
    for seed in range(3):
        told = {"knn": baseline(0.9, 0.9, {"k": 1})}
        chosen = run(seed=seed, lr=0.1, val_acc=0.9, baselines=told)
        other = run(seed=seed, lr=0.2, val_acc=0.8, baselines=told)
        # Not all runs need ask for it: KNN's is that of the one that does.
        records += [other, with_metric(chosen, 0.5 + 0.1 * seed)]
    found = compared(records)
    network = found["deep · adam"].test_metrics["macro_f1"]
    assert network is not None
    assert network.values == pytest.approx((0.5, 0.6, 0.7))
    assert network.interval is not None
    assert network.interval.low < 0.6 < network.interval.high <= 1
    knn = found["KNN"].test_metrics["macro_f1"]
    assert knn is not None
    assert knn.mean == pytest.approx(0.85)


def test_a_mean_needs_a_value_on_every_split() -> None:
    told = {"knn": baseline(0.9, 0.9, {"k": 1})}
    values: tuple[float | None, ...] = (0.5, None, 0.7)
    records = [
        with_metric(run(seed=seed, baselines=told), value) for seed, value in enumerate(values)
    ]
    assert compared(records)["deep · adam"].test_metrics == {"macro_f1": None}
    failed = run(seed=3, status="diverged", baselines=told)
    records = [*(with_metric(run(seed=s, baselines=told), 0.5) for s in range(3)), failed]
    assert compared(records)["deep · adam"].test_metrics == {"macro_f1": None}


@pytest.mark.parametrize(("amount", "agrees"), [(0.0, True), (0.028, True), (0.03, False)])
def test_on_cuda_a_sample_of_each_class_may_tip_over(amount: float, agrees: bool) -> None:
    """There are 360 test rows and 10 classes."""
    recorded = a_result(config={"metrics": ["macro_f1"]})
    metrics = {**recorded.metrics, "test/macro_f1": 0.5}
    alone = {**metrics, "test/macro_f1": 0.5 + amount}
    theirs, ours = (dataclasses.replace(recorded, metrics=of) for of in (metrics, alone))
    found = agreement(([an_epoch(1)], theirs), ([an_epoch(1)], ours), 1e-3)
    assert (found.parting is None) == agrees
    assert found.largest == pytest.approx(amount)


# ── through the command line, with a metric of another module ─────────────────────────────────


def nnexp(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "my_metrics.py").write_text(OUTSIDE, encoding="utf-8")
    return folder


SMALL = ("dataset=wine", "trainer.epochs=3", "trainer.device=cpu", "model.hidden=[8]",
         "baseline=[knn,majority]", "imports=[my_metrics]",
         f"metrics=[{','.join(NAMES)}]")  # fmt: skip


@pytest.fixture(scope="module")
def sweep(place: Path) -> tuple[Path, str]:
    done = nnexp(
        place, "nnexp", "-m", *SMALL, "seed=0,1", "optimizer.lr=0.01,0.001",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "sweep", done.stdout + done.stderr


def test_a_run_records_them_and_its_table_shows_them(place: Path) -> None:
    done = nnexp(place, "nnexp", *SMALL, "hydra.run.dir=alone")
    assert done.returncode == 0, done.stderr
    result = json.loads((place / "alone" / "result.json").read_text(encoding="utf-8"))
    keys = metric_keys(NAMES)
    assert list(result["metrics"])[-len(keys) :] == keys
    with np.load(place / "alone" / "predictions.npz") as saved:
        probabilities, labels = saved["probabilities"].astype(float), saved["labels"].astype(int)
    for name in ("macro_f1", "mcc", "average_precision", "calibration_error"):
        expected = METRICS[name].compute(probabilities, labels)
        assert result["metrics"][f"test/{name}"] == expected
    assert result["baselines"]["majority"]["test/mcc"] == 0
    for values in (result["metrics"], *result["baselines"].values()):
        for split in ("val", "test"):
            assert values[f"{split}/cost"] == pytest.approx(100 * (1 - values[f"{split}/acc"]))
            assert 0 <= values[f"{split}/macro_f1"] <= 1
            assert values[f"{split}/broken"] is None
    told = [line for line in done.stdout.splitlines() if "metric broken of" in line]
    assert len(told) == 6  # three learners, two splits
    assert told[0].endswith(
        "metric broken of the network on validation rows: ZeroDivisionError: by design; "
        "recorded as null"
    )
    head, table = done.stdout.split("───", 1)
    assert "euros" in head
    assert "F1" in head
    assert f"{result['metrics']['test/cost']:.3f}" in table
    assert f"{result['baselines']['majority']['test/macro_f1']:.4f}" in table

    events = EventAccumulator(str(place / "alone"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"val/cost", "vs/knn/val_cost", "vs/majority/val_macro_f1"} <= {*tags}
    assert events.Scalars("val/cost")[-1].value == pytest.approx(result["metrics"]["val/cost"])


def test_a_sweep_and_its_report_have_them(sweep: tuple[Path, str]) -> None:
    folder, output = sweep
    assert "metric broken of KNN on test rows" in output
    with (folder / "report" / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        result = json.loads((folder / row["folder"] / "result.json").read_text(encoding="utf-8"))
        assert float(row["metrics.val/cost"]) == result["metrics"]["val/cost"]
        assert float(row["baselines.knn.val/cost"]) == result["baselines"]["knn"]["val/cost"]
        assert row["metrics.val/broken"] == ""
        assert not any("test/" in column for column in row)
        assert row["arm"] == result["arm"]
        assert "metrics" not in result["arm"]
        told = read_predictions(folder / row["folder"])
        assert told.baseline_probabilities["knn"].shape == told.probabilities.shape
    summary = json.loads((folder / "report" / "summary.json").read_text(encoding="utf-8"))
    assert summary["metric"]["name"] == "accuracy"
    by_learner = {result["learner"]: result for result in summary["results"]}
    for result in by_learner.values():
        cost, acc = result["test_metrics"]["cost"], result["test_score"]
        assert cost["mean"] == pytest.approx(100 * (1 - acc["mean"]))
        assert cost["values"] == pytest.approx([100 * (1 - value) for value in acc["values"]])
        assert result["test_metrics"]["macro_f1"]["interval"]["high"] <= 1
        assert result["test_metrics"]["broken"] is None
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    section = page[page.index('id="metrics"') :].split("</section>")[0]
    text = " ".join(re.sub(r"<[^>]*>", " ", section).split())
    assert "Further metrics" in text
    assert "macro F1" in text
    assert "cost in euros [95 % CI], lower is better" in text
    assert f"{by_learner['KNN']['test_metrics']['cost']['mean']:.4f}" in text


@pytest.fixture
def _forgets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is registered meanwhile is not there afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(METRICS)
    yield
    for name in set(METRICS) - known:
        del registry._registered["metric"][name]
    sys.modules.pop("my_metrics", None)


@pytest.mark.usefixtures("_forgets")
def test_a_sweep_is_sorted_and_its_best_run_found_by_them(
    sweep: tuple[Path, str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of costs the least is the best, as ``my_metrics`` registers them."""
    folder, _ = sweep
    done = nnexp(place, "nnexp", "compare", "sweep", "--sort", "val/cost", "--json")
    assert done.returncode == 0, done.stderr
    costs = [row["val/cost"]["mean"] for row in json.loads(done.stdout)["rows"]]
    assert costs == sorted(costs)
    assert len(costs) == 2
    monkeypatch.chdir(place)
    swept = Sweep(folder)
    for name, best in (("macro_f1", max), ("cost", min)):
        values = [run.metrics[f"val/{name}"] or 0.0 for run in swept]
        assert swept.best(f"val/{name}").metrics[f"val/{name}"] == best(values)
    with pytest.raises(ConfigError, match="must be one of val/loss, val/acc, train/loss, val/mac"):
        swept.best("test/macro_f1")
    with pytest.raises(DataError, match="no run was completed with a val/broken"):
        swept.best("val/broken")


def test_verify_compares_them(sweep: tuple[Path, str], place: Path) -> None:
    folder, _ = sweep
    done = nnexp(place, "nnexp.verify", "sweep/0", "--runs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 run identical" in done.stdout
    path = folder / "0" / "result.json"
    recorded = path.read_text(encoding="utf-8")
    fields = json.loads(recorded)
    fields["baselines"]["knn"]["test/cost"] += 5
    try:
        path.write_text(json.dumps(fields), encoding="utf-8")
        done = nnexp(place, "nnexp.verify", "sweep/0", "--runs", "1")
    finally:
        path.write_text(recorded, encoding="utf-8")
    assert done.returncode == 1
    assert "baselines, knn, test/cost" in done.stdout


def test_without_metrics_nothing_tells_of_them(place: Path) -> None:
    plain = [argument for argument in SMALL if not argument.startswith(("metrics", "imports"))]
    done = nnexp(place, "nnexp", "-m", *plain, "seed=0,1", "hydra.sweep.dir=plain")
    assert done.returncode == 0, done.stderr
    result = json.loads((place / "plain" / "0" / "result.json").read_text(encoding="utf-8"))
    assert result["config"]["metrics"] == []
    assert "macro" not in json.dumps(result)
    report = place / "plain" / "report"
    assert 'id="metrics"' not in (report / "index.html").read_text(encoding="utf-8")
    assert "test_metrics" not in (report / "summary.json").read_text(encoding="utf-8")


# ── the primary metric ────────────────────────────────────────────────────────────────────────


def test_the_primary_metric_is_among_those_that_a_run_records() -> None:
    assert recorded_metrics(["mcc", "mcc"], "roc_auc") == ["mcc", "roc_auc"]
    assert recorded_metrics(None, "accuracy") == recorded_metrics([], None) == []
    result = a_result(config={"metrics": ["mcc"], "report": {"metric": "roc_auc"}})
    assert result.further == ("mcc", "roc_auc")
    assert a_result(config={}).further == ()


def test_a_primary_metric_that_nobody_registers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"report\.metric.*did you mean 'roc_auc'"):
        config_of("report.metric=roc_auk")
    assert config_of("report.metric=accuracy").recorded_metrics == []
    assert config_of("report.metric=roc_auc").recorded_metrics == ["roc_auc"]


def test_without_being_asked_for_the_best_run_is_that_of_the_primary_metric() -> None:
    told = [{"report": {"metric": "calibration_error"}}] * 2 + [{}]
    assert primary_of(told) == "calibration_error"
    assert primary_of([{"report": {"metric": "forgotten"}}]) == primary_of([]) == "accuracy"
    values = [{"val/calibration_error": v, "val/loss": 1.0} for v in (0.2, 0.1, None)]
    ranks = [validation_rank(metrics, "calibration_error") for metrics in values]
    assert sorted(range(3), key=ranks.__getitem__) == [1, 0, 2]
    assert "val/calibration_error" in selectable(told)
