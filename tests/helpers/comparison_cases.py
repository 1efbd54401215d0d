"""Made-up runs for tests of the comparison and the report: single ones, and a whole sweep.

``run`` makes one record from numbers that are given. ``sweep`` makes a realistic sweep from drawn
probabilities: every number of a run follows from them, so accuracies, losses, calibration and
``predictions.npz`` agree. Axes: N test rows, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnexp.analysis.records import RunRecord
from nnexp.runs.predictions import Predictions, write_predictions
from nnexp.runs.record import DatasetSummary, MetricsLog, RunResult, write_result
from nnexp.scoring_rules import scores

VERSIONS = {"python": "3.11.7", "nnexp": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"}
MODELS = {"linear": [], "shallow": [128], "deep": [128, 128, 128, 128]}


@dataclass(frozen=True)
class Data:
    """A data set as the cases know it."""

    name: str = "digits"
    num_train: int = 1149
    num_val: int = 288
    num_test: int = 360
    num_features: int = 64
    num_classes: int = 10
    official_test: bool = False
    acc: float = 0.97  # of a good network


DIGITS = Data()
LETTER = Data("letter", 13_600, 2400, 4000, 16, 26, acc=0.955)
MNIST = Data("mnist", 54_000, 6000, 10_000, 784, 10, official_test=True, acc=0.98)


def config(
    model: str = "deep",
    optimizer: str = "adam",
    lr: float = 0.01,
    seed: int = 0,
    data: Data = DIGITS,
    num_train: int | None = None,
    split_seed: int | None = None,
    baselines: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The resolved config of a run; ``overrides`` by dotted key."""
    dataset = {
        "name": data.name,
        "scaling": "standard",
        "num_train": num_train,
        "train_fraction": 1.0,
        "val_fraction": 0.2,
        "split_seed": seed if split_seed is None else split_seed,
    }
    if not data.official_test:
        dataset["test_fraction"] = 0.2
    made: dict[str, Any] = {
        "seed": seed,
        "model": {"name": model, "hidden": MODELS.get(model, [32]), "activation": "relu"},
        "optimizer": {"name": optimizer, "lr": lr, "weight_decay": 0.0},
        "scheduler": {"name": "constant", "warmup_epochs": 0.0},
        "dataset": dataset,
        "trainer": {
            "epochs": 20,
            "select": "accuracy",
            "batch_size": 32,
            "device": "auto",
            "threads": None,
        },
        "baseline": {name: {} for name in baselines},
        "report": {"enabled": True, "tuned": ["optimizer.lr"], "reference": "knn"},
    }
    for key, value in (overrides or {}).items():
        place = made
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return made


def run(
    *,
    val_acc: float | None = 0.95,
    test_acc: float | None = 0.94,
    val_loss: float | None = None,
    status: str = "completed",
    folder: Path | None = None,
    baselines: Mapping[str, dict[str, Any]] | None = None,
    data: Data = DIGITS,
    fingerprint: str | None = "",
    with_config: bool = True,
    group_size: int = 1,
    **choices: Any,
) -> RunRecord:
    """One record. ``choices`` go to ``config``; fingerprint "" follows from the data's name."""
    settings = config(data=data, baselines=baselines or (), **choices)
    lr, seed = settings["optimizer"]["lr"], settings["seed"]
    model, optimizer = settings["model"]["name"], settings["optimizer"]["name"]
    done = status == "completed"
    result = RunResult(
        status=status,
        error=None if done else f"the run {status}",
        seed=seed,
        arm=f"{model} · {optimizer} · lr={lr:g}",
        model=model,
        optimizer=optimizer,
        dataset=DatasetSummary(
            name=data.name,
            fingerprint=f"of {data.name}" if fingerprint == "" else fingerprint,
            num_train=settings["dataset"]["num_train"] or data.num_train,
            num_val=data.num_val,
            num_test=data.num_test,
            num_features=data.num_features,
            num_classes=data.num_classes,
            official_test=data.official_test,
        ),
        num_parameters=1000,
        epochs=20 if done else 3,
        best_epoch=18 if done else None,
        metrics={
            "train/loss": 0.05 if done else None,
            "val/loss": val_loss if not done or val_loss is not None else 1 - (val_acc or 0),
            "val/acc": val_acc if done else None,
            "test/loss": 1.5 - (test_acc or 0) if done else None,
            "test/acc": test_acc if done else None,
            "test/clipped_loss": 1 - (test_acc or 0) if done else None,
            "test/brier": 2 - 2 * (test_acc or 0) if done else None,
        },
        baselines=copy.deepcopy(dict(baselines or {})),
        seconds={"total": 2.5, "train": 2.0, "predict": 0.01},
        group_size=group_size,
        device="cpu",
        threads=1,
        versions=dict(VERSIONS),
        config=settings if with_config else {},
    )
    label = f"{model}-{optimizer}-{lr:g}-{data.name}-{settings['dataset']['num_train']}-{seed}"
    return RunRecord(folder or Path("runs") / label, result)


def baseline(
    val_acc: float | None,
    test_acc: float | None,
    chosen: Mapping[str, Any] | None = None,
    tried: Sequence[Mapping[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What ``result.json`` says of a baseline; ``tried`` is the chosen setting alone if absent."""
    settings = dict(chosen or {})
    loss = None if test_acc is None else 1 - test_acc
    return {
        **settings,
        "val/acc": val_acc,
        "val/clipped_loss": None if val_acc is None else 1 - val_acc,
        "test/acc": test_acc,
        "test/clipped_loss": loss,
        "test/brier": None if loss is None else 2 * loss,
        "calibration": None,
        "tried": [{**settings, "val/acc": val_acc}] if tried is None else list(tried),
        "rows": 1149,
        "seconds": 0.2,
        "seconds/train": 0.08,
        "seconds/predict": 0.05,
        "note": None,
        "edges": [],
        "settings": 1 if tried is None else len(tried),
        **more,
    }


def skipped_baseline(reason: str) -> dict[str, Any]:
    """A baseline that was left out."""
    times = ["seconds", "seconds/train", "seconds/predict"]
    nothing = dict.fromkeys(["calibration", "tried", "rows", *times, "note"])
    return baseline(None, None, **nothing) | {"skipped": reason}


# ── a whole sweep ─────────────────────────────────────────────────────────────────────────────

_GAIN = {"deep": 0.0, "shallow": -0.008, "linear": -0.05, "sgd": -0.004, "adam": 0.0}
_LR_GAIN = {0.001: -0.03, 0.01: 0.0, 0.1: -0.015}
_BASELINE_GAIN = {"knn": -0.01, "svm": 0.006, "forest": -0.004, "majority": -0.8}


def sweep(
    folder: Path | None = None,
    *,
    datasets: Sequence[Data] = (DIGITS, LETTER),
    models: Sequence[str] = ("deep", "shallow"),
    optimizers: Sequence[str] = ("sgd", "adam"),
    lrs: Sequence[float] = (0.001, 0.01, 0.1),
    seeds: Iterable[int] = range(10),
    num_trains: Sequence[int | None] = (None,),
    baselines: Sequence[str] = ("knn", "svm"),
    split_seed: int | None = None,
    diverged: bool = True,
    draw: int = 0,
) -> list[RunRecord]:
    """Runs of every combination; with ``folder`` also ``result.json`` and the rest, on the disk.

    One run of deep and sgd at the largest lr diverges on the first data set, unless told
    otherwise. ``draw`` makes another sweep of the same truth.
    """
    records: list[RunRecord] = []
    seeds = list(seeds)
    for data in datasets:
        for num_train in num_trains:
            for seed in seeds:
                split = seed if split_seed is None else split_seed
                held = _Held(data, split, num_train)
                found = {name: held.baseline(name) for name in baselines}
                combinations = [(m, o, lr) for m in models for o in optimizers for lr in lrs]
                for model, optimizer, lr in combinations:
                    where = (folder or Path("runs")) / str(len(records))
                    rng = np.random.default_rng(
                        [draw, seed, sum(f"{model}{optimizer}{data.name}".encode()), int(lr * 1e6)]
                    )
                    fails = diverged and (data, model, optimizer, lr, seed) == (
                        datasets[0], "deep", "sgd", max(lrs), seeds[len(seeds) // 2],
                    )  # fmt: skip
                    record = run(
                        model=model,
                        optimizer=optimizer,
                        lr=lr,
                        seed=seed,
                        data=data,
                        num_train=num_train,
                        split_seed=split_seed,
                        status="diverged" if fails else "completed",
                        folder=where,
                        group_size=8,
                        baselines={name: told for name, (told, _) in found.items()},
                    )
                    gain = _GAIN[model] + _GAIN[optimizer] + _LR_GAIN.get(lr, -0.02)
                    if not fails:
                        classes = {name: predicted for name, (_, predicted) in found.items()}
                        _fill(record.result, held, gain, rng, classes, folder and where)
                    if folder is not None:
                        where.mkdir(parents=True)
                        _write_metrics(where, record.result, rng)
                        write_result(where, record.result)
                        if not fails:
                            held.write(where)
                    records.append(record)
    return records


class _Held:
    """The held-out rows of one split, and the probabilities that learners give them."""

    def __init__(self, data: Data, split: int, num_train: int | None) -> None:
        rng = np.random.default_rng([split, data.num_test])
        self.data = data
        rows_rng = np.random.default_rng(0) if data.official_test else rng
        total = data.num_train + data.num_val + data.num_test
        self.rows = np.sort(rows_rng.permutation(total)[: data.num_test]).astype(np.int32)
        self.labels = rows_rng.integers(0, data.num_classes, data.num_test).astype(np.int32)
        self._difficulty = rows_rng.logistic(size=data.num_test)
        self._shift = rng.normal(0, 0.003) - 0.1 * ((num_train is not None) and 1 / num_train**0.5)
        self._own = rng
        self.written: Predictions | None = None

    def probabilities(self, gain: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """[N, C] of a learner that is ``gain`` better than a good network; rows are as hard."""
        n, c = self.data.num_test, self.data.num_classes
        acc = np.clip(self.data.acc + gain + self._shift + rng.normal(0, 0.003), 1 / c, 0.999)
        margin = np.log(acc / (1 - acc)) + 0.9 * self._difficulty + 0.3 * rng.logistic(size=n)
        logits = rng.normal(0, 0.3, (n, c))
        wrong = (self.labels + rng.integers(1, c, n)) % c
        logits[np.arange(n), self.labels] += 4 + margin
        logits[np.arange(n), wrong] += 4
        logits -= logits.max(1, keepdims=True)
        p = np.exp(logits)
        return (p / p.sum(1, keepdims=True)).astype(np.float32)

    def baseline(self, name: str) -> tuple[dict[str, Any], NDArray[np.int32]]:
        p = self.probabilities(_BASELINE_GAIN[name], self._own)
        told = scores(torch.from_numpy(p), torch.from_numpy(self.labels).long())
        val_acc = _on_rows(told.acc + self._own.normal(0, 0.006), self.data.num_val)
        key, values = {"knn": ("k", (1, 3, 5)), "svm": ("C", (0.1, 1.0, 10.0))}.get(name, ("", ()))
        tried = [
            {key: v, "val/acc": val_acc - (0 if v == values[1] else 0.01 * i + 0.004)}
            for i, v in enumerate(values)
        ]
        made = baseline(val_acc, told.acc, {key: values[1]} if values else {}, tried)
        made |= {"test/clipped_loss": told.clipped_loss, "test/brier": told.brier,
                 "calibration": told.calibration}  # fmt: skip
        return made, p.argmax(1).astype(np.int32)

    def write(self, folder: Path) -> None:
        assert self.written is not None
        write_predictions(folder, self.written)


def _fill(
    result: RunResult,
    held: _Held,
    gain: float,
    rng: np.random.Generator,
    baselines: Mapping[str, NDArray[np.int32]],
    folder: Path | None,
) -> None:
    """Draw a run's probabilities and note what follows from them."""
    p = held.probabilities(gain, rng)
    told = scores(torch.from_numpy(p), torch.from_numpy(held.labels).long())
    val_acc = _on_rows(told.acc + rng.normal(0, 0.006), held.data.num_val)
    result.metrics.update(
        {
            "val/acc": val_acc,
            "val/loss": told.clipped_loss * (1 + 0.1 * rng.random()),
            "test/acc": told.acc,
            "test/loss": told.clipped_loss,
            "test/clipped_loss": told.clipped_loss,
            "test/brier": told.brier,
        }
    )
    object.__setattr__(result, "calibration", told.calibration)
    result.seconds["train"] = float(2 * rng.uniform(0.8, 1.2))
    if folder is not None:
        held.written = Predictions(p, held.labels, held.rows, baselines)


def _on_rows(acc: float, num_rows: int) -> float:
    """The nearest accuracy that so many rows can have."""
    return round(min(max(acc, 0), 1) * num_rows) / num_rows


def _write_metrics(folder: Path, result: RunResult, rng: np.random.Generator) -> None:
    """A curve that ends near the run's metrics; null where a run diverges."""
    diverges = result.status != "completed"
    log = MetricsLog(folder)
    best = result.metrics["val/acc"] or 0.5
    for epoch in range(1, result.epochs + 1):
        left = np.exp(-epoch / 4)
        log.append(
            {
                "epoch": epoch,
                "step": epoch * 36,
                "train/loss": None if diverges and epoch == result.epochs else 0.05 + 2 * left,
                "train/acc": 0.99 * (1 - left) + 0.1 * left,
                "val/loss": 0.1 + 2 * left + 0.01 * rng.random(),
                "val/acc": best * (1 - left) + 0.1 * left,
                "lr": result.config["optimizer"]["lr"],
                "seconds": 0.1 * epoch,
            }
        )
    log.close()
