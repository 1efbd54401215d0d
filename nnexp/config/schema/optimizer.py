"""The optimizers, with the names and meanings of torch.optim."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from nnexp.config.fields import Problems, ranged


@dataclass
class OptimizerConfig:
    """What every optimizer has."""

    name: str = MISSING
    lr: float = ranged(MISSING, ge=0)
    weight_decay: float = ranged(0.0, ge=0)


@dataclass
class SGDConfig(OptimizerConfig):
    """torch.optim.SGD."""

    momentum: float = ranged(0.0, ge=0)
    dampening: float = ranged(0.0)
    nesterov: bool = False

    def check_rules(self) -> Problems:
        """As torch.optim.SGD."""
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov", "needs optimizer.momentum above 0 and optimizer.dampening=0"
        if self.dampening != 0 and self.momentum == 0:
            yield "dampening", "has no effect without optimizer.momentum above 0"


@dataclass
class AdagradConfig(OptimizerConfig):
    """torch.optim.Adagrad."""

    lr_decay: float = ranged(0.0, ge=0)
    initial_accumulator_value: float = ranged(0.0, ge=0)
    eps: float = ranged(1e-10, ge=0)


@dataclass
class AdamConfig(OptimizerConfig):
    """torch.optim.Adam."""

    betas: list[float] = ranged([0.9, 0.999], ge=0, lt=1)
    eps: float = ranged(1e-8, ge=0)
    amsgrad: bool = False

    def check_rules(self) -> Problems:
        """Two numbers, of the first and of the second moment."""
        if len(self.betas) != 2:
            yield "betas", f"must be two numbers, not {len(self.betas)}"


@dataclass
class AdamWConfig(AdamConfig):
    """torch.optim.AdamW: Adam whose weight decay does not pass through the moments."""

    weight_decay: float = ranged(1e-2, ge=0)


@dataclass
class RMSpropConfig(OptimizerConfig):
    """torch.optim.RMSprop."""

    alpha: float = ranged(0.99, ge=0, le=1)
    eps: float = ranged(1e-8, ge=0)
    momentum: float = ranged(0.0, ge=0)
    centered: bool = False
