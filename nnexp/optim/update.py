"""Carrying out an optimizer's update: its runs' rows, their hyperparameters, the state.

Axes: r runs of one optimizer, P elements a run, S steps of an epoch, h hyperparameters that change
from step to step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

# Added to squared gradients. No update sees it, for it is far below any eps and is rounded away
# where a gradient exceeds 1e-13; but torch's square root takes 5 times as long where it meets a
# zero, of which a network with units that never fire has many.
FLOOR = 1e-34

# With eps=0 a number that has never had a gradient, such as padding, stays: 0 / tiny is 0.
SMALLEST_EPS = 2.0**-126  # torch.finfo(torch.float32).tiny


class Update(ABC):
    """The state of r runs of one optimizer, and the update of their parameters.

    ``state`` holds the buffers by torch.optim's names, each [r, P]. The runs agree on what decides
    which passes are made (``Optimizer.shared``), so a run's arithmetic is the same in any batch.
    """

    def __init__(self, configs: Sequence[Any], params: Tensor, grads: Tensor) -> None:
        self.configs = configs
        self.params = params  # [r, P], views of the group's rows
        self.grads = grads
        self.state: dict[str, Tensor] = {}
        self._table: Tensor | None = None
        self._floor = params.new_tensor(FLOOR)
        decays = getattr(configs[0], "weight_decay", 0)
        self._decay = self._column("weight_decay") if decays else None

    @abstractmethod
    def prepare(self, first: int, rates: Tensor) -> None:
        """Get ready for the steps of an epoch.

        What is kept on the parameters' device for it stays at its address as long as S does, so
        that steps captured once in a CUDA graph serve every epoch.

        Args:
            first: number of the epoch's first step, counted from 0 over the run.
            rates: learning rates [S, r], float64, on the CPU.
        """

    @abstractmethod
    def step(self, index: int | Tensor) -> None:
        """Update parameters and state from the gradients.

        Args:
            index: counts the steps within the epoch. An int64 tensor [1] on the parameters' device
                is read there, without waiting for it: one captured step then serves for all.
        """

    @cached_property
    def _scratch(self) -> Tensor:
        """A buffer [r, P] for what only a step needs; there from the first that does."""
        return torch.empty_like(self.params)

    def _tabulate(self, *values: Tensor) -> None:
        """Keep the h ``values`` [S, r] (float64, on the CPU) that change from step to step."""
        rows = torch.stack(values, 1).to(self.params.dtype).unsqueeze(-1)  # [S, h, r, 1]
        if self._table is not None and self._table.shape == rows.shape:
            self._table.copy_(rows)
            return
        self._table = rows.to(self.params.device)
        self._columns = [column.unbind() for column in self._table.unbind(1)]  # h lists of S
        self._row = torch.empty_like(self._table[:1])
        self._at_index = self._row[0].unbind()

    def _now(self, index: int | Tensor) -> Sequence[Tensor]:
        """The tabulated values of one step, h times [r, 1]."""
        if isinstance(index, int):
            return [column[index] for column in self._columns]
        assert self._table is not None
        torch.index_select(self._table, 0, index, out=self._row)
        return self._at_index

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
        return self._put(eps.clamp(min=SMALLEST_EPS))

    def _squared_grads(self, out: Tensor) -> Tensor:
        return torch.addcmul(self._floor, self.grads, self.grads, out=out)

    def _add_weight_decay(self) -> None:
        if self._decay is not None:
            self.grads.addcmul_(self.params, self._decay)
