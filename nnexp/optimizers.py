"""Optimizers over flat buffers, with the numbers and the meaning of torch.optim.

A group may mix optimizers. ``make_optimizers`` gives each kind the rows of the runs that it trains,
and every hyperparameter is a tensor over those rows. What changes from step to step but not from
number to number (learning rate, bias corrections) is worked out for a whole epoch beforehand, in
float64, so that a step is a handful of passes over the rows and needs nothing from the host.

On the CPU an optimizer takes as many rows as stay in a core's cache from one pass to the next, and
Adam's passes over long rows are torch's fused kernel. Which of the two ways a run is updated
follows from its own size, so the bits do not depend on its company.

Axes: r runs of one optimizer, P numbers a run, S steps of an epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nnexp.config.schema import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    RMSpropConfig,
    SGDConfig,
)

# Added to squared gradients. No update sees it, for it is far below any eps and is rounded away
# where a gradient exceeds 1e-13; but torch's square root takes 5 times as long where it meets a
# zero, of which a network with units that never fire has many.
_FLOOR = 1e-34

# With eps=0 a number that has never had a gradient, such as padding, stays: 0 / tiny is 0.
_SMALLEST_EPS = torch.finfo(torch.float32).tiny

# Numbers of a run from which the fused kernel, called run by run, beats passes over many runs.
_LONG_ROW = 8192
# Numbers that an optimizer updates at once on the CPU, with gradients and state some 2 MiB.
_CACHED_NUMBERS = 96 * 1024


class Optimizer(ABC):
    """The state of r runs and its update.

    ``state`` holds the buffers by torch.optim's names, each [r, P]. Runs of one optimizer share
    what decides which passes are made (``passes``), so a run's arithmetic is the same in any
    company: one with weight decay is not beside one without.
    """

    def __init__(self, configs: Sequence[Any], params: Tensor, grads: Tensor) -> None:
        self.configs = configs
        self.params = params  # [r, P], views of the group's rows
        self.grads = grads
        self.state: dict[str, Tensor] = {}
        self._scratch = torch.empty_like(params)
        self._floor = params.new_tensor(_FLOOR)
        self._decay = self._column("weight_decay") if configs[0].weight_decay else None

    @staticmethod
    def passes(config: Any) -> tuple[Any, ...]:
        """What runs must have in common to be updated together."""
        return (type(config).__name__, config.weight_decay > 0)

    @abstractmethod
    def prepare(self, first: int, rates: Tensor) -> None:
        """Get ready for the steps of an epoch.

        Args:
            first: number of the epoch's first step, counted from 0 over the run.
            rates: learning rates [S, r], float64, on the CPU.
        """

    @abstractmethod
    def step(self, index: int) -> None:
        """Update parameters and state from the gradients; ``index`` counts within the epoch."""

    def _add(self, name: str, value: float | Tensor = 0.0) -> Tensor:
        self.state[name] = torch.zeros_like(self.params).add_(value)
        return self.state[name]

    def _hyper(self, name: str) -> Tensor:
        """One hyperparameter over the runs, [r], float64, on the CPU."""
        return torch.tensor([getattr(c, name) for c in self.configs], dtype=torch.float64)

    def _put(self, values: Tensor) -> Tensor:
        """[..., r] float64 on the CPU to [..., r, 1] as the parameters are."""
        return values.to(self.params.device, self.params.dtype).unsqueeze(-1)

    def _column(self, name: str) -> Tensor:
        return self._put(self._hyper(name))

    def _put_eps(self, eps: Tensor) -> Tensor:
        return self._put(eps.clamp(min=_SMALLEST_EPS))

    def _squared_grads(self, out: Tensor) -> Tensor:
        return torch.addcmul(self._floor, self.grads, self.grads, out=out)

    def _add_weight_decay(self) -> None:
        if self._decay is not None:
            self.grads.addcmul_(self.params, self._decay)


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951) with momentum (Polyak 1964), also
    Nesterov's (Sutskever et al. 2013)."""

    def __init__(self, configs: Sequence[SGDConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._nesterov = configs[0].nesterov
        self._buffer = None
        if configs[0].momentum:
            self._momentum = self._column("momentum")
            self._buffer = self._add("momentum_buffer")

    @staticmethod
    def passes(config: SGDConfig) -> tuple[Any, ...]:
        """See ``Optimizer.passes``."""
        return (*Optimizer.passes(config), config.momentum > 0, config.nesterov)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        self._rates = self._put(rates)
        # The first gradient enters the momentum whole, later ones dampened, as in torch.
        entering = (1 - self._hyper("dampening")).repeat(len(rates), 1)
        if first == 0:
            entering[0] = 1
        self._entering = self._put(entering)

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
        self._add_weight_decay()
        direction = self.grads
        if self._buffer is not None:
            self._buffer.mul_(self._momentum).addcmul_(direction, self._entering[index])
            if self._nesterov:
                direction.addcmul_(self._buffer, self._momentum)
            else:
                direction = self._buffer
        torch.mul(direction, self._rates[index], out=self._scratch)
        self.params.sub_(self._scratch)


class Adagrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer 2011)."""

    def __init__(self, configs: Sequence[AdagradConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._sum = self._add("sum", self._column("initial_accumulator_value").clamp_(min=_FLOOR))
        self._eps = self._put_eps(self._hyper("eps"))

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        done = torch.arange(first, first + len(rates), dtype=torch.float64).unsqueeze(1)
        self._rates = self._put(rates / (1 + done * self._hyper("lr_decay")))

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
        self._add_weight_decay()
        self._sum.addcmul_(self.grads, self.grads)
        torch.sqrt(self._sum, out=self._scratch)
        self._scratch.add_(self._eps)
        torch.div(self.grads, self._scratch, out=self._scratch)
        self.params.sub_(self._scratch.mul_(self._rates[index]))


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), AMSGrad (Reddi, Kale and Kumar 2018)."""

    def __init__(self, configs: Sequence[AdamConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._betas = torch.tensor([c.betas for c in configs], dtype=torch.float64).T  # [2, r]
        self._mean = self._add("exp_avg")
        self._square = self._add("exp_avg_sq")
        self._max = self._add("max_exp_avg_sq") if configs[0].amsgrad else None
        self._mean_weight, self._square_weight = self._put(1 - self._betas)

    @staticmethod
    def passes(config: AdamConfig) -> tuple[Any, ...]:
        """See ``Optimizer.passes``."""
        return (*Optimizer.passes(config), config.amsgrad)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        # The update lr / c1 * m / (sqrt(v / c2) + eps), where c1 and c2 correct the moments' bias,
        # is made as m / (s sqrt(v) + s sqrt(c2) eps), s = c1 / (lr sqrt(c2)): two passes less.
        count = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64).view(-1, 1)
        first_correction = 1 - self._betas[0] ** count  # [S, r]
        second_root = (1 - self._betas[1] ** count).sqrt()
        stretch = first_correction / (rates * second_root)
        eps = (self._hyper("eps") * second_root).clamp(min=_SMALLEST_EPS)
        self._stretch = self._put(stretch)
        self._eps = self._put(stretch * eps)

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
        self._add_weight_decay()
        scratch = self._scratch
        self._mean.lerp_(self.grads, self._mean_weight)
        self._square.lerp_(self._squared_grads(out=scratch), self._square_weight)
        if self._max is None:
            torch.sqrt(self._square, out=scratch)
        else:
            torch.maximum(self._max, self._square, out=self._max)
            torch.sqrt(self._max, out=scratch)
        torch.addcmul(self._eps[index], scratch, self._stretch[index], out=scratch)
        self.params.sub_(torch.div(self._mean, scratch, out=scratch))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        super().prepare(first, rates)
        self._shrink = self._put(1 - rates * self._hyper("weight_decay"))

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
        if self._decay is not None:
            self.params.mul_(self._shrink[index])
        super().step(index)

    def _add_weight_decay(self) -> None:
        """Nothing: the decay has been applied to the parameters themselves."""


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
        self._rates = self._put(rates)

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
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
        self.params.sub_(scratch.mul_(self._rates[index]))


class FusedAdam(Optimizer):
    """Adam and AdamW by the kernel of ``torch.optim.Adam(fused=True)``: one pass instead of eight.

    It takes one set of hyperparameters a call, so a call updates neighbouring rows that share them.
    """

    def __init__(self, configs: Sequence[AdamConfig], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        self._add("exp_avg")
        self._add("exp_avg_sq")
        if configs[0].amsgrad:
            self._add("max_exp_avg_sq")
        decoupled = isinstance(configs[0], AdamWConfig)
        self._update: Callable[..., None] = torch._fused_adamw_ if decoupled else torch._fused_adam_

    passes = Adam.passes

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        self._steps = torch.arange(first + 1.0, first + 1 + len(rates)).unbind()
        self._calls = []
        start = 0
        for stop in range(1, len(self.configs) + 1):
            alike = stop < len(self.configs) and self.configs[stop] == self.configs[start]
            if not alike or not torch.equal(rates[:, stop], rates[:, start]):
                self._calls.append(self._call(slice(start, stop), rates[:, start].tolist()))
                start = stop

    def _call(
        self, rows: slice, rates: list[float]
    ) -> tuple[list[Any], dict[str, Any], list[float]]:
        config = self.configs[rows.start]
        state = [[value[rows]] for value in self.state.values()]
        if not config.amsgrad:
            state.append([])
        hyper = {
            "beta1": config.betas[0],
            "beta2": config.betas[1],
            "weight_decay": config.weight_decay,
            "eps": max(config.eps, _SMALLEST_EPS),
            "amsgrad": config.amsgrad,
            "maximize": False,
        }
        return [[self.params[rows]], [self.grads[rows]], *state], hyper, rates

    def step(self, index: int) -> None:
        """See ``Optimizer.step``."""
        count = [self._steps[index]]
        for tensors, hyper, rates in self._calls:
            self._update(*tensors, count, lr=rates[index], **hyper)


_OPTIMIZERS: dict[type[OptimizerConfig], type[Optimizer]] = {
    SGDConfig: SGD,
    AdagradConfig: Adagrad,
    AdamConfig: Adam,
    AdamWConfig: AdamW,
    RMSpropConfig: RMSprop,
}


def passes(config: OptimizerConfig) -> tuple[Any, ...]:
    """What two runs must have in common for one optimizer to update both; sort runs by it."""
    return _OPTIMIZERS[type(config)].passes(config)


def make_optimizers(
    configs: Sequence[OptimizerConfig], params: Tensor, grads: Tensor
) -> list[tuple[slice, Optimizer]]:
    """Optimizers for stretches of runs with the same ``passes``, each with its rows.

    Args:
        configs: of the R runs, in the order of the rows.
        params, grads: [R, P]; the optimizers keep views.
    """
    made = []
    most = len(configs)
    if params.device.type == "cpu":
        most = max(1, _CACHED_NUMBERS // params.shape[1])
    start = 0
    for stop in range(1, len(configs) + 1):
        alike = stop < len(configs) and passes(configs[stop]) == passes(configs[start])
        if not alike or stop - start == most:
            rows = slice(start, stop)
            kind = _kind(configs[start], params)
            made.append((rows, kind(configs[rows], params[rows], grads[rows])))
            start = stop
    return made


def _kind(config: OptimizerConfig, params: Tensor) -> type[Optimizer]:
    long = params.device.type == "cpu" and params.shape[1] >= _LONG_ROW
    return FusedAdam if long and isinstance(config, AdamConfig) else _OPTIMIZERS[type(config)]
