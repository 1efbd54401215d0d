"""Softmax cross-entropy: its value and its gradient, row by row.

On CUDA ``nnexp.kernels.cross_entropy`` computes the same in one kernel: a change concerns both.

Axes: R runs, M rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnexp.kernels import available


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [R, M] in nats and whether the likeliest class is right, of logits [R, C, M].

    The first of equally likely classes counts as the answer. ``labels`` is [R, M].
    """
    logp = torch.log_softmax(logits, 1)
    losses = logp.gather(1, labels.unsqueeze(1)).squeeze(1).neg_()
    return losses, likeliest(logits) == labels


def likeliest(logits: Tensor) -> Tensor:
    """The first of the likeliest classes [R, M] of logits [R, C, M]."""
    return logits.max(1).indices  # the same as argmax, which is 8 times as slow along this axis


class TrainingLoss:
    """Cross-entropy with label smoothing (Szegedy et al. 2016), mean over the rows of a batch.

    The target of a row is (1 - smoothing) on its class plus smoothing / C on every class, as
    ``torch.nn.functional.cross_entropy``. ``smoothing`` is [R].

    On CUDA a kernel does all at once, where there is one.
    """

    def __init__(self, smoothing: Tensor) -> None:
        self._smooth = bool((smoothing > 0).any())
        self._on_class = (smoothing - 1).view(-1, 1, 1)  # minus the weight on the row's class
        self._on_all = smoothing.view(-1, 1, 1)
        self._unsmoothed = (smoothing == 0).view(-1, 1)
        self._smoothing = smoothing if self._smooth else None
        self._kernel = None
        if available(smoothing.device):
            from nnexp.kernels.cross_entropy import softmax_cross_entropy  # imports triton

            self._kernel = softmax_cross_entropy

    def __call__(self, logits: Tensor, labels: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of the first ``rows`` rows, [R, C, M], zero beyond them;
        the losses [R, rows]; whether the likeliest class is right [R, rows].

        ``logits`` [R, C, M] is float32 and not changed; ``labels`` [R, 1, M] is int64.
        """
        if self._kernel is not None:
            return self._kernel(logits, labels, self._smoothing, rows)
        logp = torch.log_softmax(logits, 1)
        likelihood = logp.gather(1, labels)[:, 0]
        correct = _right(logits, logp, likelihood, labels[:, 0])[:, :rows]
        grad = logp.exp()
        if self._smooth:
            # Without smoothing a class of probability 0 costs nothing, and 0 times -inf is not 0.
            mean = logp[:, :, :rows].mean(1).masked_fill_(self._unsmoothed, 0.0)
            losses = self._on_class[:, 0] * likelihood[:, :rows] - self._on_all[:, 0] * mean
            grad.sub_(self._on_all / logits.shape[1])
        else:
            losses = likelihood[:, :rows].neg()
        grad.scatter_add_(1, labels, self._on_class.expand_as(labels))
        grad.mul_(1 / rows)
        if rows < grad.shape[2]:
            grad[:, :, rows:].zero_()
        return grad, losses, correct


def _right(logits: Tensor, logp: Tensor, likelihood: Tensor, labels: Tensor) -> Tensor:
    """Whether the likeliest class is right, [R, M]; ``likelihood`` [R, M] is that of the labels.

    Where no two classes are equally likely at the top, as nearly always, comparing values does;
    finding their places takes four times as long on the CPU.
    """
    if not logits.is_cuda:  # where asking for a value would wait for the device
        top = logp.amax(1, keepdim=True)
        if (torch.eq(logp, top, out=torch.empty_like(logp)).sum(1) == 1).all():
            return likelihood == top[:, 0]
    return likeliest(logits) == labels
