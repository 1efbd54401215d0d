"""Overrides as the command line takes them, from strings and from keyword arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hydra.core.override_parser.types import Quote, QuotedString

from nnexp.config.overrides_text import OPEN_MAPPINGS, can_be_key
from nnexp.config.schema import SCHEMAS
from nnexp.errors import ConfigError

# What Hydra reads as text without quotes, and is no number and no constant.
_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./-]*", re.I | re.A)
_KEY = re.compile(r"[A-Za-z]\w*(?:[./][A-Za-z_]\w*)*", re.A)


def overrides_of(texts: Sequence[str], settings: Mapping[str, Any], *, sweep: bool) -> list[str]:
    """Return overrides: the texts as they are, then one for each setting.

    Args:
        settings: by keys with dots or double underscores, ``trainer__epochs``; a dict is the
            settings below its key.
        sweep: a list, a tuple, a range or an array is a choice of several values. Else it is a
            value, and a text that lists several is for a sweep.

    Raises:
        ConfigError: what is no override, or has no form on the command line.
    """
    for text in texts:
        if not isinstance(text, str):
            raise ConfigError(f"{text!r}: an override is text such as 'optimizer=sgd'")
        if text.startswith("-"):
            raise ConfigError(f"{text}: options of the command line are not taken here")
    return [*texts, *_overrides(settings, "", sweep=sweep)]


def quoted(value: Any, key: str = "value") -> str:
    """Return a value as Hydra's grammar has it: ``null``, ``[64,64]``, ``'with, comma'``.

    Raises:
        ConfigError: a value of another type, with ``key`` named.
    """
    match _plain(value):
        case None:
            return "null"
        case bool(truth):
            return "true" if truth else "false"
        case int(number):
            return str(number)
        case float(number):
            return repr(number)
        case str(text):
            return (
                text if _PLAIN.fullmatch(text) else QuotedString(text, Quote.single).with_quotes()
            )
        case list(items):
            return f"[{','.join(quoted(item, key) for item in items)}]"
        case dict(items):
            pairs = (f"{quoted(str(name), key)}:{quoted(v, key)}" for name, v in items.items())
            return f"{{{','.join(pairs)}}}"
    kind = type(value).__name__
    raise ConfigError(f"{key}: takes a number, text, None, a list or a dict, not {kind}")


def _overrides(settings: Mapping[Any, Any], prefix: str, *, sweep: bool) -> Iterator[str]:
    for name, value in settings.items():
        key = prefix + str(name).replace("__", ".")
        if not _KEY.fullmatch(key):
            raise ConfigError(f"{key}: is no name of an option")
        if isinstance(value, Mapping) and key in OPEN_MAPPINGS:
            yield f"{key}={_open_mapping(key, value)}"
        elif isinstance(value, Mapping):
            _refuse_choice(key, value)
            yield from _overrides(value, f"{key}.", sweep=sweep)
        elif sweep and _is_several(value):
            yield f"{key}={_choices(value, key)}"
        else:
            yield f"{key}={quoted(value, key)}"


def _open_mapping(key: str, values: Mapping[Any, Any]) -> str:
    """Values by columns, or by classes, whose names are no names of options."""
    for name, value in values.items():
        if not can_be_key(str(name)) and not str(name).isdecimal():
            instead = f"; say dataset__{value}=[{name!r}]" if key == "dataset.columns" else ""
            raise ConfigError(f"{key}: {name!r} cannot be written as a key{instead}")
    pairs = (f"{name}:{quoted(value, key)}" for name, value in values.items())
    return f"{{{','.join(pairs)}}}"


def _refuse_choice(group: str, settings: Mapping[Any, Any]) -> None:
    """``optimizer={"name": "sgd"}`` would only rename the optimizer that is chosen."""
    name = settings.get("name")
    if isinstance(name, str) and name in SCHEMAS.get(group, {}):
        raise ConfigError(
            f"{group}: a dict holds options, it chooses nothing; choose with {group}={name!r}"
        )


def _choices(values: Iterable[Any], key: str) -> str:
    if isinstance(values, range) and values:
        return f"range({values.start},{values.stop},{values.step})"
    choices = [quoted(value, key) for value in values]
    if not choices:
        raise ConfigError(f"{key}: holds no value to try")
    return ",".join(choices)


def _is_several(value: Any) -> bool:
    return isinstance(value, list | tuple | range) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )


def _plain(value: Any) -> Any:
    """Python's own types for NumPy's, for tuples and for paths."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, tuple | range):
        return list(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value
