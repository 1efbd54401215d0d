"""Comparisons made by hand, for tests of what the report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from nnexp.analysis.types import (
    AcrossTasks,
    Band,
    Choice,
    Comparison,
    Cost,
    CriticalDifference,
    Curves,
    Difference,
    Ensemble,
    Estimate,
    FailedRun,
    Interval,
    LearnerOnTask,
    LearningCurve,
    Protocol,
    Reliability,
    Task,
    TriedSetting,
    Verdict,
    VerdictKind,
)
from nnexp.analysis.verdicts import better_text

NETWORKS = ("deep · adam", "deep · sgd", "deep · adagrad", "shallow · adam", "shallow · sgd",
            "shallow · adagrad", "linear · sgd", "deep · adam · activation=tanh")  # fmt: skip
BASELINES = ("KNN", "SVM (RBF)", "logistic regression", "random forest", "gradient boosting",
             "majority class")  # fmt: skip
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)


def estimate(values: Sequence[float]) -> Estimate:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean=mean, interval=None, values=tuple(values))
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = 2.1 * spread / math.sqrt(len(values))
    return Estimate(
        mean=mean, interval=Interval(low=mean - half, high=mean + half), values=tuple(values)
    )


def band(values: Sequence[float], width: float, x: Sequence[float] | None = None) -> Band:
    xs = tuple(x or range(1, len(values) + 1))
    low, high = (tuple(v + sign * width for v in values) for sign in (-1, 1))
    return Band(x=xs, mean=tuple(values), low=low, high=high)


def task(name: str, splits: int, **changes: object) -> Task:
    values: dict[str, object] = {
        "name": name, "dataset": name, "num_train": 1168, "num_val": 270, "num_test": 359,
        "num_features": 64, "num_classes": 10, "splits": tuple(f"seed {i}" for i in range(splits)),
        "same_test_rows": False, "is_whole": True, "target_score": 0.95,
        "target_of": "KNN",
    }  # fmt: skip
    return Task(**(values | changes))  # type: ignore[arg-type]


def difference(
    learner: str, other: str, on: str, values: Sequence[float], p: float | None
) -> Difference:
    found = estimate(values)
    better = sum(1.0 if v > 0 else 0.5 if v == 0 else 0.0 for v in values)
    return Difference(
        learner=learner, other=other, task=on, mean=found.mean, interval=found.interval,
        num_pairs=len(values), num_better=better, p_value=p, p_adjusted=p,
        method="corrected resampled t (Nadeau and Bengio 2003)",
    )  # fmt: skip


def verdict(found: Difference) -> Verdict:
    interval = found.interval
    kind: VerdictKind = "undecided"
    if interval is None:
        kind = "too few"
    elif interval.low > 0 or interval.high < 0:
        kind = "better" if found.mean > 0 else "worse"
    elif max(-interval.low, interval.high) < 0.005:
        kind = "equivalent"
    shown = (
        ""
        if interval is None
        else f" (95 % CI {100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
    )
    words = {"better": "beats", "worse": "is worse than", "equivalent": "is equivalent to"}
    sentence = (
        f"{found.learner} {words.get(kind, 'vs')} {found.other} on {found.task}: "
        f"{100 * found.mean:+.1f} pp{shown}, better in {better_text(found)} of {found.num_pairs} "
        "splits"
    )
    return Verdict(kind=kind, sentence=sentence, task=found.task, learner=found.learner)


def network(
    name: str, on: Task, level: float, reference: Sequence[float], random: Random, tuned: bool
) -> LearnerOnTask:
    count = len(on.splits)
    test = [min(level + random.gauss(0, 0.006), 0.9999) for _ in range(count)]
    leads = [a - b for a, b in zip(test, reference, strict=True)]
    against = difference(name, "KNN", on.name, leads, 0.003 if count > 1 else None)
    tried = []
    for i, lr in enumerate(RATES if tuned else RATES[2:3]):
        failed = max(0, count - 2) if "sgd" in name and lr == 0.1 else 0
        reached = [level - 0.006 * (i - 2) ** 2 + random.gauss(0, 0.002) for _ in range(count)]
        tried.append(
            TriedSetting(
                setting={"optimizer.lr": lr}, num_runs=count, num_failed=failed,
                val_score=None if failed == count else estimate(reached[failed:]),
                times_chosen={2: count - count // 3, 3: count // 3}.get(i, 0) if tuned else count,
            )
        )  # fmt: skip
    epochs = range(1, 31)
    loss = [0.05 + 2 * math.exp(-e / 5 * (1.3 - level + 0.7)) + 0.1 * (1 - level) for e in epochs]
    acc = [level - 0.8 * math.exp(-e / 4) for e in epochs]
    tags = {
        "train/loss": band([0.7 * v for v in loss], 0.01),
        "val/loss": band(loss, 0.02),
        "train/acc": band([min(1.0, v + 0.01) for v in acc], 0.004),
        "val/acc": band(acc, 0.006),
    }
    seconds = [0.06 * e for e in epochs]
    confidence = tuple(0.05 + 0.1 * i for i in range(3, 10))
    failed_runs = sum(t.num_failed for t in tried)
    return LearnerOnTask(
        learner=name, task=on.name, is_network=True, num_runs=count * len(tried),
        num_failed={"diverged": failed_runs} if failed_runs else {}, num_settings=len(tried),
        tried=tuple(tried),
        choices=tuple(Choice(split=s, setting={"optimizer.lr": 0.01}, val_score=level, test_score=t,
                             folders=(f"{i}",)) for i, (s, t) in enumerate(zip(on.splits, test,
                                                                              strict=True))),
        edges=("The best lr is at the edge of the grid (0.1, in 8 of 10 splits): widen the range",)
        if "adagrad" in name else (),
        val_score=estimate([v + 0.003 for v in test]), test_score=estimate(test),
        test_clipped_loss=estimate([4 * (1 - v) for v in test]),
        test_brier=estimate([1.6 * (1 - v) for v in test]),
        reliability=Reliability(
            confidence=confidence,
            accuracy=tuple(max(0.0, c - 0.12 * (1 - c) - random.random() * 0.08)
                           for c in confidence),
            count=tuple(int(4 * 3.0**i) for i in range(7)), expected_calibration_error=0.0123,
        ),
        difference=against, verdict=verdict(against),
        cost=Cost(num_parameters=59146, train_seconds=1.91, target_seconds=0.42,
                  predict_seconds=0.0021, tune_seconds=9.4, shared=True, target="reached"),
        curves=Curves(by_epoch=tags, by_second={
            tag: Band(x=tuple(seconds), mean=b.mean, low=b.low, high=b.high)
            for tag, b in tags.items()}),
        expected_best=band([level - 0.02 / (i + 1) for i in range(len(tried))], 0.003)
        if tuned else None,
        ensemble=Ensemble(num_members=count, test_score=min(level + 0.004, 1.0),
                          test_clipped_loss=0.07, best_member_score=level + 0.001,
                          mean_member_score=level)
        if on.same_test_rows else None,
    )  # fmt: skip


def baseline(
    name: str, on: Task, values: Sequence[float], against: Difference | None
) -> LearnerOnTask:
    tried = tuple(
        TriedSetting(setting={"k": k}, num_runs=len(values), num_failed=0,
                     val_score=estimate([v - 0.001 * k for v in values]),
                     times_chosen=len(values) if k == 1 else 0)
        for k in (1, 3, 5, 7)
    ) if name == "KNN" else ()  # fmt: skip
    confidence = (0.35, 0.55, 0.75, 0.95)
    return LearnerOnTask(
        learner=name, task=on.name, is_network=False, num_runs=len(values), num_failed={},
        num_settings=max(len(tried), 1), tried=tried,
        choices=tuple(Choice(split=s, setting={"k": 1} if tried else {}, val_score=v, test_score=v,
                             folders=()) for s, v in zip(on.splits, values, strict=True)),
        edges=(), val_score=estimate(list(values)), test_score=estimate(list(values)),
        test_clipped_loss=estimate([0.1 + 3 * (1 - v) for v in values]),
        test_brier=estimate([0.01 + 1.5 * (1 - v) for v in values]),
        reliability=Reliability(confidence=confidence, accuracy=tuple(0.9 * c for c in confidence),
                                count=(9, 30, 60, 260), expected_calibration_error=0.0456),
        difference=against, verdict=verdict(against) if against else None,
        cost=Cost(num_parameters=None, train_seconds=0.031, target_seconds=None,
                  predict_seconds=0.0142, tune_seconds=0.31, shared=False, target="no epochs"),
        curves=None, expected_best=None, ensemble=None,
        notes=("trained on 20,000 of 60,000 rows",) if name == "SVM (RBF)" else (),
    )  # fmt: skip


def comparison(
    *,
    networks: Sequence[str] = NETWORKS,
    baselines: Sequence[str] = BASELINES,
    tasks: Sequence[Task],
    title: str = "Does depth pay? A comparison on small tables",
    seed: int = 0,
    tuned: bool = True,
    learning_sizes: Sequence[int] = (),
) -> Comparison:
    """A comparison with all its parts, of learners whose names and tasks are given."""
    random = Random(seed)
    results: list[LearnerOnTask] = []
    pairwise: list[Difference] = []
    for on in tasks:
        count = len(on.splits)
        knn = [0.978 + random.gauss(0, 0.004) for _ in range(count)]
        for i, name in enumerate(networks):
            results.append(network(name, on, 0.983 - 0.004 * (i % 9), knn, random, tuned))
        for i, name in enumerate(baselines):
            level = 0.1 if name == "majority class" else 0.978 - 0.006 * i
            values = knn if name == "KNN" else [level + random.gauss(0, 0.005) for _ in knn]
            lead = [a - b for a, b in zip(values, knn, strict=True)]
            against = None if name == "KNN" else difference(name, "KNN", on.name, lead, 0.02)
            results.append(baseline(name, on, values, against))
        found = {r.learner: r.test_score.values for r in results
                 if r.task == on.name and r.is_network and r.test_score}  # fmt: skip
        names = list(found)
        pairwise += [
            difference(a, b, on.name, [x - y for x, y in zip(found[a], found[b], strict=True)],
                       0.01 if count > 1 else None)
            for i, a in enumerate(names) for b in names[i + 1 :]
        ]  # fmt: skip
    learners = (*networks, *baselines)
    verdicts = tuple(r.verdict for r in results if r.verdict)
    several = len({t.dataset for t in tasks}) > 1
    failed = tuple(
        FailedRun(folder=f"{i}", arm=f"{r.learner} · lr=0.1", task=r.task, seed=i,
                  status="diverged", error="the loss is nan in epoch 3")
        for r in results for i in range(r.num_failed.get("diverged", 0))
    )  # fmt: skip
    curves = tuple(
        LearningCurve(dataset=on.dataset, learner=name, num_train=tuple(learning_sizes),
                      test_score=tuple(estimate([0.1 if name == "majority class" else
                                               0.99 - 2.1 / n**0.6 - 0.003 * i
                                               + random.gauss(0, 0.002) for _ in range(5)])
                                     for n in learning_sizes))
        for on in tasks for i, name in enumerate(learners)
    ) if learning_sizes else ()  # fmt: skip
    return Comparison(
        title=title, reference="KNN" if "KNN" in baselines else None, equivalence=0.005,
        verdicts=verdicts,
        warnings=("Unequal tuning budgets on digits: networks 5 configurations, KNN 4",)
        if tuned else (),
        tasks=tuple(tasks), learners=learners, results=tuple(results), pairwise=tuple(pairwise),
        across=_across(learners, tasks) if several else (),
        critical_difference=_ranks(learners) if several else None, learning_curves=curves,
        failed=failed,
        protocol=Protocol(lines=(
            ("commands", "python -m nnexp -m +experiment=compare_all dataset=digits\n"
             "python -m nnexp.report multirun/2026-11-22/17-35-42"),
            ("model selection", "on each split by validation accuracy"),
            ("versions", "torch 2.13.0, scikit-learn 1.9.0"),
        )),
        num_runs=sum(r.num_runs for r in results if r.is_network),
    )  # fmt: skip


def _across(learners: Sequence[str], tasks: Sequence[Task]) -> tuple[AcrossTasks, ...]:
    return tuple(
        AcrossTasks(
            learner=name, num_tasks=len(tasks), wins=i % 3, ties=1, losses=(i + 1) % 2,
            mean_rank=1.25 + 0.7 * i, normalised_error=estimate([0.1 + i, 0.3 + i]),
            p_value=None, p_adjusted=None,
            descriptive_only=f"{len(tasks)} data sets are too few for a test to reach p < 0.05",
        )
        for i, name in enumerate(learners)
    )  # fmt: skip


def _ranks(learners: Sequence[str]) -> CriticalDifference:
    last = len(learners) - 1
    return CriticalDifference(
        learners=tuple(learners), mean_ranks=tuple(1.25 + 0.7 * i for i in range(last + 1)),
        cliques=((0, min(3, last)), (min(2, last), min(6, last))), critical_difference=2.3,
        p_friedman=0.0004,
    )  # fmt: skip


def small() -> Comparison:
    """One data set, four networks and KNN, nothing tuned."""
    return comparison(
        networks=NETWORKS[:4], baselines=("KNN",), tasks=[task("digits", 5)], tuned=False,
        title="digits",
    )  # fmt: skip


def full() -> Comparison:
    """Two data sets, one with fewer rows too and one with official test rows: all sections."""
    return comparison(
        tasks=[
            task("digits", 10),
            task("digits · 500 rows", 10, dataset="digits", num_train=500, is_whole=False),
            task("letter", 10, same_test_rows=True, num_train=16000, num_classes=26),
        ],
        learning_sizes=(100, 200, 500, 1168),
    )  # fmt: skip


def one_learner() -> Comparison:
    """A single network without a reference."""
    return comparison(networks=NETWORKS[:1], baselines=(), tasks=[task("iris", 5)], tuned=False)


def one_seed() -> Comparison:
    """One split: no intervals at all."""
    return comparison(
        networks=NETWORKS[:3], baselines=BASELINES[:2], tasks=[task("wine", 1)], tuned=False
    )


def everything_failed() -> Comparison:
    """Every run diverged: there are neither accuracies nor curves."""
    on = task("digits", 3)
    tried = TriedSetting(
        setting={"optimizer.lr": 10.0}, num_runs=3, num_failed=3, val_score=None, times_chosen=0
    )
    unknown = Cost(num_parameters=None, train_seconds=None, target_seconds=None,
                   predict_seconds=None, tune_seconds=None, shared=False)  # fmt: skip
    result = LearnerOnTask(
        learner="deep · sgd", task="digits", is_network=True, num_runs=3,
        num_failed={"diverged": 2, "failed": 1}, num_settings=1, tried=(tried,), choices=(),
        edges=(), val_score=None, test_score=None, test_clipped_loss=None, test_brier=None,
        reliability=None, difference=None, verdict=None, cost=unknown, curves=None,
        expected_best=None, ensemble=None,
    )  # fmt: skip
    failed = tuple(
        FailedRun(folder=f"{i}", arm="deep · sgd · lr=10", task="digits", seed=i,
                  status="diverged" if i < 2 else "failed", error="the loss is inf in epoch 1")
        for i in range(3)
    )  # fmt: skip
    return Comparison(
        title="digits", reference="KNN", equivalence=0.005, verdicts=(),
        warnings=("no run was completed",), tasks=(on,), learners=("deep · sgd",),
        results=(result,), pairwise=(), across=(), critical_difference=None, learning_curves=(),
        failed=failed, protocol=Protocol(lines=()), num_runs=3,
    )  # fmt: skip


def thirty_learners() -> Comparison:
    """24 networks and 6 baselines."""
    networks = tuple(
        f"{model} · {optimizer} · hidden=[{width},{width}] · activation={activation}"
        for model in ("deep", "shallow")
        for optimizer in ("sgd", "adam", "adagrad")
        for width in (64, 256)
        for activation in ("relu", "tanh")
    )
    return comparison(
        networks=networks, tasks=[task("digits", 10)],
        learning_sizes=(100, 1000, 10000, 30000),
    )  # fmt: skip


ODD_NAMES = ("<b>bold</b> & \"quoted\" 'too'", "a$b$c_{2}^{x}", "网络 🤖 深い", "שלום · رشبكة",
             "tab\tand\x07bell", "x" * 120)  # fmt: skip


def odd_names() -> Comparison:
    """Names that HTML, XML, mathtext and fonts may stumble over."""
    return comparison(
        networks=ODD_NAMES,
        baselines=("KNN",),
        tasks=[task("<script>alert(1)</script>", 4), task("données $x$ 数据", 4)],
        title="</title><script>alert('title')</script> & $100$ 🎉", learning_sizes=(10, 1168),
    )  # fmt: skip
