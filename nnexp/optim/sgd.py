"""Stochastic gradient descent.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import Problems, ranged
from nnexp.lazy import torch
from nnexp.optim.backends import Call, Fused, OnePass
from nnexp.optim.base import Update, WithWeightDecay, optimizer

if TYPE_CHECKING:
    from torch import Tensor


@optimizer("sgd")
@dataclass
class SGD(WithWeightDecay):
    """Stochastic gradient descent (Robbins and Monro 1951) with momentum (Polyak 1964), also
    Nesterov's (Sutskever et al. 2013), as ``torch.optim.SGD``."""

    momentum: float = ranged(0.0, ge=0)
    dampening: float = ranged(0.0)
    nesterov: bool = False

    def check_rules(self) -> Problems:
        """As torch.optim.SGD."""
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov", "needs optimizer.momentum above 0 and optimizer.dampening=0"
        if self.dampening != 0 and self.momentum == 0:
            yield "dampening", "has no effect without optimizer.momentum above 0"

    def state_names(self) -> tuple[str, ...]:
        """See ``Optimizer.state_names``."""
        return ("momentum_buffer",) if self.momentum > 0 else ()

    def shared(self) -> tuple[Any, ...]:
        """See ``Optimizer.shared``."""
        return (*super().shared(), self.momentum > 0, self.nesterov)

    def batched(self) -> type[Update]:
        """See ``Optimizer.batched``."""
        return BatchedSGD

    def fused(self) -> type[Update]:
        """See ``Optimizer.fused``."""
        return FusedSGD

    def kernel(self) -> type[Update]:
        """See ``Optimizer.kernel``."""
        return KernelSGD


class BatchedSGD(Update):
    """SGD in passes over many rows."""

    def __init__(self, configs: Sequence[SGD], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._nesterov = configs[0].nesterov
        self._momentum = self._column("momentum") if configs[0].momentum else None
        self._buffer = self._add("momentum_buffer") if configs[0].momentum else None

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        # The first gradient enters the momentum whole, later ones dampened, as in torch.
        entering = (1 - self._hyper("dampening")).repeat(len(rates), 1)
        if first == 0:
            entering[0] = 1
        self._tabulate(*([rates] if self._buffer is None else [rates, entering]))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        rates, *entering = self._now(index)
        self._add_weight_decay()
        direction = self.grads
        if self._buffer is not None and self._momentum is not None:
            self._buffer.mul_(self._momentum).addcmul_(direction, *entering)
            if self._nesterov:
                direction.addcmul_(self._buffer, self._momentum)
            else:
                direction = self._buffer
        torch.mul(direction, rates, out=self._scratch)
        self.params.sub_(self._scratch)


class FusedSGD(Fused, BatchedSGD):
    """SGD by torch's fused kernel."""

    def _hyperparameters(self, config: SGD) -> dict[str, Any]:
        return {
            "weight_decay": config.weight_decay,
            "momentum": config.momentum,
            "dampening": config.dampening,
            "nesterov": config.nesterov,
            "maximize": False,
        }

    def _update(self, call: Call, index: int) -> None:
        params, grads, *buffers = call.tensors
        torch._fused_sgd_(
            params, grads, *(buffers or [[]]), lr=call.rates[index],
            is_first_step=self._first + index == 0, **call.hyper,
        )  # fmt: skip


class KernelSGD(OnePass, BatchedSGD):
    """SGD by a Triton kernel."""

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        self._kernels.sgd(
            self.params, self.grads, self._buffer, *self._when(index), self._decay,
            self._momentum, nesterov=self._nesterov,
        )  # fmt: skip
