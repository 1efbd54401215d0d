"""The whole config of a run, and the rules across its components."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from nnexp.config.fields import Problems, choice, ranged
from nnexp.config.schema.baseline import BaselinesConfig
from nnexp.config.schema.dataset import DatasetConfig
from nnexp.config.schema.report import ReportConfig
from nnexp.config.schema.trainer import TrainerConfig
from nnexp.errors import did_you_mean
from nnexp.metrics import METRICS
from nnexp.models.base import Model
from nnexp.models.losses import CrossEntropy, Loss
from nnexp.optim.base import Optimizer
from nnexp.optim.schedules import Scheduler

OBJECTIVES = {"val/loss": "minimize", "val/acc": "maximize"}
"""What a search over configs may go by, and the direction in which it is better."""


@dataclass
class Config:
    """One run."""

    seed: int = ranged(0, ge=0)
    imports: list[str] = field(default_factory=list)  # modules that register components
    objective: str = choice("val/loss", tuple(OBJECTIVES))  # at the best epoch, for a search
    metrics: list[str] = field(default_factory=list)  # computed beside loss and accuracy
    model: Model = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    loss: Loss = field(default_factory=lambda: CrossEntropy(name="cross_entropy"))
    dataset: DatasetConfig = MISSING
    trainer: TrainerConfig = MISSING
    baseline: BaselinesConfig = field(default_factory=BaselinesConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def check_rules(self) -> Problems:
        """Rules across the groups."""
        for name in self.metrics:
            if name not in METRICS:
                yield "metrics", _unregistered(name)
        if self.scheduler.warmup_epochs >= self.trainer.epochs:
            reason = f"must be less than trainer.epochs={self.trainer.epochs}"
            yield "scheduler.warmup_epochs", reason
        if self.trainer.label_smoothing and not isinstance(self.loss, CrossEntropy):
            yield "trainer.label_smoothing", f"goes with loss=cross_entropy, not {self.loss.name}"


def _unregistered(metric: str) -> str:
    return (
        f"{metric} is no registered metric{did_you_mean(metric, METRICS)}; registered are "
        f"{', '.join(METRICS)}. If a package of yours has it: imports=[<package>]"
    )
