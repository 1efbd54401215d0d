"""One name, one quantity: ``loss`` is the exact cross-entropy, ``clipped_loss`` is bounded.

From the real command line, against float64 and by hand.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn import functional

from nnexp.config.schema import BundledConfig
from nnexp.data import load
from nnexp.models.cross_entropy import cross_entropy
from nnexp.runs.checkpoints import load_network
from nnexp.runs.predictions import read_predictions
from nnexp.scoring_rules import clipped_losses, scores

EPS = 2.0**-23


def nnexp(folder: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, standard error, and the result of a run."""
    done = programs.run(
        [sys.executable, "-m", "nnexp", *arguments, "hydra.run.dir=run"],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr, json.loads((folder / "run" / "result.json").read_text())


def of_network(logits: list[list[float]], labels: list[int]) -> list[float]:
    losses, _ = cross_entropy(torch.tensor(logits).T[None], torch.tensor(labels)[None])
    return losses[0].tolist()


def test_extreme_logits_by_hand() -> None:
    """Where the right class's probability is 0 in float32, its logit still tells by how much."""
    logits = [[1000.0, 0.0], [1000.0, 0.0], [0.0, -90.0], [3e38, -3e38], [0.0, 0.0]]
    labels = [1, 0, 1, 0, 0]
    assert of_network(logits, labels) == [1000.0, 0.0, 90.0, 0.0, pytest.approx(math.log(2))]
    p = torch.tensor(logits).softmax(1)
    impossible, certain = -math.log(EPS), -math.log1p(-EPS)
    assert impossible == pytest.approx(15.942385)
    right = p[range(5), labels].numpy()
    expected = [impossible, certain, impossible, certain, math.log(2)]
    assert clipped_losses(right).tolist() == pytest.approx(expected, rel=1e-12)
    found = scores(p, torch.tensor(labels))
    assert found.clipped_loss == pytest.approx(sum(expected) / 5, rel=1e-12)


def test_below_the_clip_the_two_are_the_same() -> None:
    logits = [[0.0, 1.0, 2.0], [3.0, -3.0, 0.5], [-2.0, 8.0, 0.0]]
    labels = [0, 2, 1]
    exact = functional.cross_entropy(
        torch.tensor(logits, dtype=torch.float64), torch.tensor(labels), reduction="none"
    ).tolist()
    p = torch.tensor(logits).softmax(1)[range(3), labels].numpy()
    assert of_network(logits, labels) == pytest.approx(exact, rel=1e-4)
    assert clipped_losses(p).tolist() == pytest.approx(exact, rel=1e-4)


def test_a_probability_that_is_none_has_no_loss() -> None:
    assert np.isnan(clipped_losses(np.array([math.nan, 0.5]))).tolist() == [True, False]


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run whose steps are so large that it is sure of everything, and often wrong."""
    folder = tmp_path_factory.mktemp("sure")
    code, errors, result = nnexp(
        folder, "dataset=iris", "model=linear", "optimizer=sgd", "optimizer.lr=1000",
        "trainer.epochs=2", "baseline.knn.k=[1]",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    return folder / "run", result


def test_val_loss_and_test_loss_of_a_network_are_one_quantity(
    sure: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = sure
    network = load_network(folder / "checkpoints" / "best.pt")
    dataset = load(BundledConfig(name="iris", source="iris", split_seed=0))

    def exact(rows: Tensor) -> float:
        with torch.no_grad():
            logits = network.module(dataset.x[rows]).double()
        return functional.cross_entropy(logits, dataset.y[rows]).item()

    metrics = result["metrics"]
    assert metrics["val/loss"] == pytest.approx(exact(dataset.val), rel=1e-5)
    assert metrics["test/loss"] == pytest.approx(exact(dataset.test), rel=1e-5)
    assert min(metrics["val/loss"], metrics["test/loss"]) > -math.log(EPS)  # beyond any clip
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    best = json.loads(lines[result["best_epoch"] - 1])
    assert best["val/loss"] == metrics["val/loss"]


def test_clipped_loss_of_networks_and_baselines_is_one_quantity(
    sure: tuple[Path, dict[str, Any]],
) -> None:
    """scikit-learn's, of float32. The vote of one neighbour is smoothed: 2 of 4, with 3 classes."""
    folder, result = sure
    found = read_predictions(folder)
    metrics, knn = result["metrics"], result["baselines"]["knn"]
    assert metrics["test/clipped_loss"] == pytest.approx(
        log_loss(found.labels, found.probabilities, labels=range(3)), rel=1e-6
    )
    of_knn = ((np.eye(3, dtype=np.float32) + 1) / 4)[found.baselines["knn"]]
    assert knn["test/clipped_loss"] == pytest.approx(
        log_loss(found.labels, of_knn, labels=range(3)), rel=1e-6
    )
    wrong = 1 - metrics["test/acc"]
    assert metrics["test/clipped_loss"] <= wrong * -math.log(EPS) + 1e-3
    assert "val/loss" not in knn
    assert "test/loss" not in knn


def test_test_rows_without_finite_outputs_have_no_score(tmp_path: Path) -> None:
    """A softmax would make some class of them, and an accuracy of that."""
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "train.csv").write_text("\n".join(["x,y,label", *rows, ""]))
    (tmp_path / "test.csv").write_text("x,y,label\n3e38,3e38,a\n1,2,b\n")
    code, errors, result = nnexp(
        tmp_path, "dataset=csv", "dataset.path=train.csv", "dataset.test_path=test.csv",
        "dataset.target=label", "dataset.scaling=none", "model.hidden=[64,64]", "baseline=none",
        "model.init=kaiming", "trainer.epochs=1",
    )  # fmt: skip
    assert code == 1
    assert errors == f"nnexp: {result['error']}\n"
    assert result["error"].startswith(
        "no predictions: the network's outputs for 1 of 2 test samples are not finite"
    )
    assert result["status"] == "completed"
    assert result["metrics"]["val/acc"] is not None
    tested = {key: v for key, v in result["metrics"].items() if key.startswith("test/")}
    assert set(tested.values()) == {None}
    assert not (tmp_path / "run" / "predictions.npz").exists()
