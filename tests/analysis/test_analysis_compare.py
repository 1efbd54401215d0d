"""Whole comparisons: verdicts in words, what is read from files, and what cannot be said."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import comparison_cases as cases
import numpy as np
import pytest
from comparison_cases import baseline, run
from scipy import stats
from sklearn.metrics import log_loss

from nnexp.analysis import curves as curves_module
from nnexp.analysis import held_out_predictions as held_out_predictions_module
from nnexp.analysis.compare import Options, compare
from nnexp.analysis.records import RunRecord
from nnexp.analysis.statistics import uncertainty
from nnexp.analysis.types import Comparison, LearnerOnTask, Verdict
from nnexp.runs.predictions import Predictions, read_predictions, write_predictions
from nnexp.runs.record import EPOCH_KEYS, MetricsLog, read_metrics


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
        f"deep · adam beats KNN on digits: +1.2 pp (95 % CI +{1.2 - 100 * half:.1f} to "
        f"+{1.2 + 100 * half:.1f}), better in 6 of 6 splits"
    )
    assert (told.task, told.learner) == ("digits", "deep · adam")


def test_a_learner_that_loses() -> None:
    told = verdict_on(pair(BASE - 0.012 + NOISE, BASE))
    assert told.kind == "worse"
    assert told.sentence == (
        "deep · adam is worse than KNN on digits: −1.2 pp (95 % CI −1.8 to −0.6), "
        "better in 0 of 6 splits"
    )


def test_learners_that_are_equivalent() -> None:
    big = cases.Data(num_test=20_000)
    told = verdict_on(pair(BASE + NOISE / 20, BASE, big))
    assert told.kind == "equivalent"
    assert told.sentence.startswith("deep · adam and KNN are equivalent within ±0.5 pp on ")


def test_better_by_what_does_not_matter() -> None:
    big = cases.Data(num_test=20_000)
    told = verdict_on(pair(BASE + 0.002 + NOISE / 20, BASE, big))
    assert told.kind == "better"
    assert told.sentence.endswith("; negligible: within ±0.5 pp")


def test_undecided_tells_how_many_seeds_would_decide() -> None:
    gaps = 0.0055 + 1.5 * NOISE[:5]
    told = verdict_on(pair(BASE[:5] + gaps, BASE[:5]))
    assert told.kind == "undecided"
    error = uncertainty(gaps.tolist(), overlap=0.25, step=1 / 360)
    more = told.seeds_needed
    assert more is not None
    assert error.of(5 + more).half_width < gaps.mean() <= error.of(4 + more).half_width
    assert told.detectable == pytest.approx(error.detectable())
    power = f"a difference of {100 * told.detectable:.1f} pp would have been found with 80 % power"
    assert f"splits; {power}; inconclusive: if" in told.sentence
    assert told.sentence.endswith(
        f"inconclusive: if mean and spread stay the same, about {more} more seeds would settle it"
    )


def test_a_difference_that_none_could_exceed_is_not_called_detectable() -> None:
    told = verdict_on(pair([0.9, 0.5], [0.6, 0.7]))
    assert (told.kind, told.detectable) == ("undecided", None)
    assert "power" not in told.sentence


def test_equivalence_may_be_a_share_of_the_references_error() -> None:
    """KNN errs on 5 % of the samples: 20 % of that is 1 pp, 4 % are 0.2 pp."""
    big = cases.Data(num_test=20_000)
    records = [
        run(seed=s, test_acc=a, data=big, baselines={"knn": baseline(0.9, 0.95, {"k": 3})})
        for s, a in enumerate(0.955 + NOISE / 20)
    ]
    for share, kind, limit in ((0.2, "better", "negligible: within ±1 pp"), (0.04, "better", "")):
        comparison = compare(records, Options(relative_equivalence=share))
        assert comparison.tasks[0].equivalence == pytest.approx(share * 0.05)
        told = verdict_on(comparison)
        assert told.kind == kind
        assert told.sentence.endswith(limit)
        assert ("negligible" in told.sentence) == bool(limit)
        rule = dict(comparison.protocol.lines)["verdicts"]
        assert f"within {100 * share:g} % of the reference's mean test error" in rule
    alone = compare([run()], Options(relative_equivalence=0.2))
    assert alone.tasks[0].equivalence == 0.005


def test_of_fewer_than_five_pairs_there_is_no_advice() -> None:
    told = verdict_on(pair((BASE + 0.008 + 1.2 * NOISE)[:4], BASE[:4]))
    assert told.kind == "undecided"
    assert told.seeds_needed is None
    assert told.sentence.endswith(
        "; inconclusive: too few pairs to estimate how many more are needed"
    )


def test_advice_holds_at_the_level_of_holms_correction() -> None:
    """Three learners against KNN: at its place, the second smallest p must be below .05 / 2."""
    gaps = {"deep": 0.02 + NOISE, "shallow": 0.0065 + 1.5 * NOISE, "linear": 5 * NOISE}
    records = [
        run(model=model, seed=s, test_acc=float(BASE[s] + gap[s]),
            baselines={"knn": baseline(0.9, float(BASE[s]), {"k": 3})})
        for model, gap in gaps.items()
        for s in range(6)
    ]  # fmt: skip
    comparison = compare(records, Options())
    levels = {r.learner: r.difference.level for r in comparison.results if r.difference}
    assert levels.pop("best network per split") == 0.05  # a family of its own
    assert levels == pytest.approx(
        {"deep · adam": 0.05 / 3, "shallow · adam": 0.05 / 2, "linear · adam": 0.05}
    )
    told = verdict_on(comparison, "shallow · adam")
    error = uncertainty(gaps["shallow"].tolist(), overlap=0.25, step=1 / 360)
    more, mean = told.seeds_needed, gaps["shallow"].mean()
    assert more is not None
    assert error.of(6 + more).half_width_at(0.025) < mean
    assert mean <= error.of(5 + more).half_width_at(0.025)
    assert told.sentence.endswith(
        f"about {more} more seeds would settle it (at p < 0.025, corrected for multiple "
        "comparisons)"
    )


def test_undecided_where_no_number_of_seeds_would_do() -> None:
    told = verdict_on(pair(BASE + 0.004 + 3 * NOISE, BASE))
    assert told.kind == "undecided"
    assert told.seeds_needed is None
    assert told.sentence.endswith(
        "inconclusive: if mean and spread stay the same, no number of seeds would settle it: the "
        "splits share too many samples"
    )


def test_one_pair_is_too_few() -> None:
    comparison = pair([0.97], [0.95])
    told = verdict_on(comparison)
    assert told.kind == "too few"
    assert told.sentence == (
        "deep · adam vs KNN on digits: +2.0 pp from one pair, too few to compare"
    )
    assert any(warning.startswith("Only one split of digits") for warning in comparison.warnings)


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
    assert "not significant after correction for multiple comparisons (p 0.0" in told.sentence


def test_the_best_network_is_chosen_by_validation_rows() -> None:
    records = [
        run(model=model, seed=s, val_acc=val, test_acc=float(BASE[s]) + gain)
        for s in range(6)
        for model, val, gain in (("deep", 0.97, 0.0), ("shallow", 0.96, 0.03))
    ]
    (told,) = [v for v in compare(records, Options()).verdicts if v.kind == "summary"]
    assert told.sentence.endswith(
        "f 2 networks on digits, deep · adam has the best mean validation accuracy; on the test "
        "sets it reaches 95.0 % and is worse than shallow · adam (biased in its favour: test sets "
        "share samples with the validation sets of other splits) (networks: 20 epochs, nothing "
        "tuned)"
    )


def test_of_a_fixed_test_set_it_is_said_that_it_had_no_part() -> None:
    records = [
        run(model=model, seed=s, val_acc=val, test_acc=float(BASE[s]) + gain, data=cases.MNIST)
        for s in range(6)
        for model, val, gain in (("deep", 0.97, 0.0), ("shallow", 0.96, 0.03))
    ]
    (told,) = [v for v in compare(records, Options()).verdicts if v.kind == "summary"]
    assert told.sentence.endswith(
        "deep · adam has the best validation accuracy; on the test set, which had no part in this, "
        "it reaches 95.0 % and, for this training set, is worse than shallow · adam "
        "(networks: 20 epochs, nothing tuned)"
    )


def test_intervals_on_a_fixed_test_set_are_told_for_this_training_set() -> None:
    """Training and validation rows that are drawn anew come from one pool."""
    records = [
        run(model=model, seed=s, test_acc=float(BASE[s] + gain + NOISE[s]), data=cases.MNIST,
            baselines={"knn": baseline(0.9, float(BASE[s]), {"k": 3}),
                       "majority": baseline(0.1, 0.1)})
        for s in range(6)
        for model, gain in (("deep", 0.01), ("shallow", -0.01))
    ]  # fmt: skip
    comparison = compare(records, Options())
    headline, best, *single = [v.sentence for v in comparison.verdicts]
    assert " to +1.4), for this training set; one by one, 1 is better, 1 worse" in headline
    assert "for this training set, is better than shallow · adam" in best
    assert all(sentence.endswith("for this training and test set") for sentence in single)
    assert "for this training set alone" in dict(comparison.protocol.lines)["intervals"]
    assert all("training and test set" in r.difference.method for r in comparison.results
               if r.difference)  # fmt: skip
    told = compare(
        [
            run(
                seed=s,
                test_acc=0.1 + float(NOISE[s]),
                data=cases.MNIST,
                baselines={"majority": baseline(0.1, 0.1)},
            )
            for s in range(6)
        ],
        Options(),
    )
    assert all("set" in v.sentence for v in told.verdicts if v.kind == "chance")
    assert [v.kind for v in told.verdicts].count("chance") == 1
    drawn = [v.sentence for v in pair(BASE + 0.01, BASE).verdicts]
    assert not any("for this training" in sentence for sentence in drawn)


# ── the best network, selected on each split ──────────────────────────────────────────────────

KNN = {"knn": baseline(0.9, 0.94, {"k": 3})}


def selection(comparison: Comparison, name: str = "best network per split") -> LearnerOnTask:
    (result,) = [r for r in comparison.results if r.is_selection]
    assert result.learner == name
    return result


def test_every_split_selects_a_network_by_its_own_validation_samples() -> None:
    """deep has the better mean validation accuracy, and the better test accuracy on both."""
    records = [
        run(model="deep", seed=0, lr=0.1, val_acc=0.99, test_acc=0.97, baselines=KNN),
        run(model="deep", seed=0, lr=0.01, val_acc=0.90, test_acc=0.10, baselines=KNN),
        run(model="deep", seed=1, lr=0.1, val_acc=0.95, test_acc=0.96, baselines=KNN),
        run(model="shallow", seed=0, lr=0.1, val_acc=0.98, test_acc=0.94, baselines=KNN),
        run(model="shallow", seed=1, lr=0.1, val_acc=0.94, test_acc=0.95, baselines=KNN),
        run(model="shallow", seed=1, lr=0.01, val_acc=0.96, test_acc=0.93, baselines=KNN),
    ]
    comparison = compare(records, Options())
    result = selection(comparison)
    assert [choice.setting for choice in result.choices] == [
        {"network": "deep · adam", "optimizer.lr": 0.1},
        {"network": "shallow · adam", "optimizer.lr": 0.01},
    ]
    assert [choice.test_score for choice in result.choices] == [0.97, 0.93]
    assert [choice.folders for choice in result.choices] == [
        (str(records[0].folder),),
        (str(records[5].folder),),
    ]
    assert result.difference is not None
    assert result.difference.mean == pytest.approx(0.01)
    assert result.cost.tune_seconds == 6.0  # of all three runs of a split
    assert (result.num_runs, result.num_settings) == (6, 4)
    assert (result.curves, result.expected_best, result.edges) == (None, None, ())
    # It is no further network.
    assert comparison.learners == ("deep · adam", "shallow · adam", "KNN")
    assert {d.learner for d in comparison.pairwise} | {d.other for d in comparison.pairwise} == {
        "deep · adam", "shallow · adam",
    }  # fmt: skip
    assert "best network" in dict(comparison.protocol.lines)


def test_test_rows_of_other_networks_do_not_change_the_selection() -> None:
    records = [
        run(model=m, seed=s, val_acc=0.9 + 0.01 * ((s + i) % 3), test_acc=0.9, baselines=KNN)
        for s in range(6)
        for i, m in enumerate(("deep", "shallow", "linear"))
    ]
    before = selection(compare(records, Options()))
    folders = {folder for choice in before.choices for folder in choice.folders}
    assert len(folders) == 6
    for record in records:
        if str(record.folder) not in folders:
            record.result.metrics["test/acc"] = 1.0
    after = selection(compare(records, Options()))
    assert (after.test_score, after.difference) == (before.test_score, before.difference)


@pytest.mark.parametrize(
    ("deep", "shallow", "selected"),
    [
        ({"val_acc": 0.9}, {"val_acc": 0.91}, "shallow · adam"),
        ({"val_loss": 0.3}, {"val_loss": 0.2}, "shallow · adam"),
        ({"val_loss": 0.2}, {"val_loss": 0.2}, "deep · adam"),
        ({"status": "diverged"}, {"val_acc": 0.05}, "shallow · adam"),
        ({"status": "interrupted"}, {"val_acc": 0.05}, "shallow · adam"),
    ],
)
def test_ties_between_networks_go_as_between_hyperparameters(
    deep: dict[str, float], shallow: dict[str, float], selected: str
) -> None:
    records = [run(model="deep", seed=1), run(model="deep", seed=0, **deep),  # type: ignore[arg-type]
               run(model="shallow", seed=0, **shallow)]  # type: ignore[arg-type]  # fmt: skip
    for record in records:
        record.result.baselines.update(KNN)
    result = selection(compare(records, Options()))
    assert result.choices[0].setting["network"] == selected


def test_the_headline_is_one_planned_comparison() -> None:
    """p of the selected network is its own, whatever the number of networks."""
    records = [
        run(model=m, seed=s, val_acc=0.97 - 0.01 * i, test_acc=float(BASE[s] + gain + NOISE[s]),
            baselines={"knn": baseline(0.9, float(BASE[s]), {"k": 3})})
        for i, (m, gain) in enumerate((("deep", 0.0065), ("shallow", 0.0), ("linear", -0.03),
                                       ("wide", 0.0), ("narrow", 0.0)))
        for s in range(6)
    ]  # fmt: skip
    comparison = compare(records, Options())
    found = selection(comparison).difference
    assert found is not None
    assert found.p_value is not None
    assert found.p_adjusted == found.p_value < 0.05
    assert verdict_on(comparison).kind == "not significant after correction"
    first = comparison.verdicts[0]
    assert first.sentence == (
        "Yes: the best of 5 networks, selected on each split by validation accuracy, beats KNN on "
        "digits (95.0 %): +0.7 pp (95 % CI +0.1 to +1.2); one by one, 1 is worse, 4 inconclusive "
        "(networks: 20 epochs, nothing tuned; KNN: 1 configuration)"
    )


def test_one_network_or_a_network_as_reference_needs_no_selection() -> None:
    one = [run(seed=s, baselines=KNN) for s in (0, 1)]
    assert not any(r.is_selection for r in compare(one, Options()).results)
    two = [*one, *(run(model="shallow", seed=s, baselines=KNN) for s in (0, 1))]
    assert not any(r.is_selection for r in compare(two, Options(reference="deep · adam")).results)
    assert selection(compare(two, Options())).num_runs == 4


def test_the_selection_over_data_sets_is_counted_and_not_ranked() -> None:
    records = cases.sweep(seeds=range(4))
    comparison = compare(records, Options())
    assert comparison.verdicts[0].sentence == (
        "The best network, selected on each split by validation accuracy, vs KNN over these 2 data "
        "sets: 0 won, 2 inconclusive or equivalent, 0 lost"
    )
    assert "best network per split" not in {line.learner for line in comparison.across}
    assert comparison.critical_difference is not None
    assert "best network per split" not in comparison.critical_difference.learners


def test_on_one_split_a_network_is_selected_for_each_seed(fixed: Comparison) -> None:
    result = selection(fixed, "best network per seed")
    networks = {r.learner: r for r in fixed.results if r.is_network and not r.is_selection}
    for place, choice in enumerate(result.choices):
        accs = {name: r.choices[place].val_score or 0.0 for name, r in networks.items()}
        assert choice.val_score == max(accs.values())
        assert choice.test_score == networks[choice.setting["network"]].choices[place].test_score
    assert result.ensemble is not None
    assert result.reliability is not None
    assert result.difference is not None
    assert "5 seeds and 360 test samples" in result.difference.method


def test_the_answer_names_the_recipe() -> None:
    def answer(records: list[RunRecord], reference: str = "knn") -> str:
        return compare(records, Options(reference=reference)).verdicts[0].sentence

    two = cases.sweep(datasets=[cases.DIGITS], seeds=range(3), models=["deep"])
    assert answer(two).endswith(
        "(networks: 20 epochs, lr tuned over 3 values; KNN: 3 configurations)"
    )
    assert answer(two, "deep · sgd").endswith("(networks: 20 epochs, lr tuned over 3 values)")
    assert answer(two, "SVM (RBF)").endswith("; SVM (RBF): 3 configurations)")
    one = [
        run(seed=s, lr=lr, baselines=KNN, overrides={"trainer.epochs": epochs})
        for s in (0, 1)
        for lr, epochs in ((0.1, 5), (0.01, 10))
    ]
    told = compare(one, Options(tuned=("optimizer.lr", "trainer.epochs"))).verdicts[0].sentence
    assert told.endswith(
        "(network: 10 epochs, lr and epochs tuned over 2 configurations; KNN: 1 configuration)"
    )


def test_guessing_is_the_majority_class_where_it_was_run() -> None:
    def said(gain: float) -> list[str]:
        majority = {"majority": baseline(0.3, 0.3)}
        records = [
            run(seed=s, test_acc=0.3 + gain + float(NOISE[s]), baselines=majority) for s in range(6)
        ]
        return [v.sentence for v in compare(records, Options()).verdicts if v.kind == "chance"]

    (sentence,) = said(0.001)
    assert sentence.startswith(
        "No evidence that any model beats guessing the most frequent class on digits; the best, "
        "deep · adam: +0.1 pp (95 % CI −"
    )
    assert said(0.05) == []


EIGHT = ("deep", "shallow", "linear", "wide", "narrow", "huge", "tiny", "odd")


@pytest.mark.parametrize("num_splits", [2, 3])
@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_large_effects_on_few_splits_are_not_guessing(num_splits: int, spread: float) -> None:
    """Eight learners at 97 % on classes of 63 and 37 %: after Holm none is significant."""
    majority = {"majority": baseline(0.63, 0.63)}
    two = cases.Data(num_classes=2)
    records = [
        run(model=model, seed=s, data=two, baselines=majority,
            test_acc=0.97 + 0.001 * place + spread * float(NOISE[s]))
        for place, model in enumerate(EIGHT)
        for s in range(num_splits)
    ]  # fmt: skip
    comparison = compare(records, Options(reference="majority"))
    assert [v for v in comparison.verdicts if v.kind == "chance"] == []
    # One that is above guessing is enough, whatever the others are.
    weak = [run(model="weak", seed=s, data=two, baselines=majority, test_acc=0.61 + 0.03 * s)
            for s in range(num_splits)]  # fmt: skip
    assert not any(v.kind == "chance" for v in compare(records + weak, Options()).verdicts)
    # Of the weak alone it may be said that nothing is shown, and no more.
    (told,) = [v.sentence for v in compare(weak, Options()).verdicts if v.kind == "chance"]
    assert told.startswith("No evidence that any model beats guessing the most frequent class")


def test_small_gains_on_many_splits_are_not_guessing() -> None:
    """Two points on 360 samples, of which one split could show none, on each of twelve splits."""
    records = [
        run(model=model, seed=s, test_acc=0.3 + gain + float(NOISE[s % 6]),
            baselines={"majority": baseline(0.3, 0.3)})
        for model, gain in (("deep", 0.02), ("shallow", 0.0))
        for s in range(12)
    ]  # fmt: skip
    assert not any(v.kind == "chance" for v in compare(records, Options()).verdicts)


def test_the_best_of_many_is_told_with_a_simultaneous_interval() -> None:
    """Its own interval leaves 0 out; that of one of five does not."""
    records = [
        run(model=model, seed=s, baselines={"majority": baseline(0.3, 0.3)},
            test_acc=0.3 + (0.0065 if model == "deep" else 0.0) + float(NOISE[s]))
        for model in ("deep", "shallow", "linear", "wide", "narrow")
        for s in range(6)
    ]  # fmt: skip
    comparison = compare(records, Options(reference="majority"))
    own = result_of(comparison, "deep · adam").difference
    assert own is not None
    assert own.interval is not None
    assert own.interval.low > 0
    error = uncertainty((0.0065 + NOISE).tolist(), overlap=0.25)
    half = 100 * error.half_width_at(0.05 / 5)
    (told,) = [v.sentence for v in comparison.verdicts if v.kind == "chance"]
    assert told.endswith(
        "deep · adam: +0.7 pp (95 % CI, simultaneous over 5 models "
        f"−{half - 0.65:.1f} to +{half + 0.65:.1f})"
    )


def test_that_none_beats_guessing_is_said_where_intervals_show_it() -> None:
    big = cases.Data(num_test=20_000)

    def said(gain: float, other: float = 0.0) -> str:
        records = [
            run(model=model, seed=s, data=big, test_acc=0.3 + own + float(NOISE[s]) / 20,
                baselines={"majority": baseline(0.3, 0.3)})
            for s in range(6)
            for model, own in (("deep", gain), ("shallow", other))
        ]  # fmt: skip
        (told,) = [v.sentence for v in compare(records, Options()).verdicts if v.kind == "chance"]
        return told

    assert said(0.0).startswith(
        "All models are equivalent to guessing the most frequent class on digits within ±0.5 pp; "
    )
    assert said(0.0, -0.1).startswith(
        "No model beats guessing the most frequent class on digits by more than 0.5 pp; "
    )


def test_without_the_baseline_guessing_is_the_most_frequent_label(tmp_path: Path) -> None:
    """On drawn splits the labels of one tell it; two of eight rows are right by chance."""
    labels = np.repeat(np.array([0, 1], np.int32), [126, 74])
    data = cases.Data(num_test=200, num_classes=2)
    records = []
    for s in range(3):
        folder = tmp_path / str(s)
        folder.mkdir()
        p = np.tile(np.array([[0.6, 0.4]], np.float32), (200, 1))
        write_predictions(folder, Predictions(p, labels, np.arange(200, dtype=np.int32)))
        records.append(run(seed=s, data=data, test_acc=0.63 + float(NOISE[s]), folder=folder))
    (told,) = [v.sentence for v in compare(records, Options()).verdicts if v.kind == "chance"]
    assert "guessing the most frequent class (63.0 % of the test set) on digits" in told
    for record in records:
        (record.folder / "predictions.npz").unlink()
        record.result.metrics["test/acc"] = (record.result.metrics["test/acc"] or 0) - 0.13
    (told,) = [v.sentence for v in compare(records, Options()).verdicts if v.kind == "chance"]
    assert "guessing one of 2 classes (no run records class frequencies) on digits" in told


def test_a_learner_with_one_easy_split_is_not_the_best_network() -> None:
    records = [run(seed=s, val_acc=0.95, test_acc=float(BASE[s])) for s in range(6)]
    records += [run(model="shallow", seed=s, val_acc=0.94 + 0.02 * (s == 0)) for s in range(5)]
    records += [run(model="lucky", seed=0, val_acc=0.99)]
    (told,) = [v for v in compare(records, Options()).verdicts if v.kind == "summary"]
    assert told.learner == "deep · adam"
    assert "deep · adam has the best mean validation accuracy on the 5 common splits" in (
        told.sentence
    )
    # Where the sixth split is an easy one for its only learner, the common ones decide.
    records[5].result.metrics["val/acc"] = 1.0
    for record in records[6:11]:
        record.result.metrics["val/acc"] = 0.955
    (told,) = [v for v in compare(records, Options()).verdicts if v.kind == "summary"]
    assert told.learner == "shallow · adam"


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
        ([run(status="diverged")], "the only model"),
        ([run(status="interrupted")], "no run was completed"),
        ([run(status="failed", with_config=False, fingerprint=None)], "no run was completed"),
        ([run()], "the only model"),
        ([run(seed=0), run(seed=1, val_acc=None)], "the only model"),
        ([run(model="deep", seed=0), run(model="shallow", seed=1)], "have no run on 1 of 2"),
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
    assert "5 seeds and 360 test samples" in result.difference.method


def test_baselines_on_one_split_are_one_fit_each(fixed: Comparison) -> None:
    """Of the difference between two the variance over rows alone, as in McNemar's test."""
    svm, knn = result_of(fixed, "SVM (RBF)"), result_of(fixed, "KNN")
    read = read_predictions(Path(result_of(fixed, "deep · adam").choices[0].folders[0]))
    right = {name: classes == read.labels for name, classes in read.baselines.items()}
    only_svm = int((right["svm"] & ~right["knn"]).sum())
    only_knn = int((right["knn"] & ~right["svm"]).sum())
    n, mean = 360, (only_svm - only_knn) / 360
    variance = ((only_svm + only_knn) / n - mean**2) * n / (n - 1)
    half = stats.t.ppf(0.975, n - 1) * math.sqrt(variance / n)
    told = svm.difference
    assert told is not None
    assert told.interval is not None
    assert (told.mean, told.num_pairs, told.num_better) == (pytest.approx(mean), 1, None)
    assert (told.interval.low, told.interval.high) == pytest.approx((mean - half, mean + half))
    assert told.p_value == pytest.approx(2 * stats.t.sf(mean / math.sqrt(variance / n), n - 1))
    assert told.method == "t interval over 360 test samples, one fit of each; for this training set"
    assert "one fit of each" in verdict_on(fixed, "SVM (RBF)").sentence
    assert knn.test_score is not None
    assert knn.test_score.values == (pytest.approx(right["knn"].mean()),)
    assert [choice.split for choice in knn.choices] == ["split 3"]
    deep = result_of(fixed, "deep · adam")
    assert deep.difference is not None
    assert deep.difference.num_pairs == 5
    assert deep.difference.method.endswith("; the baseline is one fit")
    assert "5 seeds against one fit" in verdict_on(fixed).sentence


def test_a_forest_fitted_once_tells_nothing_of_other_forests() -> None:
    records = cases.sweep(
        datasets=[cases.DIGITS], models=["deep"], seeds=range(3), split_seed=3,
        baselines=["knn", "forest"], diverged=False,
    )  # fmt: skip
    comparison = compare(records, Options(reference="forest"))
    told = result_of(comparison, "deep · adam").difference
    assert told is not None
    assert told.method.endswith("how another fit of the forest would differ is not covered")
    knn = verdict_on(comparison, "KNN")  # without predictions nothing is known of rows
    assert knn.kind == "too few"
    assert "one fit of each, without predictions on the test set" in knn.sentence
    drawn = compare(
        cases.sweep(datasets=[cases.DIGITS], models=["deep"], seeds=range(3)), Options()
    )
    svm = result_of(drawn, "SVM (RBF)").difference
    assert svm is not None
    assert (svm.num_pairs, svm.one_fit) == (3, False)


def test_losses_on_one_split_add_the_variance_over_its_test_rows(fixed: Comparison) -> None:
    result = result_of(fixed, "deep · adam")
    read = [read_predictions(Path(c.folders[0])) for c in result.choices]
    rows = np.arange(360)
    losses = np.array([-np.log(p.probabilities[rows, p.labels].astype(float)) for p in read])
    outcomes = np.eye(10)[read[0].labels]
    briers = np.array([((p.probabilities - outcomes) ** 2).sum(1) for p in read])
    for told, own in ((result.test_clipped_loss, losses), (result.test_brier, briers)):
        error = uncertainty(own.mean(1).tolist(), by_row=own.mean(0))
        assert told is not None
        assert told.interval is not None
        assert told.mean == pytest.approx(own.mean(), rel=1e-5)
        assert told.interval.high == pytest.approx(own.mean() + error.half_width, rel=1e-4)
        assert told.interval.low == pytest.approx(own.mean() - error.half_width, rel=1e-4)
    knn = result_of(fixed, "KNN")  # of which classes alone are recorded
    assert knn.test_clipped_loss is not None
    assert (knn.test_clipped_loss.interval, len(knn.test_clipped_loss.values)) == (None, 1)


def test_predictions_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    records = cases.sweep(tmp_path, datasets=[cases.DIGITS], seeds=range(5), split_seed=3)
    chosen = [
        Path(c.folders[0]) for c in result_of(compare(records, Options()), "deep · sgd").choices
    ]
    (chosen[1] / "predictions.npz").write_bytes(b"PK damaged")
    (chosen[2] / "predictions.npz").unlink()
    comparison = compare(records, Options())
    (told,) = [
        warning
        for warning in comparison.warnings
        if "do not cover the choice of test samples" in warning
    ]
    assert told == (
        "deep · sgd on digits: its intervals do not cover the choice of test samples: "
        f"{chosen[1] / 'predictions.npz'} is damaged, or not a file of predictions (and 1 more "
        "file)"
    )
    assert ", for this training and test set" in verdict_on(comparison, "deep · sgd").sentence
    assert "one fit, for this training set; " in verdict_on(comparison, "deep · adam").sentence
    losses = result_of(comparison, "deep · sgd").test_clipped_loss
    assert losses is not None
    assert losses.interval is None


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
    assert told.test_score == pytest.approx((mean.argmax(1) == read[0].labels).mean())
    expected = log_loss(read[0].labels, mean / mean.sum(1, keepdims=True), labels=range(10))
    assert told.test_clipped_loss == pytest.approx(expected, rel=1e-5)
    accs = [(p.predicted == p.labels).mean() for p in read]
    assert told.mean_member_score == pytest.approx(np.mean(accs))
    best = max(result.choices, key=lambda choice: choice.val_score or 0)
    assert told.best_member_score == pytest.approx(best.test_score)
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
    # One of eight at once: 0.1 to 2 seconds of all of them.
    assert (seconds.x[0], seconds.x[-1]) == pytest.approx((0.1 / 8, 2.0 / 8))


def test_a_run_that_stopped_early_keeps_its_last_value() -> None:
    def history(values: list[float | None]) -> list[dict[str, float | None]]:
        return [{"epoch": i, "val/acc": v} for i, v in enumerate(values, start=1)]

    told = curves_module.curves([history([0.5, 0.6]), history([0.4, None, 0.6, 0.9])], [1, 1], 0.0)
    assert told is not None
    assert told.by_epoch["val/acc"].mean == pytest.approx((0.45, 0.55, 0.6, 0.75))
    assert told.by_second == {}


def test_costs_are_medians_and_shares(fixed: Comparison) -> None:
    (task,) = fixed.tasks
    of_knn = result_of(fixed, "KNN")
    assert of_knn.val_score is not None
    assert (task.target_score, task.target_of) == (pytest.approx(of_knn.val_score.mean), "KNN")
    assert (of_knn.cost.target, of_knn.cost.target_seconds) == ("no epochs", None)
    result = result_of(fixed, "deep · adam")
    reached = []
    for choice in result.choices:
        lines = read_metrics(Path(choice.folders[0]))
        times = [e["seconds"] for e in lines if (e["val/acc"] or 0) >= (task.target_score or 2)]
        reached.append(min([t / 8 for t in times if t is not None], default=np.inf))
    median = float(np.median(reached))
    assert result.cost.target == ("reached" if np.isfinite(median) else "not reached")
    assert result.cost.target_seconds == (pytest.approx(median) if np.isfinite(median) else None)
    assert result.cost.num_parameters == 1000
    assert result.cost.shared
    assert result.cost.largest_group == 8
    assert result.cost.train_seconds == pytest.approx(2 / 8, rel=0.2)  # one of eight at once
    assert result.cost.tune_seconds == pytest.approx(3 * 2 / 8, rel=0.2)
    assert not result_of(fixed, "KNN").cost.shared
    for one in (r.cost for r in fixed.results):
        assert one.train_seconds is not None
        assert one.tune_seconds is not None
        assert one.train_seconds <= one.tune_seconds


def with_epochs(folder: Path, val_accs: Sequence[float], **choices: Any) -> RunRecord:
    """A run whose validation accuracy was this after each second."""
    folder.mkdir()
    log = MetricsLog(folder)
    for epoch, acc in enumerate(val_accs, start=1):
        told = {"epoch": epoch, "val/acc": acc, "seconds": float(epoch)}
        log.append({**dict.fromkeys(EPOCH_KEYS, 0.0), **told})
    log.close()
    return run(folder=folder, val_acc=max(val_accs), **choices)


def test_the_target_is_that_of_the_reference_whatever_else_is_compared(tmp_path: Path) -> None:
    knn = {"knn": baseline(0.9, 0.9, {"k": 3})}
    curves = {"deep": (0.5, 0.91, 0.99), "shallow": (0.5, 0.89, 0.895)}
    records = [
        with_epochs(tmp_path / f"{model}{seed}", accs, model=model, seed=seed, baselines=knn)
        for model, accs in curves.items()
        for seed in range(3)
    ]
    for some in (records, records[:3]):
        comparison = compare(some, Options())
        assert [(t.target_score, t.target_of) for t in comparison.tasks] == [
            (pytest.approx(0.9), "KNN")
        ]
        costs = {r.learner: (r.cost.target, r.cost.target_seconds) for r in comparison.results}
        assert costs["deep · adam"] == ("reached", 2.0)
        assert costs["KNN"] == ("no epochs", None)
    costs = {r.learner: r.cost.target for r in compare(records, Options()).results}
    assert costs["shallow · adam"] == "not reached"


def test_without_a_reference_the_target_is_a_share_of_the_best(tmp_path: Path) -> None:
    alone = compare([with_epochs(tmp_path / "0", (0.5, 0.9, 0.99))], Options())
    (task,), (result,) = alone.tasks, alone.results
    assert (task.target_score, task.target_of) == (pytest.approx(0.98 * 0.99), None)
    assert (result.cost.target, result.cost.target_seconds) == ("reached", 3.0)
    unread = compare([run()], Options()).results[0]
    assert unread.cost.target == "unknown"


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
    accs = [r.test_score for r in comparison.results if r.learner == "KNN"]
    assert list(curves["KNN"].test_score) == accs
    assert comparison.across == ()  # one data set


def test_across_data_sets_each_counts_once() -> None:
    records = cases.sweep(seeds=range(4), num_trains=(None, 500))
    comparison = compare(records, Options())
    assert {line.num_tasks for line in comparison.across} == {2}
    knn = next(line for line in comparison.across if line.learner == "KNN")
    assert (knn.wins, knn.ties, knn.losses, knn.p_value) == (0, 0, 0, None)
    assert knn.descriptive_only is not None
    told = [v.sentence for v in comparison.verdicts if "descriptive only" in v.sentence]
    assert told == [f"Results over data sets are {knn.descriptive_only}"]
    ranks = comparison.critical_difference
    assert ranks is not None
    assert sum(ranks.mean_ranks) == pytest.approx(6 * 7 / 2)
    assert ranks.critical_difference is None  # two data sets are too few


def test_over_data_sets_a_network_is_ranked_once_whatever_its_settings() -> None:
    """Two activations of one network; hidden=[32,32] is of another depth than hidden=[64]."""
    variants: dict[str, tuple[dict[str, Any], float, float]] = {
        "relu": ({}, 0.95, 0.90),
        "tanh": ({"model.activation": "tanh"}, 0.94, 0.99),
        "wide": ({"model.hidden": [64] * 4}, 0.93, 0.99),
        "two layers": ({"model.hidden": [32, 32]}, 0.90, 0.95),
    }
    records = [
        run(seed=seed, data=data, val_acc=val_acc, test_acc=test_acc, overrides=overrides,
            baselines={"knn": baseline(0.9, 0.91, {"k": 3})})
        for data in (cases.DIGITS, cases.LETTER)
        for overrides, val_acc, test_acc in variants.values()
        for seed in range(2)
    ]  # fmt: skip
    relu, tanh, wide, two = (
        "deep · adam · activation=relu · hidden=[128,128,128,128]",
        "deep · adam · activation=tanh · hidden=[128,128,128,128]",
        "deep · adam · activation=relu · hidden=[64,64,64,64]",
        "deep · adam · activation=relu · hidden=[32,32]",
    )
    comparison = compare(records, Options())
    assert set(comparison.learners) == {relu, tanh, wide, two, "KNN"}
    assert {line.learner for line in comparison.across} == {relu, two, "KNN"}
    assert comparison.critical_difference is not None
    assert set(comparison.critical_difference.learners) == {relu, two, "KNN"}
    told = [w for w in comparison.warnings if "ranks over data sets take one network" in w]
    assert len(told) == 1
    assert told[0].endswith(f"left out: {wide}, {tanh}")
    with_network = compare(records, Options(reference=tanh))
    assert {line.learner for line in with_network.across} == {relu, tanh, two, "KNN"}


def test_of_a_large_sweep_only_chosen_runs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = cases.sweep(tmp_path, datasets=[cases.DIGITS], seeds=range(3), split_seed=0)
    read: list[Path] = []
    for module, name in (
        (curves_module, "read_metrics"),
        (held_out_predictions_module, "read_predictions"),
    ):
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
    assert lines["samples of digits"].startswith(
        "1,149 training, 288 validation and 360 test samples"
    )
    assert lines["samples of digits"].endswith("one split, 5 seeds")
    assert lines["configurations tried"].startswith("deep · adam 3; ")
    assert lines["seeds"] == "0 to 4"
    assert lines["machine"] == "cpu, 1 thread (60 runs)"


def test_better_in_is_told_as_a_count() -> None:
    """Pairs share samples: no share of them is a probability that has an interval."""
    comparison = pair((BASE + 0.012 + NOISE).tolist(), BASE.tolist())
    told = [r.difference for r in comparison.results if r.difference is not None]
    assert [(d.num_better, d.num_pairs) for d in told] == [(6, 6)]
    assert "p_better" not in asdict(told[0])
    assert "a count and not a probability" in dict(comparison.protocol.lines)["verdicts"]
