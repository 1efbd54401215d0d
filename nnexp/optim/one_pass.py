"""Optimizers by the project's own kernels, for CUDA: one pass for four to eight.

A kernel reads every run's hyperparameters, and those of this step, from the device. For devices on
which ``nnexp.kernels.available``.

Axes: r runs of one optimizer, P elements a run.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch
from nnexp.optim.update import Update

if TYPE_CHECKING:
    from torch import Tensor


class OnePass(Update):
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

    @cached_property
    def _kernels(self) -> Any:
        from nnexp.kernels import updates  # imports triton

        return updates
