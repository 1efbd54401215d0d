"""Optimizers, each in one pass over parameters, gradients and state.

The formulas and their order are those of ``nnexp.optim``, where the sources stand.
Square roots and quotients are rounded correctly, products and sums one by one, so these kernels are
as exact as its passes. They differ from those where torch fuses a product and a sum: a step of
ordinary gradients by 1e-6 of the parameters.

Axes: R runs, P numbers a run, S steps of an epoch, h hyperparameters that change from step to step.

What all functions below take:
    params, grads, state buffers: [R, P] float32; the gradients are only read.
    table: [S, h, R, 1] float32; ``index`` [1] int64 says which of the S steps this is.
    decay and other constants of the runs: [R, 1] float32. ``decay`` adds its multiple of the
        parameters to the gradient.
All are contiguous and on one device, else ValueError.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from nnexp.kernels import launch

_BLOCK = 1024  # numbers of a program


def sgd(
    params: Tensor,
    grads: Tensor,
    buffer: Tensor | None,
    table: Tensor,
    index: Tensor,
    decay: Tensor | None,
    momentum: Tensor | None,
    *,
    nesterov: bool,
) -> None:
    """SGD. The table: learning rate and, with a momentum ``buffer``, the new gradient's weight."""
    tensors = (params, grads, buffer, table, index, decay, momentum)
    _update(_sgd, tensors, NESTEROV=nesterov)


def adagrad(
    params: Tensor,
    grads: Tensor,
    total: Tensor,
    table: Tensor,
    index: Tensor,
    decay: Tensor | None,
    eps: Tensor,
) -> None:
    """AdaGrad. The table: learning rate. ``total``: of squared gradients."""
    _update(_adagrad, (params, grads, total, table, index, decay, eps))


def adam(
    params: Tensor,
    grads: Tensor,
    mean: Tensor,
    square: Tensor,
    largest: Tensor | None,
    table: Tensor,
    index: Tensor,
    decay: Tensor | None,
    mean_weight: Tensor,
    square_weight: Tensor,
    *,
    floor: float,
) -> None:
    """Adam; AMSGrad with the ``largest`` square so far; AdamW with a table of three.

    The table: the two numbers that ``BatchedAdam.prepare`` works out and, for AdamW, what the
    parameters are multiplied by first. ``floor`` is added to squared gradients.
    """
    tensors = (
        params, grads, mean, square, largest, table, index, decay, mean_weight, square_weight,
    )  # fmt: skip
    _update(_adam, tensors, floor, HEIGHT=table.shape[1])


def rmsprop(
    params: Tensor,
    grads: Tensor,
    square: Tensor,
    mean: Tensor | None,
    buffer: Tensor | None,
    table: Tensor,
    index: Tensor,
    decay: Tensor | None,
    weight: Tensor,
    momentum: Tensor,
    eps: Tensor,
    *,
    floor: float,
) -> None:
    """RMSprop; centered with a ``mean``. The table: learning rate. ``floor`` as for ``adam``."""
    tensors = (
        params, grads, square, mean, buffer, table, index, decay, weight, momentum, eps,
    )  # fmt: skip
    _update(_rmsprop, tensors, floor)


def _update(kernel: Any, tensors: tuple[Tensor | None, ...], *numbers: float, **flags: int) -> None:
    params = tensors[0]
    assert params is not None
    runs, count = params.shape
    programs = runs * triton.cdiv(count, _BLOCK)
    launch(kernel, programs, tensors, runs, count, *numbers, **flags, BLOCK=_BLOCK)


# ── kernels ───────────────────────────────────────────────────────────────────────────────────


@triton.jit
def _own(count, BLOCK: tl.constexpr):
    """This program's run, its numbers' places in [R, P] buffers, and which of them there are."""
    blocks = tl.cdiv(count, BLOCK)
    run = tl.program_id(0) // blocks
    number = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    return run, run.to(tl.int64) * count + number, number < count


@triton.jit
def _now(table, index, height, runs):
    """Where this step's values of the first run begin in ``table``; ``runs`` apart."""
    return table + tl.load(index) * height * runs


@triton.jit
def _lerp(start, end, weight):
    """From the nearer end, as torch.lerp."""
    step = end - start
    return tl.where(weight < 0.5, start + weight * step, end - step * (1.0 - weight))


@triton.jit
def _sgd(
    parameters, grads, buffer, table, index, decay, momentum, runs, count,
    NESTEROV: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    run, place, real = _own(count, BLOCK)
    param = tl.load(parameters + place, mask=real)
    grad = tl.load(grads + place, mask=real)
    if decay is not None:
        grad = grad + param * tl.load(decay + run)
    if buffer is None:
        rate = tl.load(_now(table, index, 1, runs) + run)
        direction = grad
    else:
        now = _now(table, index, 2, runs) + run
        rate = tl.load(now)
        kept = tl.load(momentum + run)
        velocity = tl.load(buffer + place, mask=real) * kept + grad * tl.load(now + runs)
        tl.store(buffer + place, velocity, mask=real)
        direction = grad + velocity * kept if NESTEROV else velocity
    tl.store(parameters + place, param - direction * rate, mask=real)


@triton.jit
def _adagrad(
    parameters, grads, total, table, index, decay, eps, runs, count, BLOCK: tl.constexpr
):  # fmt: skip
    run, place, real = _own(count, BLOCK)
    param = tl.load(parameters + place, mask=real)
    grad = tl.load(grads + place, mask=real)
    if decay is not None:
        grad = grad + param * tl.load(decay + run)
    squares = tl.load(total + place, mask=real) + grad * grad
    tl.store(total + place, squares, mask=real)
    step = tl.div_rn(grad, tl.sqrt_rn(squares) + tl.load(eps + run))
    rate = tl.load(_now(table, index, 1, runs) + run)
    tl.store(parameters + place, param - step * rate, mask=real)


@triton.jit
def _adam(
    parameters, grads, mean, square, largest, table, index, decay, mean_weight, square_weight,
    runs, count, floor, HEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    run, place, real = _own(count, BLOCK)
    now = _now(table, index, HEIGHT, runs) + run
    param = tl.load(parameters + place, mask=real)
    grad = tl.load(grads + place, mask=real)
    if HEIGHT == 3:
        param = param * tl.load(now + 2 * runs)
    elif decay is not None:
        grad = grad + param * tl.load(decay + run)
    first = _lerp(tl.load(mean + place, mask=real), grad, tl.load(mean_weight + run))
    tl.store(mean + place, first, mask=real)
    second = tl.load(square + place, mask=real)
    second = _lerp(second, floor + grad * grad, tl.load(square_weight + run))
    tl.store(square + place, second, mask=real)
    if largest is not None:
        top = tl.load(largest + place, mask=real)
        second = tl.maximum(top, second, propagate_nan=tl.PropagateNan.ALL)
        tl.store(largest + place, second, mask=real)
    below = tl.load(now + runs) + tl.sqrt_rn(second) * tl.load(now)
    tl.store(parameters + place, param - tl.div_rn(first, below), mask=real)


@triton.jit
def _rmsprop(
    parameters, grads, square, mean, buffer, table, index, decay, weight, momentum, eps,
    runs, count, floor, BLOCK: tl.constexpr,
):  # fmt: skip
    run, place, real = _own(count, BLOCK)
    param = tl.load(parameters + place, mask=real)
    grad = tl.load(grads + place, mask=real)
    if decay is not None:
        grad = grad + param * tl.load(decay + run)
    share = tl.load(weight + run)
    second = _lerp(tl.load(square + place, mask=real), floor + grad * grad, share)
    tl.store(square + place, second, mask=real)
    if mean is not None:
        first = _lerp(tl.load(mean + place, mask=real), grad, share)
        tl.store(mean + place, first, mask=real)
        second = second - first * first
    step = tl.div_rn(grad, tl.sqrt_rn(second) + tl.load(eps + run))
    if buffer is not None:
        step = tl.load(buffer + place, mask=real) * tl.load(momentum + run) + step
        tl.store(buffer + place, step, mask=real)
    rate = tl.load(_now(table, index, 1, runs) + run)
    tl.store(parameters + place, param - step * rate, mask=real)
