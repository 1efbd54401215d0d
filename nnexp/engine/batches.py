"""How the rows of an epoch are ordered, and cut into batches."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.config.schema import TrainerConfig
from nnexp.data.coded import EpochRows
from nnexp.engine.objective import Objective
from nnexp.engine.state import Run
from nnexp.environment import available_cores
from nnexp.errors import ConfigError
from nnexp.models.protocol import Network
from nnexp.rng import generator

# --------------------------------------------------------------------------------------------------
# How an epoch's rows are cut into batches.
# --------------------------------------------------------------------------------------------------


def batches(rows: int, trainer: TrainerConfig, network: Network) -> list[tuple[int, int]]:
    """First row and number of rows of each batch of an epoch.

    Raises:
        ConfigError: dropping the last batch leaves none, or batch norm would meet a single row.
    """
    size = trainer.batch_size
    whole = rows // size * size if trainer.drop_last else rows
    found = [(start, min(size, whole - start)) for start in range(0, whole, size)]
    if not found:
        raise ConfigError(
            f"trainer.drop_last=true: leaves no batch of {rows} training samples; "
            f"trainer.batch_size={size} is larger"
        )
    if network.refuses_one_row and found[-1][1] == 1:
        raise ConfigError(
            f"trainer.batch_size={size}: {rows} training samples end in a batch of one, which "
            f"{network.refuses_one_row}; use another batch size or trainer.drop_last=true"
        )
    return found


@dataclass(frozen=True, eq=False)
class Chunk:
    """Neighbouring batches of one size, cut at once: a step takes a view that is ready."""

    rows: Tensor  # [S, R * M], int64 indices into the table
    labels: Tensor  # [S, R, 1 or 2, M], as ``Objective.batches`` has them
    size: int  # B; the rows beyond it are padding
    first: int  # number of the first batch within the epoch


def chunks(order: Tensor, y: Objective, size: int, network: Network) -> Iterator[Chunk]:
    """An epoch's batches, of rows in the order [R, N]: the whole ones, then the last one if it is
    smaller. ``y`` has the right answers of the table's rows."""
    whole = order.shape[1] // size * size
    first = 0
    for part in (order[:, :whole], order[:, whole:]):
        if part.shape[1]:
            rows = part.view(len(part), -1, min(size, part.shape[1])).transpose(0, 1)
            count = rows.shape[2]
            rows = padded(rows, network.padded_rows(count))
            labels = y.batches(rows, count)
            yield Chunk(rows.reshape(len(rows), -1), labels, count, first)
            first += len(rows)


def padded(rows: Tensor, height: int) -> Tensor:
    """[..., B] to [..., height], the last repeated: padding adds no row that is not there."""
    missing = height - rows.shape[-1]
    if not missing:
        return rows
    return torch.cat([rows, rows[..., -1:].expand(*rows.shape[:-1], missing)], -1)


# --------------------------------------------------------------------------------------------------
# In which order a run's rows are trained on.
# --------------------------------------------------------------------------------------------------

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
        self._train = torch.stack([run.train for run in runs if isinstance(run.train, Tensor)])
        self._trained = trained  # of the N rows of each of R runs in _train, [R, N]
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


class ComputedOrders:
    """The same of rows that are computed, whose order is computed as well.

    Args:
        runs: as many rows of an epoch in each.
        trained: rows of an epoch, at most as many.
        device: that trains.
    """

    def __init__(self, runs: Sequence[Run], trained: int, device: torch.device) -> None:
        self._runs = [
            (run.train, run.config.seed) for run in runs if isinstance(run.train, EpochRows)
        ]
        self._trained = trained
        self._device = device

    def rows(self, epoch: int) -> Tensor:
        """The table's rows in the order of this epoch, [R, trained]."""
        drawn = {
            (rows, seed): rows.of_epoch(seed, epoch)[: self._trained]
            for rows, seed in set(self._runs)
        }
        return torch.stack([drawn[key] for key in self._runs]).to(self._device)


def orders_of(runs: Sequence[Run], trained: int, device: torch.device) -> Orders | ComputedOrders:
    """In which order runs take their rows; all runs have the same kind of table."""
    if isinstance(runs[0].train, EpochRows):
        return ComputedOrders(runs, trained, device)
    return Orders(runs, trained)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST_THREADS, available_cores()), "nnexp-orders")
