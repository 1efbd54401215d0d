"""What a row of the benchmark was measured to be, and how it is judged."""

from __future__ import annotations

import gc
import importlib.util
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from roofline import Demand, Floor, Rates, floor


@dataclass(frozen=True)
class Place:
    """Where and on what all rows are measured."""

    device: torch.device
    rates: Rates
    quick: bool
    mnist: Path | None  # folder of its IDX files


@dataclass(frozen=True)
class Goal:
    """What a figure of nnexp shall be."""

    figure: str
    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g} {self.figure}"

    def is_met(self, value: float) -> bool:
        """Whether the value keeps to the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass
class Result:
    """What was measured of a row."""

    row: str
    title: str
    goals: Sequence[Goal]
    lines: list[dict[str, str]] = field(default_factory=list)  # of its table, a learner each
    figures: dict[str, float] = field(default_factory=dict)  # of nnexp, by unit
    demand: Demand | None = None
    floor: Floor | None = None
    seconds: float | None = None  # of nnexp, for the work that the floor is of
    kernels: float | None = None  # of nnexp, for that work
    busy: float | None = None  # seconds that they take, one after the other
    learners: list[dict[str, Any]] = field(default_factory=list)  # for programs
    remarks: list[str] = field(default_factory=list)
    failed: bool = False

    def fail(self, who: str, error: Exception) -> None:
        """Note an error in one line."""
        text = (str(error).strip() or "no message").splitlines()[0]
        self.remarks.append(f"{who}: {type(error).__name__}: {text[:200]}")
        self.failed = True

    def hold_against(self, demand: Demand, rates: Rates, seconds: float) -> None:
        """What nnexp took, and what it could have taken."""
        self.demand, self.seconds = demand, seconds
        self.floor = floor(demand, rates)

    @property
    def share(self) -> float | None:
        """Of the roofline that was reached."""
        if self.floor is None or self.seconds is None:
            return None
        return self.floor.seconds / self.seconds


def jax_absence(device: torch.device) -> str | None:
    """Why JAX has no line; None where it has one."""
    if importlib.util.find_spec("jax") is None:
        return "JAX is not installed and left out (pip install 'nnexp[bench]')"
    from learners.xla_epochs import absence

    return absence(device.type, device.index or 0)


def equal_losses(some: Sequence[float], others: Sequence[float], tolerance: float) -> bool:
    """Whether the means are within 5 standard errors of each other, or within a share of them."""
    expected = statistics.mean(others)
    error = math.hypot(standard_error(some), standard_error(others))
    return abs(statistics.mean(some) - expected) <= max(5 * error, tolerance * expected)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 of a single value, which tells nothing of it."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def spread(values: Sequence[float]) -> str:
    """Mean and standard error."""
    return f"{statistics.mean(values):.4f} ± {standard_error(values):.4f}"


def free_memory() -> None:
    """Give the device back what the last learner had, compiled steps and their graphs too."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
