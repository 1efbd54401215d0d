"""Columns of Python objects as the cells of a table, as JSON and DataFrames of objects have them.

Axes: ``M`` rows.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnexp.data.readers.origin import DIGITS, EXACT, Origin, no_cells
from nnexp.data.source import printable
from nnexp.data.table import Cells, Moments, Texts, number_text
from nnexp.errors import DataError

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MISSING = ("NAType", "NaTType")  # of pandas


def cells_of_objects(values: Sequence[Any], name: str, origin: Origin) -> Cells:
    """Return a column [M] of numbers, booleans, text, dates, durations, or of several of these.

    A column of several kinds is text, each value as it is written; so are integers of which one
    is beyond 2**53, and decimals of which one has more than 15 digits, which float64 does not
    tell apart. None and NaN are nulls.

    Raises:
        DataError: naming the row of a value that is of no such kind, or infinite.
    """
    known = [None if _is_missing(value) else _plain(value) for value in values]
    kinds = {
        _kind(value, row, name, origin) for row, value in enumerate(known) if value is not None
    }
    if any(isinstance(value, datetime.timedelta) for value in values):
        origin.converted(name, "holds durations, read as numbers of seconds")
    if not kinds:
        return no_cells(len(known))
    if kinds == {"number"}:
        if not any(map(_may_be_rounded, known)):
            numbers_ = (math.nan if value is None else float(value) for value in known)
            return origin.finite(np.fromiter(numbers_, np.float64, len(known)), name)
    elif kinds <= {"date", "time"}:
        moments = (math.nan if value is None else _moment(value) for value in known)
        return Moments(np.fromiter(moments, np.float64, len(known)), has_time="time" in kinds)
    return Texts.of(None if value is None else text_of(value) for value in known)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float | np.floating | decimal.Decimal) and bool(value != value)


def _plain(value: Any) -> Any:
    """Durations as seconds, times of day as files of text have them, bytes as their text."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _kind(value: Any, row: int, name: str, origin: Origin) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, numbers.Real | decimal.Decimal):
        return "number"
    if isinstance(value, datetime.datetime):
        return "time"
    if isinstance(value, datetime.date):
        return "date"
    shown = f"{printable(repr(value))} of type {type(value).__name__}"
    if isinstance(value, dict | list):
        shown = "a list" if isinstance(value, list) else "an object"
    raise DataError(f"{origin.where(row, name)}: {shown}, not a single value; {origin.way_out}")


def _may_be_rounded(value: Any) -> bool:
    """Whether the nearest float64 may be that of another number as well."""
    if isinstance(value, decimal.Decimal):
        return len(value.normalize().as_tuple().digits) > DIGITS
    return isinstance(value, int | np.integer) and abs(int(value)) > EXACT


def _moment(value: datetime.date) -> float:
    """Seconds since 1970; a time without a zone is taken for UTC."""
    if not isinstance(value, datetime.datetime):
        return float((value - _EPOCH.date()).total_seconds())
    aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    return (aware - _EPOCH).total_seconds()


def text_of(value: Any) -> str:
    """Return a value as text, without blanks around it; 3 rather than 3.0."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float | np.floating):
        return number_text(float(value))
    return str(value)
