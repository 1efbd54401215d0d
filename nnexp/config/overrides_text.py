"""Overrides as text: written so that they can be pasted into a shell, and mended as typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from nnexp.errors import ConfigError

OPEN_MAPPINGS = ("dataset.columns", "trainer.class_weights")
"""Options that are mappings: their keys are columns or classes, which no schema knows."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?: [A-Za-z0-9_.]+)*")
_WORDS = ("null", "true", "false", "nan", "inf", "none")  # that Hydra reads as something else


def paste(key: str, value: Any) -> str:
    """Return ``key=value`` as a shell takes it and Hydra's grammar reads it.

    Args:
        value: a text, a number, a boolean, or a list or mapping of such. Keys of a mapping must be
            ``can_be_key``.
    """
    return shlex.quote(f"{key}={_written(value)}")


def can_be_key(name: str) -> bool:
    """Return whether Hydra's grammar takes a name for the key of a mapping: it knows no quotes
    there, and no letters beside those of ASCII."""
    return bool(_KEY.fullmatch(name)) and name.casefold() not in _WORDS


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.casefold() not in _WORDS):
        return QuotedString(value.replace("${", "\\${"), Quote.double).with_quotes()
    return str(value)


def mended(override: str) -> str:
    """Return an override that Hydra's grammar cannot read with its texts in quotes.

    ``dataset.drop=[Größe,length (cm)]`` says well enough what is meant, but Hydra takes letters
    beside those of ASCII, and parentheses, only within quotes. What is read as it is, or would not
    be read with quotes either, is returned as it came.
    """
    key, equal, value = override.partition("=")
    if re.fullmatch(r"[,;|:']", value):
        return f'{key}="{value}"'
    if any("\ud800" <= char <= "\udfff" for char in override):  # bytes that are no UTF-8
        return override
    if not equal or not _ODD.search(value) or set(value) & set("\"'{}\\") or _is_read(override):
        return override
    is_list = value.startswith("[") and value.endswith("]")
    items = (value[1:-1] if is_list else value).split(",")
    if any(set(item) & set("[]") for item in items):
        return override
    quoted = ",".join(
        item if _is_read(f"{key}={item}") else _written(item.strip()) for item in items
    )
    new = f"{key}=[{quoted}]" if is_list else f"{key}={quoted}"
    return new if _is_read(new) else override


def read_options(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``key=value`` texts, read as the command line reads them.

    Raises:
        ConfigError: a text that is no such thing.
    """
    values = {}
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(mended(text))
        except HydraException as error:
            raise ConfigError(f"{text}: cannot be read, must be key=value") from error
        values[override.key_or_group] = override.value()
    return values


_ODD = re.compile(r"[^\x00-\x7f]|[()&#!<>;]")


def _is_read(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True
