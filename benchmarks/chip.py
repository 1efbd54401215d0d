"""What a device can do, measured: bandwidth, rates of matrix products, launches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from nnexp.device import Precision, matmul_precision
from roofline import Rates

_TURNS = 15
_CHAIN = 200  # kernels in the graph


def measure_rates(device: torch.device, *, quick: bool = False) -> Rates:
    """Copies and products of a size that fills a large GPU; with ``quick``, of a toy's."""
    size = 256 if quick else 8192
    return Rates(
        copy=_copy_rate(device, 2**20 if quick else 2**31),
        launch=_launch_seconds(device),
        float32=_product_rate(device, size, torch.float32),
        tf32=_product_rate(device, size, torch.float32, tf32=True),
        bfloat16=_product_rate(device, size, torch.bfloat16),
        int8=_int8_rate(device, size),
    )


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], object], device: torch.device, turns: int = _TURNS) -> float:
    """Of one call, after two that warm up, the device waited for."""
    times = []
    for _ in range(turns + 2):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def _copy_rate(device: torch.device, size: int) -> float:
    """Bytes a second, counted where they are read and where they are written."""
    source = torch.rand(size // 4, device=device)  # not zeros, which move faster
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device)


def _product_rate(
    device: torch.device, size: int, dtype: torch.dtype, *, tf32: bool = False
) -> float:
    """Operations a second of a square product of random numbers."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    with matmul_precision(Precision(dtype, tf32)):
        return 2 * size**3 / median_seconds(lambda: torch.mm(a, b, out=out), device)


def _int8_rate(device: torch.device, size: int) -> float | None:
    """The same of bytes, with sums of int32; None where torch has no such product."""
    a, b = (
        torch.randint(-128, 128, (size, size), dtype=torch.int8, device=device) for _ in range(2)
    )

    def product() -> Tensor:
        return torch._int_mm(a, b.T)  # the layout that cuBLAS has int8 kernels for

    try:
        return 2 * size**3 / median_seconds(product, device)
    except (AttributeError, NotImplementedError, RuntimeError):
        return None


def _launch_seconds(device: torch.device) -> float:
    """A tiny kernel in a chain of them: in a CUDA graph; on the CPU, a call."""
    x = torch.zeros(32, device=device)

    def chain() -> None:
        for _ in range(_CHAIN):
            x.add_(1)

    if device.type != "cuda":
        return median_seconds(chain, device) / _CHAIN
    chain()  # loads the kernel, which cannot be done while a graph is captured
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        chain()

    def replays() -> None:
        for _ in range(10):  # so that the first launch and the wait weigh little
            graph.replay()

    return median_seconds(replays, device) / (10 * _CHAIN)


@dataclass(frozen=True)
class Busy:
    """What the device did during an epoch, as the profiler saw it."""

    kernels: int  # and copies
    seconds: float  # of all of them, one after the other


def profile_epoch(training: Iterator[object]) -> Busy:
    """Of the next epoch of a training on a CUDA device."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        next(training)
    times = [
        event.time_range.elapsed_us()
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    return Busy(len(times), sum(times) / 1e6)
