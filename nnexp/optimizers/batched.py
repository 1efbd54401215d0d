"""Optimizers as passes over many runs at once, every hyperparameter a tensor over the runs.

What changes from step to step but not from number to number (learning rate, bias corrections) is
worked out for a whole epoch beforehand, in float64, so that a step is a handful of passes over the
rows and needs nothing from the host.

Axes: r runs of one optimizer, P numbers a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nnexp.config.schema import AdagradConfig, AdamConfig, RMSpropConfig, SGDConfig
from nnexp.optimizers.base import FLOOR, SMALLEST_EPS, Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951) with momentum (Polyak 1964), also
    Nesterov's (Sutskever et al. 2013)."""

    def __init__(self, configs: Sequence[SGDConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._nesterov = configs[0].nesterov
        self._momentum = self._column("momentum") if configs[0].momentum else None
        self._buffer = self._add("momentum_buffer") if configs[0].momentum else None

    @staticmethod
    def passes(config: SGDConfig) -> tuple[Any, ...]:
        """See ``Optimizer.passes``."""
        return (*Optimizer.passes(config), config.momentum > 0, config.nesterov)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        # The first gradient enters the momentum whole, later ones dampened, as in torch.
        entering = (1 - self._hyper("dampening")).repeat(len(rates), 1)
        if first == 0:
            entering[0] = 1
        self._tabulate(*([rates] if self._buffer is None else [rates, entering]))

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
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


class Adagrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer 2011)."""

    def __init__(self, configs: Sequence[AdagradConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._sum = self._add("sum", self._column("initial_accumulator_value").clamp_(min=FLOOR))
        self._eps = self._put_eps(self._hyper("eps"))

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        done = torch.arange(first, first + len(rates), dtype=torch.float64).unsqueeze(1)
        self._tabulate(rates / (1 + done * self._hyper("lr_decay")))

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        (rates,) = self._now(index)
        self._add_weight_decay()
        self._sum.addcmul_(self.grads, self.grads)
        torch.sqrt(self._sum, out=self._scratch)
        self._scratch.add_(self._eps)
        torch.div(self.grads, self._scratch, out=self._scratch)
        self.params.sub_(self._scratch.mul_(rates))


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), AMSGrad (Reddi, Kale and Kumar 2018)."""

    def __init__(self, configs: Sequence[AdamConfig], params: Tensor, grads: Tensor) -> None:
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

    @staticmethod
    def passes(config: AdamConfig) -> tuple[Any, ...]:
        """See ``Optimizer.passes``."""
        return (*Optimizer.passes(config), config.amsgrad)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        # The update lr / c1 * m / (sqrt(v / c2) + eps), where c1 and c2 correct the moments' bias,
        # is made as m / (s sqrt(v) + s sqrt(c2) eps), s = c1 / (lr sqrt(c2)): two passes less.
        count = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64).view(-1, 1)
        first_correction = (1 - self._pairs[0] ** count)[:, self._pair_of]  # [S, r]
        second_root = (1 - self._pairs[1] ** count).sqrt()[:, self._pair_of]
        stretch = first_correction / (rates * second_root)
        eps = (self._hyper("eps") * second_root).clamp(min=SMALLEST_EPS)
        self._tabulate(stretch, stretch * eps, *self._shrinkage(rates))

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
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


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def _shrinkage(self, rates: Tensor) -> list[Tensor]:
        return [] if self._decay is None else [1 - rates * self._hyper("weight_decay")]


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e), centered (Graves 2013, equations 38 to 45)."""

    def __init__(self, configs: Sequence[RMSpropConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._square = self._add("square_avg")
        self._mean = self._add("grad_avg") if configs[0].centered else None
        self._buffer = self._add("momentum_buffer") if configs[0].momentum else None
        self._weight = self._put(1 - self._hyper("alpha"))
        self._momentum = self._column("momentum")
        self._eps = self._put_eps(self._hyper("eps"))

    @staticmethod
    def passes(config: RMSpropConfig) -> tuple[Any, ...]:
        """See ``Optimizer.passes``."""
        return (*Optimizer.passes(config), config.momentum > 0, config.centered)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        self._tabulate(rates)

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
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
