"""The metrics of a regression by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnexp.metrics import METRICS, measured

STREAM = np.random.default_rng(3)
RIGHT = 200 + 50 * STREAM.normal(size=37)
SAID = RIGHT + 20 * STREAM.normal(size=37)
ERRORS = SAID - RIGHT


def pinball(q: float) -> float:
    """Koenker and Bassett 1978: what lies above a prediction costs q, what lies below 1 - q."""
    return float(np.mean(np.where(ERRORS < 0, -q * ERRORS, (1 - q) * ERRORS)))


VALUES = {
    "rmse": math.sqrt((ERRORS**2).mean()),
    "mae": np.abs(ERRORS).mean(),
    "r2": 1 - (ERRORS**2).sum() / ((RIGHT - RIGHT.mean()) ** 2).sum(),
    "median_absolute_error": np.median(np.abs(ERRORS)),
    **{f"pinball_{percent}": pinball(percent / 100) for percent in (5, 10, 50, 90, 95)},
}


def test_all_are_here() -> None:
    assert VALUES.keys() == {name for name, m in METRICS.items() if m.task == "regression"}


@pytest.mark.parametrize("name", VALUES)
def test_by_definition(name: str) -> None:
    found = METRICS[name].compute(SAID, RIGHT)
    assert found == pytest.approx(VALUES[name], rel=1e-12)
    assert METRICS[name].greater_is_better == (name == "r2")
    low, high = METRICS[name].bounds
    best = METRICS[name].compute(RIGHT, RIGHT)
    assert best == (high if METRICS[name].greater_is_better else low) == (1 if name == "r2" else 0)


def test_one_value_has_no_variance_to_explain(caplog: pytest.LogCaptureFixture) -> None:
    assert measured(["r2", "rmse"], SAID[:3], np.full(3, 5.0), "x")["r2"] is None
    assert measured(["r2"], SAID[:1], RIGHT[:1], "x") == {"r2": None}
    assert "r2" in caplog.text
    assert METRICS["r2"].compute(np.full(37, RIGHT.mean()), RIGHT) == pytest.approx(0, abs=1e-12)
    assert METRICS["r2"].compute(-RIGHT, RIGHT) < 0
