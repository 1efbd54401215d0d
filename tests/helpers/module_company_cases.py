"""Random modules, batches and groups, each run trained batched with others and solo.

    python tests/helpers/module_company_cases.py --first 0 --cases 40

prints a line for each case in which a run has other bits solo, and exits with 1 if there is one.
Fixed modes of MKL and torch are read when a process starts, so tests run this in one of its own.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import torch
from engine_cases import adagrad, adam, adamw, make_run, make_table, rmsprop, same_bits, sgd, told
from engine_cases import train as trained
from module_cases import ACTS, blocks, module_config

from nnexp.config.schema import Config
from nnexp.data.on_device import Floats
from nnexp.engine import Group
from nnexp.models.module_network import ModuleNetwork, module_network

WIDTHS = (1, 2, 3, 5, 7, 9, 10, 13, 16, 17, 24, 31, 32, 33)
LAYERS = ("linear", "linear", "conv", "batch", "layer", "dropout", "residual", *ACTS)


def random_network(draw: random.Random) -> ModuleNetwork:
    """A network of random layers; now and then one with attention, convolutions, tied weights."""
    features, outputs, width = draw.choice(WIDTHS), draw.choice((2, 3, 4, 7, 10)), None
    width = draw.choice(WIDTHS)
    match draw.randint(0, 9):
        case 0:
            return module_network("attention", {"width": width % 8 + 1}, features, outputs)
        case 1:
            side = draw.choice((2, 4, 5))
            options = {"channels": draw.choice((1, 2, 3, 4, 8))}
            return module_network("convolutional", options, side * side, outputs)
        case 2:
            return module_network("mixed", {"width": width}, features, outputs)
        case 3:
            return module_network("tied", {"width": width}, features, outputs)
    layers = [draw.choice(LAYERS) for _ in range(draw.randint(0, 6))]
    if layers.count("conv") > 1:
        layers = [name for name in layers if name != "conv"] + ["conv"]
    return blocks(features, outputs, width, *layers, p=draw.choice((0.0, 0.2, 0.5)))


def some_runs(network: ModuleNetwork, **shared: object) -> list[Config]:
    """Runs of several optimizers, lengths and fates."""
    return [
        module_config(network, adam(), seed=0, **{"epochs": 3, **shared}),
        module_config(network, sgd(1e6), seed=1, epochs=3, **shared),  # diverges
        module_config(network, sgd(momentum=0.9), seed=2, epochs=2, **shared),
        module_config(network, adagrad(), seed=3, epochs=1, label_smoothing=0.1, **shared),
        module_config(network, rmsprop(), seed=4, epochs=3, grad_clip=0.5, **shared),
        module_config(network, adamw(), seed=5, epochs=2, grad_clip=0.1, **shared),
        module_config(network, adam(0.02, amsgrad=True), seed=0, epochs=3, **shared),
    ]


def differing_runs(number: int) -> list[str]:
    """What is not the same solo in case ``number``: its network, and the runs' places."""
    draw = random.Random(number)
    network = random_network(draw)
    batch_size = draw.choice((1, 2, 5, 7, 13, 16, 20, 32, 33))
    if network.refuses_one_row:
        batch_size = max(2, batch_size)
    rows = batch_size * draw.randint(1, 2) + draw.choice((0, 0, 2, 5))
    rows, val = min(rows, 90), draw.randint(1, 40)
    table = make_table(200, network.num_features, network.num_classes)
    drop_last = bool(network.refuses_one_row) and rows % batch_size == 1
    everyone = some_runs(network, batch_size=batch_size, drop_last=drop_last)
    configs = draw.sample(everyone, draw.randint(2, 7))

    def group(members: Sequence[Config]) -> Group:
        runs = [make_run(config, table, rows, val) for config in members]
        return Group(runs, Floats(table.x), table.y, network)

    together = group(configs)
    records = trained(together)
    different = []
    for place, config in enumerate(configs):
        solo = group([config])
        (own,) = trained(solo)
        a, b = together.states[place], solo.states[0]
        same = told(records[place]) == told(own) and same_bits(a.params, b.params)
        if not same or not same_bits(a.stats, b.stats):
            different.append(f"run {place} of {len(configs)}")
    return [f"case {number}: {network}, batch {batch_size}, {rows}: {run}" for run in different]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(2)  # which a group does not heed
    lines = []
    for number in range(arguments.first, arguments.first + arguments.cases):
        lines += differing_runs(number)
    print("\n".join(lines))
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
