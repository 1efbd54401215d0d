"""A table that stays on the host: its rows come to the device in time, and to their places."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    trained,
)
from torch import Tensor

from nnexp.data import Dataset, streaming
from nnexp.data.on_device import Floats, Pixels, Resident
from nnexp.data.streaming import Placed, Streamed, _CopyStream, _DoubleBuffer, place


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


def streamed(
    table: Resident, steps: float, width: int = R * M, device: torch.device = CPU
) -> Streamed:
    """With a window of so many steps."""
    row = table.x[:1].nbytes + 8
    return Streamed(table, device, R, window_bytes=int(steps * width * row))


def gatherers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "gather" in thread.name]


@pytest.mark.parametrize("steps", [0.5, 1, 2, 3.7, 4, 10, 11, 100])
@pytest.mark.parametrize("kind", ["pixels", "floats"])
def test_windows_bring_every_row_of_every_step(
    pixels: Pixels, draw: torch.Generator, steps: float, kind: str
) -> None:
    table = pixels if kind == "pixels" else Floats(torch.randn(N, D, generator=draw))
    order = torch.randint(N, (11, R * M), generator=draw)
    features = streamed(table, steps)
    lengths = []
    addresses = set()
    for _ in range(2):  # epochs
        for window, index in features.windows(order):
            assert index.shape == (window.stop - window.start, R * M)
            for step, places in zip(order[window], index, strict=True):
                assert torch.equal(fetched(features, places), fetched(table, step))
            lengths.append(len(index))
            assert features._double_buffer is not None
            addresses.add((index.data_ptr(), features._double_buffer.window.x.data_ptr()))
    each = min(max(1, int(steps)), 11)
    whole, rest = divmod(11, each)
    assert lengths == 2 * ([each] * whole + [rest] * (rest > 0))
    assert len(addresses) == 1
    assert gatherers() == []


def test_a_smaller_last_batch_is_read_through_the_same_window(
    pixels: Pixels, draw: torch.Generator
) -> None:
    features = streamed(pixels, 2)
    for height in (M, 2, M, 2):
        order = torch.randint(N, (3, R * height), generator=draw)
        for window, index in features.windows(order):
            for step, places in zip(order[window], index, strict=True):
                assert torch.equal(fetched(features, places), fetched(pixels, step))


def test_an_order_that_runs_share_is_brought_once(pixels: Pixels, draw: torch.Generator) -> None:
    """The second and the third run share theirs; then they only begin alike."""
    order = torch.randint(N, (4, R, M), generator=draw)
    order[:, 2] = order[:, 1]
    features = streamed(pixels, 4)
    ((_, index),) = features.windows(order.view(4, -1))
    assert set(index.flatten().tolist()) == set(range(4 * 2 * M))
    order[3, 2, M - 1] = (order[3, 2, M - 1] + 1) % N
    ((_, index),) = features.windows(order.view(4, -1))
    assert set(index.flatten().tolist()) == set(range(4 * 3 * M))
    for step, places in zip(order, index, strict=True):
        assert torch.equal(fetched(features, places), fetched(pixels, step.flatten()))


def test_what_is_streamed_is_looked_up_as_well(pixels: Pixels, draw: torch.Generator) -> None:
    index = torch.randint(N, (R, 20), generator=draw)
    index[1] = index[0]
    for table in (pixels, Floats(torch.randn(N, D, generator=draw))):
        assert torch.equal(streamed(table, 1).lookup(index), table.lookup(index))
        some = streamed(table, 1).of([2, 0])
        assert torch.equal(some.lookup(index[1:]), table.of([2, 0]).lookup(index[1:]))
    assert gatherers() == []


def test_an_error_while_rows_are_gathered_is_raised_where_they_are_used(
    pixels: Pixels, draw: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = streamed(pixels, 1)
    order = torch.randint(N, (5, R * M), generator=draw)
    asked = 0
    gather = Streamed._gather

    def fail(pool_of: Streamed, pool: ThreadPoolExecutor, rows: Any, room: Tensor) -> Any:
        nonlocal asked
        asked += 1
        if asked < 4:
            return gather(pool_of, pool, rows, room)
        return [pool.submit(int, "a page that cannot be read")]

    monkeypatch.setattr(Streamed, "_gather", fail)
    windows = features.windows(order)
    assert [next(windows)[0].start for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="a page that cannot be read"):
        next(windows)
    assert gatherers() == []


def test_no_thread_outlives_an_epoch_that_is_given_up(
    pixels: Pixels, draw: torch.Generator
) -> None:
    features = streamed(pixels, 1)
    order = torch.randint(N, (5, R * M), generator=draw)
    windows = features.windows(order)
    next(windows)
    assert gatherers() != []
    windows.close()
    assert gatherers() == []

    def interrupted() -> None:
        for _ in features.windows(order):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    del caught
    assert gatherers() == []
    assert [window.start for window, _ in features.windows(order)] == list(range(5))


class Device:
    """Streams and events as CUDA has them: what is asked for is done later, in any order that
    they allow. Here the order is drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.computing, self.done = Stream(self), 0
        self.current = self.computing
        self.streams = [self.computing]

    def ask(self, work: Callable[[], object]) -> None:
        self.current.asked.append(work)
        for _ in range(self.draw.choice((0, 0, 1, 3))):
            self.advance()

    def advance(self) -> None:
        """One thing that can be done now."""
        able = [s for s in self.streams if s.asked and s.may_begin()]
        if able:
            self.draw.choice(able).asked.popleft()()

    def finish(self) -> None:
        while any(stream.asked for stream in self.streams):
            self.advance()


class Stream:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.asked: deque[Callable[[], object]] = deque()

    def wait_event(self, event: Event) -> None:
        self.asked.append(Waiting(event.marks[-1]))

    def may_begin(self) -> bool:
        first = self.asked[0]
        return not isinstance(first, Waiting) or first.mark.is_reached


class Mark:
    is_reached = False

    def __call__(self) -> None:
        self.is_reached = True


class Waiting:
    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def __call__(self) -> None:
        assert self.mark.is_reached


class Event:
    def __init__(self) -> None:
        self.marks: list[Mark] = []

    def record(self, stream: Stream) -> None:
        self.marks.append(Mark())
        stream.asked.append(self.marks[-1])

    def synchronize(self) -> None:
        while self.marks and not self.marks[-1].is_reached:
            device.advance()


device = Device(0)


class Later(Tensor):
    """Memory of the device."""

    def copy_(self, source: Tensor, non_blocking: bool = False) -> Later:
        device.ask(lambda: Tensor.copy_(self, source))
        return self


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_a_device_does_what_it_may_steps_see_their_own_rows(
    pixels: Pixels, draw: torch.Generator, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    global device
    device = Device(seed)

    def add_stream(_: torch.device) -> Stream:
        device.streams.append(Stream(device))
        return device.streams[-1]

    @contextlib.contextmanager
    def stream(chosen: Stream) -> Iterator[None]:
        before, device.current = device.current, chosen
        yield
        device.current = before

    for name, stand_in in {
        "Stream": add_stream, "Event": Event, "stream": stream,
        "current_stream": lambda _: device.computing,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    features = streamed(pixels, 2)
    features._double_buffer = double_buffer = _DoubleBuffer(pixels, 2 * R * M)
    double_buffer._copy_stream = _CopyStream(double_buffer.window.x.as_subclass(Later))
    seen: list[tuple[Tensor, Tensor]] = []

    def step(places: Tensor, expected: Tensor) -> None:
        device.ask(lambda: seen.append((fetched(features, places), expected)))

    for _ in range(2):  # epochs
        order = torch.randint(N, (9, R * M), generator=draw)
        for window, index in features.windows(order):
            for own, places in zip(order[window], index, strict=True):
                step(places, fetched(pixels, own))
    device.finish()
    assert len(seen) == 18
    for found, wanted in seen:
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("steps", [0.1, 1, 2, 4, 6, 50])
def test_a_streamed_group_has_the_bits_of_a_resident_one(
    digits: list[Dataset], expected: list[Any], steps: float
) -> None:
    pixels = streamed(scaled_pixels(digits), steps, 3 * 23)
    assert_same(trained(Placed(pixels, digits[0].y, [0, 0, 0]), digits), expected)
    placed = place(digits, CPU)
    assert isinstance(placed.features, Floats)
    floats = streamed(placed.features, steps, 3 * 23)
    assert_same(trained(dataclasses.replace(placed, features=floats), digits), expected)
    assert gatherers() == []


# ── on CUDA ───────────────────────────────────────────────────────────────────────────────────

cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
_BUSY = 2_000_000  # cycles, a millisecond


@cuda
@needs_cuda
@pytest.mark.parametrize("kind", ["pixels", "floats"])
@pytest.mark.parametrize("busy", [0, _BUSY], ids=["idle", "busy"])
def test_cuda_windows_bring_every_row_of_every_step(
    draw: torch.Generator, kind: str, busy: int
) -> None:
    """Whether the GPU waits for rows or rows for the GPU; called, and replayed from a graph."""
    device = torch.device("cuda")
    x = torch.randint(256, (20_000, 784), generator=draw, dtype=torch.uint8)
    ones = torch.ones(R, 784, dtype=torch.float64)
    table = Pixels(x, 127 * ones, ones / 255) if kind == "pixels" else Floats(x.float())
    there = table.over(x.to(device) if kind == "pixels" else x.float().to(device))
    features = Streamed(table, device, R, window_bytes=2**22)
    places = torch.zeros(R * 128, dtype=torch.int64, device=device)
    out = torch.empty(R, 128, 784, device=device)
    graph = None
    differences = []
    for _ in range(3):  # epochs
        order = torch.randint(20_000, (40, R * 128), generator=draw).to(device)
        for window, index in features.windows(order):
            if graph is None:
                fetched(features, index[0])
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    features.rows(places, out)
            for own, at in zip(order[window], index, strict=True):
                if busy:
                    torch.cuda._sleep(busy)  # type: ignore[no-untyped-call]
                wanted = fetched(there, own)
                differences.append((fetched(features, at) != wanted).sum())
                places.copy_(at)
                graph.replay()
                differences.append((out != wanted).sum())
    assert len(differences) == 240
    assert torch.stack(differences).sum() == 0


@cuda
@needs_cuda
def test_cuda_a_streamed_group_has_the_bits_of_a_resident_one(
    digits: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cuda")
    wanted = trained(place(digits, device), digits)
    monkeypatch.setattr(streaming, "free_bytes", lambda _: 0)
    placed = place(digits, device)
    assert isinstance(placed.features, Streamed)
    assert placed.features.device.type == "cuda"
    assert_same(trained(placed, digits), wanted)
    small = streamed(scaled_pixels(digits), 2, 3 * 23, device)
    assert_same(trained(dataclasses.replace(placed, features=small), digits), wanted)
