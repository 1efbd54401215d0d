"""What a process sets up before it works: libraries, cores, the encoding of its streams.

Imports neither torch nor NumPy, for ``prepare`` must run before they do.
"""

from __future__ import annotations

import codecs
import functools
import io
import logging
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

# --------------------------------------------------------------------------------------------------
# What a process has to ask of its libraries before they compute, and what the machine offers.
#
# Nothing here imports torch or NumPy: they read some of it when they are loaded.
# --------------------------------------------------------------------------------------------------

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
      first call; ``nnexp.device.check_mode`` warns where that came before.

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


# --------------------------------------------------------------------------------------------------
# Text on streams and in logs of any encoding: nothing that is printed may end a program.
#
# Files that nnexp writes are UTF-8. Standard output and standard error are what the terminal, the
# locale or ``PYTHONIOENCODING`` says, which may have no ``·`` and no minus sign.
# --------------------------------------------------------------------------------------------------

_HANDLER = "nnexp.stand_in"

# Of one letter where there is one, so that columns stay aligned.
_STAND_INS = {
    "·": "-", "•": "*", "−": "-", "–": "-", "—": "-", "─": "-", "━": "-", "…": ".", "×": "x",
    "±": "~", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
_BRAILLE = range(0x2800, 0x2900)  # what spinners are made of


def allow_any_text() -> None:
    """Let standard output and standard error write a stand-in for what they cannot encode.

    What the user asks for, as ``PYTHONIOENCODING=ascii:replace``, stays. Standard error is set in
    any case: Python's own ``\\xb7`` is not what the user asked for.
    """
    codecs.register_error(_HANDLER, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):  # none, or what a test or a notebook has
            continue
        if stream is sys.stderr or stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_HANDLER)


def make_logs_utf8() -> None:
    """Have log files that are open hold UTF-8, as all other files, whatever the locale says.

    Hydra opens them as ``hydra.job_logging`` has it, and few configs name an encoding.
    """
    named = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(one for one in named if isinstance(one, logging.Logger))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(handler, logging.FileHandler):
            handler.encoding, handler.errors = "utf-8", "backslashreplace"
            if isinstance(handler.stream, io.TextIOWrapper):
                handler.stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """As ``codecs.register_error`` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # of a file's name that is no text: as it is on disk
        return bytes([ord(character) - 0xDC00]), error.start + 1
    escaped = character.encode("ascii", "backslashreplace").decode("ascii")
    stand_in = "*" if ord(character) in _BRAILLE else _STAND_INS.get(character, escaped)
    return stand_in, error.start + 1
