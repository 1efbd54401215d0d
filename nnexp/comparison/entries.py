"""A learner on a task: what it chose on every split, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnexp.comparison.records import RunRecord
from nnexp.comparison.types import Choice, Setting


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A setting on one split."""

    setting: Setting
    num_runs: int
    num_failed: int
    val_acc: float | None  # mean of the runs that were completed; None: none was


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One split: what was chosen, and the numbers that were read for it alone."""

    choice: Choice
    records: tuple[RunRecord, ...]
    """The chosen runs; of a baseline, all runs that tell of it."""
    tried: tuple[Tried, ...]
    test_clipped_loss: float | None
    test_brier: float | None
    test_metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Further metrics by name."""
    calibrations: tuple[Mapping[str, Sequence[Any]], ...] = ()
    train_seconds: float | None = None
    predict_seconds: float | None = None
    tune_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A learner on a task. A split on which it was not run is not there."""

    learner: str
    task: str
    baseline: str | None  # its name in result.json; None: a network
    outcomes: tuple[Outcome, ...]  # in the order of the task's splits
    num_runs: int
    num_failed: dict[str, int] = field(default_factory=dict)  # by status
    notes: tuple[str, ...] = ()
    one_fit: bool = False
    """A baseline on a split that stays: one outcome, whatever the number of seeds."""

    @property
    def is_network(self) -> bool:
        """Whether it was trained by gradient."""
        return self.baseline is None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """One a split."""
        return tuple(outcome.choice for outcome in self.outcomes)

    @property
    def by_split(self) -> dict[str, Outcome]:
        """The outcomes by the split's name."""
        return {outcome.choice.split: outcome for outcome in self.outcomes}
