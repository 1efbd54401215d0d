"""A run as the comparison sees it: its folder and what ``result.json`` said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnexp.results.record import RunResult


@dataclass(frozen=True)
class RunRecord:
    """One run that has ended.

    ``metrics.jsonl`` and ``predictions.npz`` are looked for in ``folder``, for chosen runs alone.
    """

    folder: Path
    result: RunResult
