"""Softmax cross-entropy: losses, answers and gradient in one kernel.

The same in torch operations is ``nnexp.models.cross_entropy``: a change concerns both.

Axes: R runs, C classes, M rows of the buffers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnexp.kernels import launch

# A program's tile of classes and rows, whose logits lie in its registers. More classes are met in
# turns.
_MOST_CLASSES = 256
_MOST_ROWS = 64
_TILE = 4096


def softmax_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: Tensor | None, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``nnexp.models.cross_entropy.TrainingLoss`` gives.

    Args:
        logits: [R, C, M] float32.
        labels: [R, 1, M] int64, from 0 to C - 1.
        smoothing: [R] float32, or None where no run smooths its labels.
        rows: how many of the M rows count.

    Returns:
        The gradient of the mean loss [R, C, M], zero beyond ``rows``; the losses [R, ``rows``] in
        nats; whether the first of the likeliest classes is right [R, ``rows``]. In a row with NaN,
        whose loss is NaN, that is the first class at NaN or infinity.
    """
    logits, labels = logits.contiguous(), labels.contiguous()
    runs, classes, height = logits.shape
    grad = torch.empty_like(logits)
    losses = logits.new_empty(runs, rows)
    correct = logits.new_empty(runs, rows, dtype=torch.bool)
    class_tile = min(triton.next_power_of_2(classes), _MOST_CLASSES)
    row_tile = min(triton.next_power_of_2(height), _MOST_ROWS, _TILE // class_tile)
    programs = runs * triton.cdiv(height, row_tile)
    tensors = (logits, labels, smoothing, grad, losses, correct)
    launch(
        _cross_entropy, programs, tensors, classes, height, rows, 1 / rows,
        TURNS=triton.cdiv(classes, class_tile), CLASSES=class_tile, ROWS=row_tile,
    )  # fmt: skip
    return grad, losses, correct


@triton.jit
def _load(logits, place, real, there):
    """Minus infinity where there is no class, 0 where there is no row."""
    return tl.where(there, tl.load(logits + place, mask=real, other=-float("inf")), 0.0)


@triton.jit
def _cross_entropy(
    logits, labels, smoothing, grad, losses, correct, classes, height, rows, share,
    TURNS: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(height, ROWS)
    run = (tl.program_id(0) // blocks).to(tl.int64)
    row = tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)
    there = (row < height)[None, :]
    counts = row < rows
    # Of the tile's first class, and from there to its other ones.
    begin = run * classes * height + row[None, :]
    tile = tl.arange(0, CLASSES)[:, None]
    infinity = float("inf")

    top = tl.full([ROWS], -infinity, tl.float32)
    answer = tl.zeros([ROWS], tl.int32)
    for turn in range(TURNS):
        kind = turn * CLASSES + tile
        place = begin + kind.to(tl.int64) * height
        logit = _load(logits, place, (kind < classes) & there, there)
        logit = tl.where(logit == logit, logit, infinity)
        best = tl.max(logit, 0)
        first = tl.min(tl.where(logit == best[None, :], kind, classes), 0)
        answer = tl.where(best > top, first, answer)
        top = tl.maximum(top, best)

    total = tl.zeros([ROWS], tl.float32)
    for turn in range(TURNS):
        kind = turn * CLASSES + tile
        place = begin + kind.to(tl.int64) * height
        logit = _load(logits, place, (kind < classes) & there, there)
        total += tl.sum(tl.exp(logit - top[None, :]), 0)
    level = tl.log(total)

    label = tl.load(labels + run * height + row, mask=row < height, other=0)
    even = 0.0 if smoothing is None else tl.load(smoothing + run)
    likelihood = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS], tl.float32)
    for turn in range(TURNS):
        kind = turn * CLASSES + tile
        real = (kind < classes) & there
        place = begin + kind.to(tl.int64) * height
        logp = _load(logits, place, real, there) - top[None, :] - level[None, :]
        slope = tl.exp(logp) - even / classes
        own = kind == label[None, :]
        slope = tl.where(own, slope + (even - 1.0), slope) * share
        tl.store(grad + place, tl.where(counts[None, :], slope, 0.0), mask=real)
        likelihood += tl.sum(tl.where(own, logp, 0.0), 0)
        summed += tl.sum(tl.where(real, logp, 0.0), 0)

    loss = (even - 1.0) * likelihood
    if smoothing is not None:
        # Without smoothing a class of probability 0 costs nothing, and 0 times -inf is not 0.
        loss -= tl.where(even > 0.0, even * (summed / classes), 0.0)
    tl.store(losses + run * rows + row, loss, mask=counts)
    tl.store(correct + run * rows + row, answer == label, mask=counts)
