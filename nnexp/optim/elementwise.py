"""The update that an optimizer's own ``update`` describes, for many runs at once.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nnexp.hyperparameters import over_runs
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
        self._hyperparameters = over_runs(configs, params)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        counts = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64)
        self._tabulate(rates, counts.unsqueeze(1).expand_as(rates))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        hyper = self._hyperparameters
        hyper.lr, hyper.step = self._now(index)
        self.configs[0].update(self.params, self.grads, self._state, hyper)
