"""Random networks, batches and groups, each run trained batched with others and solo.

    python tests/helpers/company_cases.py --first 0 --cases 40

prints a line for each case in which a run has other bits solo, and exits with 1 if there is one.
Fixed modes of MKL and torch are read when a process starts, so tests run this in one of its own.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

import torch
from engine_cases import make_run, make_table, nine_runs, same_bits, told, train

from nnexp.config.schema import Config
from nnexp.data.on_device import Floats
from nnexp.engine import Group
from nnexp.models.layout import Structure

WIDTHS = (1, 2, 3, 5, 7, 9, 10, 11, 13, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 129)
ACTIVATIONS = ("relu", "relu", "sigmoid", "tanh", "gelu", "silu", "elu", "step")


def random_structure(draw: random.Random) -> Structure:
    return Structure(
        draw.choice(WIDTHS),
        tuple(draw.choice(WIDTHS) for _ in range(draw.randint(0, 3))),
        draw.choice((2, 3, 4, 7, 10, 26)),
        activation=draw.choice(ACTIVATIONS),
        norm=draw.choice(("none", "none", "batch", "layer")),
        residual=draw.random() < 0.3,
        bias=draw.random() < 0.8,
    )


def differing_runs(number: int) -> list[str]:
    """What is not the same solo in case ``number``: its structure, and the runs' places."""
    draw = random.Random(number)
    structure = random_structure(draw)
    batch_size = draw.choice((1, 2, 7, 16, 20, 32, 33, 50, 64, 96))
    if structure.norm == "batch":
        batch_size = max(2, batch_size)
    rows = batch_size * draw.randint(1, 3) + draw.choice((0, 0, 2, 5))
    rows, val = min(rows, 250), draw.randint(1, 120)
    table = make_table(400, structure.num_features, structure.num_classes)
    options = {"drop_last": structure.norm == "batch" and rows % batch_size == 1}
    everyone = nine_runs(structure, batch_size=batch_size, **options)
    configs = draw.sample(everyone, draw.randint(2, 9))

    def group(members: Sequence[Config]) -> Group:
        runs = [make_run(config, table, rows, val) for config in members]
        return Group(runs, Floats(table.x), table.y, structure)

    together = group(configs)
    records = train(together)
    different = []
    for place, config in enumerate(configs):
        solo = group([config])
        (own,) = train(solo)
        a, b = together.states[place], solo.states[0]
        same = told(records[place]) == told(own) and same_bits(a.params, b.params)
        if not same or not same_bits(a.stats, b.stats):
            different.append(f"run {place} of {len(configs)}")
    return [f"case {number}: {structure}, batch {batch_size}: {run}" for run in different]


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
