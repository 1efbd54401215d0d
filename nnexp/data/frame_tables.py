"""A DataFrame as a table of cells, whatever library it is of: it has columns, and gives each.

Axes: ``M`` rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnexp.data.source import printable, quoted
from nnexp.data.table import Cells, Moments, Table, Texts, number_text
from nnexp.errors import DataError


def table_of_frame(frame: Any, path: str = "X") -> Table:
    """Return the columns of a DataFrame as cells; its index is none of them.

    Args:
        path: its name in messages.

    Raises:
        DataError: two columns of one name, or a value that is no number, text, truth or date.
    """
    names = tuple(str(name) for name in frame.columns)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: two columns are named {quoted(name)}")
    columns = [
        _cells(frame[key], path, name) for key, name in zip(frame.columns, names, strict=True)
    ]
    return Table(path, names, columns, len(frame))


def _cells(column: Any, path: str, name: str) -> Cells:
    values = np.asarray(column)
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if values.dtype.kind == "b":
        return Texts.of("True" if value else "False" for value in values.tolist())
    if values.dtype.kind == "M":
        seconds = values.astype("datetime64[us]").astype(np.int64) / 1e6
        seconds[np.isnat(values)] = np.nan
        return Moments(seconds, bool((np.mod(seconds[~np.isnat(values)], 86_400) != 0).any()))
    cells = values.tolist()
    gaps = [_is_missing(value) for value in cells]
    known = [value for value, gap in zip(cells, gaps, strict=True) if not gap]
    if known and all(type(value) in (int, float) for value in known):
        return np.array(
            [np.nan if gap else float(value) for value, gap in zip(cells, gaps, strict=True)]
        )
    return Texts.of(
        None if gap else _text(value, f"{path}: row {row}, column {quoted(name)}")
        for row, (value, gap) in enumerate(zip(cells, gaps, strict=True))
    )


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "True" if value else "False"
    if isinstance(value, int | float):
        return number_text(float(value))
    raise DataError(f"{where}: {printable(repr(value))} is no number, text, truth or date")
