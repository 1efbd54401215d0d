"""The update that an optimizer's own ``update`` describes, for many runs at once.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch
from nnexp.optim.update import Update

if TYPE_CHECKING:
    from torch import Tensor


class Elementwise(Update):
    """Calls ``Optimizer.update`` with every float as a tensor [r, 1]."""

    def __init__(self, configs: Sequence[Any], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        for name in configs[0].state_names():
            self._add(name)
        self._state = SimpleNamespace(**self.state)
        self._hyperparameters = SimpleNamespace(
            **{
                field.name: self._over_runs([getattr(config, field.name) for config in configs])
                for field in fields(configs[0])
            }
        )

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        counts = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64)
        self._tabulate(rates, counts.unsqueeze(1).expand_as(rates))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        hyper = self._hyperparameters
        hyper.lr, hyper.step = self._now(index)
        self.configs[0].update(self.params, self.grads, self._state, hyper)

    def _over_runs(self, values: Sequence[Any]) -> Any:
        """A hyperparameter of all runs, as ``Optimizer.update`` takes it."""
        first = values[0]
        if isinstance(first, float):
            return self._put(torch.tensor(values, dtype=torch.float64))
        if isinstance(first, list | tuple):
            return [self._over_runs(items) for items in zip(*values, strict=True)]
        return first
