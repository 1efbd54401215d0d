"""JSON lines: an object a line, whose keys are the columns.

Arrow reads what is regular. What it refuses, or would round, is read again by Python's json, which
also finds the line of an error.

Axes: ``M`` rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from nnexp.data.readers.arrow_cells import cells_of_arrow
from nnexp.data.readers.object_cells import cells_of_objects
from nnexp.data.readers.origin import EXACT, Origin, dropped_columns, no_cells, require_shape
from nnexp.data.source import printable, quoted
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError

_BLOCK = 1 << 20  # bytes that Arrow reads at once; a longer line is read by Python


def read_json_lines(content: bytes, path: str, drop: Collection[Any] = ()) -> Table:
    """Read JSON lines.

    A key that a line lacks is a null. A column of numbers and texts is text, as are integers of
    which one is beyond 2**53. Dates are text in JSON, and remain it.

    Args:
        content: of the file, unpacked.
        path: its name in messages.
        drop: columns that keep their places but are not read, whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: naming the line of what is no JSON object, or the line and column of a value that
            is a list, an object or infinite.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = _row_lines(content)
    table = None
    if len(lines):
        table = _by_arrow(content, Origin(path, line=_line_of(lines)), len(lines), drop)
    return table or _by_python(content, path, drop)


def _row_lines(content: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers [M], from 1, of the lines that are not blank."""
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends + 1])
    lengths = np.concatenate([ends, [len(content)]]) - starts
    is_row = lengths > 0
    for number in np.flatnonzero(is_row & (lengths < 8)).tolist():  # too short for a cell
        start = starts[number]
        is_row[number] = bool(content[start : start + lengths[number]].strip())
    return np.flatnonzero(is_row) + 1


def _line_of(lines: np.ndarray[Any, np.dtype[np.int64]]) -> Callable[[int], int]:
    return lambda row: int(lines[row])


def _by_arrow(content: bytes, origin: Origin, num_rows: int, drop: Collection[Any]) -> Table | None:
    """The table; None where it takes a closer look."""
    try:
        found = _parsed(content, None)
        dates = [entry for entry in found.schema if pa.types.is_timestamp(entry.type)]
        if dates:
            found = _parsed(content, pa.schema([(entry.name, pa.string()) for entry in dates]))
        if found.num_rows != num_rows or not found.num_columns:
            return None
        names = found.schema.names
        dropped = dropped_columns(origin.path, names, len(names), drop)
        columns: list[Cells] = []
        for number, entry in enumerate(found.schema):
            column = found.column(number)
            if number in dropped:
                columns.append(no_cells(num_rows))
                continue
            if pa.types.is_nested(entry.type) or _may_be_rounded(column):
                return None
            columns.append(cells_of_arrow(column, entry.name, origin))
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    return origin.table(names, columns, num_rows)


def _parsed(content: bytes, schema: pa.Schema | None) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(content),
        read_options=pj.ReadOptions(block_size=_BLOCK),
        parse_options=pj.ParseOptions(explicit_schema=schema),
    )


def _may_be_rounded(column: pa.ChunkedArray) -> bool:
    """Arrow makes a float64 of an integer that is too long, or that stands among fractions."""
    if not pa.types.is_floating(column.type):
        return False
    highest = pc.max(pc.abs(column)).as_py()
    return highest is not None and not highest < EXACT


def _by_python(content: bytes, path: str, drop: Collection[Any]) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    names: dict[str, None] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            row = _object(line, f"{path}: line {number}")
            names |= dict.fromkeys(row)
            rows.append(row)
            lines.append(number)
    origin = Origin(path, line=lines.__getitem__)
    require_shape(path, list(names), len(rows), len(names) or not rows)
    dropped = dropped_columns(path, list(names), len(names), drop)
    columns = [
        no_cells(len(rows))
        if number in dropped
        else cells_of_objects([row.get(name) for row in rows], name, origin)
        for number, name in enumerate(names)
    ]
    return origin.table(list(names), columns, len(rows))


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(
            line.decode(), object_pairs_hook=_distinct, parse_constant=_CONSTANTS.__getitem__
        )
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: no JSON object ({error.msg} at character {error.pos + 1}); JSON lines have "
            "one object a line"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte 0x{line[error.start]:02x} is not UTF-8") from None
    except _TwiceError as error:
        raise DataError(f"{where}: the key {quoted(str(error))} stands there twice") from None
    except RecursionError:
        raise DataError(f"{where}: objects too deep in one another") from None
    if not isinstance(value, dict):
        shown = printable(line.decode().strip())
        raise DataError(f'{where}: {shown} is no JSON object; a line holds one, as {{"a": 1}}')
    return value


_CONSTANTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _TwiceError(Exception):
    """A key that an object has twice."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for at, key in enumerate(keys) if key in keys[:at]))
    return found
