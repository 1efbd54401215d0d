"""nnexp: neural network experiments composed by Hydra, trained by PyTorch, compared with KNN."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnexp.api.classifier import Classifier
    from nnexp.api.regressor import Regressor
    from nnexp.api.reports import Report
    from nnexp.api.run_object import History, Run
    from nnexp.api.running import run
    from nnexp.api.sweep_object import Sweep, load
    from nnexp.api.sweeping import sweep
    from nnexp.baselines.base import Baseline, baseline
    from nnexp.config.dataset_schema import UserDataset as Dataset
    from nnexp.config.dataset_schema import dataset
    from nnexp.config.fields import field, tuned
    from nnexp.errors import ConfigError, DataError, NnexpError
    from nnexp.metrics import metric
    from nnexp.models.activations import activation
    from nnexp.models.base import model
    from nnexp.models.losses import Loss, loss
    from nnexp.optim.base import Optimizer, optimizer
    from nnexp.optim.schedules import Scheduler, scheduler
    from nnexp.scalers import scaler

__version__ = "0.1.0"

__all__ = [
    "Baseline",
    "Classifier",
    "ConfigError",
    "DataError",
    "Dataset",
    "History",
    "Loss",
    "NnexpError",
    "Optimizer",
    "Regressor",
    "Report",
    "Run",
    "Scheduler",
    "Sweep",
    "activation",
    "baseline",
    "dataset",
    "field",
    "load",
    "loss",
    "metric",
    "model",
    "optimizer",
    "run",
    "scaler",
    "scheduler",
    "sweep",
    "tuned",
]

# Where a public name is defined; imported when it is first used, for torch takes its time.
_PLACES = {
    "Baseline": "nnexp.baselines.base",
    "Dataset": "nnexp.config.dataset_schema:UserDataset",
    "Loss": "nnexp.models.losses",
    "Optimizer": "nnexp.optim.base",
    "Scheduler": "nnexp.optim.schedules",
    "activation": "nnexp.models.activations",
    "baseline": "nnexp.baselines.base",
    "dataset": "nnexp.config.dataset_schema",
    "field": "nnexp.config.fields",
    "loss": "nnexp.models.losses",
    "metric": "nnexp.metrics",
    "model": "nnexp.models.base",
    "optimizer": "nnexp.optim.base",
    "scaler": "nnexp.scalers",
    "scheduler": "nnexp.optim.schedules",
    "tuned": "nnexp.config.fields",
    "Classifier": "nnexp.api.classifier",
    "ConfigError": "nnexp.errors",
    "DataError": "nnexp.errors",
    "History": "nnexp.api.run_object",
    "NnexpError": "nnexp.errors",
    "Regressor": "nnexp.api.regressor",
    "Report": "nnexp.api.reports",
    "Run": "nnexp.api.run_object",
    "Sweep": "nnexp.api.sweep_object",
    "load": "nnexp.api.sweep_object",
    "run": "nnexp.api.running",
    "sweep": "nnexp.api.sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), own_name or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
