"""How an epoch's rows are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.config.schema import TrainerConfig
from nnexp.errors import ConfigError
from nnexp.models.protocol import Network


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
class Stretch:
    """Neighbouring batches of one size, cut at once: a step takes a view that is ready."""

    rows: Tensor  # [S, R * M], int64 indices into the table
    labels: Tensor  # [S, R, 1, M], int64
    size: int  # B; the rows beyond it are padding
    first: int  # number of the first batch within the epoch


def stretches(order: Tensor, y: Tensor, size: int, network: Network) -> Iterator[Stretch]:
    """An epoch's batches, of rows in the order [R, N]: the whole ones, then the last one if it is
    smaller. ``y`` has the classes of the table's rows."""
    whole = order.shape[1] // size * size
    first = 0
    for part in (order[:, :whole], order[:, whole:]):
        if part.shape[1]:
            rows = part.view(len(part), -1, min(size, part.shape[1])).transpose(0, 1)
            count = rows.shape[2]
            rows = padded(rows, network.padded_rows(count))
            labels = y[rows].unsqueeze(2)
            yield Stretch(rows.reshape(len(rows), -1), labels, count, first)
            first += len(rows)


def padded(rows: Tensor, height: int) -> Tensor:
    """[..., B] to [..., height], the last repeated: padding adds no row that is not there."""
    missing = height - rows.shape[-1]
    if not missing:
        return rows
    return torch.cat([rows, rows[..., -1:].expand(*rows.shape[:-1], missing)], -1)
