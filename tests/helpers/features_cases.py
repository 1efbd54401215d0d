"""What the tests of features share: tables, groups that read them, comparing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from engine_cases import make_config, same_bits, told, train
from torch import Tensor

from nnexp.config.schema import BundledConfig
from nnexp.data import Dataset, load_source, split
from nnexp.data.on_device import Features, Pixels
from nnexp.data.streaming import Placed
from nnexp.engine import Group, Run
from nnexp.models.layout import Structure

N, D, R, M = 53, 7, 3, 5
CPU = torch.device("cpu")


def make_pixels(draw: torch.Generator) -> Pixels:
    """Every run with a scaling of its own, one of them with a blanked column."""
    shift = 255 * torch.rand(R, D, generator=draw, dtype=torch.float64)
    scale = torch.rand(R, D, generator=draw, dtype=torch.float64) / 50
    scale[1, 2] = 0.0
    x = torch.randint(256, (N, D), generator=draw, dtype=torch.uint8)
    return Pixels(x, shift, scale)


def table_of(pixels: Pixels, run: int) -> Tensor:
    """What nnexp/data/preprocessing.py makes of the pixels: [N, D] float32, computed by numpy."""
    x, shift, scale = pixels.x.numpy(), pixels.shift[run].numpy(), pixels.scale[run].numpy()
    return torch.from_numpy(np.multiply(x - shift, scale).astype(np.float32))


def fetched(features: Features, index: Tensor, runs: int = R) -> Tensor:
    shape = runs, len(index) // runs, features.num_features
    out = torch.full(shape, torch.nan, device=index.device)
    features.rows(index, out)
    return out


# ── groups ────────────────────────────────────────────────────────────────────────────────────


def split_digits() -> list[Dataset]:
    """Two splits of one source of pixels, and the first one again in another scaling."""
    read = load_source(BundledConfig(name="digits", source="digits"))
    source = dataclasses.replace(read, x=read.x.astype(np.uint8))
    return [
        split(source, BundledConfig(name="digits", split_seed=seed, scaling=scaling, num_train=150))
        for seed, scaling in ((0, "standard"), (1, "standard"), (0, "none"))
    ]


def trained(placed: Placed, digits: list[Dataset]) -> list[Any]:
    """All that a group says, and its logits: seven steps an epoch, the last one smaller."""
    structure = Structure(64, (12,), 10)
    configs = [
        make_config(structure, seed=seed, batch_size=23, epochs=2, dropout=0.1)
        for seed in (0, 0, 5)
    ]
    device = placed.y.device
    sets = list(zip(digits, placed.first, strict=True))
    runs = [
        Run(config, (dataset.train + first).to(device), (dataset.val + first).to(device))
        for config, (dataset, first) in zip(configs, sets, strict=True)
    ]
    group = Group(runs, placed.features, placed.y, structure)
    records = [told(of_run) for of_run in train(group)]
    height = min(len(dataset.test) for dataset in digits)
    test = torch.stack([dataset.test[:height] + first for dataset, first in sets]).to(device)
    return [records, *group.predict([0, 1, 2], test), *group.predict([2], test[2:])]


def scaled_pixels(digits: list[Dataset]) -> Pixels:
    (x,) = {dataset.pixels for dataset in digits}
    assert x is not None
    return Pixels(x, torch.stack([d.shift for d in digits]), torch.stack([d.scale for d in digits]))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert found[0] == expected[0]
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert same_bits(one, other)
