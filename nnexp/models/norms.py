"""Batch norm and layer norm with a run axis, forward and backward.

Axes: R runs, B rows of a batch, M >= B rows of the buffers (those beyond B are padding), H units.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

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
