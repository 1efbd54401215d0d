"""The learning rate as a function of the step: nothing to keep, nothing to restore."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnexp.config.schema import (
    ConstantConfig,
    CosineConfig,
    ExponentialConfig,
    SchedulerConfig,
    StepConfig,
)


def learning_rates(
    scheduler: SchedulerConfig,
    lr: float,
    steps: NDArray[np.int64],
    steps_per_epoch: int,
    epochs: int,
) -> NDArray[np.float64]:
    """The learning rates of the given steps, counted from 0 over the whole run.

    The same numbers as ``torch.optim.lr_scheduler.SequentialLR`` of ``LinearLR`` over the warm-up
    and, from its end, ``CosineAnnealingLR`` (T_max: the steps that are left), ``StepLR`` or
    ``ExponentialLR``. ``step_size`` and ``gamma`` count in epochs, the others change at each step.
    """
    warmup = round(scheduler.warmup_epochs * steps_per_epoch)
    after = np.maximum(steps - warmup, 0)
    match scheduler:
        case CosineConfig(eta_min=low):
            whole = max(epochs * steps_per_epoch - warmup, 1)
            rates = low + (lr - low) * (1 + np.cos(np.pi * after / whole)) / 2
        case StepConfig(step_size=size, gamma=gamma):
            rates = lr * gamma ** (after // (size * steps_per_epoch))
        case ExponentialConfig(gamma=gamma):
            rates = lr * gamma ** (after // steps_per_epoch)
        case ConstantConfig():
            rates = np.full(len(steps), lr)
        case _:
            raise TypeError(f"no rule for {type(scheduler).__name__}")
    if warmup:
        start = scheduler.warmup_start_factor
        ramp = lr * (start + (1 - start) * steps / warmup)
        rates = np.where(steps < warmup, ramp, rates)
    return rates.astype(np.float64)
