"""Faster ways to update: torch's fused kernels on the CPU, the project's own on CUDA.

``make_updates`` decides which serves which rows of a group.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch
from nnexp.optim.base import Optimizer, Update

if TYPE_CHECKING:
    import torch  # noqa: TC004  (what runs is the lazy one above)
    from torch import Tensor

# --------------------------------------------------------------------------------------------------
# Optimizers by the fused kernels of torch.optim on the CPU: one pass for four to eight.
#
# A kernel takes one set of hyperparameters a call, so a call updates neighbouring rows that share
# them. That pays where a run has many numbers.
#
# Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
# --------------------------------------------------------------------------------------------------


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


# --------------------------------------------------------------------------------------------------
# Optimizers by the project's own kernels, for CUDA: one pass for four to eight.
#
# A kernel reads every run's hyperparameters, and those of this step, from the device. For devices
# on which ``nnexp.kernels.available``.
#
# Axes: r runs of one optimizer, P elements a run.
# --------------------------------------------------------------------------------------------------


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


# --------------------------------------------------------------------------------------------------
# Which update serves which rows of a group, and in which of three ways.
# --------------------------------------------------------------------------------------------------

# Elements of a run from which fused kernels are used. Called for ten runs that share their
# hyperparameters, one takes a third of the passes' time at 2,400 elements; called run by run, 1.4
# times as long there, and half as long at 60,000.
_LONG_ROW = 2048
# Elements that are updated at once on the CPU, with gradients and state some 2 MiB.
_CACHED_NUMBERS = 96 * 1024


def passes(config: Optimizer) -> tuple[Any, ...]:
    """What two runs must have in common for one ``Update`` to serve both; sort runs by it."""
    return type(config).__name__, *config.shared()


def make_updates(
    configs: Sequence[Optimizer], params: Tensor, grads: Tensor
) -> list[tuple[slice, Update]]:
    """Updates for neighbouring runs with the same ``passes``, each with its rows.

    Args:
        configs: of the R runs, in the order of the rows.
        params, grads: [R, P]; the updates keep views.
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


def _kind(config: Optimizer, params: Tensor) -> type[Update]:
    kind = None
    if available(params.device):
        kind = config.kernel()
    elif params.device.type == "cpu" and params.shape[1] >= _LONG_ROW:
        kind = config.fused()
    return kind or config.batched()


def available(device: torch.device) -> bool:
    """See ``nnexp.kernels.available``, which imports torch."""
    from nnexp import kernels

    return kernels.available(device)
