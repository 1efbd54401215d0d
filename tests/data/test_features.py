"""What groups read features from: the same bits as the CPU's float32 table, in whatever type."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from engine_cases import one_thread  # noqa: F401
from features_cases import (
    CPU,
    D,
    M,
    N,
    R,
    assert_same,
    fetched,
    make_pixels,
    scaled_pixels,
    split_digits,
    table_of,
    trained,
)

from nnexp import kernels
from nnexp.data import Dataset, ScaledTable
from nnexp.data.on_device import Floats, Pixels
from nnexp.data.streaming import Placed, Streamed, _placed_floats, _placed_pixels, free_bytes, place
from nnexp.memory import fits


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pixels(draw: torch.Generator) -> Pixels:
    return make_pixels(draw)


@pytest.fixture(scope="module")
def digits() -> list[Dataset]:
    return split_digits()


@pytest.fixture(scope="module")
def expected(digits: list[Dataset]) -> list[Any]:
    """From the float32 tables."""
    placed = place(digits, CPU)
    assert isinstance(placed.features, Floats)
    assert placed.first == [0, 1797, 2 * 1797]
    return trained(placed, digits)


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


# ── groups ────────────────────────────────────────────────────────────────────────────────────


def test_a_group_on_pixels_has_the_bits_of_one_on_floats(
    digits: list[Dataset], expected: list[Any]
) -> None:
    table = scaled_pixels(digits)
    assert_same(trained(Placed(table, digits[0].y, [0, 0, 0]), digits), expected)


# ── placement ─────────────────────────────────────────────────────────────────────────────────


def test_on_the_cpu_one_table_is_the_group_s(digits: list[Dataset]) -> None:
    placed = place([digits[0], digits[0]], CPU)
    assert isinstance(placed.features, Floats)
    assert placed.features.x is digits[0].x
    assert placed.y is digits[0].y
    assert placed.first == [0, 0]
    placed = place([digits[0], digits[2], digits[0]], CPU)
    assert isinstance(placed.features, Floats)
    assert torch.equal(placed.features.x, torch.cat([digits[0].x, digits[2].x]))
    assert torch.equal(placed.y, torch.cat([digits[0].y, digits[2].y]))
    assert placed.first == [0, 1797, 0]


def test_a_table_lies_on_the_device_if_it_takes_at_most_half_of_what_is_free() -> None:
    assert fits(500, 1000)
    assert not fits(501, 1000)
    assert fits(2**60, None)  # the CPU has it already


@pytest.mark.parametrize("kind", ["pixels", "floats"])
def test_what_does_not_fit_is_streamed(
    digits: list[Dataset], expected: list[Any], kind: str
) -> None:
    (x,) = {dataset.pixels for dataset in digits}
    assert x is not None

    def placed(free: int) -> Placed:
        if kind == "pixels":
            return _placed_pixels(digits, x, CPU, free)
        return _placed_floats(digits, CPU, free)

    table_bytes = 1797 * 64 + 2 * 3 * 64 * 8 if kind == "pixels" else 3 * 1797 * 64 * 4
    here, away = placed(2 * table_bytes), placed(2 * table_bytes - 1)
    assert isinstance(here.features, Pixels if kind == "pixels" else Floats)
    assert isinstance(away.features, Streamed)
    for found in (here, away):
        assert_same(trained(found, digits), expected)


# ── on CUDA ───────────────────────────────────────────────────────────────────────────────────

cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@cuda
@needs_cuda
@pytest.mark.parametrize("plain", [False, True], ids=["as it comes", "in plain torch"])
def test_cuda_pixels_have_the_bits_of_the_table(
    pixels: Pixels, draw: torch.Generator, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    if plain:
        monkeypatch.setattr(kernels, "available", lambda _: False)
    index = torch.randint(N, (R, M), generator=draw)
    expected = torch.stack([table_of(pixels, run)[index[run]] for run in range(R)])
    there = pixels.over(pixels.x.cuda())
    assert torch.equal(there.lookup(index.cuda()).cpu(), expected)
    assert torch.equal(fetched(there, index.flatten().cuda()).cpu(), expected)
    assert torch.equal(there.of([2]).lookup(index[2:].cuda()).cpu(), expected[2:])


@cuda
@needs_cuda
def test_cuda_pixels_stay_bytes_and_no_float32_table_is_made(digits: list[Dataset]) -> None:
    fresh = [
        dataclasses.replace(d, table=ScaledTable(d.pixels, d.shift.numpy(), d.scale.numpy()))
        for d in digits
        if d.pixels is not None
    ]
    placed = place(fresh, torch.device("cuda"))
    assert isinstance(placed.features, Pixels)
    assert placed.features.x.dtype == torch.uint8
    assert placed.features.device.type == placed.y.device.type == "cuda"
    assert placed.first == [0, 0, 0]
    assert [dataset.table._x for dataset in fresh] == [None, None, None]


@cuda
@needs_cuda
def test_cuda_memory_that_torch_holds_unused_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody else had the device: tests in other processes take and give back memory."""
    device = torch.device("cuda")
    total = torch.cuda.mem_get_info(device)[1]

    def alone(asked: torch.device) -> tuple[int, int]:
        return total - torch.cuda.memory_reserved(asked), total

    monkeypatch.setattr(torch.cuda, "mem_get_info", alone)
    before = free_bytes(device)
    held = torch.empty(2**28, dtype=torch.uint8, device=device)
    assert free_bytes(device) <= before - 2**28 + 2**25
    del held
    assert free_bytes(device) >= before - 2**25
