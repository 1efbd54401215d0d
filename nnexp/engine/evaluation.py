"""What networks say about rows that they are not trained on, and means over rows."""

from __future__ import annotations

import torch
from torch import Tensor

from nnexp.data.features import Features
from nnexp.devices import threads
from nnexp.engine.batches import padded
from nnexp.memory import EVALUATED_ROWS
from nnexp.models.protocol import BatchedNetwork


def logits_of(net: BatchedNetwork, features: Features, rows: Tensor) -> Tensor:
    """Logits [R, C, N] of rows [R, N] of the table."""
    parts = []
    # So many at once, always, because a product's last bits can depend on its height.
    for chunk in torch.split(rows, EVALUATED_ROWS[rows.device.type], dim=1):
        size = chunk.shape[1]
        height = net.network.padded_rows(size)
        x = features.lookup(padded(chunk, height))
        parts.append(net.forward(x, size)[:, :, :size])
    return torch.cat(parts, 2)


def means(losses: Tensor, rights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss [R] and accuracy [R], float64, of losses and rights [R, N].

    On one thread: torch cuts a sum to a single number, that of a run alone, by their number.
    """
    with threads(1):
        return losses.double().mean(1), rights.double().mean(1)
