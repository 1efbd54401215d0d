"""The mean of the target, whatever the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnexp.baselines.base import Baseline, baseline
from nnexp.tasks import REGRESSION


@baseline("constant", label="mean of the target", tasks=(REGRESSION,))
@dataclass
class ConstantConfig(Baseline):
    """The mean of the target over the training rows, which has the least squared error of all
    constants."""

    def regressor(self, seed: int, **settings: Any) -> Any:
        """See ``Baseline.regressor``."""
        from sklearn.dummy import DummyRegressor

        return DummyRegressor(strategy="mean")
