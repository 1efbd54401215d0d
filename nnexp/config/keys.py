"""The options below a dataclass by their keys, as ``early_stopping.patience``."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any


def options_of(schema: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Key and type of every field of a dataclass and of the dataclasses that its fields hold."""
    kinds = typing.get_type_hints(schema)
    for name in (field.name for field in dataclasses.fields(schema)):
        kind = kinds[name]
        yield f"{prefix}{name}", kind
        inner, _ = without_none(kind)
        if dataclasses.is_dataclass(inner):
            yield from options_of(typing.cast(type[Any], inner), f"{prefix}{name}.")


def without_none(kind: Any) -> tuple[Any, bool]:
    """The type that ``kind`` is where it is not None, and whether it may be None."""
    if isinstance(kind, types.UnionType):
        (inner,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
        return inner, True
    return kind, False
