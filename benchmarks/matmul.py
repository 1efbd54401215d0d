"""Matrix products and whole steps by MKL and by NumPy's OpenBLAS, in turns in one process.

    python benchmarks/matmul.py [--rounds 7]

One thread. The first table has the rates of the three products of a layer, of as many runs as a
sweep batches; the second the microseconds of a step of one run, in groups of that size and solo.
``nnexp.device.library`` says which of the two a processor gets.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

import checkout  # noqa: F401
from learners.engine import group_of, last_losses, structure_of
from learners.work import Work, random_data
from nnexp.device import LIBRARIES, VARIABLE, description, library, threads
from nnexp.models.layers import matmul
from nnexp.sweeps.plan import runs_in_cache

WORKS = (
    Work("tiny: 64-32-10, batch 32", (64, 32, 10), 32, 1408, 30),
    Work("mid: 64-128-128-128-128-10, batch 64", (64, 128, 128, 128, 128, 10), 64, 1408, 15),
    Work("784-256-128-10, batch 128", (784, 256, 128, 10), 128, 3840, 8),
)
_SECONDS = 0.02  # of one measurement of a product


def use(name: str) -> None:
    """Have this library multiply in what is made from now on."""
    os.environ[VARIABLE] = name
    library.cache_clear()


def seconds_of(work: Callable[[], None], calls: int) -> float:
    """Of one call."""
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - began) / calls


def rates(runs: int, rows: int, inputs: int, units: int, rounds: int) -> list[tuple[float, float]]:
    """GFLOP/s by MKL and by OpenBLAS of the sums, the weights' gradient and the inputs'."""
    x, grad = torch.randn(runs, rows, inputs), torch.randn(runs, rows, units)
    weight = torch.randn(runs, units, inputs)
    flops = 2 * runs * rows * inputs * units
    calls = max(1, int(_SECONDS * 5e10 / flops))
    found = []
    for a, b, shape, transposed in (
        (x, weight, (rows, units), {"transpose_b": True}),
        (grad, x, (units, inputs), {"transpose_a": True}),
        (grad, weight, (rows, inputs), {}),
    ):
        out = torch.empty(runs, *shape)
        times: dict[str, list[float]] = {name: [] for name in LIBRARIES}
        for turn in range(rounds + 1):
            for name in LIBRARIES:
                use(name)
                product = matmul(a, **transposed)
                seconds = seconds_of(lambda: product(a, b, out), calls)  # noqa: B023
                if turn:  # the first warms up
                    times[name].append(seconds)
        mkl, openblas = (flops / min(times[name]) / 1e9 for name in LIBRARIES)
        found.append((mkl, openblas))
    return found


def step(work: Work, runs: int, rounds: int) -> dict[str, float]:
    """Microseconds of a step of one run, by library: medians."""
    data = random_data(work)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    times: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    for turn in range(rounds + 1):
        for name in LIBRARIES:
            use(name)
            group = group_of(work, x, y, work.rows, range(runs), num_threads=1)
            began = time.perf_counter()
            last_losses(group)
            if turn:
                times[name].append((time.perf_counter() - began) / work.steps / runs * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library")
    rounds = parser.parse_args().rounds
    own = library()
    names = []
    for name in LIBRARIES:
        use(name)
        names.append(description(torch.device("cpu"), torch.float32))
    print(f"{' and '.join(names)}; this processor gets {own}\n")
    print("| layer | runs | sums, GFLOP/s | weights' gradient | inputs' gradient |")
    print("|---|---|---|---|---|")
    with threads(1):
        for work in WORKS:
            runs = runs_in_cache(structure_of(work), work.batch_size)
            for inputs, units in dict.fromkeys(zip(work.widths, work.widths[1:], strict=False)):
                found = rates(runs, work.batch_size, inputs, units, rounds)
                cells = " | ".join(f"{mkl:.0f}, {openblas:.0f}" for mkl, openblas in found)
                print(f"| {work.batch_size}x{inputs}x{units} | {runs} | {cells} |", flush=True)
    print("\n| work | runs | MKL, us/step | OpenBLAS | MKL/OpenBLAS |")
    print("|---|---|---|---|---|")
    for work in WORKS:
        for runs in sorted({1, runs_in_cache(structure_of(work), work.batch_size)}):
            times = step(work, runs, rounds)
            mkl, openblas = (times[name] for name in LIBRARIES)
            print(
                f"| {work.name} | {runs} | {mkl:.1f} | {openblas:.1f} | {mkl / openblas:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
