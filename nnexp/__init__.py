"""nnexp: neural network experiments composed by Hydra, trained by PyTorch, compared with KNN."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnexp.api.classifier import Classifier
    from nnexp.api.history import History
    from nnexp.api.loading import load
    from nnexp.api.reports import Report
    from nnexp.api.run_object import Run
    from nnexp.api.running import run
    from nnexp.api.sweep_object import Sweep
    from nnexp.api.sweeping import sweep
    from nnexp.baselines.base import Baseline, baseline
    from nnexp.config.fields import field, tuned
    from nnexp.config.schema.dataset import UserDataset as Dataset
    from nnexp.config.schema.dataset import dataset
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
    "Dataset": "nnexp.config.schema.dataset:UserDataset",
    "Loss": "nnexp.models.losses",
    "Optimizer": "nnexp.optim.base",
    "Scheduler": "nnexp.optim.schedules",
    "activation": "nnexp.models.activations",
    "baseline": "nnexp.baselines.base",
    "dataset": "nnexp.config.schema.dataset",
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
    "History": "nnexp.api.history",
    "NnexpError": "nnexp.errors",
    "Report": "nnexp.api.reports",
    "Run": "nnexp.api.run_object",
    "Sweep": "nnexp.api.sweep_object",
    "load": "nnexp.api.loading",
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


class _Callable(ModuleType):
    """A module that is called as the public function of its name, to which it takes precedence."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__(self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    """``nnexp.run`` and ``nnexp.sweep`` are functions, and modules that Python puts in their place
    when it imports them."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("run", "sweep") and type(value) is ModuleType:
            value.__class__ = _Callable
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
