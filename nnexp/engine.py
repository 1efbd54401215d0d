"""The training loop: runs of one structure, trained together. A single run is a group of one.

Each run keeps its own numbers, random streams, hyperparameters and fate. Runs share only the data
table, the structure and the sizes that make their tensors stack.

Axes: R runs, N rows, B rows of a batch, M >= B rows of the buffers, D inputs, C classes, P numbers
in a run's row of the flat buffers.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.config.schema import Config, EarlyStoppingConfig, TrainerConfig
from nnexp.devices import threads
from nnexp.errors import ConfigError
from nnexp.models.dropout import Dropout
from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.loss import TrainingLoss, cross_entropy
from nnexp.models.mlp import MLP
from nnexp.models.structure import Structure
from nnexp.optimizers import make_optimizers, passes
from nnexp.randomness import generator
from nnexp.schedulers import learning_rates

# Rows evaluated at once. Fixed, because a product's last bits can depend on its height.
_EVALUATED_ROWS = {"cpu": 256, "cuda": 8192}


@dataclass(frozen=True)
class Run:
    """What one run trains: its config, and its rows as int64 indices into the data table."""

    config: Config
    train: Tensor  # [N]
    val: Tensor  # [N]


@dataclass(frozen=True)
class Epoch:
    """What one run did in one epoch. A loss is in nats, an accuracy a fraction."""

    run: int  # place in the group's list of runs
    epoch: int  # counted from 1
    step: int  # batches trained on since the start
    train_loss: float  # mean over the epoch's batches as they were trained on
    train_acc: float
    val_loss: float | None  # None in an epoch without evaluation
    val_acc: float | None
    lr: float  # of the last step
    seconds: float  # since training began
    is_best: bool  # lowest validation loss so far


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
    best_loss: float = math.inf
    stopping_best: float = math.inf  # what early stopping compares with, smaller being better
    stale: int = 0  # evaluations since it improved
    status: str = "running"  # completed or diverged in the end

    @property
    def best(self) -> tuple[Tensor, Tensor] | None:
        """Parameters [P] and statistics [S] of the best epoch, once there has been one."""
        if self.best_params is None or self.best_stats is None:
            return None
        return self.best_params, self.best_stats

    def leave(self) -> None:
        """Take what is the run's out of the group's buffers, so that those can be given back."""
        self.params, self.stats = self.params.clone(), self.stats.clone()
        self.optimizer = {name: tensor.clone() for name, tensor in self.optimizer.items()}

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


class Group:
    """Runs that train together.

    Args:
        runs: one structure, precision, batch size, ``drop_last`` and number of rows; all else may
            differ.
        x: the data table [N, D], float32, on the device that trains.
        y: its classes [N], int64.
        structure: of all runs.
        dtype: of the matrix products. The last bits of bfloat16 can depend on the group.
        num_threads: CPU threads. With more than one, torch splits work by the size of the whole
            group, so that only a group of one has the same bits everywhere.
        states: of the runs, to go on from; they are not changed. None starts anew.

    Raises:
        ConfigError: as ``batches``.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        x: Tensor,
        y: Tensor,
        structure: Structure,
        *,
        dtype: torch.dtype = torch.float32,
        num_threads: int = 1,
        states: Sequence[RunState] | None = None,
    ) -> None:
        self.runs = runs
        self.structure = structure
        self._x, self._y = x, y
        self._dtype = dtype
        self._num_threads = num_threads
        begun = states or [_initial_state(run.config, structure) for run in runs]
        self.states = [state.to(x.device) for state in begun]
        if len({state.epoch for state in self.states if state.status == "running"}) > 1:
            raise ValueError("runs that train together must have done the same number of epochs")
        self.batches = batches(len(runs[0].train), runs[0].config.trainer, structure)

    def grads(self, run: int) -> Tensor:
        """The last gradients [P] of a run that has just trained, clipped if they are to be.

        Some optimizers add the weight decay to them.
        """
        return self._mlp.grads[self._members.index(run)]

    def train(self) -> Iterator[list[Epoch]]:
        """Train to the end, an epoch of every run at a time.

        Yields the epoch's records, a run each. Between two epochs ``states`` is up to date.
        """
        began = time.perf_counter()
        order = sorted(range(len(self.runs)), key=self._kinship)
        members = [i for i in order if self.states[i].status == "running"]
        while members:
            self._assemble(members)
            while all(self.states[i].status == "running" for i in members):
                epoch = self.states[members[0]].epoch + 1
                with threads(self._num_threads):
                    losses, rights, rates = self._train_epoch(epoch)
                    evaluated = self._evaluate_due(epoch)
                self._keep_states()
                seconds = time.perf_counter() - began
                records = []
                for row, i in enumerate(members):
                    val = evaluated if self._is_due(i, epoch) else None
                    records.append(
                        self._record(
                            i, row, float(losses[row]), float(rights[row]), val, rates[row], seconds
                        )
                    )
                yield sorted(records, key=lambda record: record.run)
            members = [i for i in members if self.states[i].status == "running"]

    def predict(self, runs: Sequence[int], rows: Tensor, *, best: bool = True) -> Tensor:
        """Logits [r, N, C] of r runs on rows [r, N] of the table, with their best weights or last.

        A run that has had no best epoch predicts with its last weights.
        """
        states = [self.states[run] for run in runs]
        pairs = [(state.best if best else None) or (state.params, state.stats) for state in states]
        params, stats = (torch.stack(flats) for flats in zip(*pairs, strict=True))
        mlp = MLP(self.structure, params, stats, dtype=self._dtype)
        with threads(self._num_threads):
            return self._logits(mlp, rows).mT

    def _kinship(self, i: int) -> tuple[Any, ...]:
        """Runs whose optimizers make the same passes lie side by side, and of these the like."""
        config = self.runs[i].config
        return *passes(config.optimizer), repr(config.optimizer), repr(config.scheduler)

    # ── one epoch ─────────────────────────────────────────────────────────────────────────────

    def _train_epoch(self, epoch: int) -> tuple[Tensor, Tensor, list[float]]:
        """Mean loss [R] and accuracy [R], on the CPU, and the last learning rates."""
        mlp = self._mlp
        first = (epoch - 1) * len(self.batches)
        rates = self._learning_rates(first)
        for members, optimizer in self._optimizers:
            optimizer.prepare(first, rates[:, members])
        losses, rights = [], []
        for index, (rows, labels, size) in enumerate(self._deal(self._row_order(epoch))):
            logits = mlp.forward(self._fetch(rows, labels), size, first + index)
            grad, loss, right = self._loss(logits, labels, size)
            mlp.backward(grad)
            self._clip_gradients()
            for _, optimizer in self._optimizers:
                optimizer.step(index)
            mlp.refresh()
            losses.append(loss)
            rights.append(right)
        return *means(torch.cat(losses, 1), torch.cat(rights, 1)), rates[-1].tolist()

    def _row_order(self, epoch: int) -> Tensor:
        """The table's rows in the order of this epoch, [R, N]."""
        trained = self.batches[-1][0] + self.batches[-1][1]
        order = [
            self.runs[i].train[
                torch.randperm(
                    len(self.runs[i].train),
                    generator=generator(self.runs[i].config.seed, "order", epoch),
                )[:trained].to(self._x.device)
            ]
            for i in self._members
        ]
        return torch.stack(order)

    def _learning_rates(self, first: int) -> Tensor:
        """Of the epoch's steps, [S, R], float64, on the CPU."""
        steps = np.arange(first, first + len(self.batches))
        configs = [self.runs[i].config for i in self._members]
        rates = [
            learning_rates(c.scheduler, c.optimizer.lr, steps, len(steps), c.trainer.epochs)
            for c in configs
        ]
        return torch.from_numpy(np.stack(rates, axis=1))

    def _deal(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Of each batch: its rows [R * M] in the table, their classes [R, 1, M], and B.

        Cut for all whole batches at once: a step then takes a view that is ready.
        """
        size = self.batches[0][1]
        whole = order.shape[1] // size * size
        for part in (order[:, :whole], order[:, whole:]):
            if part.shape[1]:
                rows = part.view(len(part), -1, min(size, part.shape[1])).transpose(0, 1)
                count = rows.shape[2]
                rows = _padded(rows, self.structure.padded_rows(count))
                labels = self._y[rows].unsqueeze(2)
                flat = rows.reshape(len(rows), -1)
                yield from zip(flat.unbind(), labels.unbind(), itertools.repeat(count))

    def _fetch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Features [R, M, D] of rows [R * M]; ``labels`` [R, 1, M] gives the shape."""
        runs, _, height = labels.shape
        if height not in self._fetched:
            self._fetched[height] = self._x.new_empty(runs, height, self._x.shape[1])
        fetched = self._fetched[height]
        torch.index_select(self._x, 0, rows, out=fetched.view(runs * height, -1))
        return fetched

    def _clip_gradients(self) -> None:
        """Scale each run's gradient to its largest allowed norm, as clip_grad_norm_ alone would."""
        if self._max_norm is not None:
            # In two stages: a sum to a single number would be cut by the number of threads.
            grads = self._mlp.grads.view(len(self._mlp.grads), 32, -1)
            parts = torch.linalg.vector_norm(grads, dim=2)
            norm = torch.linalg.vector_norm(parts, dim=1, keepdim=True)
            # fmin leaves a run without a limit as it is even where its norm is not finite.
            self._mlp.grads.mul_(torch.fmin(self._max_norm / (norm + 1e-6), self._one))

    # ── evaluation ────────────────────────────────────────────────────────────────────────────

    def _is_due(self, i: int, epoch: int) -> bool:
        trainer = self.runs[i].config.trainer
        return epoch % trainer.eval_every == 0 or epoch == trainer.epochs

    def _evaluate_due(self, epoch: int) -> tuple[Tensor, Tensor] | None:
        """Validation loss [R] and accuracy [R], on the CPU, if a run wants them now."""
        if not any(self._is_due(i, epoch) for i in self._members):
            return None
        rows = torch.stack([self.runs[i].val for i in self._members])
        logits = self._logits(self._mlp, rows)
        losses, rights = cross_entropy(logits, self._y[rows])
        return means(losses, rights)

    def _logits(self, mlp: MLP, rows: Tensor) -> Tensor:
        """[R, C, N] of rows [R, N]."""
        parts = []
        for chunk in torch.split(rows, _EVALUATED_ROWS[self._x.device.type], dim=1):
            size = chunk.shape[1]
            height = self.structure.padded_rows(size)
            x = self._x[_padded(chunk, height)]
            parts.append(mlp.forward(x, size)[:, :, :size])
        return torch.cat(parts, 2)

    # ── the runs' own fates ───────────────────────────────────────────────────────────────────

    def _record(
        self,
        i: int,
        row: int,
        train_loss: float,
        train_acc: float,
        evaluated: tuple[Tensor, Tensor] | None,
        lr: float,
        seconds: float,
    ) -> Epoch:
        state, trainer = self.states[i], self.runs[i].config.trainer
        val_loss = val_acc = None
        is_best = False
        if evaluated is not None:
            val_loss, val_acc = (float(values[row]) for values in evaluated)
            is_best = val_loss < state.best_loss
        if is_best and val_loss is not None:
            state.best_loss, state.best_epoch = val_loss, state.epoch
            state.best_params, state.best_stats = state.params.clone(), state.stats.clone()
        values = {"val/loss": val_loss, "val/acc": val_acc, "train/loss": train_loss}
        required = trainer.require_train_loss
        if not math.isfinite(train_loss) or not math.isfinite(val_loss or 0.0):
            state.status = "diverged"
        elif state.epoch == trainer.epochs or (
            evaluated is not None
            and (
                (required is not None and train_loss <= required)
                or _stops(state, trainer.early_stopping, values)
            )
        ):
            state.status = "completed"
        if state.status != "running" and len(self._members) > 1:
            state.leave()
        return Epoch(
            i, state.epoch, state.step, train_loss, train_acc,
            val_loss, val_acc, lr, seconds, is_best,
        )  # fmt: skip

    def _assemble(self, members: Sequence[int]) -> None:
        """Stack the runs' states into the buffers that train."""
        self._members = list(members)
        states = [self.states[i] for i in members]
        configs = [self.runs[i].config for i in members]
        device = self._x.device
        rates = [c.model.dropout for c in configs]
        dropout = None
        if any(rates):
            dropout = Dropout([c.seed for c in configs], rates, self.structure.hidden, device)
        self._mlp = MLP(
            self.structure,
            torch.stack([s.params for s in states]),
            torch.stack([s.stats for s in states]),
            dropout,
            self._dtype,
        )
        self._optimizers = make_optimizers(
            [c.optimizer for c in configs], self._mlp.params, self._mlp.grads
        )
        for rows, optimizer in self._optimizers:
            for row, state in enumerate(states[rows]):
                for name, value in state.optimizer.items():
                    optimizer.state[name][row] = value
        smoothing = torch.tensor(
            [c.trainer.label_smoothing for c in configs], dtype=torch.float32, device=device
        )
        self._loss = TrainingLoss(smoothing)
        clips = [c.trainer.grad_clip for c in configs]
        self._max_norm = None
        if any(clip is not None for clip in clips):
            norms = [math.inf if clip is None else clip for clip in clips]
            self._max_norm = torch.tensor(norms, device=device).unsqueeze(1)
            self._one = torch.ones((), device=device)
        self._fetched: dict[int, Tensor] = {}
        self._keep_states(advance=False)

    def _keep_states(self, *, advance: bool = True) -> None:
        """Let the members' states see the buffers; ``advance`` counts the epoch just trained."""
        for rows, optimizer in self._optimizers:
            for row, i in enumerate(self._members[rows]):
                self.states[i].optimizer = {n: v[row] for n, v in optimizer.state.items()}
        for row, i in enumerate(self._members):
            state = self.states[i]
            state.params, state.stats = self._mlp.params[row], self._mlp.stats[row]
            if advance:
                state.epoch += 1
                state.step += len(self.batches)


def means(losses: Tensor, rights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss [R] and accuracy [R], float64, on the CPU, of losses and rights [R, N].

    On one thread: torch cuts a sum to a single number, that of a run alone, by their number.
    """
    with threads(1):
        return losses.double().mean(1).cpu(), rights.double().mean(1).cpu()


def _initial_state(config: Config, structure: Structure) -> RunState:
    return RunState(
        initial_parameters(structure, config.model, config.seed), initial_statistics(structure)
    )


def batches(rows: int, trainer: TrainerConfig, structure: Structure) -> list[tuple[int, int]]:
    """First row and number of rows of each batch of an epoch.

    Raises:
        ConfigError: dropping the last batch leaves none, or batch norm would meet a single row.
    """
    size = trainer.batch_size
    whole = rows // size * size if trainer.drop_last else rows
    found = [(start, min(size, whole - start)) for start in range(0, whole, size)]
    if not found:
        raise ConfigError(
            f"trainer.drop_last=true: leaves no batch of {rows} training rows; "
            f"trainer.batch_size={size} is larger"
        )
    if structure.norm == "batch" and found[-1][1] == 1:
        raise ConfigError(
            f"trainer.batch_size={size}: {rows} training rows end in a batch of one row, which "
            "model.norm=batch cannot normalise; use another batch size or trainer.drop_last=true"
        )
    return found


def _padded(rows: Tensor, height: int) -> Tensor:
    """[..., B] to [..., height], the last repeated: padding adds no row that is not there."""
    missing = height - rows.shape[-1]
    if not missing:
        return rows
    return torch.cat([rows, rows[..., -1:].expand(*rows.shape[:-1], missing)], -1)


def _stops(state: RunState, rule: EarlyStoppingConfig, values: dict[str, float | None]) -> bool:
    """Whether early stopping ends the run after this evaluation."""
    if rule.patience is None:
        return False
    value = values[rule.metric]
    assert value is not None
    score = -value if rule.metric.endswith("acc") else value
    if score < state.stopping_best - rule.min_delta:
        state.stopping_best, state.stale = score, 0
    else:
        state.stale += 1
    return state.stale >= rule.patience
