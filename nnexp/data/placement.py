"""Where a group's data sets lie while it trains: on the device in the type they have, else on the
host, to be streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.data.dataset import Dataset
from nnexp.data.features import Features, Floats, Pixels
from nnexp.data.streamed import Streamed
from nnexp.memory import fits

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Placed:
    """What the R runs of a group read, all from one table."""

    features: Features
    y: Tensor  # [N] int64, on the device that trains
    first: list[int]  # for each run the row of the table that its data set begins with


def place(datasets: Sequence[Dataset], device: torch.device) -> Placed:
    """The data sets of R runs, for a device that trains. Tables that are one object are kept once.

    On CUDA pixels that all runs share stay bytes, and are scaled for each run as they are read; the
    CPU would be slowed down by that.
    """
    free = None if device.type == "cpu" else free_bytes(device)
    pixels = datasets[0].pixels
    if free is None or pixels is None or any(dataset.pixels is not pixels for dataset in datasets):
        return _placed_floats(datasets, device, free)
    return _placed_pixels(datasets, pixels, device, free)


def free_bytes(device: torch.device) -> int:
    """Memory of a CUDA device that a tensor can have: what nobody holds, and what torch does
    without using it."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


def _placed_pixels(
    datasets: Sequence[Dataset], pixels: Tensor, device: torch.device, free: int | None
) -> Placed:
    shift = torch.stack([dataset.shift for dataset in datasets])
    scale = torch.stack([dataset.scale for dataset in datasets])
    table = Pixels(pixels, shift, scale)
    features: Features
    if fits(table.nbytes, free):
        features = table.over(pixels.to(device))
    else:
        features = Streamed(table, device, len(datasets))
    return Placed(features, datasets[0].y.to(device), [0] * len(datasets))


def _placed_floats(datasets: Sequence[Dataset], device: torch.device, free: int | None) -> Placed:
    distinct = list({id(dataset.table): dataset for dataset in datasets}.values())
    starts, height = {}, 0
    for dataset in distinct:
        starts[id(dataset.table)] = height
        height += len(dataset.y)
    tables = [dataset.x for dataset in distinct]
    features: Features
    if fits(sum(table.nbytes for table in tables), free):
        features = Floats(_joined(tables, device))
    else:
        features = Streamed(Floats(_joined(tables, _CPU)), device, len(datasets))
    y = _joined([dataset.y for dataset in distinct], device)
    return Placed(features, y, [starts[id(dataset.table)] for dataset in datasets])


def _joined(tables: list[Tensor], device: torch.device) -> Tensor:
    """One below the other, on the device; a single one that is there is not copied."""
    if len(tables) == 1:
        return tables[0].to(device)
    heights = [len(table) for table in tables]
    whole = tables[0].new_empty((sum(heights), *tables[0].shape[1:]), device=device)
    for part, table in zip(torch.split(whole, heights), tables, strict=True):
        part.copy_(table)
    return whole
