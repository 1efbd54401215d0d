"""Batched matrix products, by the BLAS library that suits the processor; see ``nnexp.blas``.

Axes: R runs; I, J, K of the product [R, I, J] x [R, J, K].
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.blas import by_openblas


class Matmul(ABC):
    """One product of a network's step, made again and again on mostly the same tensors.

    Args:
        transpose_a: multiply with the transposed matrices of ``a``, which is then [R, J, I].
        transpose_b: likewise [R, K, J].

    Attributes:
        writes_apart: gaps between the runs of ``out`` cost nothing.
    """

    writes_apart = False

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

    The caller holds the number of threads, and multiplies inside of ``multiplying``.
    """

    writes_apart = True

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


def multiplying(like: Tensor) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """Makes the context in which products of tensors as ``like`` are made: runs that diverge
    overflow, of which NumPy would warn."""
    if not by_openblas(like):
        return contextlib.nullcontext
    return functools.partial(
        np.errstate, over="ignore", invalid="ignore", under="ignore", divide="ignore"
    )
