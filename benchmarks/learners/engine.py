"""nnexp's engine, in groups of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from learners.epochs import Progress
from learners.work import LEARNING_RATE, Data, Task, Work
from nnexp.config.schema import Adam, BundledConfig, Config, Constant, ModelConfig, TrainerConfig
from nnexp.data.on_device import Floats
from nnexp.device import resolve_precision, resolve_threads
from nnexp.engine import Group, Run
from nnexp.models.layout import Structure


def config_of(work: Work, eval_every: int | None = None) -> Config:
    """The config of the work's run with seed 0."""
    return Config(
        seed=0,
        model=ModelConfig(name="mlp", hidden=list(work.widths[1:-1]), dropout=work.dropout),
        optimizer=Adam(name="adam", lr=LEARNING_RATE),
        scheduler=Constant(name="constant"),
        dataset=BundledConfig(name="benchmark"),
        trainer=TrainerConfig(
            epochs=work.epochs,
            batch_size=work.batch_size,
            eval_every=eval_every or work.epochs,
            precision=work.precision,
        ),
    )


def structure_of(work: Work) -> Structure:
    """The work's network."""
    return Structure(work.widths[0], tuple(work.widths[1:-1]), work.widths[-1])


def own_threads(work: Work) -> int:
    """The number of threads that nnexp chooses for one run by itself."""
    return resolve_threads(config_of(work).trainer, structure_of(work).flops_per_row())


def group_of(
    work: Work,
    x: Tensor,
    y: Tensor,
    num_train: int,
    seeds: Sequence[int],
    num_threads: int,
    eval_every: int | None = None,
) -> Group:
    """Runs, one a seed, on the first ``num_train`` rows of a table [M, D]."""
    config = config_of(work, eval_every)
    rows = torch.arange(len(x), device=x.device)
    runs = [Run(replace(config, seed=s), rows[:num_train], rows[num_train:]) for s in seeds]
    return Group(
        runs,
        Floats(x),
        y,
        structure_of(work),
        precision=resolve_precision(work.precision, x.device),
        num_threads=num_threads,
    )


def last_losses(group: Group) -> list[float]:
    """Train a group to the end; each run's mean training loss of the last epoch."""
    for records in group.train():
        losses = [record.train_loss for record in records]
    return losses


def engine_runs(task: Task) -> list[float]:
    """Groups of ``task.together`` runs, one group after the other."""
    x, y = torch.from_numpy(task.data.x), torch.from_numpy(task.data.y)
    losses = []
    for first in range(0, len(task.seeds), task.together):
        seeds = task.seeds[first : first + task.together]
        group = group_of(task.work, x, y, task.data.num_train, seeds, task.threads, task.eval_every)
        losses += last_losses(group)
    return losses


class Engine:
    """nnexp's engine as a learner that yields its epochs. Every training starts with a new group,
    so that what that costs, capturing CUDA graphs included, is in its time."""

    def __init__(self, work: Work, data: Data, device: torch.device) -> None:
        self._work, self._num_train = work, data.num_train
        self._x, self._y = (torch.from_numpy(part).to(device) for part in (data.x, data.y))

    def train(self, seeds: Sequence[int], eval_every: int) -> Iterator[Progress]:
        """Runs, one a seed, together."""
        threads = own_threads(self._work)
        group = group_of(self._work, self._x, self._y, self._num_train, seeds, threads, eval_every)
        for records in group.train():
            accuracies = [r.val_score for r in records if r.val_score is not None]
            yield Progress([r.train_loss for r in records], accuracies or None)
