"""K nearest neighbours: votes, and the choice of settings on the validation rows.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnexp.baselines.base import smoothed
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.neighbors import MEMORY_BYTES, check_k, nearest
from nnexp.baselines.selection import Choice, Data, Found, Rows, compact
from nnexp.device import threads
from nnexp.environment import available_cores
from nnexp.errors import ConfigError, did_you_mean
from nnexp.scoring_rules import Scores, scores

log = logging.getLogger(__name__)

WEIGHTS = ("uniform", "distance")

_PRODUCTS_FOR_THREADS = 1e9  # the neighbours are the same with any number of threads


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

    def compared(self, y: Tensor) -> Scores:
        """The same of votes as they are, which settings are compared by."""
        return replace(scores(self.shares, y), acc=self.acc)


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

    def choose(
        self, val: Rows, ks: Sequence[int], weights: Sequence[str], choice: Choice[Votes]
    ) -> None:
        """Offer each of the ``ks`` with each of the ``weights``, scored on ``val``, with its
        votes.

        Looks for neighbours once, for the largest k. Raises ``ConfigError`` as :func:`check_ks`.
        """
        ks = check_ks(ks, len(self.train.x))
        distances, indices = self._nearest(val, ks[-1])
        for own in weights:
            model = replace(self, weights=own)
            for k, votes in model._votes(distances, indices, val.y, ks):
                settings = {"k": k, "metric": self.metric, "weights": own}
                choice.offer(settings, votes.compared(val.y), votes)

    def predict(self, rows: Rows, k: int) -> Votes:
        """The votes of the ``k`` nearest training rows."""
        distances, indices = self._nearest(rows, k)
        ((_, votes),) = self._votes(distances, indices, rows.y, [k])
        return votes

    def _nearest(self, rows: Rows, k: int) -> tuple[Tensor, Tensor]:
        return nearest(self.train.x, rows.x, k, metric=self.metric, memory_bytes=self.memory_bytes)

    def _votes(
        self, distances: Tensor, indices: Tensor, y: Tensor, ks: Sequence[int]
    ) -> Iterator[tuple[int, Votes]]:
        """Votes for each of the ascending ``ks``, from one search; y [Q] are the right classes."""
        classes, weights = self.train.y[indices], self._weights(distances)
        sums = distances.new_zeros(len(y), self.num_classes)
        for rank in range(ks[-1]):
            sums.scatter_add_(1, classes[:, rank, None], weights[:, rank, None])
            if rank + 1 in ks:
                yield rank + 1, self._count(sums, y, rank + 1)

    def _weights(self, distances: Tensor) -> Tensor:
        """The weight of each neighbour's vote, from ascending ``distances`` [Q, k]."""
        if self.weights == "uniform":
            return torch.ones_like(distances)
        zero = distances == 0
        return torch.where(zero[:, :1], zero.to(distances.dtype), 1 / distances)

    def _count(self, sums: Tensor, classes: Tensor, k: int) -> Votes:
        """Predictions go by the votes as they are; for probabilities, weights sum to ``k``."""
        predictions = sums.argmax(1)  # of classes with as many votes the first
        shares = sums / sums.sum(1, keepdim=True)
        right = int((predictions == classes).sum())
        return Votes(
            shares.float(),
            smoothed(shares, k).float(),
            predictions,
            right / len(classes) if len(classes) else math.nan,
        )


def tuned_knn(config: KNNConfig, data: Data) -> Found:
    """Choose k, metric and weights by the validation rows, then read the test rows."""
    train, val = data.split("train"), data.split("val")
    ks = _usable(config, len(train.x))
    choice: Choice[Votes] = Choice()

    def model(metric: str, weights: str) -> KNN:
        return KNN(train, data.num_classes, metric, weights, config.memory_mb * 2**20)

    if len(val.y):
        with _threads(train, val):
            for metric in config.metric:
                model(metric, WEIGHTS[0]).choose(val, ks, config.weights, choice)
    else:
        (k,), (own_metric,), (own_weights,) = ks, config.metric, config.weights
        choice.take({"k": k, "metric": own_metric, "weights": own_weights})
    chosen = choice.settings

    test = data.split("test")  # all choices have been made
    began = time.perf_counter()
    with _threads(train, test):
        votes = model(chosen["metric"], chosen["weights"]).predict(test, chosen["k"])
    predictions = compact(votes.predictions, data.num_classes)
    predict_seconds = time.perf_counter() - began
    tested = votes.scores(test.y)
    return Found(
        chosen,
        choice.tried,
        None if choice.kept is None else choice.kept.scores(val.y),
        tested,
        predictions,
        len(train.x),
        predict_seconds,
        probabilities=({"val": choice.kept.probabilities} if choice.kept is not None else {})
        | {"test": votes.probabilities},
    )


def _threads(train: Rows, queries: Rows) -> AbstractContextManager[None]:
    """One thread for small work, where several wait for each other more than they help."""
    products = len(train.x) * queries.x.numel()
    return threads(1 if products < _PRODUCTS_FOR_THREADS else available_cores())


def _usable(config: KNNConfig, num_train: int) -> list[int]:
    """The candidates that there are enough training rows for; the others are told.

    A learning curve goes down to fewer rows than the usual candidates.
    """
    usable = [k for k in config.k if k <= num_train]
    if len(usable) < len(config.k):
        left_out = ", ".join(str(k) for k in config.k if k > num_train)
        log.info("KNN skips k=%s: there are %d training samples", left_out, num_train)
    return usable
