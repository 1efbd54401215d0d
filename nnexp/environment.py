"""What a process has to ask of its libraries before they compute, and what the machine offers.

Nothing here imports torch or NumPy: they read some of it when they are loaded.
"""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})  # of Skylake-X, of Zen 4


@dataclass(frozen=True)
class Processor:
    """Who made the CPU, and its instruction sets; empty where the system does not say."""

    vendor: str = ""
    flags: frozenset[str] = frozenset()

    @property
    def is_intel(self) -> bool:
        """Made by Intel."""
        return self.vendor == "GenuineIntel"

    @property
    def is_amd(self) -> bool:
        """Made by AMD, or one of Hygon's, which are AMD's Zen."""
        return self.vendor in ("AuthenticAMD", "HygonGenuine")

    @property
    def has_avx512(self) -> bool:
        """Whether it has the AVX-512 instructions that BLAS libraries have kernels for."""
        return self.flags >= _AVX512

    @classmethod
    def read(cls, cpuinfo: Path = _CPUINFO) -> Processor:
        """The first processor that Linux lists; elsewhere what Python knows."""
        try:
            lines = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        except OSError:  # Windows: "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD"
            return cls(platform.processor().rpartition(",")[2].strip())
        fields = {}
        for line in lines.splitlines():
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
        return cls(fields.get("vendor_id", ""), frozenset(fields.get("flags", "").split()))


@functools.cache
def processor() -> Processor:
    """The CPU of this machine."""
    return Processor.read()


def prepare() -> None:
    """Set what the environment leaves open; child processes inherit it.

    - ``OMP_WAIT_POLICY=PASSIVE``: threads that wait for each other sleep. Where something else had
      the cores, spinning has made a step take 100 times as long. OpenMP reads it when torch is
      loaded; later it only reaches processes that are started. Results do not depend on it.
    - ``MKL_CBWR``: a reproducible mode of MKL, see :func:`reproducible_mode`. MKL reads it at its
      first call; ``nnexp.blas.check_mode`` warns where that came before.

    An empty value counts as none.
    """
    for name, value in (
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("MKL_CBWR", reproducible_mode(processor())),
    ):
        if not os.environ.get(name):
            os.environ[name] = value


def reproducible_mode(cpu: Processor) -> str:
    """The value of ``MKL_CBWR`` under which a run has the same bits solo and batched.

    Without a mode MKL picks kernels by the address of the result modulo 16 bytes, which differs
    from run to run of a group. AUTO fixes the kernels. The strict modes, for Intel's processors
    alone, also make the number of threads irrelevant. None costs anything that could be measured;
    COMPATIBLE would be 2 to 5 times slower. See Intel's "Developer Guide for oneMKL", chapter
    "Obtaining numerically reproducible results".
    """
    if cpu.is_intel and cpu.has_avx512:
        return "AVX512,STRICT"
    if cpu.is_intel and "avx2" in cpu.flags:
        return "AVX2,STRICT"
    return "AUTO"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
