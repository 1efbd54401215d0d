"""K nearest neighbours: their votes.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnexp.baselines.base import Settings, smoothed
from nnexp.baselines.neighbors import MEMORY_BYTES, check_k, nearest
from nnexp.baselines.selection import Choice, Data, Rows
from nnexp.errors import ConfigError, did_you_mean
from nnexp.metrics import ACCURACY
from nnexp.scoring_rules import Scores, scores

WEIGHTS = ("uniform", "distance")


@dataclass(frozen=True, eq=False)
class Votes:
    """What the neighbours say about the rows of one split."""

    shares: Tensor
    """Of the votes [Q, C], float32."""
    probabilities: Tensor
    """The same, smoothed."""
    predictions: Tensor
    """Classes with the most votes [Q], int64; the lowest among equals."""
    acc: float
    """The share of right predictions; NaN where there are no rows."""

    def scores(self, y: Tensor) -> Scores:
        """Of right classes [Q], at least one."""
        return replace(scores(self.probabilities, y), acc=self.acc)

    def compared(self, y: Tensor, by: Data | None = None) -> Scores:
        """The same of votes as they are, which settings are compared by, with the primary metric
        that ``by`` says."""
        found = scores(self.shares, y) if by is None else by.scores(self.shares, y)
        return replace(found, acc=self.acc)


def check_ks(ks: Sequence[int], num_train: int) -> list[int]:
    """The distinct ``ks`` in ascending order.

    Raises ``ConfigError`` if there are none, and if one is not in 1 to ``num_train``.
    """
    distinct = sorted(set(ks))
    if not distinct:
        raise ConfigError("k: at least one number of neighbours is needed")
    for k in distinct:
        check_k(k, num_train)
    return distinct


@dataclass(frozen=True, eq=False)
class KNN:
    """Votes of the nearest training rows, with scikit-learn's rules; probabilities are smoothed.

    ``weights`` are "uniform", one vote for each neighbour, or "distance", 1 / distance; there,
    neighbours at distance 0 vote alone.
    """

    train: Rows
    num_classes: int
    metric: str = "euclidean"
    memory_bytes: int = MEMORY_BYTES
    by: Data | None = None
    """Says the primary metric; None: accuracy."""

    def choose(self, val: Rows, settings: Sequence[Settings], choice: Choice[Votes | None]) -> None:
        """Offer settings of ``k`` and ``weights``, scored on ``val``, with their votes.

        Looks for neighbours once, for the largest k. Raises ``ConfigError`` as :func:`check_ks`,
        and for unknown weights.
        """
        ks = check_ks([one["k"] for one in settings], len(self.train.x))
        distances, indices = self._nearest(val, ks[-1])
        by_accuracy = self.by is None or self.by.metric in (None, ACCURACY)
        for weights in dict.fromkeys(one["weights"] for one in settings):
            own = {one["k"]: one for one in settings if one["weights"] == weights}
            for k, sums in self._votes(distances, indices, sorted(own), weights):
                acc = _share_right(sums.argmax(1), val.y)
                # Most are less accurate, and need no loss.
                if by_accuracy and choice.val is not None and (acc, 0.0) < choice.val.rank:
                    choice.offer(own[k], Scores(acc, math.inf, math.inf, {}), None)
                else:
                    votes = self._count(sums, val.y, k)
                    choice.offer(own[k], votes.compared(val.y, self.by), votes)

    def predict(self, rows: Rows, k: int, weights: str = "uniform") -> Votes:
        """The votes of the ``k`` nearest training rows."""
        distances, indices = self._nearest(rows, k)
        ((_, sums),) = self._votes(distances, indices, [k], weights)
        return self._count(sums, rows.y, k)

    def _nearest(self, rows: Rows, k: int) -> tuple[Tensor, Tensor]:
        return nearest(self.train.x, rows.x, k, metric=self.metric, memory_bytes=self.memory_bytes)

    def _votes(
        self, distances: Tensor, indices: Tensor, ks: Sequence[int], weights: str
    ) -> Iterator[tuple[int, Tensor]]:
        """The sums of weights [Q, C] for each of the ascending ``ks``, in one tensor that grows.

        They are added up in the order of the neighbours, which on CUDA takes a step for each.
        """
        classes, each = self.train.y[indices], weights_of(distances, weights)
        sums, counted = distances.new_zeros(len(distances), self.num_classes), 0
        for k in ks:
            for start in range(counted, k, 1 if sums.is_cuda else k):
                some = slice(start, start + 1 if sums.is_cuda else k)
                sums.scatter_add_(1, classes[:, some], each[:, some])
            counted = k
            yield k, sums

    def _count(self, sums: Tensor, classes: Tensor, k: int) -> Votes:
        """Predictions go by the votes as they are; for probabilities, weights sum to ``k``."""
        predictions = sums.argmax(1)  # of classes with as many votes the first
        shares = sums / sums.sum(1, keepdim=True)
        return Votes(
            shares.float(),
            smoothed(shares, k).float(),
            predictions,
            _share_right(predictions, classes),
        )


def weights_of(distances: Tensor, weights: str) -> Tensor:
    """The weight of each neighbour, from ascending ``distances`` [Q, k]."""
    if weights not in WEIGHTS:
        hint = did_you_mean(weights, WEIGHTS)
        raise ConfigError(f"weights={weights}{hint}: use one of {', '.join(WEIGHTS)}")
    if weights == "uniform":
        return torch.ones_like(distances)
    zero = distances == 0
    return torch.where(zero[:, :1], zero.to(distances.dtype), 1 / distances)


def _share_right(predictions: Tensor, classes: Tensor) -> float:
    """NaN where there are no rows."""
    return int((predictions == classes).sum()) / len(classes) if len(classes) else math.nan
