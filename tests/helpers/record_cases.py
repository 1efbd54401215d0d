"""What the tests of a run's record have in common."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from nnexp.runs.record import DatasetSummary, RunResult

_HEADER = """
import logging, resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from nnexp.runs.record import MetricsLog, write_result
from record_cases import a_result, an_epoch, strict
"""


def an_epoch(number: int, **changes: float | None) -> dict[str, float | None]:
    return {
        "epoch": number,
        "step": 45 * number,
        "train/loss": 0.1 + 0.2,
        "train/acc": 1 / 3,
        "val/loss": 1e-17,
        "val/acc": 0.975,
        "lr": 1e-3,
        "seconds": 0.25 * number,
        **changes,
    }


KNN = {
    "k": 3,
    "val/acc": 0.98,
    "val/clipped_loss": 0.3,
    "test/acc": 0.983,
    "test/clipped_loss": 0.25,
    "test/brier": 0.03,
    "calibration": None,
    "tried": [{"k": 1, "val/acc": 0.97}, {"k": 3, "val/acc": 0.98}],
    "rows": 1149,
    "seconds": 0.01,
    "seconds/train": None,
    "seconds/predict": 0.002,
    "edges": ["k=3 is the largest tried"],
    "settings": 2,
    "note": None,
}


def a_result(**changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "status": "completed",
        "seed": 0,
        "arm": "deep_adam",
        "model": "deep",
        "optimizer": "adam",
        "dataset": DatasetSummary(
            name="digits",
            fingerprint="9f86d081",
            num_train=1149,
            num_val=288,
            num_test=360,
            num_features=64,
            num_classes=10,
            official_test=False,
        ),
        "num_parameters": 59_146,
        "epochs": 50,
        "best_epoch": 31,
        "metrics": {
            "train/loss": 0.01,
            "val/loss": 0.07,
            "val/acc": 0.98,
            "test/loss": 0.08,
            "test/acc": 0.975,
            "test/clipped_loss": 0.0795,
            "test/brier": 0.04,
        },
        "calibration": {"count": [0, 360], "confidence": [None, 0.97], "accuracy": [None, 0.975]},
        "baselines": {"knn": KNN},
        "seconds": {"total": 3.5, "train": 1.2, "predict": 0.001},
        "device": "cpu",
        "threads": 1,
        "config": {"seed": 0, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}},
    }
    return RunResult(**{**fields, **changes})


def strict(text: str | bytes) -> Any:
    """The value of ``text`` for a reader that knows only the JSON of RFC 8259."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def python(script: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    """A Python process that runs ``script``, with this file's helpers at hand."""
    command = [sys.executable, "-W", "error", "-c", _HEADER + textwrap.dedent(script)]
    here = str(Path(__file__).parent)
    return subprocess.Popen([*command, here, *map(str, args)], text=True, **options)
