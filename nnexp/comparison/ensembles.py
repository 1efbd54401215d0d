"""More from probabilities: the ensemble of a learner's runs, and how reliable they are.

Axes: M members, N test rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nnexp.comparison.entries import Entry
from nnexp.comparison.held_out import HeldOut
from nnexp.comparison.types import Ensemble, Reliability
from nnexp.probabilities import clipped_losses


def ensemble(entry: Entry, held_out: HeldOut) -> Ensemble | None:
    """The mean of the members' probabilities, on test rows that all of them have.

    None for a baseline, fewer than two members, or where a member's predictions are not there.
    """
    records = [record for outcome in entry.outcomes for record in outcome.records]
    if not entry.is_network or len(records) < 2:
        return None
    predictions = [held_out.predictions(record.folder) for record in records]
    known = [told for told in predictions if told is not None]
    if len(known) < len(records):
        return None
    labels = known[0].labels
    mean = np.stack([told.probabilities for told in known]).mean(0, dtype=np.float64)  # [N, C]
    accs = [float((told.predicted == labels).mean()) for told in known]
    val_accs = [record.result.metrics["val/acc"] or 0.0 for record in records]
    right = mean[np.arange(len(labels)), labels]
    return Ensemble(
        num_members=len(known),
        test_acc=float((mean.argmax(1) == labels).mean()),
        test_clipped_loss=float(clipped_losses(right).mean()),
        best_member_acc=accs[int(np.argmax(val_accs))],
        mean_member_acc=float(np.mean(accs)),
    )


def reliability(entry: Entry) -> Reliability | None:
    """Bins pooled over splits; None where no run recorded them.

    The expected calibration error is the mean over predictions of their bin's difference between
    accuracy and confidence (Naeini et al. 2015).
    """
    totals: dict[int, tuple[float, float, int]] = {}
    for calibration in (told for outcome in entry.outcomes for told in outcome.calibrations):
        columns = (calibration[key] for key in ("count", "confidence", "accuracy"))
        for place, (count, confidence, accuracy) in enumerate(zip(*columns, strict=True)):
            if count:
                before = totals.get(place, (0.0, 0.0, 0))
                more = (confidence * count, accuracy * count, count)
                totals[place] = (before[0] + more[0], before[1] + more[1], before[2] + more[2])
    if not totals:
        return None
    bins = [totals[place] for place in sorted(totals)]
    confidence = [total / count for total, _, count in bins]
    accuracy = [right / count for _, right, count in bins]
    counts = [count for _, _, count in bins]
    gaps = _weighted(zip(confidence, accuracy, counts, strict=True))
    return Reliability(
        confidence=tuple(confidence),
        accuracy=tuple(accuracy),
        count=tuple(counts),
        expected_calibration_error=gaps / sum(counts),
    )


def _weighted(bins: Iterable[tuple[float, float, int]]) -> float:
    return sum(abs(accuracy - confidence) * count for confidence, accuracy, count in bins)
