"""K nearest neighbours: what is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.baselines.base import Baseline, baseline
from nnexp.config.fields import Problems, ranged, tuned
from nnexp.errors import did_you_mean
from nnexp.scalers import SCALERS
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    from nnexp.baselines.selection import Data, Found

_METRICS = ("euclidean", "manhattan", "minkowski_1.5", "cosine")
AS_THE_DATASET = "dataset"
"""The scaler that leaves the features as the networks see them."""


@baseline("knn", label="KNN", tasks=(CLASSIFICATION, REGRESSION))
@dataclass
class KNNConfig(Baseline):
    """K nearest neighbours, exact: their votes, or of a regression the mean of their targets."""

    k: Any = tuned([1, 3, 5, 7, 9, 11, 15, 21], int, ge=1)
    metric: Any = tuned(["euclidean"], options=_METRICS)  # the first is tried whatever it costs
    weights: Any = tuned(["uniform"], options=("uniform", "distance"))  # of a neighbour's vote
    memory_mb: int = ranged(512, ge=1)  # bound on the distances held at once, MiB
    scaler: Any = tuned([AS_THE_DATASET])  # dataset: as its features are; none: undoes its scaling
    tune_rows: int | None = ranged(4_000, ge=1)  # compares scalers and metrics on so many rows
    max_cells: int | None = ranged(6_000_000_000, ge=1)
    """Queries x training rows x features of a metric that is no matrix product; of more it is left
    out."""

    def check_rules(self) -> Problems:
        """Scalers of other packages are welcome."""
        for name in self.scaler:
            if name not in (known := (AS_THE_DATASET, *SCALERS)):
                hint = did_you_mean(str(name), known)
                yield "scaler", f"must be one of {', '.join(known)}{hint}"

    def find(self, data: Data, name: str) -> Found:
        """See ``Baseline.find``."""
        from nnexp.baselines.knn_tuning import tuned_knn

        return tuned_knn(self, data)
