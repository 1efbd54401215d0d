"""How the learning rate goes over the epochs."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from nnexp.config.fields import ranged


@dataclass
class SchedulerConfig:
    """What every scheduler has: a linear warm-up before it starts. It changes lr at every step."""

    name: str = MISSING
    warmup_epochs: float = ranged(0.0, ge=0)  # fractions count
    warmup_start_factor: float = ranged(0.01, gt=0, le=1)  # of lr, at the first step


@dataclass
class ConstantConfig(SchedulerConfig):
    """lr stays."""


@dataclass
class CosineConfig(SchedulerConfig):
    """Half a cosine from lr to eta_min over the epochs after the warm-up."""

    eta_min: float = ranged(0.0, ge=0)


@dataclass
class StepConfig(SchedulerConfig):
    """lr times gamma every step_size epochs."""

    step_size: int = ranged(10, ge=1)
    gamma: float = ranged(0.1, gt=0)


@dataclass
class ExponentialConfig(SchedulerConfig):
    """lr times gamma every epoch."""

    gamma: float = ranged(0.95, gt=0)
