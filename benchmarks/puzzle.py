"""How many samples of the puzzle are made a second: ``python benchmarks/puzzle.py``.

One process a core, each of which makes its share of the rows, codes and classes, again and again;
the best of the rounds counts. Where others are at work on the machine the processors' own time says
more than the clock: both are printed.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import checkout  # noqa: F401
from nnexp.config.dataset_schema import PuzzleConfig
from nnexp.data.sources.puzzle import PuzzleSource
from nnexp.environment import available_cores


def seconds_for(encoding: str, people: int, first: int, count: int) -> tuple[float, float, float]:
    """When a process began to make rows from ``first`` on, when it had ended, and the seconds of a
    processor that it took."""
    config = PuzzleConfig(encoding=encoding, max_people=people, rows=2 * 10**9, val_fraction=1e-6)
    rows = PuzzleSource.of(config).rows
    assert rows is not None
    codes = np.empty((count, rows.pool.width), dtype=np.uint8)
    rows.pool.write(np.arange(min(count, 10_000)), codes[:10_000])
    began, busy = time.monotonic(), time.process_time()
    rows.pool.write(np.arange(first, first + count), codes)
    return began, time.monotonic(), time.process_time() - busy


def main() -> None:
    """Print a line for each encoding and number of people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000, help="of a process, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=available_cores())
    args = parser.parse_args()
    print(f"{args.processes} processes")
    with ProcessPoolExecutor(args.processes) as pool:
        for encoding in ("words", "chars"):
            for people in (2, 3, 5):
                best = of_a_core = 0.0
                for number in range(args.rounds):
                    firsts = [10**9 + (number * 64 + p) * args.rows for p in range(args.processes)]
                    jobs = [
                        pool.submit(seconds_for, encoding, people, first, args.rows)
                        for first in firsts
                    ]
                    times = [job.result() for job in jobs]
                    wall = max(end for _, end, _ in times) - min(begin for begin, _, _ in times)
                    busy = min(seconds for _, _, seconds in times)
                    best = max(best, args.processes * args.rows / wall)
                    of_a_core = max(of_a_core, args.rows / busy)
                print(
                    f"{encoding}, 2 to {people} people: {best / 1e6:.2f} million samples a second, "
                    f"{of_a_core / 1e6:.2f} in a second of one core"
                )


if __name__ == "__main__":
    main()
