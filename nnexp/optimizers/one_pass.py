"""Optimizers by the project's own kernels, for CUDA: one pass for four to eight.

A kernel reads every run's hyperparameters, and those of this step, from the device. Only where
``nnexp.kernels.available`` may this module be imported.

Axes: r runs of one optimizer, P numbers a run.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nnexp.config.schema import AdagradConfig, AdamConfig, AdamWConfig, RMSpropConfig, SGDConfig
from nnexp.kernels import updates
from nnexp.optimizers import batched
from nnexp.optimizers.base import FLOOR, Optimizer


class OnePass(Optimizer):
    """What the kernels take beside the buffers."""

    def _when(self, index: int | Tensor) -> tuple[Tensor, Tensor]:
        """The table from which the step is read, and which it is of the table's steps, [1]."""
        assert self._table is not None
        if isinstance(index, int):
            return self._table[index:], self._zero
        return self._table, index

    @cached_property
    def _zero(self) -> Tensor:
        return torch.zeros(1, dtype=torch.int64, device=self.params.device)


class SGD(OnePass, batched.SGD):
    """See ``batched.SGD``."""

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        updates.sgd(
            self.params, self.grads, self._buffer, *self._when(index), self._decay,
            self._momentum, nesterov=self._nesterov,
        )  # fmt: skip


class Adagrad(OnePass, batched.Adagrad):
    """See ``batched.Adagrad``."""

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        updates.adagrad(
            self.params, self.grads, self._sum, *self._when(index), self._decay, self._eps
        )


class Adam(OnePass, batched.Adam):
    """See ``batched.Adam``."""

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        updates.adam(
            self.params, self.grads, self._mean, self._square, self._max, *self._when(index),
            self._decay, self._mean_weight, self._square_weight, floor=FLOOR,
        )  # fmt: skip


class AdamW(Adam, batched.AdamW):
    """See ``batched.AdamW``."""


class RMSprop(OnePass, batched.RMSprop):
    """See ``batched.RMSprop``."""

    def step(self, index: int | Tensor) -> None:
        """See ``Optimizer.step``."""
        updates.rmsprop(
            self.params, self.grads, self._square, self._mean, self._buffer, *self._when(index),
            self._decay, self._weight, self._momentum, self._eps, floor=FLOOR,
        )  # fmt: skip


ONE_PASS: dict[type[Any], type[Optimizer]] = {
    SGDConfig: SGD,
    AdagradConfig: Adagrad,
    AdamConfig: Adam,
    AdamWConfig: AdamW,
    RMSpropConfig: RMSprop,
}
