"""What the process must say to its libraries before torch computes anything."""

from __future__ import annotations

import os
from pathlib import Path


def prepare() -> None:
    """Set what is not set already; child processes inherit it.

    - Threads that wait for each other sleep: where something else had the cores, spinning has made
      a step take 100 times as long. Read by OpenMP when torch is loaded.
    - Matrix products have the same bits with any number of threads ("strict conditional numerical
      reproducibility" of MKL, which Intel's processors have): a run alone, with all cores, then
      equals the same run in a sweep, with one. It costs nothing that could be measured. Read by MKL
      at its first product.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    instructions = _instructions()
    if instructions:
        os.environ.setdefault("MKL_CBWR", f"{instructions},STRICT")


def products_ignore_threads() -> bool:
    """Whether the number of threads leaves the bits of matrix products as they are."""
    return os.environ.get("MKL_CBWR", "").upper().endswith(",STRICT") and bool(_instructions())


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _instructions() -> str | None:
    """The best instruction set with strict products; None where there is none."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    first = cpu.partition("\n\n")[0]
    if "GenuineIntel" not in first:
        return None
    flags = set(first.partition("flags")[2].partition("\n")[0].split())
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "AVX512"
    return "AVX2" if "avx2" in flags else None
