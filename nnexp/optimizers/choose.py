"""Which optimizer updates which rows of a group, and in which of three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from nnexp.config.schema import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    RMSpropConfig,
    SGDConfig,
)
from nnexp.kernels import available
from nnexp.optimizers.base import Optimizer
from nnexp.optimizers.batched import SGD, Adagrad, Adam, AdamW, RMSprop
from nnexp.optimizers.fused import FUSED

# Numbers of a run from which fused kernels are used. Called for ten runs that share their
# hyperparameters, one takes a third of the passes' time at 2,400 numbers; called run by run, 1.4
# times as long there, and half as long at 60,000.
_LONG_ROW = 2048
# Numbers that an optimizer updates at once on the CPU, with gradients and state some 2 MiB.
_CACHED_NUMBERS = 96 * 1024

_PASSES: dict[type[OptimizerConfig], type[Optimizer]] = {
    SGDConfig: SGD,
    AdagradConfig: Adagrad,
    AdamConfig: Adam,
    AdamWConfig: AdamW,
    RMSpropConfig: RMSprop,
}


def passes(config: OptimizerConfig) -> tuple[Any, ...]:
    """What two runs must have in common for one optimizer to update both; sort runs by it."""
    return _PASSES[type(config)].passes(config)


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
    if available(params.device):
        from nnexp.optimizers.one_pass import ONE_PASS  # imports triton

        return ONE_PASS[type(config)]
    long = params.device.type == "cpu" and params.shape[1] >= _LONG_ROW
    kinds = {**_PASSES, **FUSED} if long else _PASSES
    return kinds[type(config)]
