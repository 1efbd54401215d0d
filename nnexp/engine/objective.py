"""What runs are asked of the rows of a table, and how well they answer, by their task.

Axes: R runs, N rows, C outputs of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnexp.config.schema import Config
from nnexp.data.coded import Classes
from nnexp.data.targets import TargetScaling
from nnexp.device import threads
from nnexp.engine.state import Run
from nnexp.metrics import METRICS, measured
from nnexp.models.cross_entropy import TrainingLoss, cross_entropy
from nnexp.models.losses import CrossEntropy, PerSampleLoss
from nnexp.models.regression_losses import ErrorLoss, TrainingErrorLoss
from nnexp.tasks import REGRESSION

BatchLoss = TrainingLoss | PerSampleLoss | TrainingErrorLoss


def batch_loss(configs: Sequence[Config], params: Tensor) -> BatchLoss:
    """What R runs minimise on a batch without weights; all have losses of one class."""
    first = configs[0].loss
    if type(first) is CrossEntropy:
        smoothing = [config.trainer.label_smoothing for config in configs]
        return TrainingLoss(torch.tensor(smoothing, dtype=torch.float32, device=params.device))
    errors = [config.loss for config in configs if isinstance(config.loss, ErrorLoss)]
    if len(errors) == len(configs):
        return TrainingErrorLoss(errors, params)
    return PerSampleLoss([config.loss for config in configs], params)


class Objective:
    """The right answers of the table's rows for R runs, and what becomes of theirs.

    Args:
        runs: all of one task.
        y: the classes of the table's rows, or the quantity, float64, which each run sees
            standardised in its own way.
        weights: of the table's rows [N], float64; None: all count alike.
    """

    def __init__(self, runs: Sequence[Run], y: Classes, weights: Tensor | None = None) -> None:
        self._runs = runs
        self._y = y
        self._weights = weights
        self._class_weights = _stacked_weights(runs, y)
        self._is_regression = runs[0].config.kind_of_task.name == REGRESSION
        if self._is_regression:
            scalings = [run.target for run in runs if run.target is not None]
            assert len(scalings) == len(runs), "a regression's target is standardised"
            column = [[scaling.mean, scaling.std] for scaling in scalings]
            table = torch.tensor(column, dtype=torch.float64, device=y.device)
            self._mean, self._std = table[:, :1], table[:, 1:]  # [R, 1]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The answers [..., R, N] of rows [..., R, N]: classes in int64, or standardised values in
        float32."""
        found = self._y[rows]
        if self._is_regression:
            return ((found - self._mean) / self._std).float()
        return found

    @property
    def is_weighted(self) -> bool:
        """Whether some rows count more than others for one of the runs."""
        return self._weights is not None or self._class_weights is not None

    def batches(self, rows: Tensor, size: int) -> Tensor:
        """The answers [S, R, 1, M] for batches of rows [S, R, M] of which the first ``size`` count;
        or, of weighted rows, answers and weights [S, R, 2, M] in float32."""
        answers = self[rows]
        if not self.is_weighted:
            return answers.unsqueeze(2)
        return torch.stack([answers.float(), self._batch_weights(rows, size)], 2)

    def _batch_weights(self, rows: Tensor, size: int) -> Tensor:
        """Weights [S, R, M] float32, whose mean over a batch is 1, so that the loss is the weighted
        mean (as ``torch.nn.CrossEntropyLoss``), and exactly 1 for a run without weights."""
        weights = torch.ones(rows.shape, dtype=torch.float64, device=rows.device)
        if self._weights is not None:
            weights *= self._weights[rows]
        if self._class_weights is not None:
            found = self._y[rows]
            expanded = self._class_weights.unsqueeze(0).expand(len(rows), -1, -1)
            weights *= expanded.gather(2, found)
        counted = weights[:, :, :size]
        if counted.is_cuda:
            total = counted.sum(2, keepdim=True)
        else:  # each row's sum by itself, however many there are
            total = torch.from_numpy(np.add.reduce(counted.numpy(), axis=2, keepdims=True))
        return torch.where(total > 0, weights * (size / total), 0.0).float()

    def losses(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and what the score is made from, both [R, N], of logits [R, C, N] for rows [R, N]:
        cross-entropy and whether the likeliest class is right, or squared errors twice."""
        if self._is_regression:
            errors = (logits[:, 0] - self[rows]).square()
            return errors, errors
        return cross_entropy(logits, self[rows])

    def means(self, losses: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss [R] and score [R], float64: accuracy, or root mean squared error in the unit of
        the target."""
        loss, score = mean_loss_and_score(losses, scored)
        if self._is_regression:
            score = score.sqrt() * self._std[:, 0]
        return loss, score

    def selecting(self, logits: Tensor, rows: Tensor, wanted: Sequence[bool]) -> list[float | None]:
        """The further metric of each run that chooses its epoch by one, and is wanted, else None.

        Args:
            logits: [R, C, N] of the validation rows [R, N].
        """
        found: list[float | None] = [None] * len(self._runs)
        for place, run in enumerate(self._runs):
            name = run.selection.metric
            if name is not None and wanted[place]:
                said = answers(logits[place].mT, run.target)
                right = self._y[rows[place]].cpu().numpy()
                of = f"the network on validation rows (seed {run.config.seed})"
                found[place] = measured([name], said, right, of)[name]
        return found


def mean_loss_and_score(losses: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Means [R], float64, of losses and of what the score is made from, both [R, N].

    On one thread: torch cuts a sum to a single number, that of a run alone, by their number.
    """
    with threads(1):
        return losses.double().mean(1), scored.double().mean(1)


class WeightedLoss:
    """A loss whose batches ``Objective.batches`` has weighted."""

    def __init__(self, loss: BatchLoss, *, of_classes: bool) -> None:
        self._loss, self._of_classes = loss, of_classes

    def __call__(self, logits: Tensor, labels: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """As the loss itself; ``labels`` [R, 2, M] are answers and weights."""
        answers, weights = labels[:, :1], labels[:, 1:]
        grad, losses, scored = self._loss(
            logits, answers.long() if self._of_classes else answers, rows
        )
        return grad * weights, losses * weights[:, 0, :rows], scored


def _stacked_weights(runs: Sequence[Run], y: Classes) -> Tensor | None:
    """Of the classes [R, C]; None if no run has weights."""
    known = next((run.class_weights for run in runs if run.class_weights is not None), None)
    if known is None:
        return None
    alike = torch.ones_like(known)
    table = [alike if run.class_weights is None else run.class_weights for run in runs]
    return torch.stack(table).to(y.device)


def answers(logits: Tensor, target: TargetScaling | None) -> NDArray[Any]:
    """What a network says of rows, as metrics take it: probabilities [N, C] of logits [N, C], or of
    a regression predictions [N] in the unit of the target, float64."""
    if target is not None:
        return target.restored(logits[:, 0].double().cpu().numpy())
    probabilities: NDArray[Any] = logits.float().softmax(1).cpu().numpy()
    return probabilities


def needs_metrics(runs: Sequence[Run]) -> bool:
    """Whether a run chooses its epoch by a metric that the engine does not compute anyway."""
    return any(run.selection.metric in METRICS for run in runs)
