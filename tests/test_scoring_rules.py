"""Accuracy, log-loss, Brier score and calibration against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torch import Tensor

from nnexp.scoring_rules import scores


def some(rows: int, classes: int, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + classes)
    logits = sharpness * torch.randn(rows, classes, generator=generator)
    labels = torch.randint(classes, (rows,), generator=generator)
    return logits.softmax(1), labels


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0], ids=["dull", "plain", "sharp"])
@pytest.mark.parametrize("classes", [2, 3, 26])
def test_as_scikit_learn_has_them(classes: int, sharpness: float) -> None:
    p, y = some(1000, classes, sharpness)
    found = scores(p, y)
    labels = list(range(classes))
    assert found.acc == accuracy_score(y, p.argmax(1))
    assert found.clipped_loss == pytest.approx(log_loss(y, p.numpy(), labels=labels), rel=1e-6)
    # Written out: brier_score_loss takes several classes from scikit-learn 1.8 on only.
    outcome = np.eye(classes)[y.numpy()]
    brier = np.mean(np.sum((p.double().numpy() - outcome) ** 2, axis=1))
    assert found.brier == pytest.approx(brier, rel=1e-12)


def test_of_two_classes_brier_is_twice_the_one_sided_score() -> None:
    p, y = some(500, 2, 2.0)
    one_sided = brier_score_loss(y, p[:, 1].numpy())
    assert scores(p, y).brier == pytest.approx(2 * one_sided, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certainty_is_clipped(dtype: torch.dtype) -> None:
    """As log_loss clips float32, whatever a learner computed in: one price for all."""
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    found = scores(p, torch.tensor([0, 1, 0]))
    eps = 2.0**-23
    assert found.clipped_loss == pytest.approx(
        (2 * -math.log(eps) - math.log1p(-eps)) / 3, rel=1e-12
    )
    assert found.clipped_loss == pytest.approx(log_loss([0, 1, 0], p.float().numpy()), rel=1e-6)
    assert (found.acc, found.brier) == (1 / 3, 4 / 3)


def test_by_hand() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    found = scores(p, torch.tensor([0, 2, 1, 2]))
    assert found.acc == 0.5  # of two classes as likely the first is the answer
    brier = [0.25 + 2 * 0.0625, 0.015625 + 0.5625 + 0.765625, 0.25 + 0.25, 0.0]
    assert found.brier == sum(brier) / 4
    assert found.clipped_loss == pytest.approx((2 * math.log(2) + math.log(8)) / 4, abs=1e-7)
    assert found.calibration == {
        "count": [0, 0, 0, 0, 2, 0, 0, 1, 0, 1],
        "confidence": [None] * 4 + [0.5, None, None, 0.75, None, 1.0],
        "accuracy": [None] * 4 + [0.5, None, None, 0.0, None, 1.0],
    }


def test_a_confidence_on_an_edge_is_in_the_bin_below() -> None:
    """Shares of ten neighbours, none of which float32 has exactly."""
    tops = torch.arange(2, 11) / 10
    p = torch.zeros(9, 9)
    p[:, 0] = tops
    p[:, 1:] = ((1 - tops) / 8)[:, None]
    assert scores(p, torch.zeros(9, dtype=torch.int64)).calibration["count"] == [0] + [1] * 9


@pytest.mark.parametrize("rows", [37, 4000])
def test_calibration_is_scikit_learns_curve_of_the_likeliest_class(rows: int) -> None:
    p, y = some(rows, 3, 2.0)
    confidence, predicted = p.max(1)
    right = (predicted == y).numpy()
    found = scores(p, y).calibration
    assert sum(found["count"]) == rows
    accuracy, mean = calibration_curve(right, confidence.double().numpy(), n_bins=10)
    assert [v for v in found["accuracy"] if v is not None] == pytest.approx(list(accuracy))
    assert [v for v in found["confidence"] if v is not None] == pytest.approx(list(mean))


def test_probabilities_that_are_none_give_no_numbers() -> None:
    p = torch.tensor([[math.nan, math.nan], [0.25, 0.75]])
    found = scores(p, torch.tensor([0, 1]))
    assert math.isnan(found.clipped_loss)
    assert math.isnan(found.acc)
    assert math.isnan(found.brier)
    assert found.calibration["count"] == [0] * 7 + [1, 0, 0]
