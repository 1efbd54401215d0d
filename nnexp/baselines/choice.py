"""How a baseline's settings are chosen, and what is written down of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from nnexp.metrics import metric_keys
from nnexp.probabilities import Scores

Settings = dict[str, Any]
Kept = TypeVar("Kept")

MEASURES = (
    "val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier", "calibration",
)  # fmt: skip


@dataclass
class Choice(Generic[Kept]):
    """The best of the settings offered so far, on the validation rows.

    Best is the highest accuracy; among equals the lowest clipped log-loss; among these the first.
    """

    tried: list[Settings] = field(default_factory=list)  # each with its "val/acc"
    settings: Settings = field(default_factory=dict)
    val: Scores | None = None
    kept: Kept | None = None

    def offer(self, settings: Settings, val: Scores, kept: Kept) -> None:
        """One more; ``kept`` is what is needed to go on with it."""
        self.tried.append({**settings, "val/acc": val.acc})
        if self.val is None or _rank(val) > _rank(self.val):
            self.settings, self.val, self.kept = settings, val, kept


def _rank(val: Scores) -> tuple[float, float]:
    return val.acc, -val.clipped_loss


@dataclass(frozen=True)
class Found:
    """What became of a baseline: chosen on the validation rows, then tried on the test rows."""

    settings: Settings
    tried: list[Settings]
    val: Scores
    test: Scores
    predictions: npt.NDArray[Any]  # classes of the test rows [M]
    num_rows: int  # trained on
    predict_seconds: float  # of the test rows
    train_seconds: float | None = None
    """Of the fit that is tested, which may serve other settings too; None: it learns nothing."""
    note: str | None = None
    probabilities: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Of the rows of ``val`` and ``test``, [M, C] each: what metrics are computed from."""


def found_record(
    found: Found, seconds: float, metrics: Mapping[str, float | None]
) -> dict[str, Any]:
    """For ``result.json``, but for ``predicted``, which goes into a file of their own.

    Args:
        metrics: further ones by key, ``test/macro_f1``.
    """
    val, test = found.val, found.test
    return {
        **found.settings,
        "val/acc": val.acc,
        "val/clipped_loss": val.clipped_loss,
        "test/acc": test.acc,
        "test/clipped_loss": test.clipped_loss,
        "test/brier": test.brier,
        **metrics,
        "calibration": test.calibration,
        "seconds": round(seconds, 3),
        "seconds/train": None if found.train_seconds is None else round(found.train_seconds, 3),
        "seconds/predict": round(found.predict_seconds, 4),
        "rows": found.num_rows,
        "note": found.note,
        "tried": found.tried,
        "predicted": found.predictions,
    }


def skipped_record(reason: str, metrics: Iterable[str]) -> dict[str, Any]:
    """The same of a baseline that was left out; ``metrics`` are the names of further ones."""
    times = ("seconds", "seconds/train", "seconds/predict")
    nothing = dict.fromkeys((*MEASURES, *metric_keys(metrics), *times, "rows", "note"))
    return {"skipped": reason, **nothing, "tried": []}


def compact(predictions: torch.Tensor, num_classes: int) -> npt.NDArray[Any]:
    """Classes [M] in as few bytes as so many classes need."""
    kind = np.min_scalar_type(max(num_classes - 1, 0))
    return predictions.cpu().numpy().astype(kind)
