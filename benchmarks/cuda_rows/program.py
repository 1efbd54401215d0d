"""The program of benchmarks/cuda.py: its command line, its rows in turn, its tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from chip import measure_rates
from cuda_rows import neighbors, training
from cuda_rows.results import Place, Result, free_memory
from nnexp.device import device_name, resolve_device
from nnexp.environment import allow_any_text, prepare
from nnexp.errors import NnexpError
from roofline import Rates
from tables import table

ROWS = (*training.ROWS[:4], neighbors.ROW, *training.ROWS[4:])
PACKAGES = ("torch", "triton", "jax")


def measure_all(arguments: argparse.Namespace, place: Place) -> list[Result]:
    """Every row that was asked for; one that fails does not keep the others from it."""
    results = []
    for row in ROWS:
        if row.name not in arguments.only:
            continue
        sized = row.at_toy_size(place) if place.quick else row
        began = time.perf_counter()
        try:
            result = sized.measure(place)
        except Exception as error:
            result = Result(sized.name, sized.title, sized.goals)
            result.fail("all", error)
        results.append(result)
        print(f"{row.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        write_json(arguments.json, place, results)
    return results


def profile_all(arguments: argparse.Namespace, place: Place, results: list[Result]) -> None:
    """What the device did in nnexp's steps. Afterwards, for a profiler slows what comes later."""
    measured = {result.row: result for result in results if result.seconds is not None}
    for row in ROWS:
        if (result := measured.get(row.name)) is None:
            continue
        try:
            (row.at_toy_size(place) if place.quick else row).profile(place, result)
        except Exception as error:
            result.fail("profiler", error)
        free_memory()
    write_json(arguments.json, place, results)


def print_rates(rates: Rates, markdown: bool) -> None:
    """The chip's own table."""
    products = {
        f"{name}, TFLOP/s": rate / 1e12
        for name in ("float32", "tf32", "bfloat16", "int8")
        if (rate := getattr(rates, name)) is not None
    }
    line = {"copy, GB/s": rates.copy / 1e9, **products, "kernel in a graph, us": rates.launch * 1e6}
    print("\nMeasured rates\n")
    print(table([{name: f"{value:.4g}" for name, value in line.items()}], markdown))


def print_results(results: list[Result], place: Place, markdown: bool) -> None:
    """All tables but the profiler's."""
    for heading, lines in (
        ("Training", [line for r in results if r.row != "knn" for line in r.lines]),
        ("Neighbours", [line for r in results if r.row == "knn" for line in r.lines]),
        ("Goals", [line for r in results for line in goal_lines(r, place)]),
        ("Roofline", [line for r in results for line in roofline_lines(r)]),
    ):
        if lines:
            print(f"\n{heading}\n\n{table(lines, markdown)}")
    remarks = [f"{r.row}: {remark}" for r in results for remark in r.remarks]
    if remarks:
        print("\nRemarks\n")
        print("\n".join(f"- {remark}" for remark in remarks), flush=True)


def goal_lines(result: Result, place: Place) -> list[dict[str, str]]:
    """A goal each; a row without one states its seconds."""
    lines = []
    if not result.goals and "s" in result.figures:
        seconds = f"{result.figures['s']:.3g} s"
        lines.append({"work": result.title, "goal": "stated", "reached": seconds, "met": ""})
    for goal in result.goals:
        value = result.figures.get(goal.figure)
        met = ""
        if value is not None:
            met = "toy size" if place.quick else "yes" if goal.is_met(value) else "no"
        reached = "not measured" if value is None else f"{value:.4g} {goal.figure}"
        lines.append({"work": result.title, "goal": str(goal), "reached": reached, "met": met})
    return lines


def roofline_lines(result: Result) -> list[dict[str, str]]:
    """Of what nnexp did, if it was measured: a step, or all queries."""
    demand, floor, seconds, share = result.demand, result.floor, result.seconds, result.share
    if demand is None or floor is None or seconds is None or share is None:
        return []
    return [
        {
            "work": result.title,
            "GFLOP": f"{demand.operations / 1e9:.4g}",
            "MB": f"{demand.bytes / 1e6:.4g}",
            "chain": f"{demand.chain}",
            "flops, us": f"{floor.operations * 1e6:.4g}",
            "bytes, us": f"{floor.bytes * 1e6:.4g}",
            "chain, us": f"{floor.chain * 1e6:.4g}",
            "bound by": floor.bound,
            "nnexp, us": f"{seconds * 1e6:.4g}",
            "share": f"{share:.1%}",
        }
    ]


def busy_lines(result: Result) -> list[dict[str, str]]:
    """What stands between: kernels beyond the chain, and time without any."""
    if result.kernels is None or result.busy is None or result.seconds is None:
        return []
    return [
        {
            "work": result.title,
            "kernels a step": f"{result.kernels:.1f}",
            "busy, us a step": f"{result.busy * 1e6:.4g}",
            "of the step": f"{result.busy / result.seconds:.0%}",
        }
    ]


def write_json(path: Path | None, place: Place, results: list[Result]) -> None:
    """All figures so far, if a file was asked for."""
    if path is None:
        return
    report: dict[str, Any] = {
        "device": device_name(place.device),
        "versions": versions(),
        "quick": place.quick,
        "rates": asdict(place.rates),
        "rows": [
            {
                **asdict(result),
                "goals": [
                    {**asdict(goal), "met": None if value is None else goal.is_met(value)}
                    for goal in result.goals
                    for value in [result.figures.get(goal.figure)]
                ],
                "bound": result.floor.bound if result.floor else None,
                "share": result.share,
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def versions() -> dict[str, str]:
    """Of what is installed."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["torch"] = str(torch.__version__)  # which also says for which CUDA it was built
    return found


def parse_arguments(description: str) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cuda.py", description=description)
    names = [row.name for row in ROWS]
    parser.add_argument("--mnist", type=Path, help="folder of its four IDX files")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW",
                        help=f"rows to measure: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--json", type=Path, help="file for programs")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it work?")
    return parser.parse_args()


def main(description: str) -> int:
    """Measure and print; the exit code."""
    allow_any_text()
    arguments = parse_arguments(description)
    prepare()
    try:
        device = resolve_device(arguments.device)
    except NnexpError as error:
        print(error, file=sys.stderr)
        return 1
    # Read as JAX is imported. Its default takes three quarters of the memory at once.
    os.environ["JAX_PLATFORMS"] = device.type
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    print(f"{device_name(device)}; " + ", ".join(f"{k} {v}" for k, v in versions().items()))
    place = Place(
        device, measure_rates(device, quick=arguments.quick), arguments.quick, arguments.mnist
    )
    free_memory()
    print_rates(place.rates, arguments.markdown)
    results = measure_all(arguments, place)
    print_results(results, place, arguments.markdown)
    if device.type == "cuda":
        profile_all(arguments, place, results)
        if lines := [line for result in results for line in busy_lines(result)]:
            print(f"\nThe device during nnexp's steps\n\n{table(lines, arguments.markdown)}")
    return int(any(result.failed for result in results))
