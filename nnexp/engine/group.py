"""A group: runs trained together as one batched computation, and their evaluation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.data.coded import Classes, num_rows_of_epoch
from nnexp.data.on_device import Features
from nnexp.device import Precision, check_mode, matmul_precision, threads
from nnexp.engine.batches import batches, chunks, orders_of, padded
from nnexp.engine.cuda_graphs import Graphs, Loop, Stepwise
from nnexp.engine.objective import Objective, needs_metrics
from nnexp.engine.state import Epoch, Run, RunState
from nnexp.engine.step import Assembly
from nnexp.memory import EVALUATED_ROWS
from nnexp.models.protocol import BatchedNetwork, Network
from nnexp.optim import passes
from nnexp.optim.schedules import learning_rates

# --------------------------------------------------------------------------------------------------
# What networks say about rows that they are not trained on.
# --------------------------------------------------------------------------------------------------


def logits_of(net: BatchedNetwork, features: Features, rows: Tensor) -> Tensor:
    """Logits [R, C, N] of rows [R, N] of the table."""
    parts = []
    # So many at once, always, because a product's last bits can depend on its height.
    for chunk in torch.split(rows, EVALUATED_ROWS[rows.device.type], dim=1):
        size = chunk.shape[1]
        height = net.network.padded_rows(size)
        x = features.lookup(padded(chunk, height))
        parts.append(net.forward(x, size)[:, :, :size])
    return torch.cat(parts, 2)


# --------------------------------------------------------------------------------------------------
# A group: runs that train together, each to its own end.
# --------------------------------------------------------------------------------------------------

_FLOAT32 = Precision(torch.float32)


class Group:
    """Runs that train together.

    Args:
        runs: one network, precision, batch size, ``drop_last`` and number of rows; all else may
            differ.
        features: of the data table, on the device that trains.
        y: the table's classes [N], int64; of a regression the quantity, float64.
        network: of all runs.
        precision: of the matrix products. The last bits of bfloat16 can depend on the group.
        num_threads: CPU threads. With more than one, torch splits work by the size of the whole
            group, so that only a group of one has the same bits everywhere.
        states: of the runs, to go on from; they are not changed. None starts anew.
        weights: of the table's rows in training [N], float64; None: all count alike.

    Raises:
        ConfigError: as ``batches``.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        features: Features,
        y: Classes,
        network: Network,
        *,
        precision: Precision = _FLOAT32,
        num_threads: int = 1,
        states: Sequence[RunState] | None = None,
        weights: Tensor | None = None,
    ) -> None:
        if not y.is_cuda:
            check_mode()
        self.runs = runs
        self.network = network
        self._features, self._y, self._weights = features, y, weights
        self._precision = precision
        self._num_threads = num_threads
        begun = states or [RunState.initial(run.config, network) for run in runs]
        self.states = [state.to(y.device) for state in begun]
        if len({state.epoch for state in self.states if state.status == "running"}) > 1:
            raise ValueError("runs that train together must have done the same number of epochs")
        rows = num_rows_of_epoch(runs[0].train)
        self.batches = batches(rows, runs[0].config.trainer, network)

    def grads(self, run: int) -> Tensor:
        """The last gradients [P] of a run that has just trained, clipped if they are to be.

        Some optimizers add the weight decay to them.
        """
        return self._assembly.net.grads[self._members.index(run)]

    def train(self) -> Iterator[list[Epoch]]:
        """Train to the end, an epoch of every run at a time.

        Yields the epoch's records, a run each. Between two epochs ``states`` is up to date.
        """
        began = time.perf_counter()
        order = sorted(range(len(self.runs)), key=self._kinship)
        while alive := self._alive(order):
            self._assemble(alive)
            while not self._is_sparse(alive):
                epoch = self.states[alive[0]].epoch + 1
                with threads(self._num_threads), matmul_precision(self._precision):
                    numbers, rates, metrics = self._train_epoch(epoch, alive)
                seconds = time.perf_counter() - began
                yield self._recorded(alive, epoch, numbers.tolist(), rates, seconds, metrics)
                # What is done meanwhile, such as baselines of runs that have ended, is no training.
                began = time.perf_counter() - seconds
                alive = self._alive(alive)
            del self._assembly, self._loop  # before there are new ones

    def predict(self, runs: Sequence[int], rows: Tensor, *, best: bool = True) -> Tensor:
        """Logits [r, N, C] of r runs on rows [r, N] of the table, with their best weights or last.

        A run that has had no best epoch predicts with its last weights.
        """
        states = [self.states[run] for run in runs]
        pairs = [(state.best if best else None) or (state.params, state.stats) for state in states]
        params, stats = (torch.stack(flats) for flats in zip(*pairs, strict=True))
        configs = [self.runs[run].config for run in runs]
        seeds, models = [c.seed for c in configs], [c.model for c in configs]
        net = self.network.build(params, stats, seeds, models, self._precision.dtype, trains=False)
        with threads(self._num_threads), matmul_precision(self._precision):
            return logits_of(net, self._features.of(runs), rows).mT

    # ── who trains ────────────────────────────────────────────────────────────────────────────

    def _kinship(self, i: int) -> tuple[Any, ...]:
        """Runs whose optimizers make the same passes lie side by side, and of these the like."""
        config = self.runs[i].config
        return *passes(config.optimizer), repr(config.optimizer), repr(config.scheduler)

    def _alive(self, members: Sequence[int]) -> list[int]:
        return [i for i in members if self.states[i].status == "running"]

    def _is_sparse(self, alive: Sequence[int]) -> bool:
        """Whether the buffers are to be made anew for those that are left.

        On a GPU a run that has ended costs next to nothing, and new buffers a new capture: that is
        done at half, a quarter, ... of the runs. The others' numbers do not change.
        """
        if self._y.is_cuda:
            return len(alive) <= len(self._members) // 2
        return len(alive) < len(self._members)

    def _assemble(self, members: Sequence[int]) -> None:
        """Stack the runs' states into the buffers that train."""
        self._members = list(members)
        runs = [self.runs[i] for i in members]
        states = [self.states[i] for i in members]
        self._members_features = self._features.of(members)
        self._objective = Objective(runs, self._y, self._weights)
        self._assembly = Assembly(
            [run.config for run in runs],
            states,
            self._members_features,
            self.network,
            self._precision.dtype,
            weighted=self._objective.is_weighted,
        )
        trained = self.batches[-1][0] + self.batches[-1][1]
        self._orders = orders_of(runs, trained, self._y.device)
        self._val = torch.stack([run.val for run in runs])
        self._needs_metrics = needs_metrics(runs)
        # Of thousands of runs few have a schedule of their own.
        schedules = [_schedule(run) for run in runs]
        self._scheduled = dict(zip(schedules, runs, strict=True))
        places = {key: place for place, key in enumerate(self._scheduled)}
        self._schedules = [places[key] for key in schedules]
        self._loop = self._make_loop(runs)

    def _make_loop(self, runs: Sequence[Run]) -> Loop:
        can = self._y.is_cuda and self.network.can_be_captured
        if can and all(run.config.trainer.cuda_graphs for run in runs):
            return Graphs(self._assembly, self._y.device)
        return Stepwise(self._assembly)

    # ── one epoch ─────────────────────────────────────────────────────────────────────────────

    def _train_epoch(
        self, epoch: int, alive: Sequence[int]
    ) -> tuple[Tensor, list[float], list[float | None]]:
        """Mean loss and score over the rows trained on, then over the validation rows if one of
        the runs that are alive wants them now, [2 or 4, R] on the CPU; the last learning rates; the
        further metric of each run that chooses its epoch by one."""
        before = (epoch - 1) * len(self.batches)
        rates = self._learning_rates(before)
        self._assembly.prepare(before, rates)
        order = self._orders.rows(epoch)
        losses, correct = [], []
        for part in chunks(order, self._objective, self.batches[0][1], self.network):
            with contextlib.closing(self._members_features.windows(part.rows)) as windows:
                for steps, rows in windows:
                    index = part.first + steps.start
                    loss, right = self._loop.run(
                        rows, part.labels[steps], part.size, index, before + index
                    )
                    losses.append(loss)
                    correct.append(right)
        found = [*self._objective.means(torch.cat(losses, 1), torch.cat(correct, 1))]
        metrics: list[float | None] = [None] * len(self._members)
        if any(self.runs[i].is_due(epoch) for i in alive):
            logits = logits_of(self._assembly.net, self._members_features, self._val)
            found += self._objective.means(*self._objective.losses(logits, self._val))
            if self._needs_metrics:
                due = [i in alive and self.runs[i].is_due(epoch) for i in self._members]
                metrics = self._objective.selecting(logits, self._val, due)
        numbers = torch.stack(found).cpu()  # a GPU is waited for here alone, but for metrics
        return numbers, rates[-1].tolist(), metrics

    def _learning_rates(self, first: int) -> Tensor:
        """Of the epoch's steps, [S, R], float64, on the CPU."""
        steps = np.arange(first, first + len(self.batches))
        configs = [run.config for run in self._scheduled.values()]
        rates = [
            learning_rates(c.scheduler, c.optimizer.lr, steps, len(steps), c.trainer.epochs)
            for c in configs
        ]
        return torch.from_numpy(np.stack(rates, axis=1)[:, self._schedules])

    # ── what comes of it ──────────────────────────────────────────────────────────────────────

    def _recorded(
        self,
        alive: Sequence[int],
        epoch: int,
        numbers: list[list[float]],
        rates: list[float],
        seconds: float,
        metrics: Sequence[float | None],
    ) -> list[Epoch]:
        """The epoch's records of the runs that are alive, whose states take them in."""
        records, best = [], []
        rows = {i: row for row, i in enumerate(self._members)}
        for i in alive:
            row, run, state = rows[i], self.runs[i], self.states[i]
            state.epoch, state.step = epoch, state.step + len(self.batches)
            train_loss, train_score, *val = (of_runs[row] for of_runs in numbers)
            val_loss, val_score = val if run.is_due(epoch) else (None, None)
            record = Epoch(
                i, epoch, state.step, train_loss, train_score,
                val_loss, val_score, rates[row], seconds, val_metric=metrics[row],
            )  # fmt: skip
            records.append(state.judge(record, run.config))
            if records[-1].is_best:
                best.append(row)
        self._assembly.keep_best(best)
        left = self._alive(alive)
        if left:  # else the buffers go with the last of them
            for i in set(alive).difference(left):
                self.states[i].leave()
        return sorted(records, key=lambda record: record.run)


def _schedule(run: Run) -> tuple[Any, ...]:
    """What decides a run's learning rates."""
    config = run.config
    return repr(config.scheduler), config.optimizer.lr, config.trainer.epochs
