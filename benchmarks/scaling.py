"""What a step costs as more runs train together, and what the time and the memory go into."""

from __future__ import annotations

import collections
import contextlib
import functools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from unittest import mock

import torch

from learners.engine import group_of
from learners.work import Data, Task, Work
from learners.workers import Workers
from nnexp.engine import Group

_EPOCHS = 7  # to warm up; three for the total; for the products; for the pieces; to evaluate
_BATCHES = 22  # of an epoch, at most

Call = Callable[..., Any]


@dataclass(frozen=True)
class Cost:
    """Of R runs in one process with one thread; times in microseconds per run and step.

    The products of a training step are noted as the engine calls for them and made again alone;
    the other pieces are timed inside the engine.
    """

    runs: int
    total: float  # without evaluation
    products: float  # the matrix products alone: the roofline
    gather: float  # a batch's rows out of the table
    layers: float  # forward and backward, the products taken off: activations, sums for biases
    loss: float
    optimizer: float
    rest: float  # orders of rows, learning rates, records, the loop itself
    peak_mib: float  # of the process
    runs_mib: float  # of it since before the runs were made


def measure_costs(work: Work, data: Data, counts: Sequence[int]) -> Iterator[Cost]:
    """For each number of runs, in a fresh process."""
    rows = min(work.rows, _BATCHES * work.batch_size)
    rows -= rows % work.batch_size
    held_out = slice(data.num_train, None)
    keep = [slice(rows), held_out]
    x, y = (torch.cat([torch.from_numpy(t)[part] for part in keep]) for t in (data.x, data.y))
    few = Data(x.numpy(), y.numpy(), rows)
    for runs in counts:
        task = Task(replace(work, rows=rows, epochs=_EPOCHS), few, tuple(range(runs)))
        with Workers(1) as workers:
            yield workers.do(cost, [task])[1][0]


def cost(task: Task) -> Cost:
    """What the task's runs cost in this process."""
    torch.set_num_threads(1)
    work, runs = task.work, len(task.seeds)
    x, y = torch.from_numpy(task.data.x), torch.from_numpy(task.data.y)
    before = _peak_mib()
    group = group_of(work, x, y, task.data.num_train, task.seeds, num_threads=1)
    training = group.train()
    next(training)  # warms up
    total = statistics.median(_seconds(training) for _ in range(3))
    calls = _products(group, training)
    whole, pieces = _pieces(group, training)
    list(training)  # the last epoch evaluates
    peak = _peak_mib()
    products = _replayed(calls, max(20, 1000 // runs))
    scale = 1e6 / (runs * len(group.batches))
    return Cost(
        runs=runs,
        total=scale * total,
        products=products / runs * 1e6,
        gather=scale * pieces["_fetch"],
        layers=scale * (pieces["forward"] + pieces["backward"]) - products / runs * 1e6,
        loss=scale * pieces["_loss"],
        optimizer=scale * pieces["step"],
        rest=scale * (whole - sum(pieces.values())),
        peak_mib=peak,
        runs_mib=peak - before,
    )


def _seconds(training: Iterator[Any]) -> float:
    """Of the next epoch."""
    began = time.perf_counter()
    next(training)
    return time.perf_counter() - began


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _products(group: Group, training: Iterator[Any]) -> list[Call]:
    """The matrix products of one training step, as the engine calls for them."""
    calls: list[Call] = []

    def noting(product: Call) -> Call:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(functools.partial(product, *arguments, **options))
            return product(*arguments, **options)

        return call

    with mock.patch.multiple(torch, bmm=noting(torch.bmm), baddbmm=noting(torch.baddbmm)):
        next(training)
    return calls[: len(calls) // len(group.batches)]


def _replayed(calls: Sequence[Call], times: int) -> float:
    """Seconds of all calls, one after the other."""
    for _ in range(times // 4):
        for call in calls:
            call()
    began = time.perf_counter()
    for _ in range(times):
        for call in calls:
            call()
    return (time.perf_counter() - began) / times


def _pieces(group: Group, training: Iterator[Any]) -> tuple[float, dict[str, float]]:
    """Seconds of an epoch, and of them those in the engine's own methods, from inside it."""
    spent: dict[str, float] = collections.defaultdict(float)

    def timed(name: str, piece: Call) -> Call:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            answer = piece(*arguments)
            spent[name] += time.perf_counter() - began
            return answer

        return call

    assembly = group._assembly
    owners: list[tuple[Any, str]] = [
        (assembly, "_fetch"),
        (assembly.net, "forward"),
        (assembly, "_loss"),
        (assembly.net, "backward"),
        *((optimizer, "step") for _, optimizer in assembly._updates),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name in owners:
            piece = timed(name, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, piece))
        whole = _seconds(training)
    return whole, spent


def print_costs(name: str, costs: Sequence[Cost]) -> None:
    """A table in Markdown."""
    print(f"\n{name}: microseconds per run-step of R runs in one process with one thread")
    print(
        "| R | total | products alone | share | gather | layers besides | loss | Adam | rest "
        "| peak MiB | for the runs |"
    )
    print("|---" * 11 + "|")
    for c in costs:
        print(
            f"| {c.runs} | {c.total:.1f} | {c.products:.1f} | {c.products / c.total:.0%} "
            f"| {c.gather:.1f} | {c.layers:.1f} | {c.loss:.1f} | {c.optimizer:.1f} | {c.rest:.1f} "
            f"| {c.peak_mib:.0f} | {c.runs_mib:.0f} |"
        )


def as_json(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """For programs."""
    return [asdict(cost) for cost in costs]
