"""Which update serves which rows of a group, and in which of three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnexp.optim.base import Optimizer
from nnexp.optim.update import Update

if TYPE_CHECKING:
    import torch
    from torch import Tensor

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
