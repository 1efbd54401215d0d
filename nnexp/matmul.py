"""Batched matrix products, by the BLAS library that suits the processor.

Torch's own library on x86 is MKL. On AMD's processors with AVX-512 it runs its AVX2 kernels at half
the rate of NumPy's OpenBLAS, so there OpenBLAS multiplies, on the same memory. The choice follows
from the processor and what is installed, never from timing: a machine always gives the same bits.
``NNEXP_MATMUL`` (``mkl`` or ``openblas``) overrides it.

A run has the same bits solo and batched if

- MKL runs in a reproducible mode (``nnexp.environment``), and with one thread, or in a strict mode;
- OpenBLAS runs with one thread. It multiplies the matrices of each run in a call of its own.

Axes: R runs; I, J, K of the product [R, I, J] x [R, J, K].
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import warnings
from abc import ABC, abstractmethod
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


# ── products ──────────────────────────────────────────────────────────────────────────────────


class Matmul(ABC):
    """One product of a network's step, made again and again on mostly the same tensors.

    Args:
        transpose_a: multiply with the transposed matrices of ``a``, which is then [R, J, I].
        transpose_b: likewise [R, K, J].
    """

    def __init__(self, *, transpose_a: bool = False, transpose_b: bool = False) -> None:
        self._transpose_a, self._transpose_b = transpose_a, transpose_b

    @abstractmethod
    def __call__(self, a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
        """Write a [R, I, J] times b [R, J, K], plus ``bias`` [R, 1, K] or [R, I, 1], to ``out``.

        The matrices of ``out`` [R, I, K] are contiguous; between the runs there may be a gap.
        """


class TorchMatmul(Matmul):
    """By torch, on any device and in any type."""

    def __call__(self, a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
        """See ``Matmul``."""
        a = a.transpose(1, 2) if self._transpose_a else a
        b = b.transpose(1, 2) if self._transpose_b else b
        _torch_product(a, b, out, bias)


def _torch_product(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None) -> None:
    """MKL makes one product with a vector by other routines than a batch of them, and with other
    last bits. So the product of a lone run with one row, one feature or a layer of width 1 is made
    twice over: then its bits are those of a run in a batch.
    """
    if out.shape[0] == 1 and 1 in (*out.shape[1:], a.shape[2]):
        twice = out.new_empty(2, *out.shape[1:])
        _torch_product(a.expand(2, -1, -1), b.expand(2, -1, -1), twice, bias)
        out.copy_(twice[:1])
    elif bias is None:
        torch.bmm(a, b, out=out)
    else:
        torch.baddbmm(bias, a, b, out=out)


class OpenBlasMatmul(Matmul):
    """By NumPy's OpenBLAS, on the CPU.

    The caller holds the number of threads, and silences NumPy's warnings of overflow, as runs that
    diverge overflow: ``quiet``.
    """

    def __init__(self, *, transpose_a: bool = False, transpose_b: bool = False) -> None:
        super().__init__(transpose_a=transpose_a, transpose_b=transpose_b)
        self._a, self._b = _View(transpose_a), _View(transpose_b)
        self._out = _View(transposed=False)

    def __call__(self, a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
        """See ``Matmul``."""
        np.matmul(self._a.of(a), self._b.of(b), out=self._out.of(out))
        if bias is not None:
            out.add_(bias)


class _View:
    """NumPy's view of a tensor, kept until another tensor comes: making one takes a third of the
    time of a small product."""

    __slots__ = ("_array", "_tensor", "_transposed")

    def __init__(self, transposed: bool) -> None:
        self._transposed = transposed
        self._tensor: Tensor | None = None
        self._array: np.ndarray[Any, Any] = np.empty(0)

    def of(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        if tensor is not self._tensor:
            array = tensor.numpy()
            self._tensor = tensor
            self._array = array.transpose(0, 2, 1) if self._transposed else array
        return self._array


def matmul(like: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Matmul:
    """The product for tensors on the device and of the type of ``like``.

    Raises:
        ConfigError: as ``library``.
    """
    kind = OpenBlasMatmul if by_openblas(like) else TorchMatmul
    return kind(transpose_a=transpose_a, transpose_b=transpose_b)


def quiet() -> contextlib.AbstractContextManager[object]:
    """Keep NumPy from warning of overflow and NaN inside."""
    return np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore")


# ── the library ───────────────────────────────────────────────────────────────────────────────


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
    return library() == "mkl" and bool((_mkl_mode() or 0) & _STRICT)


def description(device: torch.device, dtype: torch.dtype) -> str:
    """For a record: what multiplies the matrices, by which kernels, such as ``MKL AVX512,STRICT``
    or ``OpenBLAS 0.3.31 SkylakeX``. The bits of a run depend on it."""
    if device.type != "cpu":
        return f"torch {device.type}"
    if by_openblas(torch.empty(0, dtype=dtype)):
        blas = _openblas()
        return f"OpenBLAS {blas.version} {blas.architecture}"
    if dtype == torch.float32 and _has_mkl():
        mode = _mkl_mode()
        return f"MKL {'' if mode is None else _mode_name(mode)}".rstrip()
    return "torch cpu"


def check_mode() -> None:
    """Ask for a reproducible mode of MKL, if MKL multiplies; warn, once, where it is too late.

    MKL reads its mode at its first call and keeps it.
    """
    prepare()
    if library() == "mkl" and (mode := _mkl_mode()) is not None and mode & _BRANCH <= 1:
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
    """MKL's mode of reproducibility as ``mkl_cbwr_get`` has it; None where torch has no MKL, or
    hides the function. To ask fixes the mode, as a product does."""
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
    package = Path(np.__file__).parent
    folders = {package.parent / "numpy.libs", package / ".dylibs"}
    for found in ThreadpoolController().lib_controllers:
        if found.internal_api == "openblas" and Path(found.filepath).parent in folders:
            return found
    return None
