"""Adam and AMSGrad. The same as a CUDA kernel is in ``nnexp.kernels.updates``.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import Problems, ranged
from nnexp.lazy import torch
from nnexp.optim.backends import Call, Fused, OnePass
from nnexp.optim.base import FLOOR, SMALLEST_EPS, Update, WithWeightDecay, optimizer

if TYPE_CHECKING:
    from torch import Tensor


@optimizer("adam")
@dataclass
class Adam(WithWeightDecay):
    """Adam (Kingma and Ba 2015, algorithm 1), AMSGrad (Reddi, Kale and Kumar 2018), as
    ``torch.optim.Adam``."""

    betas: list[float] = ranged([0.9, 0.999], ge=0, lt=1)
    eps: float = ranged(1e-8, ge=0)
    amsgrad: bool = False

    def check_rules(self) -> Problems:
        """Two numbers, of the first and of the second moment."""
        if len(self.betas) != 2:
            yield "betas", f"must be two numbers, not {len(self.betas)}"

    def state_names(self) -> tuple[str, ...]:
        """See ``Optimizer.state_names``."""
        return ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if self.amsgrad else []))

    def shared(self) -> tuple[Any, ...]:
        """See ``Optimizer.shared``."""
        return (*super().shared(), self.amsgrad)

    def batched(self) -> type[Update]:
        """See ``Optimizer.batched``."""
        return BatchedAdam

    def fused(self) -> type[Update]:
        """See ``Optimizer.fused``."""
        return FusedAdam

    def kernel(self) -> type[Update]:
        """See ``Optimizer.kernel``."""
        return KernelAdam


class BatchedAdam(Update):
    """Adam in passes over many rows."""

    def __init__(self, configs: Sequence[Adam], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        # Of thousands of runs few have betas of their own, and powers of them take their time.
        pairs = [tuple(c.betas) for c in configs]
        distinct = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        self._pair_of = [distinct[pair] for pair in pairs]
        self._pairs = torch.tensor(list(distinct), dtype=torch.float64).T  # [2, distinct]
        self._mean = self._add("exp_avg")
        self._square = self._add("exp_avg_sq")
        self._max = self._add("max_exp_avg_sq") if configs[0].amsgrad else None
        self._mean_weight, self._square_weight = self._put(1 - self._pairs[:, self._pair_of])

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        # The update lr / c1 * m / (sqrt(v / c2) + eps), where c1 and c2 correct the moments' bias,
        # is made as m / (s sqrt(v) + s sqrt(c2) eps), s = c1 / (lr sqrt(c2)): two passes less.
        count = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64).view(-1, 1)
        first_correction = (1 - self._pairs[0] ** count)[:, self._pair_of]  # [S, r]
        second_root = (1 - self._pairs[1] ** count).sqrt()[:, self._pair_of]
        stretch = first_correction / (rates * second_root)
        eps = (self._hyper("eps") * second_root).clamp(min=SMALLEST_EPS)
        self._tabulate(stretch, stretch * eps, *self._shrinkage(rates))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        stretch, eps, *shrinkage = self._now(index)
        if shrinkage:
            self.params.mul_(*shrinkage)
        else:
            self._add_weight_decay()
        scratch = self._scratch
        self._mean.lerp_(self.grads, self._mean_weight)
        self._square.lerp_(self._squared_grads(out=scratch), self._square_weight)
        if self._max is None:
            torch.sqrt(self._square, out=scratch)
        else:
            torch.maximum(self._max, self._square, out=self._max)
            torch.sqrt(self._max, out=scratch)
        torch.addcmul(eps, scratch, stretch, out=scratch)
        self.params.sub_(torch.div(self._mean, scratch, out=scratch))

    def _shrinkage(self, rates: Tensor) -> list[Tensor]:
        """What a step multiplies the parameters by before all else, [S, r], if it does."""
        return []


class FusedAdam(Fused, BatchedAdam):
    """Adam by torch's fused kernel."""

    def _hyperparameters(self, config: Adam) -> dict[str, Any]:
        return {
            "beta1": config.betas[0],
            "beta2": config.betas[1],
            "weight_decay": config.weight_decay,
            "eps": max(config.eps, SMALLEST_EPS),
            "amsgrad": config.amsgrad,
            "maximize": False,
        }

    def _update(self, call: Call, index: int) -> None:
        tensors = call.tensors if call.hyper["amsgrad"] else [*call.tensors, []]
        self._call_kernel(*tensors, [self._counts[index]], lr=call.rates[index], **call.hyper)

    def _call_kernel(self, *tensors: list[Tensor], **hyper: Any) -> None:
        torch._fused_adam_(*tensors, **hyper)


class KernelAdam(OnePass, BatchedAdam):
    """Adam by a Triton kernel."""

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        self._kernels.adam(
            self.params, self.grads, self._mean, self._square, self._max, *self._when(index),
            self._decay, self._mean_weight, self._square_weight, floor=FLOOR,
        )  # fmt: skip
