"""Ridge regression: least squares with an L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnexp.baselines.base import FittedConfig, baseline
from nnexp.config.fields import tuned
from nnexp.tasks import REGRESSION


@baseline("ridge", label="ridge regression", tasks=(REGRESSION,))
@dataclass
class RidgeConfig(FittedConfig):
    """sklearn.linear_model.Ridge, in float64."""

    alpha: Any = tuned([1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0], float, gt=0)  # the penalty

    def regressor(self, seed: int, **settings: Any) -> Any:
        """See ``Baseline.regressor``."""
        from sklearn.linear_model import Ridge

        return Ridge(alpha=settings["alpha"])
