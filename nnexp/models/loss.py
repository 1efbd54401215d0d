"""Softmax cross-entropy: its value and its gradient, row by row.

Axes: R runs, M rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [R, M] in nats and whether the likeliest class is right, of logits [R, M, C].

    The first of equally likely classes counts as the answer. ``labels`` is [R, M].
    """
    logp = torch.log_softmax(logits, 2)
    losses = logp.gather(2, labels.unsqueeze(2)).squeeze(2).neg_()
    return losses, logits.argmax(2) == labels


class TrainingLoss:
    """Cross-entropy with label smoothing (Szegedy et al. 2016), mean over the rows of a batch.

    The target of a row is (1 - smoothing) on its class plus smoothing / C on every class, as
    ``torch.nn.functional.cross_entropy``. ``smoothing`` is [R].
    """

    def __init__(self, smoothing: Tensor) -> None:
        self._smooth = bool((smoothing > 0).any())
        self._on_class = (smoothing - 1).view(-1, 1, 1)  # minus the weight on the row's class
        self._on_all = smoothing.view(-1, 1, 1)
        self._unsmoothed = (smoothing == 0).view(-1, 1)

    def __call__(self, logits: Tensor, labels: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of the mean loss of the first ``rows`` rows, [R, M, C], zero beyond them;
        the losses [R, rows]; whether the likeliest class is right [R, rows].

        ``logits`` [R, M, C] is float32 and not changed; ``labels`` [R, M, 1] is int64.
        """
        logp = torch.log_softmax(logits, 2)
        nll = logp.gather(2, labels)[:, :rows, 0]
        grad = logp.exp()
        if self._smooth:
            # Without smoothing a class of probability 0 costs nothing, and 0 times -inf is not 0.
            mean = logp[:, :rows].mean(2).masked_fill_(self._unsmoothed, 0.0)
            losses = self._on_class[:, 0] * nll - self._on_all[:, 0] * mean
            grad.sub_(self._on_all / logits.shape[2])
            grad.scatter_add_(2, labels, self._on_class.expand_as(labels))
        else:
            losses = nll.neg()
            grad.scatter_add_(2, labels, self._on_class.expand_as(labels))
        grad.mul_(1 / rows)
        if rows < grad.shape[1]:
            grad[:, rows:] = 0
        return grad, losses, logits.argmax(2)[:, :rows] == labels[:, :rows, 0]
