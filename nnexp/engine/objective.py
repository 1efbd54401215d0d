"""What runs are asked of the rows of a table, and how well they answer, by their task.

Axes: R runs, N rows, C outputs of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    """What R runs minimise on a batch; all have losses of one class."""
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
    """

    def __init__(self, runs: Sequence[Run], y: Classes) -> None:
        self._runs = runs
        self._y = y
        self._is_regression = runs[0].config.kind_of_task.name == REGRESSION
        if self._is_regression:
            scalings = [run.target for run in runs if run.target is not None]
            assert len(scalings) == len(runs), "a regression's target is standardised"
            column = [[scaling.mean, scaling.std] for scaling in scalings]
            device = y.device if isinstance(y, Tensor) else None
            table = torch.tensor(column, dtype=torch.float64, device=device)
            self._mean, self._std = table[:, :1], table[:, 1:]  # [R, 1]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The answers [..., R, N] of rows [..., R, N]: classes in int64, or standardised values in
        float32."""
        found = self._y[rows]
        if self._is_regression:
            return ((found - self._mean) / self._std).float()
        return found

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
