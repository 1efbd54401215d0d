"""The mean curves of an arm as a run of their own in TensorBoard. Needs no torch."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnexp.results import summaries
from nnexp.results.files import write_atomically

MEAN_FILE = "events.out.tfevents.mean"
"""One name, so that a later report takes the place of this one."""
MEAN_OF = "mean of "
"""What a folder's name begins with; the arm follows."""
_NO_CURVES = ("epoch", "step", "seconds")
_LONGEST = 150  # bytes of a folder's name


def write_mean_curves(
    folder: Path, name: str, runs: Sequence[Sequence[Mapping[str, float | None]]]
) -> Path:
    """Write an event file with the mean over the runs of an arm, in the folder ``mean of <arm>``.

    A tag has a point at each step at which at least half of the runs have a value, which is the
    mean over those that have; beyond it a few long runs would speak for all.

    Args:
        folder: where the arm's folder is made.
        name: of the arm.
        runs: for each the epochs as ``read_metrics`` has them.

    Returns:
        The event file; an older one of the same arm is replaced.

    Raises:
        OSError: it cannot be written.
    """
    now = time.time()
    events = [summaries.file_version(now)]
    for step, epochs in sorted(_by_step(runs).items()):
        seconds = _mean([epoch["seconds"] for epoch in epochs], 1)
        tags = dict.fromkeys(tag for epoch in epochs for tag in epoch if tag not in _NO_CURVES)
        curves = {
            tag: _mean([epoch.get(tag) for epoch in epochs], max(1, len(runs) / 2)) for tag in tags
        }
        events.append(summaries.scalars(curves, step, now + (seconds or 0.0)))
    path = folder / folder_name(f"{MEAN_OF}{name}") / MEAN_FILE
    write_atomically(path, summaries.records(events))
    return path


def folder_name(name: str) -> str:
    """``name`` as a folder may be called anywhere; what had to be changed is told by a hash."""
    safe = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(". ")
    safe = safe.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    if safe == name and safe:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}"


def _by_step(
    runs: Sequence[Sequence[Mapping[str, float | None]]],
) -> dict[int, list[Mapping[str, float | None]]]:
    found: dict[int, list[Mapping[str, float | None]]] = {}
    for run in runs:
        for epoch in run:
            if (step := epoch["step"]) is not None:
                found.setdefault(int(step), []).append(epoch)
    return found


def _mean(values: Sequence[float | None], at_least: float) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) >= at_least else None
