"""Runs stacked into the buffers that train, and a training step of theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnexp.config.schema import Config
from nnexp.data.on_device import Features
from nnexp.engine.objective import WeightedLoss, batch_loss
from nnexp.engine.state import RunState
from nnexp.models.protocol import Network
from nnexp.optim import make_updates
from nnexp.tasks import CLASSIFICATION


class Assembly:
    """The buffers of R runs, all on one device.

    Args:
        states: of the runs; they are copied, and see the buffers from then on.
        features: of the runs.
        dtype: of the matrix products.
        weighted: whether batches come with weights.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        states: Sequence[RunState],
        features: Features,
        network: Network,
        dtype: torch.dtype,
        *,
        weighted: bool = False,
    ) -> None:
        self.states = states
        self._features = features
        device = states[0].params.device
        self.net = network.build(
            torch.stack([s.params for s in states]),
            torch.stack([s.stats for s in states]),
            [c.seed for c in configs],
            [c.model for c in configs],
            dtype,
        )
        self._updates = make_updates(
            [c.optimizer for c in configs], self.net.params, self.net.grads
        )
        loss = batch_loss(configs, self.net.params)
        of_classes = configs[0].kind_of_task.name == CLASSIFICATION
        self.scored_dtype = torch.bool if of_classes else torch.float32
        """Of the second of what ``step`` returns."""
        self._loss = WeightedLoss(loss, of_classes=of_classes) if weighted else loss
        clips = [c.trainer.grad_clip for c in configs]
        self._max_norm = None
        if any(clip is not None for clip in clips):
            norms = [math.inf if clip is None else clip for clip in clips]
            self._max_norm = torch.tensor(norms, device=device).unsqueeze(1)
            self._one = torch.ones((), device=device)
        self._fetched: dict[int, Tensor] = {}
        self._best: tuple[Tensor, Tensor] | None = None
        self._take_over()

    def prepare(self, first: int, rates: Tensor) -> None:
        """Get ready for an epoch, as ``Update.prepare``; rates are [S, R]."""
        for rows, update in self._updates:
            update.prepare(first, rates[:, rows])

    def step(
        self, rows: Tensor, labels: Tensor, size: int, index: int | Tensor, number: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Train on one batch; the losses [R, B] and what the score is made from [R, B]: whether the
        likeliest class was right, or the squared error.

        Args:
            rows: [R * M], as ``Features.rows`` takes them.
            labels: the right answers [R, 1 or 2, M], as ``Objective.batches`` has them.
            size: B.
            index: of the step within the epoch. A tensor [1] on the device for a step that is
                captured once and serves for all.
            number: of the step within the run, likewise.
        """
        logits = self.net.forward(self._fetch(rows, labels), size, number)
        grad, losses, correct = self._loss(logits, labels, size)
        self.net.backward(grad)
        self._clip_gradients()
        for _, update in self._updates:
            update.step(index)
        self.net.refresh()
        return losses, correct

    def keep_best(self, rows: Sequence[int]) -> None:
        """The weights of the runs in these rows are their best so far."""
        if not rows:
            return
        bests = self._best_buffers()
        for best, now in zip(bests, (self.net.params, self.net.stats), strict=True):
            if len(rows) == len(now):
                best.copy_(now)
            else:
                chosen = torch.tensor(rows, device=now.device)
                best.index_copy_(0, chosen, now.index_select(0, chosen))
        for row in rows:
            state = self.states[row]
            state.best_params, state.best_stats = bests[0][row], bests[1][row]

    def _take_over(self) -> None:
        """All else of the states is copied too, and the states see the buffers."""
        for rows, update in self._updates:
            for row, state in enumerate(self.states[rows]):
                for name, value in state.optimizer.items():
                    update.state[name][row] = value
                state.optimizer = {name: flats[row] for name, flats in update.state.items()}
        for row, state in enumerate(self.states):
            state.params, state.stats = self.net.params[row], self.net.stats[row]
            if state.best is not None:
                best = self._best_buffers()
                best[0][row], best[1][row] = state.best
                state.best_params, state.best_stats = best[0][row], best[1][row]

    def _best_buffers(self) -> tuple[Tensor, Tensor]:
        """Parameters [R, P] and statistics [R, S] of the best epochs, made at first use."""
        if self._best is None:
            self._best = torch.empty_like(self.net.params), torch.empty_like(self.net.stats)
        return self._best

    def _fetch(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Features [R, M, D] of rows [R * M]; ``labels`` [R, 1, M] gives the shape."""
        height = labels.shape[2]
        if height not in self._fetched:
            self._fetched[height] = self.net.input(height)
        fetched = self._fetched[height]
        self._features.rows(rows, fetched)
        return fetched

    def _clip_gradients(self) -> None:
        """Scale each run's gradient to its largest allowed norm, as clip_grad_norm_ alone would."""
        if self._max_norm is not None:
            # In two stages: a sum to a single number would be cut by the number of threads.
            grads = self.net.grads.view(len(self.net.grads), 32, -1)
            parts = torch.linalg.vector_norm(grads, dim=2)
            norm = torch.linalg.vector_norm(parts, dim=1, keepdim=True)
            # fmin leaves a run without a limit as it is even where its norm is not finite.
            self.net.grads.mul_(torch.fmin(self._max_norm / (norm + 1e-6), self._one))
