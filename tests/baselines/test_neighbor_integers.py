"""Neighbours of whole numbers by products of bytes, against squared distances in int64."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from cuda_cases import no_waiting
from neighbor_cases import assert_same_bits, peak_bytes
from torch import Tensor

from nnexp import kernels
from nnexp.baselines.neighbors import integers, nearest
from nnexp.baselines.neighbors.integers import IntegerSearch, Layout, to_bytes

CPU = torch.device("cpu")
interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton compiles")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = [
    pytest.param("cpu", marks=interpreted),
    pytest.param("cuda", marks=[pytest.mark.cuda, needs_gpu]),
]


def int32_mm(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
    """What ``torch._int_mm`` is to compute, number by number."""
    return torch.mm(a.int(), b.int(), out=out)


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the search by bytes is tested on CPUs too that are not used for it."""
    if not integers.usable(1, CPU):
        monkeypatch.setattr(torch, "_int_mm", int32_mm)
        monkeypatch.setattr(integers, "usable", lambda num_features, device: True)


@pytest.fixture
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, "_SCORES_AT_A_TIME", {"cpu": 2**12})
    monkeypatch.setattr(integers, "_QUERIES_AT_A_TIME", {"cpu": 32})


def whole(seed: int, shape: tuple[int, int], most: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(0, most + 1, shape, generator=stream)


def reference(train: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and rows of the k nearest, ties to the lowest row, for int64 numbers."""
    squares = torch.stack([(train - query).square().sum(1) for query in queries])
    ranked, order = squares.sort(dim=1, stable=True)
    return ranked[:, :k], order[:, :k]


CASES: dict[str, tuple[Tensor, Tensor, int]] = {
    "pixels": (whole(0, (600, 784), 255), whole(1, (40, 784), 255), 16),
    "hundreds of ties": (whole(0, (3000, 4), 2), whole(1, (50, 4), 2), 20),
    "all rows equal": (torch.full((700, 3), 7), torch.full((40, 3), 9), 30),
    "k is N": (whole(0, (333, 5), 3), whole(1, (35, 5), 3), 333),
    "one row": (torch.tensor([[255, 0]]), whole(1, (3, 2), 255), 1),
    "one query": (whole(0, (1001, 6), 9), whole(1, (1, 6), 9), 5),
    "one feature": (whole(0, (999, 1), 255), whole(1, (33, 1), 255), 7),
    "constant features": (torch.full((130, 9), 255), torch.zeros((17, 9), dtype=torch.int64), 2),
    "extremes": (255 * whole(0, (500, 300), 1), 255 * whole(1, (20, 300), 1), 9),
    "features of which few fit": (
        255 * whole(0, (40, integers.MOST_FEATURES), 1),
        255 * whole(1, (3, integers.MOST_FEATURES), 1),
        4,
    ),
}


def by_bytes(train: Tensor, queries: Tensor, k: int, memory_bytes: int) -> tuple[Tensor, Tensor]:
    layout = Layout.of(len(train), k, CPU, memory_bytes)
    assert layout is not None
    search = IntegerSearch(to_bytes(train.to(torch.uint8), 0), layout)
    return search.run(to_bytes(queries.to(torch.uint8), 0), k)


@pytest.mark.parametrize("case", CASES)
def test_squared_distances_and_rows_are_those_of_int64(case: str) -> None:
    train, queries, k = CASES[case]
    assert_same_bits(by_bytes(train, queries, k, 2**28), reference(train, queries, k))


@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize("case", CASES)
def test_tiles_and_chunks_change_nothing(case: str) -> None:
    train, queries, k = CASES[case]
    assert_same_bits(by_bytes(train, queries, k, 2**28), reference(train, queries, k))


@interpreted
@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize("case", ["k is N", "one query", "extremes"])
def test_minima_by_a_kernel_change_nothing(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """See conftest.py; where there is a GPU, it runs the kernel in the tests below."""
    pytest.importorskip("triton")
    calls = []
    minima = importlib.import_module("nnexp.kernels.minima")
    group_minima = minima.group_minima

    def counted(*arguments: Any) -> None:
        calls.append(arguments[-1])
        group_minima(*arguments)

    monkeypatch.setattr(minima, "group_minima", counted)
    monkeypatch.setattr(kernels, "available", lambda device: True)
    train, queries, k = CASES[case]
    assert_same_bits(by_bytes(train, queries, k, 2**28), reference(train, queries, k))
    assert max(calls) > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("groups", [4, 132])
def test_minima_of_groups(device: str, groups: int) -> None:
    pytest.importorskip("triton")
    from nnexp.kernels.minima import group_minima

    stream = torch.Generator().manual_seed(0)
    products = torch.randint(-(2**24), 2**24, (6, 16, groups), dtype=torch.int32, generator=stream)
    norms = torch.randint(0, 2**25, (16, groups), dtype=torch.int32, generator=stream)
    norms[:, -1] = 2**31 - 1
    products[:, :, -1] = 0  # padding: its score is the largest number there is
    minima = torch.full((6, 3, groups), -7, dtype=torch.int32)
    expected = minima.clone()
    expected[:, 1] = (norms - 2 * products).amin(1)
    on_device = minima.to(device)
    group_minima(products.to(device), norms.to(device), on_device, 1)
    assert torch.equal(on_device.cpu(), expected)


def test_layouts_cover_all_rows_and_keep_within_memory() -> None:
    """For torch._int_mm on CUDA: more than 16 queries; features, tiles in multiples of 8."""
    tiles = set()
    for num_rows in (1, 7, 64, 1000, 60_000, 1_000_000):
        for k in (1, 5, 16, 300):
            for memory_bytes in (2**20, 2**24, 2**29):
                for device in (CPU, torch.device("cuda")):
                    layout = Layout.of(num_rows, min(k, num_rows), device, memory_bytes)
                    if layout is None:
                        continue
                    tiles.add(layout.tiles)
                    assert num_rows <= layout.num_groups * layout.group
                    needed = math.ceil(num_rows / layout.group)
                    assert layout.groups * (layout.tiles - 1) < needed, "no tile is padding alone"
                    assert layout.groups % 4 == 0
                    assert layout.count <= layout.num_groups
                    assert layout.count * layout.group >= min(k, num_rows)
                    assert layout.queries % 32 == 0
                    assert layout.queries > 0
                    assert layout.group * layout.groups % 8 == 0
                    assert layout.queries * layout.query_bytes <= memory_bytes
    assert len(tiles) > 5
    assert Layout.of(60_000, 60_000, CPU, 60_000 * 192) is None


@pytest.mark.parametrize("k", [5, 100])
def test_memory_stays_within_the_bound(k: int) -> None:
    train, queries = whole(0, (4000, 32), 255).byte(), whole(1, (600, 32), 255).byte()
    copies = 2 * train.nbytes + 2 * queries.nbytes + 600 * k * 40  # padded; results and theirs
    peaks = []
    for memory_bytes in (2**22, 2**24):
        peaks.append(peak_bytes(lambda: by_bytes(train, queries, k, memory_bytes)))  # noqa: B023
        assert peaks[-1] <= memory_bytes + copies
    assert peaks[1] > 1.5 * peaks[0], "the bound is there to be used"


def counted_searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    searches: list[int] = []
    run = IntegerSearch.run

    def counted(self: IntegerSearch, queries: Tensor, k: int) -> Any:
        searches.append(len(queries))
        return run(self, queries, k)

    monkeypatch.setattr(IntegerSearch, "run", counted)
    return searches


@pytest.mark.parametrize("shift", [0.0, -300.0, 2.0**23, 2.0**40])
def test_whole_floats_take_the_same_way_and_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    step = 2.0**20 if shift > 2.0**30 else 1.0  # numbers that float32 has
    numbers = whole(0, (900, 11), 3), whole(1, (50, 11), 3)
    train, queries = (rows.float() * step + shift for rows in numbers)
    searches = counted_searches(monkeypatch)
    found = nearest(train, queries, 9)
    assert len(searches) == (step == 1.0)
    monkeypatch.setattr(integers, "usable", lambda num_features, device: False)
    assert_same_bits(found, nearest(train, queries, 9))
    assert len(searches) == (step == 1.0)


def test_bytes_give_the_bits_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    train, queries, k = CASES["pixels"]
    for metric in ("euclidean", "manhattan", "cosine"):
        found = nearest(train.to(torch.uint8), queries.to(torch.uint8), k, metric=metric)
        assert_same_bits(found, nearest(train.float(), queries.float(), k, metric=metric))
    with monkeypatch.context() as patch:
        patch.setattr(integers, "usable", lambda num_features, device: False)
        by_floats = nearest(train.to(torch.uint8), queries.to(torch.uint8), k)
    assert_same_bits(nearest(train.to(torch.uint8), queries.to(torch.uint8), k), by_floats)


@pytest.mark.parametrize(
    ("train", "query", "searches"),
    [([0.0, 255.0], 3.0, 1), ([0.0, 255.0], 255.5, 0), ([0.0, 255.0], 256.0, 0),
     ([0.0, 9.5], 3.0, 0), ([-128.0, 127.0], -0.0, 1), ([-(2.0**25), 0.0], 3.0, 0)],
)  # fmt: skip
def test_other_numbers_do_not(
    monkeypatch: pytest.MonkeyPatch, train: list[float], query: float, searches: int
) -> None:
    counts = counted_searches(monkeypatch)
    rows, queries = torch.tensor(train).unsqueeze(1), torch.tensor([[query]])
    found, indices = nearest(rows, queries, 2)
    exact = sorted((abs(number - query), row) for row, number in enumerate(train))
    assert list(zip(found[0].tolist(), indices[0].tolist(), strict=True)) == exact
    assert len(counts) == searches


def test_other_metrics_and_wide_rows_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    counts = counted_searches(monkeypatch)
    train, queries, k = CASES["hundreds of ties"]
    nearest(train.float(), queries.float(), k, metric="manhattan")
    assert counts == []
    assert not integers.usable(8, torch.device("meta"))
    monkeypatch.setattr(integers, "_multiplies_bytes", lambda device: True)
    assert integers.usable(integers.MOST_FEATURES, CPU)
    assert not integers.usable(integers.MOST_FEATURES + 1, CPU)


@pytest.mark.parametrize(("wrong", "expected"), [(False, True), (True, False)])
def test_products_of_bytes_that_overflow_are_found_out(
    monkeypatch: pytest.MonkeyPatch, wrong: bool, expected: bool
) -> None:
    """As on CPUs that add up pairs of products in 16 bits."""

    def int_mm(a: Tensor, b: Tensor) -> Tensor:
        return torch.mm(a.int(), b.int()) - int(wrong)

    def none_there(a: Tensor, b: Tensor) -> Tensor:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch, "_int_mm", int_mm)
    multiplies = integers._multiplies_bytes.__wrapped__
    assert multiplies(CPU) == expected
    monkeypatch.setattr(torch, "_int_mm", none_there)
    assert not multiplies(CPU)


@pytest.mark.usefixtures("_small_tiles")
def test_no_queries_have_no_neighbours() -> None:
    for dtype in (torch.float32, torch.uint8):
        found, indices = nearest(torch.ones(9, 2, dtype=dtype), torch.ones(0, 2, dtype=dtype), 3)
        assert found.shape == indices.shape == (0, 3)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("memory_bytes", [2**23, 2**29])
@pytest.mark.parametrize("case", CASES)
def test_cuda_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, case: str, memory_bytes: int
) -> None:
    train, queries, k = CASES[case]
    squares, expected = reference(train, queries, k)
    assert integers.usable(train.shape[1], torch.device("cuda", 0))
    searches = counted_searches(monkeypatch)
    for dtype in (torch.uint8, torch.float32):
        on_cuda = (train.to("cuda", dtype), queries.to("cuda", dtype))
        found, indices = nearest(*on_cuda, k, memory_bytes=memory_bytes)
        assert found.is_cuda
        assert_same_bits((found.cpu(), indices.cpu()), (squares.double().sqrt(), expected))
    assert len(searches) == 2


@pytest.mark.cuda
@needs_gpu
def test_cuda_is_asked_nothing_during_the_search() -> None:
    train, queries, k = CASES["pixels"]
    on_cuda = [to_bytes(rows.to("cuda", torch.uint8), 0) for rows in (train, queries)]
    layout = Layout.of(len(train), k, on_cuda[0].device, 2**23)
    assert layout is not None
    IntegerSearch(on_cuda[0], layout).run(on_cuda[1], k)  # kernels are compiled and tried
    with no_waiting():
        found, _ = IntegerSearch(on_cuda[0], layout).run(on_cuda[1], k)
    assert torch.equal(found.cpu(), reference(train, queries, k)[0])
