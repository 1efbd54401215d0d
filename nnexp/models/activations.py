"""Activations with their derivatives, elementwise on tensors of any shape.

Each is a ``forward(z, out)`` that writes to ``out`` and a ``backward(grad, saved)`` that turns the
gradient of the output into that of ``z`` in place. ``saved`` is the output where the derivative
can be had from it: then forward may run in place, ``out`` being ``z``. Else it is ``z``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

aten = torch.ops.aten

_LEAKY_SLOPE = 0.01  # torch.nn.LeakyReLU
_SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, as torch.nn.SELU
_SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class Activation:
    """One activation function; ``saves_input`` says which tensor its derivative is read from."""

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor], object]
    saves_input: bool = False


def _step(z: Tensor, out: Tensor) -> object:
    return torch.gt(z, 0, out=out)


def _step_backward(grad: Tensor, z: Tensor) -> object:
    # Straight through where |z| < 1, zero elsewhere: Bengio, Leonard and Courville 2013, with
    # the saturation of Hubara et al. 2016 (BinaryNet, equation 4).
    return aten.hardtanh_backward.grad_input(grad, z, -1.0, 1.0, grad_input=grad)


def _elu(alpha: float, scale: float) -> Activation:
    def forward(z: Tensor, out: Tensor) -> object:
        return aten.elu.out(z, alpha, scale, 1.0, out=out)

    def backward(grad: Tensor, h: Tensor) -> object:
        return aten.elu_backward.grad_input(grad, alpha, scale, 1.0, True, h, grad_input=grad)

    return Activation(forward, backward)


ACTIVATIONS: dict[str, Activation] = {
    "step": Activation(_step, _step_backward, saves_input=True),
    "sigmoid": Activation(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda grad, h: aten.sigmoid_backward.grad_input(grad, h, grad_input=grad),
    ),
    "tanh": Activation(
        lambda z, out: torch.tanh(z, out=out),
        lambda grad, h: aten.tanh_backward.grad_input(grad, h, grad_input=grad),
    ),
    "relu": Activation(
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda grad, h: aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad),
    ),
    "leaky_relu": Activation(
        lambda z, out: aten.leaky_relu.out(z, _LEAKY_SLOPE, out=out),
        lambda grad, h: aten.leaky_relu_backward.grad_input(
            grad, h, _LEAKY_SLOPE, True, grad_input=grad
        ),
    ),
    "elu": _elu(1.0, 1.0),
    "selu": _elu(_SELU_ALPHA, _SELU_SCALE),
    "gelu": Activation(
        lambda z, out: aten.gelu.out(z, out=out),
        lambda grad, z: aten.gelu_backward.grad_input(grad, z, grad_input=grad),
        saves_input=True,
    ),
    "silu": Activation(
        lambda z, out: aten.silu.out(z, out=out),
        lambda grad, z: aten.silu_backward.grad_input(grad, z, grad_input=grad),
        saves_input=True,
    ),
}
