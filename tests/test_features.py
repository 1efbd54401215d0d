"""What groups read features from: the same bits as the CPU's float32 table, in whatever type."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from engine_cases import make_config, one_thread, same_bits, told, train  # noqa: F401
from torch import Tensor

from nnexp.config.schema import BundledConfig
from nnexp.data import Dataset, load_source, split
from nnexp.data.features import Features, Floats, Pixels, Resident
from nnexp.data.placement import Placed, _placed_floats, _placed_pixels, fits, place
from nnexp.data.streamed import Streamed, _Belt, _Bus
from nnexp.engine import Group, Run
from nnexp.models.structure import Structure

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


# ── streamed ──────────────────────────────────────────────────────────────────────────────────

CPU = torch.device("cpu")


def streamed(table: Resident, steps: float, width: int = R * M) -> Streamed:
    """With a window of so many steps."""
    row = table.x[:1].nbytes + 8
    return Streamed(table, CPU, R, window_bytes=int(steps * width * row))


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
            assert features._belt is not None
            addresses.add((index.data_ptr(), features._belt.window.x.data_ptr()))
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
    features._belt = belt = _Belt(pixels, 2 * R * M)
    belt._bus = _Bus(belt.window.x.as_subclass(Later))
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
    for found, expected in seen:
        assert torch.equal(found, expected)


# ── groups ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def digits() -> list[Dataset]:
    """Two splits of one source of pixels, and the first one again in another scaling."""
    read = load_source(BundledConfig(name="digits", source="digits"))
    source = dataclasses.replace(read, x=read.x.astype(np.uint8))
    return [
        split(source, BundledConfig(name="digits", split_seed=seed, scaling=scaling, num_train=150))
        for seed, scaling in ((0, "standard"), (1, "standard"), (0, "none"))
    ]


def trained(features: Features, y: Tensor, first: list[int], digits: list[Dataset]) -> list[Any]:
    """All that a group says, and its logits: seven steps an epoch, the last one smaller."""
    structure = Structure(64, (12,), 10)
    configs = [
        make_config(structure, seed=seed, batch_size=23, epochs=2, dropout=0.1)
        for seed in (0, 0, 5)
    ]
    runs = [
        Run(config, dataset.train + start, dataset.val + start)
        for config, dataset, start in zip(configs, digits, first, strict=True)
    ]
    group = Group(runs, features, y, structure)
    records = [told(of_run) for of_run in train(group)]
    height = min(len(dataset.test) for dataset in digits)
    test = [dataset.test[:height] + start for dataset, start in zip(digits, first, strict=True)]
    return [
        records,
        *group.predict([0, 1, 2], torch.stack(test)),
        *group.predict([2], test[2][None]),
    ]


@pytest.fixture(scope="module")
def expected(digits: list[Dataset]) -> list[Any]:
    """From the float32 tables."""
    placed = place(digits, CPU)
    assert isinstance(placed.features, Floats)
    assert placed.first == [0, 1797, 2 * 1797]
    return trained(placed.features, placed.y, placed.first, digits)


def scaled_pixels(digits: list[Dataset]) -> Pixels:
    (x,) = {dataset.pixels for dataset in digits}
    assert x is not None
    return Pixels(x, torch.stack([d.shift for d in digits]), torch.stack([d.scale for d in digits]))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert found[0] == expected[0]
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert same_bits(one, other)


def test_a_group_on_pixels_has_the_bits_of_one_on_floats(
    digits: list[Dataset], expected: list[Any]
) -> None:
    table = scaled_pixels(digits)
    assert_same(trained(table, digits[0].y, [0, 0, 0], digits), expected)


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
        assert_same(trained(found.features, found.y, found.first, digits), expected)


@pytest.mark.parametrize("steps", [0.1, 1, 2, 4, 6, 50])
def test_a_streamed_group_has_the_bits_of_a_resident_one(
    digits: list[Dataset], expected: list[Any], steps: float
) -> None:
    pixels = streamed(scaled_pixels(digits), steps, 3 * 23)
    assert_same(trained(pixels, digits[0].y, [0, 0, 0], digits), expected)
    placed = place(digits, CPU)
    assert isinstance(placed.features, Floats)
    floats = streamed(placed.features, steps, 3 * 23)
    assert_same(trained(floats, placed.y, placed.first, digits), expected)
    assert gatherers() == []


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
