"""Dataclass fields that carry their range or choices, the check of them, and their dotted keys."""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from omegaconf import MISSING

from nnexp.errors import ConfigError, did_you_mean

# --------------------------------------------------------------------------------------------------
# The options below a dataclass by their keys, as ``early_stopping.patience``.
# --------------------------------------------------------------------------------------------------


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
    if typing.get_origin(kind) not in (types.UnionType, typing.Union):
        return kind, False
    parts = [part for part in typing.get_args(kind) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else kind, types.NoneType in typing.get_args(kind)


# --------------------------------------------------------------------------------------------------
# Dataclass fields that carry their range or choices, and the one check that reads them.
#
# OmegaConf checks types when a config is composed. What it cannot check is declared with the field
# (``ranged``, ``choice``) and checked by ``check`` once the config is a tree of dataclasses.
# --------------------------------------------------------------------------------------------------

Problems = Iterator[tuple[str, str]]  # what ``check_rules`` yields: a field's name, what is wrong


def ranged(
    default: Any,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    """A numeric field, or list of numbers, whose every number is finite and in the given range.

    A list default is copied for each instance. ``None`` passes where the type is optional.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    return _field(default, {"bounds": {k: v for k, v in bounds.items() if v is not None}})


def choice(default: str, options: Collection[str]) -> Any:
    """A string field that takes one of ``options``, which may grow as components are registered."""
    return _field(default, {"options": options})


def field(
    default: Any = MISSING,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    options: Collection[str] = (),
) -> Any:
    """An option of a component, with what it may be.

    Args:
        default: a list or tuple is copied for each instance; without one a value is required.
        gt, ge, lt, le: bounds of a number, or of every number of a list or tuple.
        options: what a text may be.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    known = {"bounds": {k: v for k, v in bounds.items() if v is not None}, "options": options}
    return _field(default, {key: value for key, value in known.items() if value})


def texts(*default: str) -> Any:
    """A list of cells of a file, as YAML has read them: ``[NaN,-9999,null]`` are three."""
    return dataclasses.field(default_factory=lambda: list(default), metadata={"texts": True})


def tuned(
    default: list[Any],
    kind: type[int] | type[float] | None = None,
    *,
    options: Sequence[str] = (),
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    """A value, or a list of values that the validation rows choose from; its type is ``Any``.

    Each is a number of ``kind`` in the given range, or one of ``options``.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le}
    known = {"bounds": {k: v for k, v in bounds.items() if v is not None}, "options": options}
    return _field(default, {"tuned": kind, **{k: v for k, v in known.items() if v}})


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    if isinstance(default, list | tuple):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "gt": ("greater than {}", lambda value, bound: value > bound),
    "ge": ("at least {}", lambda value, bound: value >= bound),
    "lt": ("less than {}", lambda value, bound: value < bound),
    "le": ("at most {}", lambda value, bound: value <= bound),
}


def check(config: Any, path: str = "") -> None:
    """Check every field of a tree of dataclasses, and what a dataclass checks itself.

    A dataclass with rules across its fields has a method ``check_rules()`` that yields
    ``(field name, problem)``; a name with dots is that of a field further down.

    Raises:
        ConfigError: naming the key, its value and what is allowed.
    """
    for field in dataclasses.fields(config):
        key = f"{path}.{field.name}" if path else field.name
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            check(value, key)
            continue
        for problem in _problems(value, field.metadata):
            raise ConfigError(f"{key}={_show(value)}: {problem}")
    if hasattr(config, "check_rules"):
        for name, problem in config.check_rules():
            key = f"{path}.{name}" if path else name
            raise ConfigError(f"{key}={_show(operator.attrgetter(name)(config))}: {problem}")


def _problems(value: Any, metadata: Any) -> Iterator[str]:
    if value is None:
        return
    options = metadata.get("options")
    for item in value if isinstance(value, list | tuple) else [value]:
        if options and item not in options:
            yield f"must be one of {', '.join(options)}{did_you_mean(str(item), options)}"
    bounds = metadata.get("bounds", {})
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, float) and not math.isfinite(number) and "texts" not in metadata:
            yield "must be a finite number"
        elif bounds and not isinstance(number, int | float):
            yield f"{_show(number)} is not a number"
        for name, bound in bounds.items():
            words, holds = _BOUNDS[name]
            if not holds(number, bound):
                yield f"must be {words.format(bound)}"
    if "tuned" in metadata:
        kind = metadata["tuned"]
        fits = {int: (int,), float: (int, float)}.get(kind)
        if not value or (fits and not all(type(item) in fits for item in value)):
            noun = {int: "a whole number", float: "a number"}.get(kind, "a value")
            yield f"must be {noun} or a list of them"


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ",".join(_show(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
