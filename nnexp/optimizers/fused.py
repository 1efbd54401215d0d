"""Optimizers by the fused kernels of torch.optim on the CPU: one pass for four to eight.

A kernel takes one set of hyperparameters a call, so a call updates neighbouring rows that share
them. That pays where a run has many numbers.

Axes: r runs of one optimizer, P numbers a run, S steps of an epoch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnexp.config.schema import AdagradConfig, AdamConfig, AdamWConfig, SGDConfig
from nnexp.optimizers import batched
from nnexp.optimizers.base import SMALLEST_EPS, Optimizer


@dataclass(frozen=True)
class _Call:
    """Rows that share every hyperparameter for an epoch."""

    tensors: list[list[Tensor]]  # parameters, gradients, state
    hyper: dict[str, Any]
    rates: list[float]  # a learning rate for each step


class Fused(Optimizer):
    """The optimizer of the kernel that ``kernel`` names."""

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Optimizer.prepare``."""
        self._first = first
        self._counts = torch.arange(first + 1.0, first + 1 + len(rates)).unbind()
        self._calls = []
        start = 0
        for stop in range(1, len(self.configs) + 1):
            alike = stop < len(self.configs) and self.configs[stop] == self.configs[start]
            if not alike or not torch.equal(rates[:, stop], rates[:, start]):
                rows = slice(start, stop)
                tensors = [[flat[rows]] for flat in (self.params, self.grads, *self.state.values())]
                hyper = self._hyperparameters(self.configs[start])
                self._calls.append(_Call(tensors, hyper, rates[:, start].tolist()))
                start = stop

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        place = int(index)  # on the CPU there is nothing to wait for
        for call in self._calls:
            self._update(call, place)

    @abstractmethod
    def _hyperparameters(self, config: Any) -> dict[str, Any]:
        """What the kernel takes, but for the learning rate."""

    @abstractmethod
    def _update(self, call: _Call, index: int) -> None:
        """One call of the kernel."""


class SGD(Fused, batched.SGD):
    """See ``batched.SGD``."""

    def _hyperparameters(self, config: SGDConfig) -> dict[str, Any]:
        return {
            "weight_decay": config.weight_decay,
            "momentum": config.momentum,
            "dampening": config.dampening,
            "nesterov": config.nesterov,
            "maximize": False,
        }

    def _update(self, call: _Call, index: int) -> None:
        params, grads, *buffers = call.tensors
        torch._fused_sgd_(
            params, grads, *(buffers or [[]]), lr=call.rates[index],
            is_first_step=self._first + index == 0, **call.hyper,
        )  # fmt: skip


class Adagrad(Fused, batched.Adagrad):
    """See ``batched.Adagrad``."""

    def _hyperparameters(self, config: AdagradConfig) -> dict[str, Any]:
        return {
            "lr_decay": config.lr_decay,
            "weight_decay": config.weight_decay,
            "eps": max(config.eps, SMALLEST_EPS),
            "maximize": False,
        }

    def _update(self, call: _Call, index: int) -> None:
        params, grads, sums = call.tensors
        torch._fused_adagrad_(
            params, grads, sums, [self._counts[index]], lr=call.rates[index], **call.hyper
        )


class Adam(Fused, batched.Adam):
    """See ``batched.Adam``."""

    _kernel: Callable[..., None] = staticmethod(torch._fused_adam_)

    def _hyperparameters(self, config: AdamConfig) -> dict[str, Any]:
        return {
            "beta1": config.betas[0],
            "beta2": config.betas[1],
            "weight_decay": config.weight_decay,
            "eps": max(config.eps, SMALLEST_EPS),
            "amsgrad": config.amsgrad,
            "maximize": False,
        }

    def _update(self, call: _Call, index: int) -> None:
        tensors = call.tensors if call.hyper["amsgrad"] else [*call.tensors, []]
        self._kernel(*tensors, [self._counts[index]], lr=call.rates[index], **call.hyper)


class AdamW(Adam):
    """See ``batched.AdamW``."""

    _kernel = staticmethod(torch._fused_adamw_)


FUSED: dict[type[Any], type[Optimizer]] = {
    SGDConfig: SGD,
    AdagradConfig: Adagrad,
    AdamConfig: Adam,
    AdamWConfig: AdamW,
}
