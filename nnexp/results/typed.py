"""Dataclasses from what was read, with a line on what is wrong."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable
from typing import Any

ADDED = {"added": True}
"""The metadata of a field that the first results did not have."""


def from_fields(kind: Any, fields: object) -> Any:
    """An instance of the dataclass ``kind``, its fields checked against their annotations.

    Keys that it does not know are left out; fields marked ``ADDED`` may be absent.

    Raises:
        ValueError: in one line.
    """
    values = {}
    allowed, required = _allowed(kind)
    require(kind.__name__, fields, required)
    assert isinstance(fields, dict)
    for name, kinds in allowed.items():
        if name not in fields:
            continue
        value = fields[name]
        if dataclasses.is_dataclass(kinds):
            value = from_fields(kinds, value)
        elif not isinstance(value, kinds) or (isinstance(value, bool) and kinds not in _BOOLS):
            raise ValueError(f"{name} is {value!r}, which is no {_name_of(kinds)}")
        values[name] = value
    return kind(**values)


@functools.cache
def _allowed(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """What the fields of a dataclass may be, by name, as ``isinstance`` takes it; which must be."""
    allowed = {name: _plain(hint) for name, hint in typing.get_type_hints(kind).items()}
    return allowed, [f.name for f in dataclasses.fields(kind) if f.metadata != ADDED]


def _plain(hint: Any) -> Any:
    """A type without what is inside its containers."""
    if isinstance(hint, types.UnionType):
        return functools.reduce(lambda a, b: a | b, map(_plain, hint.__args__))
    return typing.get_origin(hint) or hint


_BOOLS = (bool, bool | None)


def _name_of(kinds: Any) -> str:
    return str(getattr(kinds, "__name__", kinds))


def require(where: str, fields: object, keys: Iterable[str]) -> None:
    """Raises ValueError unless ``fields`` is an object that has the keys."""
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is no object")
    missing = [key for key in keys if key not in fields]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
