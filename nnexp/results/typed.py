"""Dataclasses from what was read, with a line on what is wrong."""

from __future__ import annotations

import dataclasses
import functools
import reprlib
import types
import typing
from collections.abc import Iterable
from typing import Any

ADDED = {"added": True}
"""The metadata of a field that the first results did not have."""


def from_fields(kind: Any, fields: object, where: str = "") -> Any:
    """An instance of the dataclass ``kind``, its fields checked against their annotations.

    Keys that it does not know are left out; fields marked ``ADDED`` may be absent.

    Args:
        where: the keys that lead there, for the message.

    Raises:
        ValueError: in one line.
    """
    hints, required = _fields_of(kind)
    require(where or kind.__name__, fields, required)
    assert isinstance(fields, dict)
    values = {}
    for name, hint in hints.items():
        if name in fields:
            place, value = _below(where, name), fields[name]
            if dataclasses.is_dataclass(hint):
                values[name] = from_fields(hint, value, place)
            else:
                check(place, value, hint)
                values[name] = value
    return kind(**values)


def check_present(kind: Any, fields: object, where: str) -> None:
    """Check an object that may lack fields of the dataclass ``kind``; else as ``from_fields``."""
    require(where, fields, ())
    assert isinstance(fields, dict)
    for name, hint in _fields_of(kind)[0].items():
        if name in fields:
            check(_below(where, name), fields[name], hint)


def check(place: str, value: object, hint: Any) -> None:
    """Whether a value is what a type hint says, to the bottom of its containers.

    A hint is a plain class, ``Any``, ``list[...]``, ``dict[str, ...]`` or one of these or None. A
    whole number is a float too, a bool is neither.

    Raises:
        ValueError: in one line that names the place and the first value that is not.
    """
    problem = _problem(place, value, hint)
    if problem:
        raise ValueError(problem)


def require(where: str, fields: object, keys: Iterable[str]) -> None:
    """Raises ValueError unless ``fields`` is an object that has the keys."""
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is no object")
    missing = [key for key in keys if key not in fields]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def misfit(place: str, value: object, wanted: str) -> str:
    """In one line that a value is not what it must be."""
    return f"{place} is {reprlib.repr(value)}, which is no {wanted}"


def _problem(place: str, value: object, hint: Any) -> str | None:
    if isinstance(hint, types.UnionType):
        if value is None:  # no union here is without it
            return None
        (inner,) = (kind for kind in hint.__args__ if kind is not types.NoneType)
        return _problem(place, value, inner)
    kind, inside = _parts(hint)
    if kind is Any:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return misfit(place, value, _NAMES.get(hint, _NAMES.get(typing.get_origin(hint), "value")))
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict) and inside:
        items = value.items()
    elif isinstance(value, list) and inside:
        items = enumerate(value)
    for key, item in items:
        found = _problem(_below(place, str(key)), item, inside[-1])
        if found:
            return found
    return None


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What ``isinstance`` takes, and the hints of what is inside."""
    if hint is float:
        return (float, int), ()
    return typing.get_origin(hint) or hint, typing.get_args(hint)


@functools.cache
def _fields_of(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """What the fields of a dataclass may be, by name; which there must be."""
    return typing.get_type_hints(kind), [
        field.name for field in dataclasses.fields(kind) if field.metadata != ADDED
    ]


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}
