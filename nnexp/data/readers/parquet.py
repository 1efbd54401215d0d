"""Parquet files, column by column, so that no second copy of the whole table is in memory.

Axes: ``M`` rows.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nnexp.data.readers.arrow_cells import are_exact, cells_of_arrow
from nnexp.data.readers.origin import Origin, dropped_columns, first_line, no_cells, require_shape
from nnexp.data.readers.threads import usable_cores
from nnexp.data.source import Doubles
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError

_PIECE = 1 << 17  # rows of a column of numbers that are read at once
_BUFFER = 1 << 20  # bytes of a column that are read from the file at once


def read_parquet(file: Path, path: str, drop: Collection[Any] = ()) -> Table:
    """Read a Parquet file.

    Text comes as the dictionary that the file has of it. An index without a name that pandas has
    written along is no column.

    Args:
        path: the file's name in messages.
        drop: columns that keep their places but are not read, whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: the file is damaged, or a column cannot be read.
    """
    origin = Origin(path)
    with _errors(path):
        file_metadata = pq.read_metadata(file)
        schema = file_metadata.schema.to_arrow_schema()
    names = named_columns(schema, origin)
    num_rows = file_metadata.num_rows
    require_shape(path, names, num_rows, len(names))
    dropped = dropped_columns(path, names, len(names), drop)
    texts = [
        entry.name
        for entry in schema
        if pa.types.is_string(entry.type) or pa.types.is_large_string(entry.type)
    ]
    column_of = {name: number for number, name in enumerate(schema.names)}
    open_files = threading.local()

    def read(column: int) -> tuple[Cells, list[str]]:
        own = Origin(path)  # whose notes are this column's, whichever thread is done first
        if column in dropped:
            return no_cells(num_rows), own.notes
        if not hasattr(open_files, "file"):  # a reader is of one thread
            open_files.file = pq.ParquetFile(
                file,
                metadata=file_metadata,
                read_dictionary=texts,
                pre_buffer=False,
                buffer_size=_BUFFER,
            )
        name = names[column]
        with _errors(path):
            numbers = _numbers(open_files.file, name, schema.field(column_of[name]).type, num_rows)
            if numbers is not None:
                return own.finite(numbers, name), own.notes
            # A name with a dot may stand for another column's parts, so they come along.
            found = open_files.file.read(columns=[name], use_threads=False)
        return cells_of_arrow(found.column(name), name, own), own.notes

    with ThreadPoolExecutor(min(usable_cores(), len(names))) as pool:
        read_columns = list(pool.map(read, range(len(names))))
    pa.default_memory_pool().release_unused()
    origin.notes.extend(note for _, notes in read_columns for note in notes)
    return origin.table(names, [cells for cells, _ in read_columns], num_rows)


def _numbers(file: pq.ParquetFile, name: str, kind: pa.DataType, num_rows: int) -> Doubles | None:
    """A column of numbers [M], read in pieces, so that it is in memory once.

    None where it is of another type, or has an integer that no float64 holds.
    """
    is_integer = pa.types.is_integer(kind)
    if not is_integer and not pa.types.is_floating(kind):
        return None
    values = np.empty(num_rows)
    start = 0
    for piece in file.iter_batches(_PIECE, columns=[name], use_threads=False):
        column = piece.column(name)
        if is_integer and not are_exact(column):
            return None
        values[start : start + len(column)] = column.to_numpy(zero_copy_only=False)
        start += len(column)
    return values


def named_columns(schema: pa.Schema, origin: Origin) -> list[str]:
    """Return the names of columns, without an unnamed index of pandas, which is noted."""
    unnamed: set[str] = set()
    if schema.metadata and b"pandas" in schema.metadata:
        try:
            index = json.loads(schema.metadata[b"pandas"])["index_columns"]
            unnamed = {
                name
                for name in index
                if isinstance(name, str) and name.startswith("__index_level_")
            }
        except (ValueError, KeyError, TypeError):
            unnamed = set()
    if unnamed & set(schema.names):
        origin.notes.append("the index that pandas has written along is no column")
    return [name for name in schema.names if name not in unnamed]


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged Parquet file, {first_line(error)}") from error
