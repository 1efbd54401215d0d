"""The losses of a regression, of the error of each sample, with their gradient written out.

Errors are those of the standardised target: an error of 1 is a standard deviation of the training
samples. All operations are correctly rounded one by one, so that a sample's bits depend on nothing
but its own error.

Axes: R runs, B samples of a batch, M rows of its buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import ranged
from nnexp.hyperparameters import over_runs
from nnexp.lazy import torch
from nnexp.models.losses import Loss, loss
from nnexp.tasks import REGRESSION

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ErrorLoss(Loss):
    """Base of the losses that are a function of the error alone, prediction minus target."""

    def of_errors(self, errors: Tensor, hyper: Any) -> tuple[Tensor, Tensor]:
        """Return the losses and their derivatives, of errors [R, B]; ``hyper`` as in ``Loss``."""
        raise NotImplementedError

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        """See ``Loss.per_sample``."""
        return self.of_errors(logits - labels, hyper)[0]


@loss("squared_error", task=REGRESSION)
@dataclass
class SquaredError(ErrorLoss):
    """The squared error, whose best prediction is the mean: as ``torch.nn.MSELoss``."""

    def of_errors(self, errors: Tensor, hyper: Any) -> tuple[Tensor, Tensor]:
        """See ``ErrorLoss.of_errors``."""
        return errors.square(), errors * 2


@loss("absolute_error", task=REGRESSION)
@dataclass
class AbsoluteError(ErrorLoss):
    """The absolute error, whose best prediction is the median: as ``torch.nn.L1Loss``."""

    def of_errors(self, errors: Tensor, hyper: Any) -> tuple[Tensor, Tensor]:
        """See ``ErrorLoss.of_errors``."""
        return errors.abs(), errors.sign()


@loss("huber", task=REGRESSION)
@dataclass
class Huber(ErrorLoss):
    """Half the squared error up to ``delta``, and from there on a line (Huber 1964): as
    ``torch.nn.HuberLoss``. Outliers pull less than by their square."""

    delta: float = ranged(1.0, gt=0)  # standard deviations of the target

    def of_errors(self, errors: Tensor, hyper: Any) -> tuple[Tensor, Tensor]:
        """See ``ErrorLoss.of_errors``."""
        slope = torch.minimum(torch.maximum(errors, -hyper.delta), hyper.delta)
        # Within delta the slope is the error: half its square. Beyond: delta * (|error| - delta/2).
        return slope * (errors - slope * 0.5), slope


@loss("quantile", task=REGRESSION)
@dataclass
class Quantile(ErrorLoss):
    """The pinball loss, whose best prediction is a quantile (Koenker and Bassett 1978)."""

    q: float = ranged(0.5, gt=0, lt=1)  # 0.9: nine of ten values lie below the prediction

    def of_errors(self, errors: Tensor, hyper: Any) -> tuple[Tensor, Tensor]:
        """See ``ErrorLoss.of_errors``."""
        slope = torch.where(errors > 0, 1 - hyper.q, -hyper.q)
        slope = torch.where(errors == 0, torch.zeros_like(slope), slope)
        return errors * slope, slope


class TrainingErrorLoss:
    """The losses of R runs by ``ErrorLoss.of_errors``, called as
    ``nnexp.models.losses.PerSampleLoss``.

    Args:
        losses: of the runs, all of one class.
        like: says which device and type the hyperparameters are of.
    """

    def __init__(self, losses: Sequence[ErrorLoss], like: Tensor) -> None:
        self._loss = losses[0]
        self._hyper = over_runs(losses, like)

    def __call__(
        self, outputs: Tensor, targets: Tensor, rows: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of the first ``rows`` rows, [R, 1, M], zero beyond them;
        the losses and the squared errors [R, rows].

        ``outputs`` and ``targets`` [R, 1, M] are float32 and not changed.
        """
        errors = outputs[:, 0, :rows] - targets[:, 0, :rows]
        losses, slope = self._loss.of_errors(errors, self._hyper)
        grad = torch.zeros_like(outputs)
        torch.mul(slope, 1 / rows, out=grad[:, 0, :rows])
        return grad, losses, errors.square()
