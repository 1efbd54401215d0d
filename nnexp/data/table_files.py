"""Tables in memory as Arrow files (Feather version 2), from which they are read unchanged.

Numbers are written as the float64s that they are, texts once each, moments to the microsecond, and
the labels in their own type.

Axes: ``M`` rows, ``C`` classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nnexp.data.readers.arrow import REMARKS
from nnexp.data.readers.origin import first_line
from nnexp.data.source import quoted
from nnexp.data.table import Cells, Moments, Table, Texts
from nnexp.errors import DataError


def content_of(table: Table, target: int, labels: NDArray[Any]) -> memoryview:
    """Return what the file of a table holds. The same table gives the same bytes.

    Args:
        table: with names; its column ``target`` is written as ``labels`` has it.
        labels: [M], integers, booleans, text or floats.

    Raises:
        DataError: a text that cannot be written as UTF-8.
    """
    assert table.names is not None
    columns = []
    for place, (name, cells) in enumerate(zip(table.names, table.columns, strict=True)):
        try:
            columns.append(pa.array(labels) if place == target else _column(cells))
        except UnicodeEncodeError:
            raise DataError(
                f"{table.path}: column {quoted(name)}: holds text that is not UTF-8"
            ) from None
    remarks = {
        "categorical": [table.names[place] for place in sorted(table.categorical)],
        "notes": list(table.notes),
    }
    schema = pa.schema(
        [(name, column.type) for name, column in zip(table.names, columns, strict=True)],
        metadata={REMARKS: json.dumps(remarks)},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return memoryview(sink.getvalue())


def _column(cells: Cells) -> pa.Array:
    if isinstance(cells, Texts):
        codes = pa.array(cells.codes, mask=cells.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(cells.values, pa.large_string()))
    if not isinstance(cells, Moments):
        return pa.array(cells)
    absent = np.isnan(cells.seconds)
    seconds = np.where(absent, 0.0, cells.seconds)
    if not cells.has_time:
        return pa.array((seconds / 86400).round().astype("datetime64[D]"), mask=absent)
    moments = (seconds * 1e6).round().astype(np.int64)
    return pa.array(moments, pa.timestamp("us", tz="UTC"), mask=absent)


def classes_of(path: Path, target: str, names: Sequence[str]) -> NDArray[Any]:
    """Return the classes [C] of a network in the type that the labels of its data have.

    Args:
        path: of the file that ``content_of`` was written to.
        target: the column of the labels.
        names: of the classes, as the network has them.

    Raises:
        DataError: the file is damaged, or has no such column.
    """
    try:
        with pa.memory_map(str(path)) as file:
            kind = pa.ipc.open_file(file).schema.field(target).type
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: damaged Arrow file, {first_line(error)}") from error
    if pa.types.is_boolean(kind):
        return np.array([name == "True" for name in names])
    if pa.types.is_integer(kind):
        return np.array([int(name) for name in names], kind.to_pandas_dtype())
    if pa.types.is_floating(kind):
        return np.array([float(name) for name in names], kind.to_pandas_dtype())
    return np.array(names)
