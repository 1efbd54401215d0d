"""What a step of a ``torch.nn.Module`` costs in the engine, batched and solo, and in plain torch.

    python benchmarks/modules.py

prints a table in Markdown: microseconds of a core per training step of one run, Adam, one thread.
It measures the process's own time, so that it can share the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import checkout  # noqa: F401
from nnexp.config.schema import Adam, BundledConfig, Config, Constant, ModelConfig, TrainerConfig
from nnexp.data.on_device import Floats
from nnexp.engine import Group, Run
from nnexp.models.module_calls import seeded
from nnexp.models.module_network import MODULE_FACTORIES, ModuleNetwork, module_network

_Plain = argparse.RawDescriptionHelpFormatter
_STEPS = 20  # of an epoch
_CLASSES = 10


def _mlp(features: int, outputs: int, widths: list[int], extra: list[str]) -> nn.Module:
    """Linear and ReLU for each width; ``extra`` follow each of them."""
    layers: list[nn.Module] = []
    for width in widths:
        kinds = {"batch": nn.BatchNorm1d(width), "layer": nn.LayerNorm(width)}
        kinds |= {"dropout": nn.Dropout(0.2)}
        layers += [nn.Linear(features, width), nn.ReLU(), *(kinds[name] for name in extra)]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, outputs))


def _convolutional(features: int, outputs: int, channels: int) -> nn.Module:
    side = round(features**0.5)
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)),
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * (side // 2) ** 2, outputs),
    )


MODULE_FACTORIES |= {"mlp": _mlp, "convolutional": _convolutional}


@dataclass(frozen=True)
class Work:
    """One line of the table."""

    label: str
    network: ModuleNetwork
    batch_size: int
    runs: int


def works() -> list[Work]:
    """The networks that are measured."""

    def mlp(widths: list[int], *extra: str) -> ModuleNetwork:
        return module_network("mlp", {"widths": widths, "extra": [*extra]}, 64, _CLASSES)

    return [
        Work("64-32-10", mlp([32]), 32, 32),
        Work("64-32-10, batch norm, dropout", mlp([32], "batch", "dropout"), 32, 32),
        Work("64-32-32-10, layer norm", mlp([32, 32], "layer"), 32, 32),
        Work("64-128-128-128-128-10", mlp([128] * 4), 64, 8),
        Work("8x8, 4 channels", module_network("convolutional", {"channels": 4}, 64, 10), 32, 32),
    ]


def engine(work: Work, runs: int) -> float:
    """Seconds of a step of all runs."""
    rows = work.batch_size * _STEPS
    x, y = _table(rows)
    configs = [
        Config(
            seed=seed,
            model=ModelConfig(name=work.network.name),
            optimizer=Adam(name="adam", lr=1e-3),
            scheduler=Constant(name="constant"),
            dataset=BundledConfig(name="benchmark"),
            trainer=TrainerConfig(epochs=4, batch_size=work.batch_size, eval_every=4),
        )
        for seed in range(runs)
    ]
    index = torch.arange(rows)
    members = [Run(config, index, index[:32]) for config in configs]
    training = Group(members, Floats(x), y, work.network).train()
    next(training)
    return _seconds(lambda: next(training), 2) / _STEPS


def plain(work: Work) -> float:
    """Seconds of a step of a loop as a torch user writes it, tensors in memory."""
    x, y = _table(work.batch_size * _STEPS)
    with seeded(0, "init"):
        module = work.network.make()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def epoch() -> None:
        for rows in torch.split(torch.randperm(len(x)), work.batch_size):
            loss = F.cross_entropy(module(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    epoch()
    return _seconds(epoch, 5) / _STEPS


def _table(rows: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(_CLASSES, (rows,), generator=draw)
    return torch.randn(rows, 64, generator=draw), y


def _seconds(call: Callable[[], Any], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=_Plain).parse_args()
    torch.set_num_threads(1)
    print("| module | batch | runs | batched, a run | solo | plain torch | plain / batched |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for work in works():
        batched, solo = engine(work, work.runs) / work.runs, engine(work, 1)
        torchs = plain(work)
        numbers = " | ".join(f"{1e6 * seconds:.0f}" for seconds in (batched, solo, torchs))
        print(
            f"| {work.label} | {work.batch_size} | {work.runs} | {numbers} | "
            f"{torchs / batched:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
