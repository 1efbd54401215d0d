"""RMSprop.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import ranged
from nnexp.lazy import torch
from nnexp.optim.backends import OnePass
from nnexp.optim.base import FLOOR, Update, WithWeightDecay, optimizer

if TYPE_CHECKING:
    from torch import Tensor


@optimizer("rmsprop")
@dataclass
class RMSprop(WithWeightDecay):
    """RMSprop (Hinton 2012, lecture 6e), centered (Graves 2013, equations 38 to 45), as
    ``torch.optim.RMSprop``."""

    alpha: float = ranged(0.99, ge=0, le=1)
    eps: float = ranged(1e-8, ge=0)
    momentum: float = ranged(0.0, ge=0)
    centered: bool = False

    def state_names(self) -> tuple[str, ...]:
        """See ``Optimizer.state_names``."""
        mean = ["grad_avg"] if self.centered else []
        buffer = ["momentum_buffer"] if self.momentum > 0 else []
        return ("square_avg", *mean, *buffer)

    def shared(self) -> tuple[Any, ...]:
        """See ``Optimizer.shared``."""
        return (*super().shared(), self.momentum > 0, self.centered)

    def batched(self) -> type[Update]:
        """See ``Optimizer.batched``."""
        return BatchedRMSprop

    def kernel(self) -> type[Update]:
        """See ``Optimizer.kernel``."""
        return KernelRMSprop


class BatchedRMSprop(Update):
    """RMSprop in passes over many rows."""

    def __init__(self, configs: Sequence[RMSprop], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._square = self._add("square_avg")
        self._mean = self._add("grad_avg") if configs[0].centered else None
        self._buffer = self._add("momentum_buffer") if configs[0].momentum else None
        self._weight = self._put(1 - self._hyper("alpha"))
        self._momentum = self._column("momentum")
        self._eps = self._put_eps(self._hyper("eps"))

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        self._tabulate(rates)

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        (rates,) = self._now(index)
        self._add_weight_decay()
        scratch = self._scratch
        self._square.lerp_(self._squared_grads(out=scratch), self._weight)
        if self._mean is None:
            torch.sqrt(self._square, out=scratch)
        else:
            self._mean.lerp_(self.grads, self._weight)
            torch.addcmul(self._square, self._mean, self._mean, value=-1, out=scratch).sqrt_()
        scratch.add_(self._eps)
        torch.div(self.grads, scratch, out=scratch)
        if self._buffer is not None:
            self._buffer.mul_(self._momentum).add_(scratch)
            scratch.copy_(self._buffer)
        self.params.sub_(scratch.mul_(rates))


class KernelRMSprop(OnePass, BatchedRMSprop):
    """RMSprop by a Triton kernel."""

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        self._kernels.rmsprop(
            self.params, self.grads, self._square, self._mean, self._buffer, *self._when(index),
            self._decay, self._weight, self._momentum, self._eps, floor=FLOOR,
        )  # fmt: skip
