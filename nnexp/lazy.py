"""torch and NumPy, imported when they are first used.

Configs, plans and the command line go without them: importing torch takes longer than all they do.
A component is one file with its options and its mathematics; such files import both from here.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["np", "torch"]


class _LazyModule(ModuleType):
    """Stands for a module until one of its names is asked for, then hands out that module's own."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)  # the next lookup does not come here
        return value


if TYPE_CHECKING:
    import numpy as np
    import torch as torch
else:
    np = _LazyModule("numpy")
    torch = _LazyModule("torch")
