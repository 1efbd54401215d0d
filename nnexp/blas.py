"""The BLAS library that multiplies matrices on the CPU: which one, in what mode, how many threads.

Torch's own library on x86 is MKL. On AMD's processors with AVX-512 it runs its AVX2 kernels at half
the rate of NumPy's OpenBLAS, so there OpenBLAS multiplies, on the same memory. The choice follows
from the processor and what is installed, never from timing: a machine always gives the same bits.
``NNEXP_MATMUL`` (``mkl`` or ``openblas``) overrides it.

A run has the same bits solo and batched if

- MKL runs in a reproducible mode (``nnexp.environment``), and with one thread, or in a strict mode;
- OpenBLAS runs with one thread. It multiplies the matrices of each run in a call of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from nnexp.environment import prepare, processor
from nnexp.errors import ConfigError

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
