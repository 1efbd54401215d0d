"""Steps captured in CUDA graphs (torch.cuda.CUDAGraph).

A step of a small network is some 15 to 40 kernels of a few microseconds each, which Python calls
more slowly than the GPU works them off. A graph of them is launched at once.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator

import torch
from torch import Tensor

from nnexp.engine.loops import Replayed, Work
from nnexp.engine.step import Assembly


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
