"""Activations with their derivatives, elementwise on tensors of any shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.errors import ConfigError
from nnexp.lazy import torch
from nnexp.registry import components, register

if TYPE_CHECKING:
    from torch import Tensor, nn

Function = Callable[["Tensor"], "Tensor"]

_LEAKY_SLOPE = 0.01  # torch.nn.LeakyReLU
_SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, as torch.nn.SELU
_SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class Activation:
    """One activation function.

    ``forward(z, out)`` writes to ``out``; ``backward(grad, saved)`` turns the gradient of the
    output into that of ``z`` in place. ``saved`` is the output where the derivative can be had from
    it: then forward may run in place, ``out`` being ``z``. Else it is ``z``.
    """

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor], object]
    module: Callable[[], nn.Module]  # the same as a layer, for exports
    saves_input: bool = False  # the derivative is read from ``z``
    gain: str = "relu"  # whose gain of torch.nn.init.calculate_gain init=kaiming uses
    origin: Any = None  # what it was made from


ACTIVATIONS = components("activation")


def activation(
    name: str, *, derivative: Function | None = None, gain: str = "relu"
) -> Callable[[Function], Function]:
    """Register a function as ``model.activation=<name>``.

    The function takes a tensor of any shape and returns one of the same shape, elementwise.

    Args:
        derivative: of the function, from its input; autograd finds it where none is given.
        gain: the activation of ``torch.nn.init.calculate_gain`` whose gain ``init=kaiming`` uses.

    Raises:
        ConfigError: the name is taken.
    """

    def decorate(function: Function) -> Function:
        register("activation", name, _of_function(name, function, derivative, gain))
        return function

    return decorate


def _of_function(
    name: str, function: Function, derivative: Function | None, gain: str
) -> Activation:
    def forward(z: Tensor, out: Tensor) -> object:
        y = function(z)
        if not isinstance(y, torch.Tensor) or y.shape != z.shape:
            found = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
            raise ConfigError(
                f"model.activation={name}: must return a tensor of its input's shape "
                f"{tuple(z.shape)}, not {found}"
            )
        return out.copy_(y)

    def backward(grad: Tensor, z: Tensor) -> object:
        if derivative is not None:
            return grad.mul_(derivative(z))
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(function(z), z, grad)
        return grad.copy_(slope)

    def module() -> nn.Module:
        from nnexp.models.module import FunctionLayer

        return FunctionLayer(function)

    return Activation(forward, backward, module, saves_input=True, gain=gain, origin=function)


# ── those that come with nnexp ────────────────────────────────────────────────────────────────────


def _register(
    name: str,
    forward: Callable[[Tensor, Tensor], object],
    backward: Callable[[Tensor, Tensor], object],
    module: Callable[[], nn.Module],
    *,
    saves_input: bool = False,
    gain: str = "relu",
) -> None:
    made = Activation(forward, backward, module, saves_input, gain, origin=_register)
    register("activation", name, made)


def _step(z: Tensor, out: Tensor) -> object:
    return torch.gt(z, 0, out=out)


def _step_backward(grad: Tensor, z: Tensor) -> object:
    # Straight through where |z| < 1, zero elsewhere: Bengio, Leonard and Courville 2013, with
    # the saturation of Hubara et al. 2016 (BinaryNet, equation 4).
    return torch.ops.aten.hardtanh_backward.grad_input(grad, z, -1.0, 1.0, grad_input=grad)


def _step_module() -> nn.Module:
    from nnexp.models.module import Step

    return Step()


def _register_elu(name: str, alpha: float, scale: float, module: str, gain: str) -> None:
    def forward(z: Tensor, out: Tensor) -> object:
        return torch.ops.aten.elu.out(z, alpha, scale, 1.0, out=out)

    def backward(grad: Tensor, h: Tensor) -> object:
        return torch.ops.aten.elu_backward.grad_input(
            grad, alpha, scale, 1.0, True, h, grad_input=grad
        )

    _register(name, forward, backward, lambda: getattr(torch.nn, module)(), gain=gain)


# The gain of each is its own in torch where torch knows one. The others pass about half of their
# input, as relu does; a step's straight-through gradient is that of a clipped identity.
_register("step", _step, _step_backward, _step_module, saves_input=True, gain="linear")
_register(
    "sigmoid",
    lambda z, out: torch.sigmoid(z, out=out),
    lambda grad, h: torch.ops.aten.sigmoid_backward.grad_input(grad, h, grad_input=grad),
    lambda: torch.nn.Sigmoid(),
    gain="sigmoid",
)
_register(
    "tanh",
    lambda z, out: torch.tanh(z, out=out),
    lambda grad, h: torch.ops.aten.tanh_backward.grad_input(grad, h, grad_input=grad),
    lambda: torch.nn.Tanh(),
    gain="tanh",
)
_register(
    "relu",
    lambda z, out: torch.clamp_min(z, 0, out=out),
    lambda grad, h: torch.ops.aten.threshold_backward.grad_input(grad, h, 0, grad_input=grad),
    lambda: torch.nn.ReLU(),
)
_register(
    "leaky_relu",
    lambda z, out: torch.ops.aten.leaky_relu.out(z, _LEAKY_SLOPE, out=out),
    lambda grad, h: torch.ops.aten.leaky_relu_backward.grad_input(
        grad, h, _LEAKY_SLOPE, True, grad_input=grad
    ),
    lambda: torch.nn.LeakyReLU(),
    gain="leaky_relu",
)
_register_elu("elu", 1.0, 1.0, "ELU", "relu")
_register_elu("selu", _SELU_ALPHA, _SELU_SCALE, "SELU", "selu")
_register(
    "gelu",
    lambda z, out: torch.ops.aten.gelu.out(z, out=out),
    lambda grad, z: torch.ops.aten.gelu_backward.grad_input(grad, z, grad_input=grad),
    lambda: torch.nn.GELU(),
    saves_input=True,
)
_register(
    "silu",
    lambda z, out: torch.ops.aten.silu.out(z, out=out),
    lambda grad, z: torch.ops.aten.silu_backward.grad_input(grad, z, grad_input=grad),
    lambda: torch.nn.SiLU(),
    saves_input=True,
)
