"""What the engine is given of a run, and what it makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nnexp.config.schema import Config, EarlyStoppingConfig
from nnexp.config.selections import Selection, selection
from nnexp.data.coded import TrainRows
from nnexp.data.targets import TargetScaling
from nnexp.models.protocol import Network


@dataclass(frozen=True)
class Run:
    """What one run trains: its config, and its rows as int64 indices into the data table."""

    config: Config
    train: TrainRows  # [N]
    val: Tensor  # [N]
    target: TargetScaling | None = None  # of a regression
    class_weights: Tensor | None = None  # [C] float64; None: all classes count alike

    @property
    def selection(self) -> Selection:
        """By which the kept epoch is chosen."""
        return selection(self.config.trainer.select, self.config.kind_of_task)

    def is_due(self, epoch: int) -> bool:
        """Whether the run is evaluated after this epoch."""
        trainer = self.config.trainer
        return epoch % trainer.eval_every == 0 or epoch == trainer.epochs


@dataclass(frozen=True)
class Epoch:
    """What one run did in one epoch. Of a classification losses are in nats and scores accuracies,
    fractions; of a regression losses are of the standardised target, and scores root mean squared
    errors in the unit of the target."""

    run: int  # place in the group's list of runs
    epoch: int  # counted from 1
    step: int  # batches trained on since the start
    train_loss: float  # mean over the epoch's batches as they were trained on
    train_score: float
    val_loss: float | None  # None in an epoch without evaluation
    val_score: float | None
    lr: float  # of the last step
    seconds: float  # of training, since it began; not of what was done between two epochs
    is_best: bool = False  # by trainer.select the best so far: its weights are kept
    val_metric: float | None = None  # the further metric that trainer.select names

    @property
    def is_finite(self) -> bool:
        """Whether its losses are; else the run has diverged."""
        return math.isfinite(self.train_loss) and math.isfinite(self.val_loss or 0.0)

    def unvalidated(self) -> Epoch:
        """The same of a run without validation rows."""
        return replace(self, val_loss=None, val_score=None, val_metric=None)


@dataclass
class RunState:
    """All that training has made of one run: enough to go on from."""

    params: Tensor  # [P]
    stats: Tensor  # [S]
    optimizer: dict[str, Tensor] = field(default_factory=dict)  # torch.optim's names, each [P]
    epoch: int = 0
    step: int = 0
    best_params: Tensor | None = None
    best_stats: Tensor | None = None
    best_epoch: int | None = None
    best_score: float = math.inf  # what trainer.select compares with, smaller being better
    stopping_best: float = math.inf  # what early stopping compares with, likewise
    stale: int = 0  # evaluations since it improved
    status: str = "running"  # completed or diverged in the end

    @classmethod
    def initial(cls, config: Config, network: Network) -> RunState:
        """Before the first step, on the CPU."""
        return cls(*network.initial(config.model, config.seed))

    @property
    def best(self) -> tuple[Tensor, Tensor] | None:
        """Parameters [P] and statistics [S] of the best epoch by ``trainer.select``, once there has
        been one."""
        if self.best_params is None or self.best_stats is None:
            return None
        return self.best_params, self.best_stats

    def judge(self, epoch: Epoch, config: Config) -> Epoch:
        """Take in an epoch's numbers, and whether they end the run.

        Returns:
            The epoch's record, which says whether it is the best so far.
        """
        trainer = config.trainer
        is_best = self._is_best(epoch, selection(trainer.select, config.kind_of_task))
        if not epoch.is_finite:
            self.status = "diverged"
        elif epoch.epoch == trainer.epochs or (
            epoch.val_loss is not None
            and (
                epoch.train_loss <= (trainer.require_train_loss or -math.inf)
                or self._stops(trainer.early_stopping, epoch)
            )
        ):
            self.status = "completed"
        return replace(epoch, is_best=True) if is_best else epoch

    def _is_best(self, epoch: Epoch, rule: Selection) -> bool:
        """Whether no epoch so far was better; it is then the one to beat.

        An epoch without evaluation never is, also for ``last``: nobody knows whether the weights
        after its last step are sound, and a result has the validation metrics of its epoch. The
        last epoch of a run that completes is always evaluated.
        """
        if epoch.val_loss is None or not epoch.is_finite:
            return False
        score = rule.score(_deciding(epoch, rule))
        if score > self.best_score:
            return False
        self.best_score, self.best_epoch = score, epoch.epoch
        return True

    def _stops(self, rule: EarlyStoppingConfig, epoch: Epoch) -> bool:
        """Whether early stopping ends the run after this evaluation."""
        if rule.patience is None:
            return False
        value = {"train/loss": epoch.train_loss, "val/loss": epoch.val_loss}.get(
            rule.metric, epoch.val_score
        )
        assert value is not None  # the epoch was evaluated
        score = -value if rule.metric == "val/acc" else value
        if score < self.stopping_best - rule.min_delta:
            self.stopping_best, self.stale = score, 0
        else:
            self.stale += 1
        return self.stale >= rule.patience

    def leave(self) -> None:
        """Take what is the run's out of the group's buffers, so that those can be given back."""
        self.params, self.stats = self.params.clone(), self.stats.clone()
        self.optimizer = {name: tensor.clone() for name, tensor in self.optimizer.items()}
        if self.best_params is not None and self.best_stats is not None:
            self.best_params, self.best_stats = self.best_params.clone(), self.best_stats.clone()

    def forget(self) -> None:
        """Give all tensors back: nobody will go on from here, nor predict."""
        self.params = self.stats = self.params.new_empty(0)
        self.best_params = self.best_stats = None
        self.optimizer = {}

    def to(self, device: torch.device) -> RunState:
        """A state of its own on ``device``; tensors that are there already are shared."""

        def move(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            params=move(self.params),
            stats=move(self.stats),
            optimizer={name: move(tensor) for name, tensor in self.optimizer.items()},
            best_params=move(self.best_params),
            best_stats=move(self.best_stats),
        )


def _deciding(epoch: Epoch, rule: Selection) -> float | None:
    """The number of an epoch that the rule goes by."""
    if rule.metric is not None:
        return epoch.val_metric
    known = {"epoch": float(epoch.epoch), "val/loss": epoch.val_loss}
    return known.get(rule.key, epoch.val_score)
