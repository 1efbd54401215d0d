"""What runs may be selected by, and the metric that they are judged by."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from nnexp import registry
from nnexp.errors import ConfigError
from nnexp.runs.selection import greater_is_better, primary_of, selectable

CLASSES = {"metrics": ["macro_f1"], "report": {"metric": None}}
NUMBERS = {"metrics": ["mae", "r2"], "report": {"metric": "mae"}}


def test_what_is_offered_is_what_runs_record() -> None:
    assert selectable([CLASSES]) == ["val/loss", "val/acc", "train/loss", "val/macro_f1"]
    assert selectable([NUMBERS]) == ["val/loss", "val/rmse", "train/loss", "val/mae", "val/r2"]
    assert {"val/acc", "val/rmse"} < set(selectable([CLASSES, NUMBERS]))
    assert greater_is_better("val/rmse", [NUMBERS], "--sort") is False
    assert greater_is_better("val/r2", [NUMBERS], "--sort") is True
    with pytest.raises(ConfigError, match="must be one of val/loss, val/rmse, train/loss"):
        greater_is_better("val/acc", [NUMBERS], "--sort")


def test_the_primary_metric_of_a_package_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As by ``nnexp predict`` in a process that nothing has told of the package."""
    (tmp_path / "scores_of_mine.py").write_text(
        "import nnexp\n"
        "@nnexp.metric('surprise', greater_is_better=False)\n"
        "def surprise(probabilities, labels):\n"
        "    return 0.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"metrics": [], "imports": ["scores_of_mine"], "report": {"metric": "surprise"}}
    try:
        assert primary_of([config, config, CLASSES]) == "surprise"
    finally:
        registry._registered["metric"].pop("surprise", None)
        sys.modules.pop("scores_of_mine", None)
    gone = {**config, "imports": ["not_there_any_more"], "report": {"metric": "lost"}}
    with caplog.at_level(logging.WARNING):
        assert primary_of([gone]) == "accuracy"
    assert "no module registers the metric lost any more" in caplog.text
    assert primary_of([]) == "accuracy"
