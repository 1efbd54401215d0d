"""How far rounding can carry a sum, and a sum whose rounding is the same everywhere.

Rounding errors are bounded as in Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
ed., chapter 3: ``n`` roundings with unit roundoff ``u`` multiply a number by a factor within
``1 ± gamma(n)``, ``gamma(n) = n u / (1 - n u)``; so a sum of D products changes by at most
``gamma(D) * sum |a_i b_i| <= gamma(D) |a| |b|``, in whatever order it is added up: the bound holds
for every BLAS, on every device, with and without fused multiply-add.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

DOUBLE = torch.float64


@dataclass(frozen=True)
class Arithmetic:
    """In what a scan stores numbers and multiplies them."""

    dtype: torch.dtype
    tf32: bool = False
    """On CUDA, let tensor cores multiply float32: they read the upper 11 of 24 significant bits."""

    def error_of_sums(self, roundings: int) -> float:
        """The relative error of a sum of products whose terms pass through so many roundings.

        As ``gamma``; in TF32, where both factors may be cut off, which takes at most 2^-10 of each,
        and sums too: products that are added at once lose what is beyond the last bits of the
        largest of them. Four times the roundings cover that.
        """
        if not self.tf32:
            return gamma(roundings, self.dtype)
        return (1 + 2.0**-10) ** 2 * (1 + gamma(4 * roundings, self.dtype)) - 1


IN_FLOAT32, IN_TF32, IN_FLOAT64 = (
    Arithmetic(torch.float32), Arithmetic(torch.float32, tf32=True), Arithmetic(DOUBLE)
)  # fmt: skip


def blocks(count: int, size: int) -> Iterator[slice]:
    """Slices that cover ``range(count)``, each of at most ``size``, or of 1 if that is less."""
    size = max(1, size)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def gamma(roundings: int, dtype: torch.dtype) -> float:
    """Higham's ``gamma(n)``: the relative error that ``n`` roundings can add up to."""
    error = roundings * torch.finfo(dtype).eps / 2
    return error / (1 - error)


def halvings(width: int) -> int:
    """How many additions a term passes through in :func:`fold`."""
    return math.ceil(math.log2(width))


def fold(terms: Tensor) -> Tensor:
    """Sum over the last axis by halving; overwrites ``terms``.

    Elementwise additions alone, so the sum of a row depends on nothing but the row: not on the
    other rows, the device or the number of threads.
    """
    while (width := terms.shape[-1]) > 1:
        half = (width + 1) // 2
        terms[..., : width - half] += terms[..., half:]
        terms = terms[..., :half]
    return terms.squeeze(-1)
