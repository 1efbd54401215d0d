"""What training minimises.

``train/loss`` is the loss chosen here, with whatever it adds; ``val/loss`` and ``test/loss`` are
the cross-entropy in any case, and of a regression the squared error of the standardised target, so
that runs with different losses can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from omegaconf import MISSING

from nnexp.errors import ConfigError, did_you_mean
from nnexp.hyperparameters import over_runs, shared
from nnexp.lazy import torch
from nnexp.registry import register_class
from nnexp.tasks import CLASSIFICATION, REGRESSION, TASKS

if TYPE_CHECKING:
    from torch import Tensor

LossT = TypeVar("LossT", bound="Loss")

# Elements behind the last run's. In the last few of a buffer torch's vectorised functions round
# differently: those are left to copies that nobody reads.
_GHOSTS = 64


@dataclass
class Loss:
    """Base of all training losses: a dataclass of hyperparameters with the loss of each sample."""

    name: str = MISSING
    task: ClassVar[str] = CLASSIFICATION
    """What it is a loss of: classification or regression."""

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        """Return the loss of each sample, [R, B]; its mean over B is minimised.

        Args:
            logits: [R, B, C] float32, of R runs; autograd follows what is done with it. No run and
                no sample may depend on another. Of a regression [R, B]: the predicted values.
            labels: [R, B] int64, from 0 to C - 1. Of a regression float32: the target, standardised
                on the training samples.
            hyper: the fields by name. A float is a tensor [R, 1]; anything else is the plain
                value, which all R runs share.
        """
        raise NotImplementedError

    def batch_key(self) -> str:
        """Name and options that runs must agree on to be trained in one batch: those whose values
        are no floats. ``focal`` or ``focal reduction='sum'``."""
        names = [field.name for field in fields(self)]
        said = [
            f"{name}={words}"
            for name, words in zip(names, shared(self), strict=True)
            if name != "name" and words != "float"
        ]
        return " ".join([self.name, *said])


def loss(name: str, *, task: str = CLASSIFICATION) -> Callable[[type[LossT]], type[LossT]]:
    """Register a training loss, a dataclass derived from ``Loss``, as ``loss=<name>``.

    Args:
        task: what it is a loss of, ``classification`` or ``regression``.

    Raises:
        ConfigError: the class is no such dataclass, lacks ``per_sample``, or the name is taken; or
            there is no such task.
    """

    def decorate(cls: type[LossT]) -> type[LossT]:
        if task not in TASKS:
            known = ", ".join(TASKS)
            raise ConfigError(
                f"loss {name}: task={task}: must be one of {known}{did_you_mean(task, TASKS)}"
            )
        cls.task = task
        return register_class("loss", name, cls, Loss, needs=("per_sample",))

    return decorate


@loss("cross_entropy")
@dataclass
class CrossEntropy(Loss):
    """Softmax cross-entropy, smoothed by ``trainer.label_smoothing``."""

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        """Without smoothing. The engine has a faster way, with its gradient written out:
        ``nnexp.models.cross_entropy.TrainingLoss``."""
        return -logits.log_softmax(2).gather(2, labels.unsqueeze(2)).squeeze(2)


@loss("auto")
@dataclass
class LossOfTask(Loss):
    """The loss of the task: cross_entropy for classification, squared_error for regression. A
    config has it replaced before anything is trained."""

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        """Never called."""
        raise NotImplementedError


class PerSampleLoss:
    """The losses of R runs by ``Loss.per_sample``, their gradient by autograd.

    It is called as ``nnexp.models.cross_entropy.TrainingLoss``; of a regression ``labels`` are the
    targets [R, 1, M] float32, and the third of what it returns is the squared error [R, rows].
    """

    def __init__(self, losses: Sequence[Loss], like: Tensor) -> None:
        self._loss = losses[0]
        self._hyper = over_runs(losses, like)
        self._extended: dict[int, SimpleNamespace] = {}

    def __call__(self, logits: Tensor, labels: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of the first ``rows`` rows, [R, C, M], zero beyond them;
        the losses [R, rows]; whether the likeliest class is right [R, rows].

        ``logits`` [R, C, M] is float32 and not changed; ``labels`` [R, 1, M] is int64.

        Raises:
            ConfigError: ``per_sample`` returns another shape, or nothing that has a gradient.
        """
        runs = len(logits)
        ghosts = 0 if logits.is_cuda else -(-_GHOSTS // rows)  # of the losses [R, B] too
        own = logits[:, :, :rows]
        targets = labels[:, 0, :rows]
        is_regression = self._loss.task == REGRESSION
        score = (own[:, 0] - targets).square() if is_regression else own.max(1).indices == targets
        with torch.enable_grad():
            z = _extended(own.mT, ghosts).contiguous().requires_grad_()
            said = z[:, :, 0] if is_regression else z
            losses = self._loss.per_sample(
                said, _extended(targets, ghosts), self._hyper_for(ghosts)
            )
            self._check(losses, (runs + ghosts, rows))
            (grad,) = torch.autograd.grad(losses, z, torch.full_like(losses, 1 / rows))
        whole = torch.zeros_like(logits)
        whole[:, :, :rows] = grad[:runs].mT
        return whole, losses.detach()[:runs], score

    def _hyper_for(self, ghosts: int) -> SimpleNamespace:
        if ghosts not in self._extended:
            values = {name: _extended(value, ghosts) for name, value in vars(self._hyper).items()}
            self._extended[ghosts] = SimpleNamespace(**values)
        return self._extended[ghosts]

    def _check(self, losses: object, shape: tuple[int, int]) -> None:
        where = f"loss={self._loss.name}: per_sample()"
        if not isinstance(losses, torch.Tensor) or tuple(losses.shape) != shape:
            found: object = type(losses).__name__
            if isinstance(losses, torch.Tensor):
                found = list(losses.shape)
            raise ConfigError(
                f"{where} must return a loss a sample, [R, B] = {list(shape)}, not {found}"
            )
        if not losses.requires_grad:
            raise ConfigError(f"{where} returns what does not depend on the logits")


def _extended(value: Any, ghosts: int) -> Any:
    """The last run repeated behind it."""
    if isinstance(value, list):
        return [_extended(item, ghosts) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    return torch.cat([value, value[-1:].expand(ghosts, *value.shape[1:])])
