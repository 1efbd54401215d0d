"""Where a run computes: its device, precision and threads, and the CPU's BLAS library."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from nnexp.config.schema import TrainerConfig
from nnexp.environment import available_cores, prepare, processor
from nnexp.errors import ConfigError

# --------------------------------------------------------------------------------------------------
# The BLAS library that multiplies matrices on the CPU: which one, in what mode, how many threads.
#
# Torch's own library on x86 is MKL. On AMD's processors with AVX-512 it runs its AVX2 kernels at
# half the rate of NumPy's OpenBLAS, so there OpenBLAS multiplies, on the same memory. The choice
# follows from the processor and what is installed, never from timing: a machine always gives the
# same bits. ``NNEXP_MATMUL`` (``mkl`` or ``openblas``) overrides it.
#
# A run has the same bits solo and batched if
#
# - MKL runs in a reproducible mode (``nnexp.environment``), and with one thread, or in a strict
# mode; - OpenBLAS runs with one thread. It multiplies the matrices of each run in a call of its
# own.
# --------------------------------------------------------------------------------------------------

VARIABLE = "NNEXP_MATMUL"
LIBRARIES = ("mkl", "openblas")
_OPENBLAS = (torch.float32, torch.float64)  # what it multiplies

# Of mkl_cbwr_get, in mkl_types.h: the branch of kernels, and the flag of the strict modes.
_BRANCH = 0xFFFF
_BRANCHES = {1: "OFF", 2: "AUTO", 3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1", 8: "SSE4_2",
             9: "AVX", 10: "AVX2", 12: "AVX512", 14: "AVX512_E1"}  # fmt: skip
_STRICT = 0x10000
_ALL = -1  # MKL_CBWR_ALL


def by_openblas(like: Tensor) -> bool:
    """Whether products on the device and of the type of ``like`` are made by OpenBLAS.

    Raises:
        ConfigError: as ``library``.
    """
    return like.device.type == "cpu" and like.dtype in _OPENBLAS and library() == "openblas"


@functools.cache
def library() -> str:
    """The library that multiplies on the CPU: ``openblas``, or ``mkl``, by which any library of
    torch's own is meant.

    Raises:
        ConfigError: ``NNEXP_MATMUL`` is neither, or NumPy has no OpenBLAS.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted and wanted not in LIBRARIES:
        raise ConfigError(f"{VARIABLE}={wanted}: must be {' or '.join(LIBRARIES)}")
    if wanted == "openblas" and _openblas() is None:
        raise ConfigError(
            f"{VARIABLE}=openblas: NumPy {np.__version__} does not come with OpenBLAS here; "
            f"use {VARIABLE}=mkl"
        )
    if wanted:
        return wanted
    cpu = processor()
    return "openblas" if cpu.is_amd and cpu.has_avx512 and _openblas() is not None else "mkl"


def ignores_threads() -> bool:
    """Whether products of float32 on the CPU have the same bits with any number of threads."""
    if library() != "mkl":
        return False
    mode = _mkl_mode()
    if mode is None:  # by what it was asked for, which others than Intel's processors do not have
        return processor().is_intel and os.environ["MKL_CBWR"].upper().endswith(",STRICT")
    return bool(mode & _STRICT)


def description(device: torch.device, dtype: torch.dtype, *, by_torch: bool = False) -> str:
    """For a record: what multiplies the matrices, by which kernels, such as ``MKL AVX512,STRICT``
    or ``OpenBLAS 0.3.31 SkylakeX``. The bits of a run depend on it.

    Args:
        by_torch: the products are torch's own, whatever the library.
    """
    if device.type != "cpu":
        return f"torch {device.type}"
    if not by_torch and by_openblas(torch.empty(0, dtype=dtype)):
        blas = _openblas()
        return f"OpenBLAS {blas.version} {blas.architecture}"
    if dtype == torch.float32 and _has_mkl():
        mode = _mkl_mode()
        return f"MKL {'' if mode is None else _mode_name(mode)}".rstrip()
    return "torch cpu"


def check_mode(*, by_torch: bool = False) -> None:
    """Ask for a reproducible mode of MKL, if MKL multiplies; warn, once, where it is too late.

    MKL reads its mode at its first call and keeps it.

    Args:
        by_torch: some products are torch's own, whatever the library.
    """
    if by_torch or library() == "mkl":
        mode = _mkl_mode()
        if mode is not None and mode & _BRANCH <= 1:
            _warn_of_mode()


@functools.cache
def _warn_of_mode() -> None:
    warnings.warn(
        "MKL is not in a reproducible mode, since something multiplied matrices before nnexp could "
        "ask for it: the last bits of a run can depend on the runs batched with it. Call "
        "nnexp.environment.prepare() first, or set MKL_CBWR in the shell",
        RuntimeWarning,
        stacklevel=4,
    )


def _mode_name(mode: int) -> str:
    branch = _BRANCHES.get(mode & _BRANCH, str(mode & _BRANCH))
    return f"{branch},STRICT" if mode & _STRICT else branch


def _mkl_mode() -> int | None:
    """The mode of reproducibility that MKL is in, as ``mkl_cbwr_get`` returns it; None where torch
    has no MKL, or hides the function.

    Asking fixes the mode, as a product does, so it is set first.
    """
    prepare()
    get = _mkl_cbwr_get()
    return None if get is None else int(get(_ALL))


def _has_mkl() -> bool:
    return bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]


@functools.cache
def _mkl_cbwr_get() -> Any:
    if not _has_mkl():
        return None
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.CDLL(str(path)).mkl_serv_cbwr_get  # MKL is linked into it statically
    except (OSError, AttributeError):
        return None


@contextlib.contextmanager
def openblas_threads(count: int) -> Iterator[None]:
    """Let NumPy's OpenBLAS use ``count`` threads inside, if it is what multiplies."""
    blas = _openblas() if library() == "openblas" else None
    if blas is None:
        yield
        return
    before = blas.get_num_threads()
    blas.set_num_threads(count)
    try:
        yield
    finally:
        blas.set_num_threads(before)


@functools.cache
def _openblas() -> Any:
    """threadpoolctl's controller of the OpenBLAS that NumPy's wheels bring; None where NumPy was
    built otherwise."""
    package = Path(np.__file__).resolve().parent  # as the loader has it, behind links
    folders = {package.parent / "numpy.libs", package / ".dylibs"}
    for found in ThreadpoolController().lib_controllers:
        if found.internal_api == "openblas" and Path(found.filepath).resolve().parent in folders:
            return found
    return None


# --------------------------------------------------------------------------------------------------
# Where a run computes: its device, the type of its products, its threads.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

# Below this many floating-point operations a step, a second thread costs more than it saves; see
# benchmarks/README.md.
_FLOPS_FOR_THREADS = 30e6


def resolve_device(name: str) -> torch.device:
    """The device that ``trainer.device`` names; ``auto`` is CUDA where there is one.

    Raises:
        ConfigError: no such device here, or not a device's name.
    """
    if name == "auto":
        problem = cuda_problem()
        if torch.cuda.is_available():
            return torch.device("cuda")
        if problem:
            _tell_once(problem)
        return torch.device("cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not match:
        raise ConfigError(f"trainer.device={name}: must be auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError(
            f"trainer.device={name}: torch {torch.__version__} finds no CUDA device here"
            + (f" ({problem})" if problem else "")
            + "; use trainer.device=cpu"
        )
    if match[1] and int(match[1]) >= count:
        raise ConfigError(
            f"trainer.device={name}: this machine has {count} CUDA device(s), the last one is "
            f"cuda:{count - 1}"
        )
    return torch.device(name)


@functools.cache
def cuda_problem() -> str | None:
    """What torch complains of when it looks for GPUs, such as a driver that is too old; None where
    there are some, or just none. It warns once in a process, at length and from C++."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.is_available()
    for warning in caught:
        text = str(warning.message).removeprefix("CUDA initialization: ")
        return " ".join(re.split(r"\(Triggered internally|\.\s|\n", text)[0].split()).rstrip(".")
    return None


@functools.cache
def _tell_once(problem: str) -> None:
    log.warning("trainer.device=auto: CUDA is unavailable (%s); using the CPU", problem)


@dataclass(frozen=True)
class Precision:
    """In what a run multiplies matrices. Parameters, gradients and sums are float32 always."""

    dtype: torch.dtype  # of the factors: float32 or bfloat16
    tf32: bool = False  # float32 factors may be rounded to TF32, 10 bits behind the point


def resolve_precision(name: str, device: torch.device) -> Precision:
    """What ``trainer.precision`` names.

    Raises:
        ConfigError: the device cannot compute in it.
    """
    if name == "float32":
        return Precision(torch.float32)
    if name == "tf32" and device.type != "cuda":
        raise ConfigError(
            "trainer.precision=tf32: is for CUDA devices; use trainer.precision=float32"
        )
    if device.type == "cuda":
        # TF32 and bfloat16 came with compute capability 8.0, Ampere.
        able = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not able:
        raise ConfigError(
            f"trainer.precision={name}: this {device.type} has no {name} instructions; "
            "use trainer.precision=float32"
        )
    return Precision(torch.float32, tf32=True) if name == "tf32" else Precision(torch.bfloat16)


@contextlib.contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Have CUDA multiply float32 matrices in float32, or in TF32 where the run says so.

    Whatever the program or its environment has set is set again afterwards. Inside, nothing may ask
    for ``allow_tf32`` or ``get_float32_matmul_precision``: torch refuses to mix these older names
    with the one that is used here.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if precision.tf32 else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def resolve_threads(
    trainer: TrainerConfig, flops_per_row: int, *, batched: bool = False, by_torch: bool = False
) -> int:
    """CPU threads of a run: ``trainer.threads``, else one, or all cores where that is faster and
    leaves the bits as they are.

    It is faster for large steps that do not share the cores with other groups. The bits stay if
    matrix products ignore the number of threads. Else a run that used several would have other
    bits than the same run in a sweep, where one a run lets runs train together. bfloat16 is never
    batched on the CPU.

    Args:
        batched: in a sweep, whose workers share the cores.
        by_torch: the last bits depend on the number of threads in any case.
    """
    if trainer.threads is not None:
        return trainer.threads
    if flops_per_row * trainer.batch_size < _FLOPS_FOR_THREADS:
        return 1
    if trainer.precision == "bfloat16":
        return available_cores()
    return available_cores() if ignores_threads() and not (batched or by_torch) else 1


def device_name(device: torch.device) -> str:
    """For a record: ``cpu``, or the GPU's number and name. ``cuda`` is the current one."""
    if device.type == "cpu":
        return "cpu"
    number = torch.cuda.current_device() if device.index is None else device.index
    return f"cuda:{number} ({torch.cuda.get_device_name(number)})"


@contextlib.contextmanager
def current(device: torch.device) -> Iterator[None]:
    """Let a GPU be the one that is meant where none is named, in this thread and inside.

    Kernels that are not torch's own are launched there, wherever their tensors lie.
    """
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, and OpenBLAS where it multiplies, use ``count`` CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with openblas_threads(count):
            yield
    finally:
        torch.set_num_threads(before)
