"""Arrow's own formats: IPC files, which are Feather version 2, and IPC streams.

Axes: ``M`` rows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nnexp.data.readers.arrow_cells import cells_of_arrow
from nnexp.data.readers.origin import Origin, dropped_columns, first_line, no_cells, require_shape
from nnexp.data.readers.parquet import named_columns
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError

FILE_MAGIC = b"ARROW1"

REMARKS = b"nnexp"
"""The key of a schema's metadata under which ``table_files`` notes what a DataFrame declares."""

_TURNS = 32  # in which a file is read, some columns in each, so that memory is bounded


def read_arrow(file: Path, path: str, drop: Collection[Any] = ()) -> Table:
    """Read an Arrow IPC file (Feather version 2) or stream.

    The file is mapped into memory and read some columns at a time.

    Args:
        path: the file's name in messages.
        drop: columns that keep their places but are not read, whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: the file is damaged, or a column cannot be read.
    """
    origin = Origin(path)
    try:
        with pa.memory_map(str(file)) as content:
            is_file = content.read(len(FILE_MAGIC)) == FILE_MAGIC

            def opened(columns: Sequence[int] | None) -> pa.Table:
                content.seek(0)
                options = pa.ipc.IpcReadOptions(included_fields=columns)
                start = pa.ipc.open_file if is_file else pa.ipc.open_stream
                with start(content, options=options) as reader:
                    return reader.schema if columns is None else reader.read_all()

            schema = opened(None)
            names = named_columns(schema, origin)
            remarks = _remarks(schema)
            origin.notes.extend(map(str, remarks.get("notes", [])))
            width = len(names)
            num_rows = opened([0]).num_rows if width else 0
            require_shape(path, names, num_rows, width)
            dropped = dropped_columns(path, names, width, drop)
            columns: list[Cells] = [no_cells(num_rows)] * width
            at_once = -(-width // _TURNS)
            read = [number for number in range(width) if number not in dropped]
            for start in range(0, len(read), at_once):
                block = read[start : start + at_once]
                found = opened([schema.get_field_index(names[number]) for number in block])
                for number in block:
                    name = names[number]
                    columns[number] = cells_of_arrow(found.column(name), name, origin)
            table = origin.table(names, columns, num_rows)
            categorical = [names.index(n) for n in remarks.get("categorical", []) if n in names]
            return dataclasses.replace(table, categorical=frozenset(categorical))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged Arrow file, {first_line(error)}") from error


def _remarks(schema: pa.Schema) -> dict[str, list[str]]:
    """What ``table_files`` has noted; nothing in a file of another program."""
    try:
        found = json.loads((schema.metadata or {}).get(REMARKS, b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def table_of_arrow(found: pa.Table, origin: Origin, drop: Collection[Any] = ()) -> Table:
    """Return an Arrow table as cells.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: no rows or columns, names that are not distinct, or a column that cannot be read.
    """
    names = named_columns(found.schema, origin)
    require_shape(origin.path, names, found.num_rows, len(names))
    dropped = dropped_columns(origin.path, names, len(names), drop)
    columns = [
        no_cells(found.num_rows)
        if number in dropped
        else cells_of_arrow(found.column(name), name, origin)
        for number, name in enumerate(names)
    ]
    return origin.table(names, columns, found.num_rows)
