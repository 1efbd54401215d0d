"""Whole comparisons: verdicts in words, what is read from files, and what cannot be said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import comparison_cases as cases
import numpy as np
import pytest
from comparison_cases import baseline, run
from sklearn.metrics import log_loss

from nnexp.comparison import curves as curves_module
from nnexp.comparison import held_out as held_out_module
from nnexp.comparison.compare import Options, compare
from nnexp.comparison.estimates import uncertainty
from nnexp.comparison.records import RunRecord
from nnexp.comparison.types import Comparison, LearnerOnTask, Verdict
from nnexp.results.predictions import read_predictions
from nnexp.results.record import read_metrics


def pair(
    accs: Sequence[float], knn_accs: Sequence[float], data: cases.Data = cases.DIGITS
) -> Comparison:
    """One network and KNN, by split."""
    records = [
        run(seed=s, test_acc=a, data=data, baselines={"knn": baseline(0.9, k, {"k": 3})})
        for s, (a, k) in enumerate(zip(accs, knn_accs, strict=True))
    ]
    return compare(records, Options())


def verdict_on(comparison: Comparison, learner: str = "deep · adam") -> Verdict:
    (told,) = [r.verdict for r in comparison.results if r.learner == learner and r.verdict]
    return told


# ── verdicts ──────────────────────────────────────────────────────────────────────────────────

BASE = np.array([0.95, 0.96, 0.94, 0.955, 0.945, 0.95])
NOISE = np.array([0.004, -0.004, 0.002, -0.002, 0.003, -0.003])


def test_a_learner_that_beats_the_reference() -> None:
    told = verdict_on(pair(BASE + 0.012 + NOISE, BASE))
    assert told.kind == "better"
    half = uncertainty((0.012 + NOISE).tolist(), overlap=0.25).half_width
    assert told.sentence == (
        f"deep · adam beats KNN on digits by 1.2 points [{1.2 - 100 * half:.1f}, "
        f"{1.2 + 100 * half:.1f}], P(better) 1.00, 6 pairs"
    )
    assert (told.task, told.learner) == ("digits", "deep · adam")


def test_a_learner_that_loses() -> None:
    told = verdict_on(pair(BASE - 0.012 + NOISE, BASE))
    assert told.kind == "worse"
    assert told.sentence.startswith("deep · adam loses to KNN on digits by 1.2 points [0.6, 1.8]")


def test_learners_that_are_equivalent() -> None:
    big = cases.Data(num_test=20_000)
    told = verdict_on(pair(BASE + NOISE / 20, BASE, big))
    assert told.kind == "equivalent"
    assert told.sentence.startswith("deep · adam and KNN are equivalent within ±0.5 points on ")


def test_better_by_what_does_not_matter() -> None:
    big = cases.Data(num_test=20_000)
    told = verdict_on(pair(BASE + 0.002 + NOISE / 20, BASE, big))
    assert told.kind == "better"
    assert told.sentence.endswith(": less than ±0.5 points, which does not matter")


def test_undecided_tells_how_many_seeds_would_decide() -> None:
    told = verdict_on(pair((BASE + 0.008 + 1.2 * NOISE)[:3], BASE[:3]))
    assert told.kind == "undecided"
    error = uncertainty((0.008 + 1.2 * NOISE[:3]).tolist(), overlap=0.25, step=1 / 360)
    mean = float((0.008 + 1.2 * NOISE[:3]).mean())
    more = told.seeds_needed
    assert more is not None
    assert error.of(3 + more).half_width < mean <= error.of(2 + more).half_width
    assert told.sentence.endswith(f"undecided: about {more} more seeds would decide")


def test_undecided_where_no_number_of_seeds_would_do() -> None:
    told = verdict_on(pair(BASE + 0.004 + 3 * NOISE, BASE))
    assert told.kind == "undecided"
    assert told.seeds_needed is None
    assert told.sentence.endswith("no number of seeds would decide: the splits share too many rows")


def test_one_pair_is_too_few() -> None:
    comparison = pair([0.97], [0.95])
    told = verdict_on(comparison)
    assert told.kind == "too few"
    assert told.sentence == (
        "deep · adam minus KNN on digits is 2.0 points, of one pair: too few to say more"
    )
    assert any(warning.startswith("one split alone of digits") for warning in comparison.warnings)


def test_a_difference_that_correction_takes_away() -> None:
    """p is .03 for one of five learners: five times that after Holm."""
    records = []
    for number, model in enumerate(("deep", "shallow", "linear", "wide", "narrow")):
        gain = 0.0065 if number == 0 else 0.0
        for s in range(6):
            noise = NOISE[(s + number) % 6] * (1 if number == 0 else 2)
            knn = {"knn": baseline(0.9, float(BASE[s]), {"k": 3})}
            acc = float(BASE[s] + gain + noise)
            records.append(run(model=model, seed=s, test_acc=acc, baselines=knn))
    comparison = compare(records, Options())
    result = next(r for r in comparison.results if r.learner == "deep · adam")
    assert result.difference is not None
    assert result.difference.p_value is not None
    assert result.difference.p_adjusted == pytest.approx(5 * result.difference.p_value)
    told = verdict_on(comparison)
    assert told.kind == "not significant after correction"
    assert "not significant after correction for the number of comparisons (p 0.0" in told.sentence


def test_the_best_network_is_chosen_by_validation_rows() -> None:
    records = [
        run(model=model, seed=s, val_acc=val, test_acc=float(BASE[s]) + gain)
        for s in range(6)
        for model, val, gain in (("deep", 0.97, 0.0), ("shallow", 0.96, 0.03))
    ]
    told = [v for v in compare(records, Options()).verdicts if v.kind == "summary"]
    assert [v.sentence for v in told] == [
        "Of 2 networks on digits, deep · adam has the best validation accuracy; on the test rows "
        "it has 95.0 % and is worse than shallow · adam"
    ]


def test_guessing_is_the_majority_class_where_it_was_run() -> None:
    def said(gain: float) -> list[str]:
        majority = {"majority": baseline(0.3, 0.3)}
        records = [
            run(seed=s, test_acc=0.3 + gain + float(NOISE[s]), baselines=majority) for s in range(6)
        ]
        return [v.sentence for v in compare(records, Options()).verdicts if v.kind == "chance"]

    (sentence,) = said(0.001)
    assert sentence.startswith("nothing beats guessing the most frequent class on digits: ")
    assert sentence.endswith("of deep · adam")
    assert said(0.05) == []


# ── references ────────────────────────────────────────────────────────────────────────────────


def test_without_the_reference_the_best_network_by_validation_takes_its_place() -> None:
    records = [
        run(model=m, seed=s, val_acc=v, test_acc=v)
        for s in range(3)
        for m, v in (("deep", 0.9), ("shallow", 0.95))
    ]
    comparison = compare(records, Options())
    assert comparison.reference == "shallow · adam"
    assert comparison.warnings[0] == (
        "no run was compared with KNN: the reference is shallow · adam, the network with the best "
        "validation accuracy"
    )
    misspelt = compare(records, Options(reference="shalow · adam"))
    assert "(did you mean 'shallow · adam'?)" in misspelt.warnings[0]
    named = compare(records, Options(reference="deep · adam"))
    assert named.reference == "deep · adam"


# ── what cannot be said ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no run was completed"),
        ([run(status="diverged")], "the only learner"),
        ([run(status="interrupted")], "no run was completed"),
        ([run(status="failed", with_config=False, fingerprint=None)], "no run was completed"),
        ([run()], "the only learner"),
        ([run(seed=0), run(seed=1, val_acc=None)], "the only learner"),
        ([run(model="deep", seed=0), run(model="shallow", seed=1)], "not run to an end on 1 of 2"),
    ],
)
def test_what_cannot_be_said_is_said(records: list[RunRecord], words: str) -> None:
    comparison = compare(records, Options())
    assert any(words in warning for warning in comparison.warnings)
    assert comparison.num_runs == len(records)
    failed = [r for r in records if r.result.status != "completed"]
    assert [f.status for f in comparison.failed] == [r.result.status for r in failed]
    assert not any(v.kind in ("better", "worse", "equivalent") for v in comparison.verdicts)
    json.dumps(asdict(comparison), allow_nan=False)


def test_a_run_whose_data_were_not_loaded_is_of_the_task_that_its_config_names() -> None:
    comparison = compare([run(seed=0), run(seed=1, status="failed", fingerprint=None)], Options())
    assert [f.task for f in comparison.failed] == ["digits"]
    assert comparison.results[0].num_failed == {"failed": 1}


# ── what is read from files ───────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """One split of digits, five seeds, on the disk."""
    folder = tmp_path_factory.mktemp("fixed")
    records = cases.sweep(folder, datasets=[cases.DIGITS], seeds=range(5), split_seed=3)
    return compare(records, Options())


def result_of(comparison: Comparison, learner: str) -> LearnerOnTask:
    return next(r for r in comparison.results if r.learner == learner)


def test_one_split_adds_the_variance_over_its_test_rows(fixed: Comparison) -> None:
    result = result_of(fixed, "deep · adam")
    folders = [Path(folder) for choice in result.choices for folder in choice.folders]
    read = [read_predictions(folder) for folder in folders]
    gaps = np.array(
        [(p.predicted == p.labels) * 1.0 - (p.baselines["knn"] == p.labels) for p in read]
    )
    error = uncertainty(gaps.mean(1).tolist(), step=1 / 360, by_row=gaps.mean(0))
    assert result.difference is not None
    assert result.difference.interval is not None
    assert result.difference.mean == pytest.approx(gaps.mean())
    assert result.difference.interval.high == pytest.approx(gaps.mean() + error.half_width)
    assert "5 seeds and 360 test rows" in result.difference.method


def test_without_predictions_only_seeds_are_known() -> None:
    records = cases.sweep(datasets=[cases.DIGITS], seeds=range(5), split_seed=3)
    result = result_of(compare(records, Options()), "deep · adam")
    assert result.difference is not None
    assert "5 seeds alone" in result.difference.method
    assert result.ensemble is None
    assert result.curves is None


def test_the_ensemble_against_its_members(fixed: Comparison) -> None:
    result = result_of(fixed, "shallow · adam")
    folders = [Path(folder) for choice in result.choices for folder in choice.folders]
    read = [read_predictions(folder) for folder in folders]
    mean = np.mean([p.probabilities for p in read], axis=0, dtype=np.float64)
    told = result.ensemble
    assert told is not None
    assert told.num_members == 5
    assert told.test_acc == pytest.approx((mean.argmax(1) == read[0].labels).mean())
    expected = log_loss(read[0].labels, mean / mean.sum(1, keepdims=True), labels=range(10))
    assert told.test_loss == pytest.approx(expected, rel=1e-5)
    accs = [(p.predicted == p.labels).mean() for p in read]
    assert told.mean_member_acc == pytest.approx(np.mean(accs))
    best = max(result.choices, key=lambda choice: choice.val_acc or 0)
    assert told.best_member_acc == pytest.approx(best.test_acc)
    assert result_of(fixed, "KNN").ensemble is None


def test_curves_are_means_over_chosen_runs(fixed: Comparison) -> None:
    result = result_of(fixed, "deep · adam")
    assert result.curves is not None
    folders = [Path(folder) for choice in result.choices for folder in choice.folders]
    lines = [read_metrics(folder) for folder in folders]
    band = result.curves.by_epoch["val/acc"]
    assert band.x == tuple(range(1, 21))
    seventh = [epochs[6]["val/acc"] for epochs in lines]
    assert band.mean[6] == pytest.approx(np.mean(np.array(seventh, float)))
    assert band.low[6] < band.mean[6] < band.high[6]
    seconds = result.curves.by_second["train/loss"]
    assert len(seconds.x) == 200
    assert (seconds.x[0], seconds.x[-1]) == pytest.approx((0.1, 2.0))


def test_a_run_that_stopped_early_keeps_its_last_value() -> None:
    def history(values: list[float | None]) -> list[dict[str, float | None]]:
        return [{"epoch": i, "val/acc": v} for i, v in enumerate(values, start=1)]

    told = curves_module.curves([history([0.5, 0.6]), history([0.4, None, 0.6, 0.9])], 0.0)
    assert told is not None
    assert told.by_epoch["val/acc"].mean == pytest.approx((0.45, 0.55, 0.6, 0.75))
    assert told.by_second == {}


def test_costs_are_medians_and_shares(fixed: Comparison) -> None:
    (task,) = fixed.tasks
    best = max(r.val_acc.mean for r in fixed.results if r.val_acc)
    assert task.target_acc == pytest.approx(0.98 * best)
    result = result_of(fixed, "deep · adam")
    reached = []
    for choice in result.choices:
        lines = read_metrics(Path(choice.folders[0]))
        times = [e["seconds"] for e in lines if (e["val/acc"] or 0) >= (task.target_acc or 2)]
        reached.append(min([t for t in times if t is not None], default=np.inf))
    assert result.cost.target_seconds == pytest.approx(np.median(reached))
    assert result.cost.num_parameters == 1000
    assert result.cost.shared
    assert result.cost.tune_seconds == pytest.approx(3 * 2 / 8, rel=0.2)  # three of eight at once
    assert not result_of(fixed, "KNN").cost.shared


def test_reliability_pools_the_bins_of_all_splits() -> None:
    def calibration(count: list[int], acc: float) -> dict[str, list[float | None]]:
        return {
            "count": [*count],
            "confidence": [0.55 if count[0] else None, 0.9],
            "accuracy": [0.5 if count[0] else None, acc],
        }

    records = [run(seed=0), run(seed=1)]
    for record, told in zip(records, (calibration([10, 30], 0.8), calibration([0, 60], 0.95)),
                            strict=True):  # fmt: skip
        object.__setattr__(record.result, "calibration", told)
    told = compare(records, Options()).results[0].reliability
    assert told is not None
    assert told.count == (10, 90)
    assert told.accuracy == pytest.approx((0.5, 0.9))
    assert told.confidence == pytest.approx((0.55, 0.9))
    assert told.expected_calibration_error == pytest.approx(0.1 * 0.05)


def test_learning_curves_go_over_training_rows() -> None:
    records = cases.sweep(
        datasets=[cases.DIGITS], num_trains=(100, 400, None), seeds=range(3), diverged=False
    )
    comparison = compare(records, Options())
    curves = {c.learner: c for c in comparison.learning_curves}
    assert set(curves) == set(comparison.learners)
    assert curves["KNN"].num_train == (100, 400, 1149)
    assert curves["KNN"].dataset == "digits"
    accs = [r.test_acc for r in comparison.results if r.learner == "KNN"]
    assert list(curves["KNN"].test_acc) == accs
    assert comparison.across == ()  # one data set


def test_across_data_sets_each_counts_once() -> None:
    records = cases.sweep(seeds=range(4), num_trains=(None, 500))
    comparison = compare(records, Options())
    assert {line.num_tasks for line in comparison.across} == {2}
    knn = next(line for line in comparison.across if line.learner == "KNN")
    assert (knn.wins, knn.ties, knn.losses, knn.p_value) == (0, 0, 0, None)
    assert knn.descriptive_only is not None
    ranks = comparison.critical_difference
    assert ranks is not None
    assert sum(ranks.mean_ranks) == pytest.approx(6 * 7 / 2)
    assert ranks.critical_difference is None  # two data sets are too few


def test_of_a_large_sweep_only_chosen_runs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = cases.sweep(tmp_path, datasets=[cases.DIGITS], seeds=range(3), split_seed=0)
    read: list[Path] = []
    for module, name in ((curves_module, "read_metrics"), (held_out_module, "read_predictions")):
        real = getattr(module, name)

        def noted(folder: Path, real=real):  # type: ignore[no-untyped-def]
            read.append(folder)
            return real(folder)

        monkeypatch.setattr(module, name, noted)
    comparison = compare(records, Options())
    chosen = {Path(f) for r in comparison.results for c in r.choices for f in c.folders}
    assert set(read) == chosen
    assert len(read) == 2 * len(chosen)  # each file once


def test_the_protocol_tells_how_the_numbers_came_about(fixed: Comparison) -> None:
    lines = dict(fixed.protocol.lines)
    assert lines["runs"] == "60: 59 completed, 1 diverged"
    assert lines["rows of digits"].startswith("1,149 to train, 288 to validate, 360 to test")
    assert lines["rows of digits"].endswith("one split, 5 seeds")
    assert lines["settings tried"].startswith("deep · adam 3; ")
    assert lines["seeds"] == "0 to 4"
    assert lines["machine"] == "cpu, 1 thread (60 runs)"
