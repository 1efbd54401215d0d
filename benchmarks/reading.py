"""Reading a large file into a table, beside pyarrow's own readers of Parquet and CSV.

    python benchmarks/reading.py [--rows 2000000] [--columns 28] [--rounds 3] [--kinds csv]

A file of normal numbers and a column of labels is made in a temporary folder: Parquet of float32,
as it is published for such data, or of float64, and CSV with six decimals. Each side reads it in a
process of its own; seconds count from the call to its return. Peak memory is that of the process
less what it had before the call, in multiples of the table in float32: rows x columns x 4 bytes.
pyarrow keeps the types of the file, nnexp's cells are float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

import checkout

_SIDES = ("pyarrow", "nnexp")
_KINDS = ("float32", "float64", "csv")


def make(path: Path, rows: int, columns: int, kind: str) -> None:
    """``columns`` - 1 columns of numbers, and one of labels, in pyarrow's default layout."""
    rng = np.random.default_rng(0)
    dtype = "float64" if kind == "csv" else kind
    table = {f"x{number}": rng.normal(size=rows).astype(dtype) for number in range(columns - 1)}
    table["label"] = rng.integers(0, 2, rows)
    if kind == "csv":
        rounded = {name: values.round(6) for name, values in table.items()}
        csv.write_csv(pa.table(rounded), path)
    else:
        pq.write_table(pa.table(table), path)


def memory() -> int:
    """Bytes that this process has in memory."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no VmRSS")


def timed(side: str, path: Path) -> dict[str, float]:
    """Seconds, and the highest memory while reading less that before it, in bytes."""
    from nnexp.config.schema import TableConfig
    from nnexp.data.reading import read_table

    is_csv = path.suffix == ".csv"
    before = highest = memory()
    is_done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not is_done.wait(0.005):
            highest = max(highest, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    table: Any
    if side == "nnexp":
        table = read_table(TableConfig(path=str(path), target="label"))
    else:
        table = csv.read_csv(path) if is_csv else pq.read_table(path)
    seconds = time.perf_counter() - begin
    is_done.set()
    watcher.join()
    highest = max(highest, memory())
    assert table.num_rows > 0
    return {"seconds": seconds, "bytes": highest - before}


def main() -> None:
    """Make the files, time both sides in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--side", choices=_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(timed(given.side, given.path)))
        return
    float32_bytes = given.rows * given.columns * 4
    print(f"{given.rows} rows x {given.columns} columns; medians of {given.rounds}")
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("table.csv" if kind == "csv" else "table.parquet")
            make(path, given.rows, given.columns, kind)
            results: dict[str, list[dict[str, float]]] = {side: [] for side in _SIDES}
            for _ in range(given.rounds):
                for side in _SIDES:
                    done = subprocess.run(
                        [sys.executable, __file__, "--side", side, "--path", str(path)],
                        check=True, capture_output=True, text=True, env=checkout.environment(),
                    )  # fmt: skip
                    results[side].append(json.loads(done.stdout))
        seconds = {s: statistics.median(r["seconds"] for r in results[s]) for s in _SIDES}
        for side in _SIDES:
            peak = statistics.median(result["bytes"] for result in results[side]) / float32_bytes
            speed = seconds["pyarrow"] / seconds[side]
            print(
                f"{kind} {side:8} {seconds[side]:6.2f} s, {speed:.2f} of pyarrow's speed, "
                f"peak memory {peak:.2f} times the float32 table"
            )


if __name__ == "__main__":
    main()
