"""What training minimises.

``train/loss`` is the loss chosen here, with whatever it adds; ``val/loss`` and ``test/loss`` are
the cross-entropy in any case, so that runs with different losses can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from omegaconf import MISSING

from nnexp.errors import ConfigError
from nnexp.hyperparameters import over_runs, shared
from nnexp.lazy import torch
from nnexp.registry import register_class

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

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        """Return the loss of each sample, [R, B]; its mean over B is minimised.

        Args:
            logits: [R, B, C] float32, of R runs; autograd follows what is done with it. No run and
                no sample may depend on another.
            labels: [R, B] int64, from 0 to C - 1.
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


def loss(name: str) -> Callable[[type[LossT]], type[LossT]]:
    """Register a training loss, a dataclass derived from ``Loss``, as ``loss=<name>``.

    Raises:
        ConfigError: the class is no such dataclass, lacks ``per_sample``, or the name is taken.
    """

    def decorate(cls: type[LossT]) -> type[LossT]:
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


class PerSampleLoss:
    """The losses of R runs by ``Loss.per_sample``, their gradient by autograd.

    It is called as ``nnexp.models.cross_entropy.TrainingLoss``.
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
        correct = own.max(1).indices == labels[:, 0, :rows]
        classes = _extended(labels[:, 0, :rows], ghosts)
        with torch.enable_grad():
            z = _extended(own.mT, ghosts).contiguous().requires_grad_()
            losses = self._loss.per_sample(z, classes, self._hyper_for(ghosts))
            self._check(losses, (runs + ghosts, rows))
            (grad,) = torch.autograd.grad(losses, z, torch.full_like(losses, 1 / rows))
        whole = torch.zeros_like(logits)
        whole[:, :, :rows] = grad[:runs].mT
        return whole, losses.detach()[:runs], correct

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
