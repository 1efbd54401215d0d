"""Every scheduler with and without warm-up against torch.optim.lr_scheduler, to 1e-12."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_cases import ignore_sequential_lr, torch_scheduler
from torch.optim import lr_scheduler

from nnexp.config.schema import Constant, Cosine, Exponential, Scheduler, StepDecay
from nnexp.optim.schedules import learning_rates

LR, EPOCHS = 0.3, 12
SCHEDULERS: list[Scheduler] = [
    Constant(name="constant"),
    Cosine(name="cosine"),
    Cosine(name="cosine", eta_min=0.02),
    StepDecay(name="step", step_size=3, gamma=0.1),
    StepDecay(name="step", step_size=1, gamma=0.7),
    StepDecay(name="step", step_size=100),
    Exponential(name="exponential", gamma=0.95),
    Exponential(name="exponential", gamma=1.1),
]
WARMUPS = [(0.0, 0.01), (1.0, 0.01), (2.5, 0.2), (3.0, 1.0), (12.0, 0.1), (20.0, 0.5)]


def torch_rates(config: Scheduler, steps_per_epoch: int) -> list[float]:
    """torch's schedulers, stepped after every optimizer step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = torch_scheduler(config, optimizer, steps_per_epoch, EPOCHS)
    rates = []
    for _ in range(EPOCHS * steps_per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@ignore_sequential_lr
@pytest.mark.parametrize("steps_per_epoch", [1, 7])
@pytest.mark.parametrize(("warmup_epochs", "start"), WARMUPS)
@pytest.mark.parametrize("config", SCHEDULERS, ids=lambda c: c.name)
def test_equals_torch(
    config: Scheduler, warmup_epochs: float, start: float, steps_per_epoch: int
) -> None:
    options = {"warmup_epochs": warmup_epochs, "warmup_start_factor": start}
    config = type(config)(**{**vars(config), **options})
    total = EPOCHS * steps_per_epoch
    rates = learning_rates(config, LR, np.arange(total), steps_per_epoch, EPOCHS)
    expected = torch_rates(config, steps_per_epoch)
    assert rates.dtype == np.float64
    # torch multiplies step by step where the engine has a closed form: to rounding, and near 0
    # (the end of a cosine) to rounding of the first rate.
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-15 * LR * total)


def test_exponential_is_torchs_stepped_once_an_epoch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    config = Exponential(name="exponential", gamma=0.9)
    rates = learning_rates(config, LR, np.arange(EPOCHS * 5), 5, EPOCHS).reshape(EPOCHS, 5)
    for epoch in range(EPOCHS):
        np.testing.assert_allclose(rates[epoch], optimizer.param_groups[0]["lr"], rtol=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("config", SCHEDULERS, ids=lambda c: c.name)
def test_any_steps_can_be_asked_for(config: Scheduler) -> None:
    """A stretch of the steps, as after a resumption, has the numbers of the whole."""
    config = type(config)(**{**vars(config), "warmup_epochs": 1.5})
    whole = learning_rates(config, LR, np.arange(84), 7, EPOCHS)
    part = learning_rates(config, LR, np.arange(21, 28), 7, EPOCHS)
    assert part.tolist() == whole[21:28].tolist()


def test_by_hand() -> None:
    """Four epochs of two steps; warm-up over one epoch, from half the rate."""
    warm = {"warmup_epochs": 1.0, "warmup_start_factor": 0.5}

    def rates(config: Scheduler) -> list[float]:
        return learning_rates(config, 1.0, np.arange(8), 2, 4).tolist()

    assert rates(Constant(name="c", **warm)) == [0.5, 0.75, 1, 1, 1, 1, 1, 1]
    halving = StepDecay(name="s", step_size=1, gamma=0.5, **warm)
    assert rates(halving) == [0.5, 0.75, 1, 1, 0.5, 0.5, 0.25, 0.25]
    cosine = rates(Cosine(name="c", **warm))
    assert cosine == pytest.approx([0.5, 0.75, 1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873])
