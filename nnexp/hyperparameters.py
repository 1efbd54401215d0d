"""Options of components over many runs: floats become tensors, all else the runs must share.

Axes: R runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nnexp.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def shared(options: Any) -> tuple[str, ...]:
    """What runs must agree on to be computed in one batch: every option that is no float, in
    words, so that runs can be sorted by it."""
    return tuple(_shared(getattr(options, field.name)) for field in fields(options))


def over_runs(options: Sequence[Any], like: Tensor) -> SimpleNamespace:
    """The options of R runs by name: a float is a tensor [R, 1], a tuple or list of floats a list
    of such, anything else the value that all runs share.

    Args:
        options: dataclasses of one class with the same ``shared``.
        like: says which device and type the tensors are of.
    """
    return SimpleNamespace(
        **{
            field.name: _stacked([getattr(one, field.name) for one in options], like)
            for field in fields(options[0])
        }
    )


def _shared(value: Any) -> str:
    if isinstance(value, float):
        return "float"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shared, value))})"
    return repr(value)


def _stacked(values: Sequence[Any], like: Tensor) -> Any:
    first = values[0]
    if isinstance(first, float):
        column = torch.tensor(values, dtype=torch.float64).unsqueeze(-1)
        return column.to(like.device, like.dtype)
    if isinstance(first, list | tuple):
        return [_stacked(items, like) for items in zip(*values, strict=True)]
    return first
