"""Tables too large for the device: streamed from the host; and where each table is placed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnexp.data.coded import Classes, CodedTable, ComputedTable, StoredTable
from nnexp.data.coded_features import Coded, Computed
from nnexp.data.dataset import Dataset, ScaledTable
from nnexp.data.on_device import Features, Floats, Pixels, Resident
from nnexp.environment import available_cores
from nnexp.memory import fits

# --------------------------------------------------------------------------------------------------
# A table that stays on the host: its rows are brought to the device just before they are used.
#
# Threads gather the rows of the next steps into one of two pinned buffers, in the type that the
# table has, while those of the steps before are on the bus and older ones are trained on. The
# threads call nothing of CUDA: that would break a capture that goes on beside them.
#
# Axes: R runs, M rows of a batch's buffer, D features, S steps of an epoch, s of a window.
# --------------------------------------------------------------------------------------------------

Rows = npt.NDArray[np.int64]

# More than two milliseconds of a PCIe 5 bus. Beside its bytes a window has been seen to cost the
# host 0.1 ms with 2 threads, 0.6 ms with 16 that shared 2 cores.
WINDOW_BYTES = 128 * 2**20
_COMPUTED_ROWS = 2**15  # of a window, where rows are computed: of an epoch the next meanwhile
_MOST_THREADS = 16  # that gather: one copies 1.5 to 2.5 GB/s of rows, and the bus takes 55


class Streamed(Features):
    """What a table on the host says, brought to the device a window of steps at a time.

    Rows that several runs read at the same steps, for they share a seed, are brought once.

    Args:
        table: on the CPU.
        device: that trains.
        runs: R.
        window_bytes: at most, where that is enough for one step.
    """

    def __init__(
        self,
        table: Resident,
        device: torch.device,
        runs: int,
        *,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._table = table
        self._runs = runs
        self._window_bytes = window_bytes
        self._most_rows = window_bytes // (table.row_bytes + 8)  # a row and its place
        # Without any rows: what is brought is read in its way.
        self._on_device = table.over(table.x[:0].to(device))
        self._double_buffer: _DoubleBuffer | None = None
        self._positions: dict[int, Tensor] = {}  # by R * M

    @property
    def num_features(self) -> int:
        """D."""
        return self._table.num_features

    @property
    def device(self) -> torch.device:
        """That trains."""
        return self._on_device.device

    def windows(self, order: Tensor) -> Generator[tuple[slice, Tensor], None, None]:
        """As in ``Features``; what is yielded are places in the window.

        The threads end with the iterator, also if it is closed before its end.
        """
        count, width = order.shape
        steps = max(1, self._most_rows // width)
        rows, places = _shared(order.cpu().numpy().reshape(count, self._runs, -1))
        positions = self._positions.setdefault(width, order.new_empty(steps, width))
        ahead = np.arange(min(steps, count))[:, None] * rows.shape[1]  # of a step: those before it
        positions[: len(ahead)] = torch.from_numpy(ahead + places)
        double_buffer = self._double_buffer_for(steps * width)
        double_buffer.start()
        windows = [slice(at, min(at + steps, count)) for at in range(0, count, steps)]
        with ThreadPoolExecutor(_threads(), "nnexp-gather") as pool:
            gathering = self._gather(pool, rows[windows[0]], double_buffer.room(0))
            for number, window in enumerate(windows):
                for part in gathering:
                    part.result()
                double_buffer.bring(number, rows[window].size)
                if number + 1 < len(windows):
                    room = double_buffer.room(number + 1)
                    gathering = self._gather(pool, rows[windows[number + 1]], room)
                yield window, positions[: window.stop - window.start]

    def rows(self, index: Tensor, out: Tensor) -> None:
        """As in ``Features``."""
        assert self._double_buffer is not None, "rows are read within a window"
        self._double_buffer.window.rows(index, out)

    def lookup(self, index: Tensor) -> Tensor:
        """As in ``Features``; the rows are gathered while the caller waits."""
        rows, places = _shared(index.cpu().numpy()[np.newaxis])
        gathered = torch.empty(
            rows.size, self._table.x.shape[1], dtype=self._table.x.dtype,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        with ThreadPoolExecutor(_threads(), "nnexp-gather") as pool:
            for part in self._gather(pool, rows, gathered):
                part.result()
        x = gathered.to(self.device, non_blocking=True)
        return self._on_device.over(x).lookup(torch.from_numpy(places).view_as(index).to(x.device))

    def of(self, members: Sequence[int]) -> Streamed:
        """As in ``Features``, with a window of its own."""
        table, device = self._table.of(members), self.device
        return Streamed(table, device, len(members), window_bytes=self._window_bytes)

    def _double_buffer_for(self, rows: int) -> _DoubleBuffer:
        if self._double_buffer is None or rows > self._double_buffer.capacity:
            self._double_buffer = None  # first its memory is given back
            self._double_buffer = _DoubleBuffer(self._on_device, max(rows, self._most_rows))
        return self._double_buffer

    def _gather(self, pool: ThreadPoolExecutor, rows: Rows, room: Tensor) -> list[Future[None]]:
        """Have rows of the table read into the beginning of ``room``, a part by each thread."""
        flat, into = rows.reshape(-1), room.numpy()
        size = -(-len(flat) // _threads())
        parts = [slice(at, min(at + size, len(flat))) for at in range(0, len(flat), size)]
        return [pool.submit(self._table.read, flat[at], into[at]) for at in parts]


class _DoubleBuffer:
    """Two buffers on the host, the window on the device, and the way between them.

    On CUDA a window arrives beside the one that is in use, by a stream of its own, and is copied
    over it as soon as the steps that read that one are done: captured steps read fixed addresses.

    Args:
        table: on the device; the window's rows are read in its way.
        capacity: rows.
    """

    def __init__(self, table: Resident, capacity: int) -> None:
        self.capacity = capacity
        is_cuda = table.device.type == "cuda"
        shape, dtype = (capacity, table.x.shape[1]), table.x.dtype
        self.window = table.over(torch.empty(shape, dtype=dtype, device=table.device))
        self._rooms = [torch.empty(shape, dtype=dtype, pin_memory=is_cuda) for _ in "ab"]
        self._copy_stream = _CopyStream(self.window.x) if is_cuda else None

    def start(self) -> None:
        """Before the first window of an epoch."""
        if self._copy_stream:
            self._copy_stream.start()

    def room(self, number: int) -> Tensor:
        """The host's buffer for a window, once what was in it has left."""
        if self._copy_stream:
            self._copy_stream.wait(number % 2)
        return self._rooms[number % 2]

    def bring(self, number: int, count: int) -> None:
        """The first rows of a window's buffer, so many, into the window."""
        room = self._rooms[number % 2][:count]
        if self._copy_stream:
            self._copy_stream.bring(number % 2, room)
        else:
            self.window.x[:count] = room


class _CopyStream:
    """From pinned memory into a tensor on a GPU, while the GPU computes. Two buffers take turns."""

    def __init__(self, window: Tensor) -> None:
        self._window = window
        self._arrivals = torch.empty_like(window)
        self._stream = torch.cuda.Stream(window.device)  # type: ignore[no-untyped-call]
        self._arrived = [torch.cuda.Event() for _ in "ab"]  # type: ignore[no-untyped-call]
        self._taken = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def start(self) -> None:
        """Nothing is brought before what is asked for by now is done, such as what the memory of
        the arrivals was used for before."""
        self._taken.record(torch.cuda.current_stream(self._window.device))

    def wait(self, turn: int) -> None:
        """Until what was last brought in this turn has left the host."""
        self._arrived[turn].synchronize()

    def bring(self, turn: int, room: Tensor) -> None:
        """Have ``room`` copied; what is asked of the device from now on sees it in the window."""
        arrivals = self._arrivals[: len(room)]
        self._stream.wait_event(self._taken)
        with torch.cuda.stream(self._stream):
            arrivals.copy_(room, non_blocking=True)
        self._arrived[turn].record(self._stream)
        computing = torch.cuda.current_stream(self._window.device)
        computing.wait_event(self._arrived[turn])
        self._window[: len(room)].copy_(arrivals)
        self._taken.record(computing)


def _shared(order: Rows) -> tuple[Rows, Rows]:
    """What has to be brought for steps of runs [S, R, M], each order once though many have it.

    Returns:
        The rows [S, U * M] of U runs that differ; and where in such a row those of the R runs are:
        [R * M].
    """
    distinct: dict[bytes, list[tuple[int, int]]] = {}  # by the first step: runs, places among U
    leaders: list[int] = []
    places = []
    for run in range(order.shape[1]):
        likely = distinct.setdefault(order[0, run].tobytes(), [])
        same = (at for leader, at in likely if np.array_equal(order[:, leader], order[:, run]))
        place = next(same, None)
        if place is None:
            place = len(leaders)
            leaders.append(run)
            likely.append((run, place))
        places.append(place)
    height = order.shape[2]
    within = np.array(places)[:, None] * height + np.arange(height)
    return order[:, leaders].reshape(len(order), -1), within.reshape(-1)


def _threads() -> int:
    return min(_MOST_THREADS, available_cores())


# --------------------------------------------------------------------------------------------------
# Where a group's data sets lie while it trains: on the device in the type they have, else on the
# host, to be streamed.
# --------------------------------------------------------------------------------------------------

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Placed:
    """What the R runs of a group read, all from one table."""

    features: Features
    y: Classes  # [N] int64, on the device that trains
    first: list[int]  # for each run the row of the table that its data set begins with
    weights: Tensor | None = None  # [N] float64; None: all rows count alike


def place(datasets: Sequence[Dataset], device: torch.device) -> Placed:
    """The data sets of R runs, for a device that trains. Tables that are one object are kept once.

    On CUDA pixels that all runs share stay bytes, and are scaled for each run as they are read; the
    CPU would be slowed down by that.
    """
    free = None if device.type == "cpu" else free_bytes(device)
    if isinstance(datasets[0].table, ComputedTable):
        return _placed_computed(datasets, datasets[0].table, device)
    if isinstance(datasets[0].table, StoredTable):
        return _placed_codes(datasets, device, free)
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


def _placed_computed(
    datasets: Sequence[Dataset], table: ComputedTable, device: torch.device
) -> Placed:
    """All runs have the same source, hence the same rows, whichever they train on."""
    offsets = torch.from_numpy(table.encoder.offsets)
    empty = torch.from_numpy(table.codes_of(np.empty(0, dtype=np.int64)))
    host = Computed(table.generator, empty, offsets, len(table.scale))
    window_bytes = _COMPUTED_ROWS * (host.row_bytes + 8)
    features = Streamed(host, device, len(datasets), window_bytes=window_bytes)
    return Placed(features, datasets[0].y.to(device), [0] * len(datasets))


def _placed_codes(datasets: Sequence[Dataset], device: torch.device, free: int | None) -> Placed:
    tables, y, first = _distinct(datasets, device)
    stored = [table for table in tables if isinstance(table, StoredTable)]
    table = Coded(
        _joined([of_one.codes for of_one in stored], _CPU),
        torch.from_numpy(stored[0].encoder.offsets),
        len(stored[0].scale),
    )
    features: Features
    if fits(table.nbytes, free):
        features = table.over(table.x.to(device))
    else:
        features = Streamed(table, device, len(datasets))
    return Placed(features, y, first)


def _placed_floats(datasets: Sequence[Dataset], device: torch.device, free: int | None) -> Placed:
    distinct, y, first = _distinct(datasets, device)
    weights = _weights(datasets, device)
    tables = [table.x for table in distinct]
    features: Features
    if fits(sum(table.nbytes for table in tables), free):
        features = Floats(_joined(tables, device))
    else:
        features = Streamed(Floats(_joined(tables, _CPU)), device, len(datasets))
    return Placed(features, y, first, weights)


def _distinct(
    datasets: Sequence[Dataset], device: torch.device
) -> tuple[list[ScaledTable | CodedTable], Tensor, list[int]]:
    """The tables, each once; their classes on the device; where each data set's rows begin."""
    distinct = list({id(dataset.table): dataset for dataset in datasets}.values())
    starts, height = {}, 0
    for dataset in distinct:
        starts[id(dataset.table)] = height
        height += len(dataset.y)
    y = _joined([dataset.y for dataset in distinct if isinstance(dataset.y, Tensor)], device)
    first = [starts[id(dataset.table)] for dataset in datasets]
    return [dataset.table for dataset in distinct], y, first


def _weights(datasets: Sequence[Dataset], device: torch.device) -> Tensor | None:
    """Of the rows of all tables, each once; None if no data set has weights."""
    distinct = {id(dataset.table): dataset for dataset in datasets}.values()
    if all(dataset.weights is None for dataset in distinct):
        return None
    return _joined(
        [
            torch.ones(len(dataset.y), dtype=torch.float64)
            if dataset.weights is None
            else dataset.weights
            for dataset in distinct
        ],
        device,
    )


def _joined(tables: list[Tensor], device: torch.device) -> Tensor:
    """One below the other, on the device; a single one that is there is not copied."""
    if len(tables) == 1:
        return tables[0].to(device)
    heights = [len(table) for table in tables]
    whole = tables[0].new_empty((sum(heights), *tables[0].shape[1:]), device=device)
    for part, table in zip(torch.split(whole, heights), tables, strict=True):
        part.copy_(table)
    return whole
