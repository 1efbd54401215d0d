"""nnexp: neural network experiments composed by Hydra, trained by PyTorch, compared with KNN."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnexp.metrics import metric

__version__ = "0.1.0"

__all__ = ["metric"]

_PLACES = {"metric": "nnexp.metrics"}  # where a public name is defined; imported when first used


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
