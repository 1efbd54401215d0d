"""One training run, step by step: nnexp's engine beside plain torch loops, in one process.

    python benchmarks/single_run.py [--rounds 7] [--device cpu]

All train the same network with Adam (lr 1e-3) on the same rows, in the same batches' sizes, from
torch's default initial weights. The peers are

- plain: a torch loop with tensors in memory, a random permutation an epoch, Adam(fused=True);
- loader: the same with a DataLoader over a TensorDataset, Adam as it comes.

Each learner takes turns for the given number of rounds; the table quotes the median time of a step
and the ratio of the medians. On the CPU every learner runs with one thread and with all cores, and
its better setting counts; nnexp runs with the number that it chooses by itself.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import checkout  # noqa: F401
from learners.engine import group_of, last_losses, own_threads
from learners.torch_loops import loader, plain
from learners.work import Work, random_data
from nnexp.device import resolve_device, threads
from nnexp.environment import allow_any_text, available_cores

Learner = Callable[[], float]

WORKS = (
    Work("tiny", (64, 32, 10), 32, 1408, 10),
    Work("mid", (64, 128, 128, 128, 128, 10), 64, 1408, 10),
    Work("mid, batch 32", (64, 128, 128, 128, 128, 10), 32, 1408, 5),
    Work("784-256-128-10", (784, 256, 128, 10), 128, 12800, 2),
    Work("784-256-128-10, batch 32", (784, 256, 128, 10), 32, 12800, 1),
)


def nnexp(work: Work, x: Tensor, y: Tensor, num_threads: int) -> float:
    """nnexp's engine on a table whose first rows train and whose others validate."""
    group = group_of(work, x, y, work.rows, [0], num_threads)
    return last_losses(group)[0]


def measure(work: Work, device: torch.device, rounds: int) -> None:
    """Print one row of the table."""
    data = random_data(work)
    x, y = torch.from_numpy(data.x).to(device), torch.from_numpy(data.y).to(device)
    train = x[: work.rows], y[: work.rows]
    settings = sorted({1, available_cores()}) if device.type == "cpu" else [1]
    own = own_threads(work)
    learners: list[tuple[str, Learner, int]] = [
        ("nnexp", functools.partial(nnexp, work, x, y, own), own)
    ]
    for count in settings:
        learners.append(("plain", functools.partial(plain, work, *train), count))
        learners.append(("loader", functools.partial(loader, work, *train), count))
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name, _, count in learners}
    losses = {}
    for turn in range(rounds + 1):
        for name, learner, count in learners:
            began = time.perf_counter()
            with threads(count):
                losses[name] = learner()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first round warms up
                times[name, count].append((time.perf_counter() - began) / work.steps * 1e6)
    best = {
        name: min(statistics.median(v) for (n, _), v in times.items() if n == name)
        for name in ("nnexp", "plain", "loader")
    }
    print(
        f"| {work.name} | {best['nnexp']:.0f} | {best['plain']:.0f} | {best['loader']:.0f} "
        f"| {best['plain'] / best['nnexp']:.2f} | {best['loader'] / best['nnexp']:.2f} "
        f"| {losses['nnexp']:.4f} / {losses['plain']:.4f} |",
        flush=True,
    )


def main() -> None:
    """Measure every size and print a table in Markdown."""
    allow_any_text()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each learner")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    print(
        f"torch {torch.__version__}, {device}, {available_cores()} cores, {arguments.rounds} rounds"
    )
    print(
        "| work | nnexp us/step | plain | loader | plain/nnexp | loader/nnexp | loss nnexp/plain |"
    )
    print("|---|---|---|---|---|---|---|")
    for work in WORKS:
        measure(work, device, arguments.rounds)


if __name__ == "__main__":
    main()
