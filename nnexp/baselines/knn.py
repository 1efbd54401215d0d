"""K nearest neighbours: what is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import Baseline, baseline
from nnexp.config.fields import ranged, tuned

if TYPE_CHECKING:
    from nnexp.baselines.selection import Data, Found


@baseline("knn", label="KNN")
@dataclass
class KNNConfig(Baseline):
    """K nearest neighbours, exact."""

    k: Any = tuned([1, 3, 5, 7, 9, 11, 15, 21], int, ge=1)
    metric: Any = tuned(["euclidean"], options=("euclidean", "manhattan", "cosine"))
    weights: Any = tuned(["uniform"], options=("uniform", "distance"))  # of a neighbour's vote
    memory_mb: int = ranged(512, ge=1)  # bound on the distances held at once, MiB

    def find(self, data: Data, name: str) -> Found:
        """See ``Baseline.find``."""
        from nnexp.baselines.knn_votes import tuned_knn

        return tuned_knn(self, data)
