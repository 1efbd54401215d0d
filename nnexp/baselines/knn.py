"""K nearest neighbours: votes, the choice of k on the validation rows, and the result.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.baselines.neighbors import MEMORY_BYTES, check_k, nearest
from nnexp.errors import ConfigError, did_you_mean

WEIGHTS = ("uniform", "distance")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one split: features ``x`` [N, D] float32 and classes ``y`` [N] int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Votes:
    """What the neighbours say about the rows of one split."""

    probabilities: Tensor
    """Shares of the votes [Q, C], float32."""
    predictions: Tensor
    """Classes with the most votes [Q], int64; the lowest among equals."""
    acc: float
    """The share of right predictions; NaN where there are no rows."""


def check_ks(ks: Sequence[int], num_train: int, num_val: int) -> list[int]:
    """The distinct ``ks`` in ascending order.

    Raises ``ConfigError`` if there are none, if one is not in 1 to ``num_train``, and if there are
    several but no validation rows to choose by.
    """
    distinct = sorted(set(ks))
    if not distinct:
        raise ConfigError("k: at least one number of neighbours is needed")
    for k in distinct:
        check_k(k, num_train)
    if len(distinct) > 1 and num_val == 0:
        raise ConfigError(
            f"k={list(ks)}: give a single k, there are no validation rows to choose by"
        )
    return distinct


@dataclass(frozen=True, eq=False)
class KNN:
    """Votes of the nearest training rows, with scikit-learn's rules.

    ``weights`` is "uniform", one vote for each neighbour, or "distance", 1 / distance; there,
    neighbours at distance 0 vote alone.
    """

    train: Rows
    num_classes: int
    metric: str = "euclidean"
    weights: str = "uniform"
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        """Raises ``ConfigError`` for unknown ``weights``."""
        if self.weights not in WEIGHTS:
            hint = did_you_mean(self.weights, WEIGHTS)
            raise ConfigError(f"weights={self.weights}{hint}: use one of {', '.join(WEIGHTS)}")

    def choose_k(self, val: Rows, ks: Sequence[int]) -> tuple[int, dict[int, float], Votes]:
        """The smallest of the ``ks`` with the best accuracy on ``val``, each one's accuracy, votes.

        Looks for neighbours once, for the largest k. Raises ``ConfigError`` as :func:`check_ks`.
        """
        ks = check_ks(ks, len(self.train.x), len(val.x))
        votes_by_k = self._votes(val, ks)
        chosen, best = next(votes_by_k)
        acc_by_k = {chosen: best.acc}
        for k, votes in votes_by_k:
            acc_by_k[k] = votes.acc
            if votes.acc > best.acc:
                chosen, best = k, votes
        return chosen, acc_by_k, best

    def predict(self, rows: Rows, k: int) -> Votes:
        """The votes of the ``k`` nearest training rows."""
        ((_, votes),) = self._votes(rows, [k])
        return votes

    def _votes(self, rows: Rows, ks: Sequence[int]) -> Iterator[tuple[int, Votes]]:
        """Votes for each of the ascending ``ks``, from one search."""
        distances, indices = nearest(
            self.train.x, rows.x, ks[-1], metric=self.metric, memory_bytes=self.memory_bytes
        )
        classes, weights = self.train.y[indices], self._weights(distances)
        sums = distances.new_zeros(len(rows.x), self.num_classes)
        for rank in range(ks[-1]):
            sums.scatter_add_(1, classes[:, rank, None], weights[:, rank, None])
            if rank + 1 in ks:
                yield rank + 1, self._count(sums, rows.y)

    def _weights(self, distances: Tensor) -> Tensor:
        """The weight of each neighbour's vote, from ascending ``distances`` [Q, k]."""
        if self.weights == "uniform":
            return torch.ones_like(distances)
        zero = distances == 0
        return torch.where(zero[:, :1], zero.to(distances.dtype), 1 / distances)

    def _count(self, sums: Tensor, classes: Tensor) -> Votes:
        predictions = sums.argmax(1)
        probabilities = (sums / sums.sum(1, keepdim=True)).float()
        right = int((predictions == classes).sum())
        return Votes(probabilities, predictions, right / len(classes) if len(classes) else math.nan)
