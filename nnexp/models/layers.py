"""Layers with a run axis: batched matrix products, normalization, dropout."""

from __future__ import annotations

import contextlib
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.device import by_openblas
from nnexp.rng import stream_seed

# --------------------------------------------------------------------------------------------------
# Batched matrix products, by the BLAS library that suits the processor; see ``nnexp.device``.
#
# Axes: R runs; I, J, K of the product [R, I, J] x [R, J, K].
# --------------------------------------------------------------------------------------------------


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


# --------------------------------------------------------------------------------------------------
# Batch norm and layer norm with a run axis, forward and backward.
#
# Axes: R runs, B rows of a batch, M >= B rows of the buffers (those beyond B are padding), H
# units.
# --------------------------------------------------------------------------------------------------

EPS = 1e-5  # of torch.nn.BatchNorm1d and torch.nn.LayerNorm
MOMENTUM = 0.1  # of the running statistics of torch.nn.BatchNorm1d


@dataclass
class Affine:
    """The trained scale and shift that follow a normalisation, with their gradients, all [R, H]."""

    weight: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor

    def forward(self, normalised: Tensor) -> Tensor:
        """[R, M, H] to [R, M, H]."""
        return torch.addcmul(self.bias.unsqueeze(1), normalised, self.weight.unsqueeze(1))

    def backward(self, grad: Tensor, normalised: Tensor) -> Tensor:
        """Keep the parameters' gradients; return that of ``normalised``."""
        self.weight_grad.copy_((grad * normalised).sum(1))
        self.bias_grad.copy_(grad.sum(1))
        return grad * self.weight.unsqueeze(1)


@dataclass
class LayerNorm:
    """Each row has mean 0 and variance 1 over its units (Ba, Kiros and Hinton 2016)."""

    affine: Affine
    _saved: tuple[Tensor, ...] = field(init=False, repr=False)

    def forward(self, z: Tensor, rows: int, *, training: bool) -> Tensor:
        """[R, M, H] to [R, M, H]."""
        normalised, _, rstd = torch.native_layer_norm(z.float(), z.shape[-1:], None, None, EPS)
        if training:
            self._saved = (normalised, rstd)
        return self.affine.forward(normalised).to(z.dtype)

    def backward(self, grad: Tensor, rows: int) -> Tensor:
        """The gradient of ``z``."""
        normalised, rstd = self._saved
        inner = self.affine.backward(grad.float(), normalised)
        return _through(inner, normalised, rstd, 2).to(grad.dtype)


@dataclass
class BatchNorm:
    """Each unit has mean 0 and variance 1 over the batch's rows (Ioffe and Szegedy 2015).

    ``running_mean`` and ``running_var`` [R, H] follow the batches and are used in evaluation.
    """

    affine: Affine
    running_mean: Tensor
    running_var: Tensor
    _saved: tuple[Tensor, ...] = field(init=False, repr=False)

    def forward(self, z: Tensor, rows: int, *, training: bool) -> Tensor:
        """[R, M, H] to [R, M, H]; the statistics are those of the first ``rows`` rows."""
        wide = z.float()
        if training:
            mean = wide[:, :rows].mean(1, keepdim=True)
            centred = wide - mean
            var = centred[:, :rows].square().mean(1, keepdim=True)
            self.running_mean.lerp_(mean[:, 0], MOMENTUM)
            # torch keeps the unbiased variance.
            self.running_var.lerp_(var[:, 0] * (rows / (rows - 1)), MOMENTUM)
        else:
            centred = wide - self.running_mean.unsqueeze(1)
            var = self.running_var.unsqueeze(1)
        rstd = (var + EPS).rsqrt()
        normalised = centred.mul_(rstd)
        if training:
            self._saved = (normalised, rstd)
        return self.affine.forward(normalised).to(z.dtype)

    def backward(self, grad: Tensor, rows: int) -> Tensor:
        """The gradient of ``z``; that of the padding rows comes as zero and stays so."""
        normalised, rstd = self._saved
        inner = self.affine.backward(grad.float(), normalised)
        inner[:, :rows] = _through(inner[:, :rows], normalised[:, :rows], rstd, 1)
        return inner.to(grad.dtype)


def _through(grad: Tensor, normalised: Tensor, rstd: Tensor, dim: int) -> Tensor:
    """Back through (z - mean) rstd, whose statistics were taken over ``dim``."""
    slope = (grad * normalised).mean(dim, keepdim=True)
    return (grad - grad.mean(dim, keepdim=True) - normalised * slope) * rstd


Norm = LayerNorm | BatchNorm

# --------------------------------------------------------------------------------------------------
# Dropout masks from a counter, so that a run's masks depend on its seed and step alone.
#
# A mask is a hash of (run, step, place), computed elementwise for the whole group: no generator
# has a state to keep, any step can be drawn again, CPU and CUDA draw the same bits.
#
# Axes: R runs, M rows, H units.
# --------------------------------------------------------------------------------------------------

_LEVELS = 1 << 16  # a rate is a multiple of 1 / 65536: every hash of 32 bits serves two places


class Dropout:
    """Masks for the hidden layers of R runs with rates ``rates`` [R], keyed by their seeds.

    Masks are scaled by 1 / (1 - rate), as ``torch.nn.Dropout``, so evaluation needs no scaling.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        rates: Sequence[float],
        widths: Sequence[int],
        device: torch.device,
    ) -> None:
        words = [stream_seed(seed, "dropout") for seed in seeds]
        self._keys = [
            torch.tensor([_signed(w >> shift) for w in words], dtype=torch.int32, device=device)
            for shift in (0, 32)
        ]
        self._widths = widths
        threshold, scale = _threshold_and_scale(rates)
        self._threshold = threshold.to(device).view(-1, 1)
        self._scale = scale.to(device).view(-1, 1)
        self._places: dict[int, Tensor] = {}

    def masks(self, step: int | Tensor, rows: int) -> list[Tensor]:
        """The masks [R, rows, H] of the layers at one step: 0 or 1 / (1 - rate).

        ``step`` may be an int64 tensor [1] on the device.
        """
        total = rows * sum(self._widths)
        if rows not in self._places:
            places = torch.arange(-(-total // 2), dtype=torch.int32, device=self._scale.device)
            self._places[rows] = places
        first = _mix(self._keys[0] ^ _word(step)).view(-1, 1)
        second = _mix(self._keys[1] + _word(step >> 32)).view(-1, 1)
        # The first key alone would give all runs the same hashes in another order.
        words = _mix(self._places[rows] ^ first).add_(second).mul_(_signed(0x9E3779B1))
        words.bitwise_xor_(_shift(words, 16))
        mask = (words.view(torch.int16)[:, :total] >= self._threshold) * self._scale
        # All layers' units of a row side by side: padding rows shift nobody's mask.
        return list(torch.split(mask.view(len(mask), rows, -1), list(self._widths), dim=2))


class LayeredDropout(Dropout):
    """Masks for layers with rates of their own, the same in all runs, for one number of rows.

    Where all layers drop out of tensors [M, ...] the hashes are those of ``Dropout``.

    Args:
        seeds: of the R runs.
        layers: shape of the mask and rate, below 1, of each.
        rows: M.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        layers: Sequence[tuple[tuple[int, ...], float]],
        rows: int,
        device: torch.device,
    ) -> None:
        self._rows = rows if all(shape[:1] == (rows,) for shape, _ in layers) else 1
        self._shapes = [shape for shape, _ in layers]
        widths = [math.prod(shape) // self._rows for shape in self._shapes]
        super().__init__(seeds, [rate for _, rate in layers], widths, device)
        repeats = torch.tensor(widths, device=device)
        for name in ("_threshold", "_scale"):  # of a layer, for each place instead [1, places]
            of_a_row = getattr(self, name)[:, 0].repeat_interleave(repeats)
            setattr(self, name, of_a_row.repeat(self._rows).unsqueeze(0))

    def draw(self, step: int | Tensor) -> list[Tensor]:
        """The masks [R, *shape] of the layers at one step: 0 or 1 / (1 - rate)."""
        masks = self.masks(step, self._rows)
        runs = len(self._keys[0])
        return [mask.reshape(runs, *s) for mask, s in zip(masks, self._shapes, strict=True)]


def _threshold_and_scale(rates: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The int16 below which a place is dropped, and the float32 that the others are scaled by."""
    # Of the 65536 values of an int16, so many lie below the threshold.
    dropped = (torch.tensor(rates, dtype=torch.float64) * _LEVELS).round()
    dropped.clamp_(max=_LEVELS - 1)
    threshold = (dropped - _LEVELS // 2).to(torch.int16)
    return threshold, (_LEVELS / (_LEVELS - dropped)).to(torch.float32)


def _word(number: int | Tensor) -> int | Tensor:
    """The low 32 bits, as int32."""
    return _signed(number) if isinstance(number, int) else number.to(torch.int32)


def _signed(word: int) -> int:
    """The low 32 bits as the int32 with the same bits."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >= 1 << 31 else word


def _mix(x: Tensor) -> Tensor:
    """Wellons' lowbias32, a 32-bit hash with near-ideal avalanche (hash-prospector, 2018)."""
    x = x ^ _shift(x, 16)
    x.mul_(0x7FEB352D)
    x.bitwise_xor_(_shift(x, 15))
    x.mul_(_signed(0x846CA68B))
    return x.bitwise_xor_(_shift(x, 16))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: int32 has only the arithmetic one."""
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)
