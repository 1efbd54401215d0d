"""JSON as RFC 8259 has it: a number that is not finite is written as ``null``, and never read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: object) -> bytes:
    """``value`` in one line, without a newline at its end."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:  # a number that is not finite
        text = _ENCODER.encode(_finite(value))
    # A lone surrogate (from a file name that is no UTF-8) becomes its JSON escape, \\udcXX.
    return text.encode("utf-8", errors="backslashreplace")


def to_readable_json(fields: Mapping[str, object], indent: bytes = b"") -> bytes:
    """An object with a line for each key, and so the objects in it but for short ones.

    The standard library's own indentation also breaks lists, and takes several times as long.
    """
    inner = indent + b"  "
    lines = []
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            text = to_json(value)
            if not indent or len(text) > _SHORT:
                text = to_readable_json(value, inner)
        else:
            text = to_json(value)
        lines.append(b"%b%b: %b" % (inner, to_json(key), text))
    return b"{\n" + b",\n".join(lines) + b"\n" + indent + b"}"


def to_object(text: bytes) -> dict[str, Any]:
    """The one strict JSON object in ``text``. Raises ValueError in one line."""
    value = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


_SHORT = 100  # bytes of an object on one line
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(value: Any) -> Any:
    """``value`` with every number that is not finite replaced by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
