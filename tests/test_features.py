"""What groups read features from: the same bits as the CPU's float32 table, in whatever type."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nnexp.data.features import Features, Floats, Pixels

N, D, R, M = 53, 7, 3, 5


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pixels(draw: torch.Generator) -> Pixels:
    """Every run with a scaling of its own, one of them with a blanked column."""
    shift = 255 * torch.rand(R, D, generator=draw, dtype=torch.float64)
    scale = torch.rand(R, D, generator=draw, dtype=torch.float64) / 50
    scale[1, 2] = 0.0
    x = torch.randint(256, (N, D), generator=draw, dtype=torch.uint8)
    return Pixels(x, shift, scale)


def table_of(pixels: Pixels, run: int) -> Tensor:
    """What nnexp/data/scaling.py makes of the pixels: [N, D] float32, computed by numpy."""
    x, shift, scale = pixels.x.numpy(), pixels.shift[run].numpy(), pixels.scale[run].numpy()
    return torch.from_numpy(np.multiply(x - shift, scale).astype(np.float32))


def fetched(features: Features, index: Tensor, runs: int = R) -> Tensor:
    out = torch.full((runs, len(index) // runs, features.num_features), torch.nan)
    features.rows(index, out)
    return out


def test_floats(draw: torch.Generator) -> None:
    x = torch.randn(N, D, generator=draw)
    features = Floats(x)
    index = torch.randint(N, (R, M), generator=draw)
    assert torch.equal(fetched(features, index.flatten()), x[index])
    assert torch.equal(features.lookup(index), x[index])
    assert features.of([2, 0]).x is x
    assert (features.num_features, features.nbytes) == (D, N * D * 4)
    assert features.device == torch.device("cpu")


def test_pixels_have_the_bits_of_the_table(pixels: Pixels, draw: torch.Generator) -> None:
    index = torch.randint(N, (R, M), generator=draw)
    expected = torch.stack([table_of(pixels, run)[index[run]] for run in range(R)])
    assert torch.equal(fetched(pixels, index.flatten()), expected)
    assert torch.equal(pixels.lookup(index), expected)
    assert (pixels.num_features, pixels.nbytes) == (D, N * D + 2 * R * D * 8)


def test_some_of_the_runs_keep_their_scaling(pixels: Pixels, draw: torch.Generator) -> None:
    index = torch.randint(N, (2, M), generator=draw)
    some = pixels.of([2, 0])
    expected = torch.stack([table_of(pixels, run)[index[row]] for row, run in enumerate((2, 0))])
    assert torch.equal(some.lookup(index), expected)
    assert torch.equal(fetched(some, index.flatten(), runs=2), expected)
    assert some.x is pixels.x


def test_what_is_resident_is_one_window(pixels: Pixels, draw: torch.Generator) -> None:
    order = torch.randint(N, (4, R * M), generator=draw)
    for features in (pixels, Floats(pixels.x.float())):
        ((steps, index),) = features.windows(order)
        assert steps == slice(0, 4)
        assert index is order
