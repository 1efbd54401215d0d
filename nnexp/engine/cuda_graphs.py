"""Many steps at a time: one after the other, or captured in CUDA graphs and replayed."""

from __future__ import annotations

import contextlib
import functools
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nnexp.engine.step import Assembly

# --------------------------------------------------------------------------------------------------
# Many steps: one after the other, or captured once and replayed.
# --------------------------------------------------------------------------------------------------

# Steps of the longer of two graphs. Replaying one costs the host some 10 microseconds and the GPU a
# gap of one or two; capturing costs the host as much as two times the steps.
STEPS_OF_A_GRAPH = 16

Work = Callable[[], None]


class Loop(ABC):
    """Trains an assembly on neighbouring batches of one size."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    @abstractmethod
    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """Losses [R, S * B] of S steps, and what scores are made from [R, S * B].

        Args:
            rows: [S, R * M], as ``Features.rows`` takes them.
            labels: [S, R, 1 or 2, M].
            size: B.
            index: of the first step, within the epoch.
            number: of the first step, within the run.
        """


class Stepwise(Loop):
    """Every step's operations are called from Python."""

    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """See ``Loop.run``."""
        losses, scored = [], []
        for at, (some, answers) in enumerate(zip(rows.unbind(), labels.unbind(), strict=True)):
            loss, own = self._assembly.step(some, answers, size, index + at, number + at)
            losses.append(loss)
            scored.append(own)
        return torch.cat(losses, 1), torch.cat(scored, 1)


@dataclass(eq=False)
class _StaticBuffers:
    """What captured steps of one size read and write. Its tensors keep their addresses."""

    size: int  # B
    rows: Tensor  # [S, R * M]
    labels: Tensor  # [S, R, 1 or 2, M]
    losses: Tensor  # [S, R, B]
    scored: Tensor  # [S, R, B] of the type that the loss gives
    counters: Tensor  # [3]: the next step's place in these buffers, in the epoch, in the run
    is_warm: bool = False
    replays: dict[int, Work] = field(default_factory=dict)  # by number of steps


class Replayed(Loop):
    """A step is captured and replayed: which step it is, it reads from a counter on the device.

    Nothing in a step needs the host. The first step of a size is called as it is: buffers are made
    at first use, kernels compiled, and libraries get ready.
    """

    def __init__(self, assembly: Assembly) -> None:
        super().__init__(assembly)
        self._all_static_buffers: dict[tuple[int, int], _StaticBuffers] = {}  # by M and B

    @abstractmethod
    def capture(self, work: Work) -> Work:
        """Turn work, without doing it, into work that does the same again and again."""

    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """See ``Loop.run``."""
        static_buffers = self._static_buffers(rows, labels, size)
        count = left = len(rows)
        static_buffers.rows[:count] = rows
        static_buffers.labels[:count] = labels
        for counter, start in zip(static_buffers.counters, (0, index, number), strict=True):
            counter.fill_(start)  # a copy from the host would wait for the steps before
        if not static_buffers.is_warm:
            self._steps(static_buffers, 1)
            static_buffers.is_warm = True
            left -= 1
        for length in (STEPS_OF_A_GRAPH, 1):
            for _ in range(left // length):
                self._replay(static_buffers, length)
            left %= length
        found = (static_buffers.losses, static_buffers.scored)
        losses, scored = (
            part[:count].transpose(0, 1).clone(memory_format=torch.contiguous_format).flatten(1)
            for part in found
        )
        return losses, scored

    def _static_buffers(self, rows: Tensor, labels: Tensor, size: int) -> _StaticBuffers:
        """The buffers for batches like these, long enough."""
        steps, runs, _, height = labels.shape
        static_buffers = self._all_static_buffers.get((height, size))
        if static_buffers is None or len(static_buffers.rows) < steps:
            losses = torch.empty(steps, runs, size, device=rows.device)
            static_buffers = self._all_static_buffers[height, size] = _StaticBuffers(
                size,
                torch.empty_like(rows, memory_format=torch.contiguous_format),
                torch.empty_like(labels, memory_format=torch.contiguous_format),
                losses,
                torch.empty_like(losses, dtype=self._assembly.scored_dtype),
                torch.zeros(3, dtype=torch.int64, device=rows.device),
            )
        return static_buffers

    def _steps(self, static_buffers: _StaticBuffers, length: int) -> None:
        """The steps from the one that the counters name; then they name the one after."""
        # Two of each, so that all begin at multiples of 16 bytes: kernels are compiled for that.
        counted = static_buffers.counters.new_empty(3, length, 2)
        ahead = torch.arange(length, device=counted.device)
        torch.add(
            static_buffers.counters.view(3, 1, 1),
            ahead.view(1, -1, 1).expand_as(counted),
            out=counted,
        )
        places, indices, numbers = (torch.split(of_steps[:, 0], 1) for of_steps in counted)
        losses, scored = [], []
        for place, index, number in zip(places, indices, numbers, strict=True):
            rows = static_buffers.rows.index_select(0, place)[0]
            labels = static_buffers.labels.index_select(0, place)[0]
            loss, own = self._assembly.step(rows, labels, static_buffers.size, index, number)
            losses.append(loss)
            scored.append(own)
        static_buffers.losses.index_copy_(0, counted[0, :, 0], torch.stack(losses))
        static_buffers.scored.index_copy_(0, counted[0, :, 0], torch.stack(scored))
        static_buffers.counters.add_(length)

    def _replay(self, static_buffers: _StaticBuffers, length: int) -> None:
        if length not in static_buffers.replays:
            static_buffers.replays[length] = self.capture(
                functools.partial(self._steps, static_buffers, length)
            )
        static_buffers.replays[length]()


# --------------------------------------------------------------------------------------------------
# Steps captured in CUDA graphs (torch.cuda.CUDAGraph).
#
# A step of a small network is some 15 to 40 kernels of a few microseconds each, which Python calls
# more slowly than the GPU works them off. A graph of them is launched at once.
# --------------------------------------------------------------------------------------------------


class Graphs(Replayed):
    """``Replayed`` by CUDA graphs, on a stream of its own: the default one cannot be captured."""

    def __init__(self, assembly: Assembly, device: torch.device) -> None:
        super().__init__(assembly)
        self._stream = _stream(device)
        # One pool for all graphs: they run one after the other, and what outlives a step lies
        # outside of it.
        self._pool = torch.cuda.graph_pool_handle()

    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """See ``Loop.run``. What it returns may be used on the stream that was current."""
        outside = torch.cuda.current_stream(rows.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            found = super().run(rows, labels, size, index, number)
        outside.wait_stream(self._stream)
        for tensor in found:
            tensor.record_stream(outside)
        return found

    def capture(self, work: Work) -> Work:
        """See ``Replayed.capture``."""
        _make_room(self._stream.device)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, which draw orders or bring data, may go on calling CUDA.
            with _no_collection():
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    work()
                except BaseException:
                    with contextlib.suppress(RuntimeError):  # it says that the capture was broken
                        graph.capture_end()
                    raise
                graph.capture_end()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                f"a training step cannot be captured in a CUDA graph: {error}; "
                "trainer.cuda_graphs=false trains without"
            ) from error
        return graph.replay


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all groups: cuBLAS keeps a workspace for every stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _make_room(device: torch.device) -> None:
    """While a step is captured the allocator gives back nothing that it holds unused."""
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if held > free:
        torch.cuda.empty_cache()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """A graph that the garbage collector meets meanwhile would break the capture by its end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
