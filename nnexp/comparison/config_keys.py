"""Configs as flat keys, and the few words that tell one from another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SEPARATOR = " · "


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optimizer": {"lr": 0.1}}`` as ``{"optimizer.lr": 0.1}``; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def is_under(key: str, parents: Iterable[str]) -> bool:
    """Whether ``key`` is one of ``parents`` or lies below one: ``optimizer.lr`` in optimizer."""
    return any(key == p or (key.startswith(p) and key[len(p)] == ".") for p in parents)


def canonical(values: Mapping[str, Any]) -> str:
    """One text for equal values, whatever their order."""
    return json.dumps(values, sort_keys=True, default=str)


def labels(keyed: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells flat configs apart, one text each: ``"dropout=0.5 · hidden=[64]"``, or "".

    Only keys of which not all have the same value are told, each by its last words as far as they
    are needed. A config that lacks a key does not tell it.
    """
    keys = sorted({key for config in keyed for key in config})
    differing = [key for key in keys if len({_canonical_at(config, key) for config in keyed}) > 1]
    names = short_names(differing)
    return [
        SEPARATOR.join(f"{names[k]}={shown(config[k])}" for k in differing if k in config)
        for config in keyed
    ]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last words of each key that no other key ends with: ``lr`` for ``optimizer.lr``."""
    keys = list(keys)
    names = {}
    for key in keys:
        words = key.split(".")
        for count in range(1, len(words) + 1):
            name = ".".join(words[-count:])
            if sum(other == name or other.endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def shown(value: Any) -> str:
    """A value in few letters: ``0.01``, ``[64,64]``, ``true``, ``null``."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    return str(value)


def order(values: Mapping[str, Any]) -> list[tuple[str, int, float, str]]:
    """A key to sort settings by: numbers by size, and before texts."""
    return [(key, *_order(values[key])) for key in sorted(values)]


def _order(value: Any) -> tuple[int, float, str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 1, 0.0, json.dumps(value, sort_keys=True, default=str)
    return 0, float(value), ""


def _canonical_at(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], sort_keys=True, default=str) if key in config else ""
