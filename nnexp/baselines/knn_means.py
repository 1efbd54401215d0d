"""K nearest neighbours of a regression: the means of their targets.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.baselines.base import Settings
from nnexp.baselines.knn_votes import check_ks, weights_of
from nnexp.baselines.neighbors import MEMORY_BYTES, nearest
from nnexp.baselines.selection import Choice, Data, Rows
from nnexp.scoring_rules import ErrorScores


@dataclass(frozen=True, eq=False)
class Means:
    """What the neighbours say about the rows of one split."""

    predictions: Tensor
    """[Q] float64, in the unit of the target."""
    told: ErrorScores | None
    """Against the right values; None where there are no rows."""

    @property
    def probabilities(self) -> Tensor:
        """What metrics are computed from."""
        return self.predictions

    def scores(self, y: Tensor) -> ErrorScores:
        """As ``Votes.scores``; the right values are those that it was made with."""
        assert self.told is not None
        return self.told


@dataclass(frozen=True, eq=False)
class KNNMean:
    """Means over the nearest training rows, with scikit-learn's rules.

    ``weights`` are "uniform" or "distance", 1 / distance; there, neighbours at distance 0 count
    alone.
    """

    train: Rows
    data: Data
    metric: str = "euclidean"
    memory_bytes: int = MEMORY_BYTES

    def choose(self, val: Rows, settings: Sequence[Settings], choice: Choice[Means | None]) -> None:
        """Offer settings of ``k`` and ``weights``, scored on ``val``. Raises as ``KNN.choose``."""
        ks = check_ks([one["k"] for one in settings], len(self.train.x))
        distances, indices = self._nearest(val, ks[-1])
        for weights in dict.fromkeys(one["weights"] for one in settings):
            own = {one["k"]: one for one in settings if one["weights"] == weights}
            for k, means in self._means(distances, indices, sorted(own), weights):
                told = self._told(means, val.y)
                assert told.told is not None
                choice.offer(own[k], told.told, told)

    def predict(self, rows: Rows, k: int, weights: str = "uniform") -> Means:
        """The means of the ``k`` nearest training rows."""
        distances, indices = self._nearest(rows, k)
        ((_, means),) = self._means(distances, indices, [k], weights)
        return self._told(means, rows.y)

    def _nearest(self, rows: Rows, k: int) -> tuple[Tensor, Tensor]:
        return nearest(self.train.x, rows.x, k, metric=self.metric, memory_bytes=self.memory_bytes)

    def _means(
        self, distances: Tensor, indices: Tensor, ks: Sequence[int], weights: str
    ) -> Iterator[tuple[int, Tensor]]:
        """Of the targets of the neighbours [Q], standardised, for each of the ascending ``ks``."""
        # On the CPU: sums of neighbours in their order are not reproducible on CUDA.
        each = weights_of(distances, weights).double().cpu()
        values = (self.train.y[indices].cpu() * each).cumsum(1)
        totals = each.cumsum(1)
        for k in ks:
            yield k, values[:, k - 1] / totals[:, k - 1]

    def _told(self, means: Tensor, right: Tensor) -> Means:
        assert self.data.target is not None
        found = means.cpu().numpy()
        told = self.data.error_scores(found, right.cpu().numpy()) if len(found) else None
        return Means(torch.from_numpy(self.data.target.restored(found)), told)
