"""The learning rate as a function of the step: nothing to keep, nothing to restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import MISSING

from nnexp.config.fields import ranged
from nnexp.errors import ConfigError
from nnexp.lazy import np
from nnexp.registry import register_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

SchedulerT = TypeVar("SchedulerT", bound="Scheduler")


@dataclass
class Scheduler:
    """Base of all schedulers: a linear warm-up, then what a subclass says in ``rates``."""

    name: str = MISSING
    warmup_epochs: float = ranged(0.0, ge=0)  # fractions count
    warmup_start_factor: float = ranged(0.01, gt=0, le=1)  # of lr, at the first step

    def rates(
        self, lr: float, steps: NDArray[np.int64], steps_per_epoch: int, num_steps: int
    ) -> NDArray[np.floating[Any]]:
        """Return the learning rates [S] of the given steps.

        Args:
            lr: the optimizer's, from which the schedule starts.
            steps: [S], counted from 0 at the end of the warm-up.
            num_steps: from the end of the warm-up to the last epoch's last step, at least 1.
        """
        raise NotImplementedError


def scheduler(name: str) -> Callable[[type[SchedulerT]], type[SchedulerT]]:
    """Register a scheduler, a dataclass derived from ``Scheduler``, as ``scheduler=<name>``.

    Raises:
        ConfigError: the class is no such dataclass, lacks ``rates``, or the name is taken.
    """

    def decorate(cls: type[SchedulerT]) -> type[SchedulerT]:
        return register_class("scheduler", name, cls, Scheduler, needs=("rates",))

    return decorate


@scheduler("constant")
@dataclass
class Constant(Scheduler):
    """lr stays."""

    def rates(
        self, lr: float, steps: NDArray[np.int64], steps_per_epoch: int, num_steps: int
    ) -> NDArray[np.floating[Any]]:
        """See ``Scheduler.rates``."""
        return np.full(len(steps), lr)


@scheduler("cosine")
@dataclass
class Cosine(Scheduler):
    """Half a cosine from lr to eta_min over the epochs after the warm-up."""

    eta_min: float = ranged(0.0, ge=0)

    def rates(
        self, lr: float, steps: NDArray[np.int64], steps_per_epoch: int, num_steps: int
    ) -> NDArray[np.floating[Any]]:
        """See ``Scheduler.rates``."""
        low = self.eta_min
        return low + (lr - low) * (1 + np.cos(np.pi * steps / num_steps)) / 2


@scheduler("step")
@dataclass
class StepDecay(Scheduler):
    """lr times gamma every step_size epochs."""

    step_size: int = ranged(10, ge=1)
    gamma: float = ranged(0.1, gt=0)

    def rates(
        self, lr: float, steps: NDArray[np.int64], steps_per_epoch: int, num_steps: int
    ) -> NDArray[np.floating[Any]]:
        """See ``Scheduler.rates``."""
        return lr * self.gamma ** (steps // (self.step_size * steps_per_epoch))


@scheduler("exponential")
@dataclass
class Exponential(Scheduler):
    """lr times gamma every epoch."""

    gamma: float = ranged(0.95, gt=0)

    def rates(
        self, lr: float, steps: NDArray[np.int64], steps_per_epoch: int, num_steps: int
    ) -> NDArray[np.floating[Any]]:
        """See ``Scheduler.rates``."""
        return lr * self.gamma ** (steps // steps_per_epoch)


def learning_rates(
    schedule: Scheduler,
    lr: float,
    steps: NDArray[np.int64],
    steps_per_epoch: int,
    epochs: int,
) -> NDArray[np.float64]:
    """The learning rates of the given steps, counted from 0 over the whole run.

    The same numbers as ``torch.optim.lr_scheduler.SequentialLR`` of ``LinearLR`` over the warm-up
    and, from its end, ``CosineAnnealingLR`` (T_max: the steps that are left), ``StepLR`` or
    ``ExponentialLR``. ``step_size`` and ``gamma`` count in epochs, the others change at each step.

    Raises:
        ConfigError: a scheduler of another package returns something else than finite rates of at
            least 0, one a step.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    num_steps = max(epochs * steps_per_epoch - warmup, 1)
    after = np.maximum(steps - warmup, 0)
    rates = _checked(schedule, schedule.rates(lr, after, steps_per_epoch, num_steps), len(steps))
    if warmup:
        start = schedule.warmup_start_factor
        ramp = lr * (start + (1 - start) * steps / warmup)
        rates = np.where(steps < warmup, ramp, rates)
    return rates.astype(np.float64)


def _checked(schedule: Scheduler, rates: object, count: int) -> NDArray[np.float64]:
    found = np.asarray(rates, dtype=np.float64)
    if found.shape != (count,):
        raise ConfigError(
            f"scheduler={schedule.name}: rates() must return one rate a step, shape ({count},), "
            f"not {found.shape}"
        )
    if not (found >= 0).all() or not np.isfinite(found).all():
        bad = found[~((found >= 0) & np.isfinite(found))][0]
        raise ConfigError(f"scheduler={schedule.name}: rates() returns {bad}; a rate is at least 0")
    return found
