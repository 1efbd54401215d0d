"""Optimizers by the fused kernels of torch.optim on the CPU: one pass for four to eight.

A kernel takes one set of hyperparameters a call, so a call updates neighbouring rows that share
them. That pays where a run has many numbers.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch
from nnexp.optim.update import Update

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Call:
    """Rows that share every hyperparameter for an epoch."""

    tensors: list[list[Tensor]]  # parameters, gradients, state
    hyper: dict[str, Any]
    rates: list[float]  # a learning rate for each step


class Fused(Update):
    """An update by one of torch's kernels."""

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
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
                self._calls.append(Call(tensors, hyper, rates[:, start].tolist()))
                start = stop

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        place = int(index)  # on the CPU there is nothing to wait for
        for call in self._calls:
            self._update(call, place)

    @abstractmethod
    def _hyperparameters(self, config: Any) -> dict[str, Any]:
        """What the kernel takes, but for the learning rate."""

    @abstractmethod
    def _update(self, call: Call, index: int) -> None:
        """One call of the kernel."""
