"""AdaGrad.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import ranged
from nnexp.lazy import torch
from nnexp.optim.backends import Call, Fused, OnePass
from nnexp.optim.base import FLOOR, SMALLEST_EPS, Update, WithWeightDecay, optimizer

if TYPE_CHECKING:
    from torch import Tensor


@optimizer("adagrad")
@dataclass
class Adagrad(WithWeightDecay):
    """AdaGrad (Duchi, Hazan and Singer 2011), as ``torch.optim.Adagrad``."""

    lr_decay: float = ranged(0.0, ge=0)
    initial_accumulator_value: float = ranged(0.0, ge=0)
    eps: float = ranged(1e-10, ge=0)

    state = ("sum",)

    def batched(self) -> type[Update]:
        """See ``Optimizer.batched``."""
        return BatchedAdagrad

    def fused(self) -> type[Update]:
        """See ``Optimizer.fused``."""
        return FusedAdagrad

    def kernel(self) -> type[Update]:
        """See ``Optimizer.kernel``."""
        return KernelAdagrad


class BatchedAdagrad(Update):
    """Adagrad in passes over many rows."""

    def __init__(self, configs: Sequence[Adagrad], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._sum = self._add("sum", self._column("initial_accumulator_value").clamp_(min=FLOOR))
        self._eps = self._put_eps(self._hyper("eps"))

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        done = torch.arange(first, first + len(rates), dtype=torch.float64).unsqueeze(1)
        self._tabulate(rates / (1 + done * self._hyper("lr_decay")))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        (rates,) = self._now(index)
        self._add_weight_decay()
        self._sum.addcmul_(self.grads, self.grads)
        torch.sqrt(self._sum, out=self._scratch)
        self._scratch.add_(self._eps)
        torch.div(self.grads, self._scratch, out=self._scratch)
        self.params.sub_(self._scratch.mul_(rates))


class FusedAdagrad(Fused, BatchedAdagrad):
    """Adagrad by torch's fused kernel."""

    def _hyperparameters(self, config: Adagrad) -> dict[str, Any]:
        return {
            "lr_decay": config.lr_decay,
            "weight_decay": config.weight_decay,
            "eps": max(config.eps, SMALLEST_EPS),
            "maximize": False,
        }

    def _update(self, call: Call, index: int) -> None:
        params, grads, sums = call.tensors
        torch._fused_adagrad_(
            params, grads, sums, [self._counts[index]], lr=call.rates[index], **call.hyper
        )


class KernelAdagrad(OnePass, BatchedAdagrad):
    """Adagrad by a Triton kernel."""

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        self._kernels.adagrad(
            self.params, self.grads, self._sum, *self._when(index), self._decay, self._eps
        )
