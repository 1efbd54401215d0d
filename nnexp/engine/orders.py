"""In which order a run's rows are trained on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from nnexp.engine.runs import Run
from nnexp.environment import available_cores
from nnexp.randomness import generator

_MOST_THREADS = 8  # that draw orders for a GPU


class Orders:
    """Each run's rows in the order of an epoch, drawn from (seed, epoch) alone.

    Orders are drawn on the CPU, so that they are the same on every device. For a GPU those of the
    next epoch are drawn while it trains on this one, into pinned memory.

    Args:
        runs: as many rows in each.
        trained: rows of an epoch, at most as many.
    """

    def __init__(self, runs: Sequence[Run], trained: int) -> None:
        self._seeds = [run.config.seed for run in runs]
        self._train = torch.stack([run.train for run in runs])  # [R, N]
        self._trained = trained
        self._ahead: dict[int, tuple[Tensor, list[Future[None]]]] = {}  # by epoch
        self._buffers: list[Tensor] = []
        if self._train.is_cuda:
            shape = self._train.shape
            self._buffers = [torch.empty(shape, dtype=torch.int64, pin_memory=True) for _ in "ab"]

    def rows(self, epoch: int) -> Tensor:
        """The table's rows in the order of this epoch, [R, trained]."""
        if not self._buffers:
            drawn = torch.empty_like(self._train)
            self._draw(drawn, 0, epoch)
            return self._train.gather(1, drawn[:, : self._trained])
        buffer, parts = self._ahead.get(epoch) or self._begin(epoch)
        for part in parts:
            part.result()
        drawn = buffer.to(self._train.device, non_blocking=True)
        # The buffer of the epoch before: it has been copied, for that epoch has ended.
        self._ahead = {epoch + 1: self._begin(epoch + 1)}
        return self._train.gather(1, drawn[:, : self._trained])

    def _begin(self, epoch: int) -> tuple[Tensor, list[Future[None]]]:
        """Have the epoch's permutations [R, N] drawn in the background."""
        buffer = self._buffers[epoch % 2]
        size = -(-len(buffer) // _MOST_THREADS)
        parts = [
            _pool().submit(self._draw, buffer[first : first + size], first, epoch)
            for first in range(0, len(buffer), size)
        ]
        return buffer, parts

    def _draw(self, permutations: Tensor, first: int, epoch: int) -> None:
        """Fill [r, N] with the permutations of the runs from ``first`` on."""
        for own, seed in zip(permutations, self._seeds[first:], strict=False):
            torch.randperm(len(own), generator=generator(seed, "order", epoch), out=own)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST_THREADS, available_cores()), "nnexp-orders")
