"""NumPy arrays as the cells of a table.

Axes: ``M`` rows, ``D`` columns.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.data.readers.object_cells import cells_of_objects
from nnexp.data.readers.origin import (
    EXACT,
    Origin,
    dropped_columns,
    no_cells,
    require_shape,
    texts_of_booleans,
)
from nnexp.data.table import Cells, Moments, Table, Texts
from nnexp.errors import DataError

_DAYS = ("Y", "M", "W", "D")  # units of datetime64 without a time of day


def table_of_array(array: NDArray[Any], origin: Origin, drop: Collection[Any] = ()) -> Table:
    """Return an array [M, D], or a structured array [M] with a column for each field.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: another shape, no rows or columns, or naming the column (and the row) of what is
            neither a number, nor a boolean, text or a date.
    """
    path = origin.path
    if array.dtype.names is not None and array.ndim == 1:
        names: list[str] | None = list(array.dtype.names)
        width = len(array.dtype.names)
    elif array.ndim == 2:
        names, width = None, array.shape[1]
    else:
        hint = "; a single column is x.reshape(-1, 1)" if array.ndim == 1 else ""
        raise DataError(f"{path}: must be [rows, columns], got {list(array.shape)}{hint}")
    num_rows = len(array)
    require_shape(path, names, num_rows, width)
    dropped = dropped_columns(path, names, width, drop)
    columns: list[Cells] = []
    for number in range(width):
        if number in dropped:
            columns.append(no_cells(num_rows))
        elif names is None:
            columns.append(cells_of_array(array[:, number], f"{number}", origin))
        else:
            columns.append(cells_of_array(array[names[number]], names[number], origin))
    return origin.table(names, columns, num_rows)


def cells_of_array(values: NDArray[Any], name: str, origin: Origin) -> Cells:
    """Return the cells of a column [M] of any of NumPy's types.

    Integers, of which one is beyond 2**53, and which no float64 holds, are texts.

    Raises:
        DataError: naming the column and its type, or the row of a value that cannot be one of a
            table.
    """
    kind = values.dtype.kind
    if values.ndim != 1:
        shape = list(values.shape[1:])
        raise origin.refused(name, f"has {shape} values a row, which is not one value a row")
    if kind == "b":
        return texts_of_booleans(values)
    if kind in "iu":
        if len(values) and (int(values.max()) > EXACT or int(values.min()) < -EXACT):
            return _distinct([str(value) for value in values.tolist()])
        return values.astype(np.float64)
    if kind == "f":
        return origin.finite(values.astype(np.float64), name)
    if kind == "U":
        return _distinct(values.tolist())
    if kind == "S":
        return _distinct([_decoded(value, row, name, origin) for row, value in enumerate(values)])
    if kind == "O":
        return cells_of_objects(values.tolist(), name, origin)
    if kind in "mM" and np.datetime_data(values.dtype)[0] != "generic":
        return _of_times(values, name, origin)
    raise origin.refused(name, f"holds {values.dtype}")


def _distinct(texts: list[str]) -> Texts:
    return Texts.of(map(str.strip, texts))


def _decoded(value: bytes, row: int, name: str, origin: Origin) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DataError(f"{origin.where(row, name)}: {value!r} is not UTF-8 text") from None


def _of_times(values: NDArray[Any], name: str, origin: Origin) -> Cells:
    """Dates as moments; durations as numbers of seconds, which a note says."""
    known = ~np.isnat(values)
    unit = np.datetime_data(values.dtype)[0]
    ticking = "s" if unit in (*_DAYS, "h", "m") else unit
    exact = values.astype(f"{values.dtype.kind}8[{ticking}]")
    ticks = {"ms": 1e3, "us": 1e6, "ns": 1e9, "ps": 1e12, "fs": 1e15, "as": 1e18}.get(unit, 1.0)
    seconds = np.full(len(values), np.nan)
    seconds[known] = exact[known].astype(np.int64) / ticks
    if values.dtype.kind == "m":
        origin.converted(name, f"is a duration ({values.dtype}), read as a number of seconds")
        return seconds
    return Moments(seconds, bool(unit not in _DAYS and np.any(seconds[known] % 86400)))
