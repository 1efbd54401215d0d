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
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nnexp.config.schema import (
    AdamConfig,
    BundledConfig,
    Config,
    ConstantConfig,
    ModelConfig,
    TrainerConfig,
)
from nnexp.devices import available_cores, resolve_device, resolve_threads, threads
from nnexp.engine import Group, Run
from nnexp.models.structure import Structure


@dataclass(frozen=True)
class Work:
    """What is trained: a network, its batches, and as many epochs as take a fair time."""

    name: str
    widths: tuple[int, ...]
    batch_size: int
    rows: int
    epochs: int

    @property
    def steps(self) -> int:
        """Training steps in all; every batch is whole."""
        return self.epochs * (self.rows // self.batch_size)


WORKS = (
    Work("tiny", (64, 32, 10), 32, 1408, 10),
    Work("mid", (64, 128, 128, 128, 128, 10), 64, 1408, 10),
    Work("mid, batch 32", (64, 128, 128, 128, 128, 10), 32, 1408, 5),
    Work("784-256-128-10", (784, 256, 128, 10), 128, 12800, 2),
    Work("784-256-128-10, batch 32", (784, 256, 128, 10), 32, 12800, 1),
)

Learner = Callable[[Work, Tensor, Tensor, int], float]


def rows_of(work: Work, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows that can be learned: ten classes, each around a centre of its own."""
    stream = torch.Generator().manual_seed(0)
    y = torch.randint(work.widths[-1], (work.rows,), generator=stream)
    centres = torch.rand(work.widths[-1], work.widths[0], generator=stream)
    x = centres[y] + 0.3 * torch.randn(work.rows, work.widths[0], generator=stream)
    return x.to(device), y.to(device)


def network(work: Work, device: torch.device) -> nn.Module:
    """The network of plain torch."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(device)


def plain(work: Work, x: Tensor, y: Tensor, num_threads: int) -> float:
    """Last loss of the loop with tensors in memory."""
    module = network(work, x.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    criterion = nn.CrossEntropyLoss()
    with threads(num_threads):
        for _ in range(work.epochs):
            order = torch.randperm(len(x), device=x.device)
            for start in range(0, len(x), work.batch_size):
                rows = order[start : start + work.batch_size]
                optimizer.zero_grad()
                loss = criterion(module(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
    return float(loss)


def loader(work: Work, x: Tensor, y: Tensor, num_threads: int) -> float:
    """Last loss of the loop with a DataLoader."""
    module = network(work, x.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    batches = DataLoader(TensorDataset(x.cpu(), y.cpu()), batch_size=work.batch_size, shuffle=True)
    with threads(num_threads):
        for _ in range(work.epochs):
            for features, labels in batches:
                optimizer.zero_grad()
                loss = criterion(module(features.to(x.device)), labels.to(x.device))
                loss.backward()
                optimizer.step()
    return float(loss)


def nnexp(work: Work, x: Tensor, y: Tensor, num_threads: int) -> float:
    """Mean training loss of the last epoch of nnexp's engine."""
    config = Config(
        seed=0,
        model=ModelConfig(name="mlp", hidden=list(work.widths[1:-1])),
        optimizer=AdamConfig(name="adam", lr=1e-3),
        scheduler=ConstantConfig(name="constant"),
        dataset=BundledConfig(name="benchmark"),
        trainer=TrainerConfig(
            epochs=work.epochs, batch_size=work.batch_size, eval_every=work.epochs
        ),
    )
    structure = Structure(work.widths[0], tuple(work.widths[1:-1]), work.widths[-1])
    if num_threads == 0:
        num_threads = resolve_threads(config.trainer, structure.flops_per_row())
    rows = torch.arange(len(x), device=x.device)
    group = Group([Run(config, rows, rows[:32])], x, y, structure, num_threads=num_threads)
    for (epoch,) in group.train():
        loss = epoch.train_loss
    return loss


def measure(work: Work, device: torch.device, rounds: int) -> None:
    """Print one row of the table."""
    x, y = rows_of(work, device)
    settings = sorted({1, available_cores()}) if device.type == "cpu" else [1]
    learners: list[tuple[str, Learner, int]] = [("nnexp", nnexp, 0)]
    learners += [("plain", plain, count) for count in settings]
    learners += [("loader", loader, count) for count in settings]
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name, _, count in learners}
    losses = {}
    for turn in range(rounds + 1):
        for name, learner, count in learners:
            began = time.perf_counter()
            losses[name] = learner(work, x, y, count)
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
