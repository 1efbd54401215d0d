"""Tables in memory: DataFrames of pandas and polars, Arrow tables, arrays and lists of rows.

Neither pandas nor polars is imported here: whoever has a DataFrame has imported its library.

Axes: ``M`` rows, ``D`` columns.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from nnexp.data.readers.arrow import table_of_arrow
from nnexp.data.readers.arrow_cells import cells_of_arrow
from nnexp.data.readers.numpy_cells import cells_of_array, table_of_array
from nnexp.data.readers.object_cells import cells_of_objects, text_of
from nnexp.data.readers.origin import Origin, first_line, require_shape, texts_in_use
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError


def table_of_frame(frame: Any, path: str = "X") -> Table:
    """Return a table in memory as cells.

    Columns of arrays without names go by number. Types are treated as those of Arrow
    (``arrow_cells``); a column of objects may hold numbers, booleans, text or dates. Columns that
    the frame declares to be categories are noted as such, whatever the categories are.

    Args:
        frame: a DataFrame of pandas or polars, a table of Arrow, a structured array, or an array,
            tensor or list of rows [M, D].
        path: its name in messages.

    Raises:
        DataError: no table, no rows or columns, names that are not distinct, or naming the column
            (and the row) of what cannot be read.
    """
    origin = Origin(path, way_out="leave it out")
    library = library_of(frame)
    kind = type(frame).__name__
    if kind in ("Series", "ChunkedArray", "LazyFrame"):
        hint = {"LazyFrame": "call its collect() first"}.get(kind, "give a table of one column")
        raise DataError(f"{path}: a {library} {kind} is no table; {hint}")
    if library == "pandas":
        return _of_pandas(frame, origin)
    if library == "polars":
        frame = frame.to_arrow()
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, pa.Table):
        table = table_of_arrow(frame, origin)
        return dataclasses.replace(table, categorical=_dictionaries(frame.schema, table))
    try:
        array = np.asarray(frame)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read as a table: {first_line(error)}") from None
    return table_of_array(array, origin)


def library_of(frame: Any) -> str:
    """Return ``pandas``, ``polars`` or ``pyarrow`` for their frames and classes derived from them;
    else the name of the package that a frame's class comes from."""
    own = [kind.__module__.partition(".")[0] for kind in type(frame).__mro__]
    return next((name for name in own if name in ("pandas", "polars", "pyarrow")), own[0])


def _dictionaries(schema: pa.Schema, table: Table) -> frozenset[int]:
    """Categories of polars, and those of pandas in Arrow."""
    return frozenset(
        place
        for place, name in enumerate(table.names or ())
        if pa.types.is_dictionary(schema.field(name).type)
    )


def _of_pandas(frame: Any, origin: Origin) -> Table:
    """The index is no column; pandas makes one of it by ``frame.reset_index()``."""
    names = [str(label) for label in frame.columns]
    require_shape(origin.path, names, len(frame), len(names))
    columns = [
        _cells_of_series(frame.iloc[:, number], name, origin) for number, name in enumerate(names)
    ]
    categorical = frozenset(
        number
        for number, dtype in enumerate(frame.dtypes)
        if type(dtype).__name__ == "CategoricalDtype"
    )
    table = origin.table(names, columns, len(frame))
    return dataclasses.replace(table, categorical=categorical)


def _cells_of_series(series: Any, name: str, origin: Origin) -> Cells:
    kind = type(series.dtype).__name__
    if kind == "SparseDtype":
        series = series.sparse.to_dense()
    if kind == "CategoricalDtype":
        texts = [text_of(category) for category in series.cat.categories.tolist()]
        return texts_in_use(series.cat.codes.to_numpy().astype(np.int32), texts)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return cells_of_array(series.to_numpy(), name, origin)
    if series.dtype == object:
        return cells_of_objects(series.tolist(), name, origin)
    try:
        found = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise origin.refused(name, f"holds {series.dtype} ({first_line(error)})") from None
    chunked = found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
    return cells_of_arrow(chunked, name, origin)
