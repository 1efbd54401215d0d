"""DataFrames with their labels, as tables.

Axes: ``M`` rows, ``C`` classes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from nnexp.config.dataset_schema import ColumnsConfig
from nnexp.data.readers.frames import library_of, table_of_frame
from nnexp.data.readers.numpy_cells import cells_of_array
from nnexp.data.readers.origin import Origin
from nnexp.data.reading import with_test_rows
from nnexp.data.source import Source, quoted
from nnexp.data.sources.frames import encode_labels, labels_of
from nnexp.data.table import Table, nearest_first
from nnexp.data.tabular import source_of_table
from nnexp.errors import ConfigError, DataError
from nnexp.tasks import CLASSIFICATION, REGRESSION

_LABELS = "y"  # the name of labels that come without one


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """A table in memory, and its labels in their own type."""

    table: Table  # with the labels among its columns
    target: str  # the name of their column
    labels: NDArray[Any]  # [M], integers, booleans, text or whole floats

    @property
    def place(self) -> int:
        """The number of the column of the labels."""
        assert self.table.names is not None
        return self.table.names.index(self.target)


def by_column(frame: Any, target: str, what: str) -> LabelledTable:
    """Return a DataFrame of which one column holds the labels.

    Args:
        what: the name of the frame in messages.

    Raises:
        DataError: no such column, or as ``table_of_frame`` and ``labels_of``.
    """
    table = _table_of(frame, what)
    names = table.names or ()
    if target not in names:
        near = nearest_first(target, names)
        raise DataError(f"{what}: has no column {quoted(target)}{near}")
    place = names.index(target)
    column = f"{what}: column {quoted(target)}"
    labels = labels_of(_column(frame, place), column, fractions=True)
    table.columns[place] = cells_of_array(labels, target, Origin(what))
    return LabelledTable(table, target, labels)


def beside(frame: Any, y: Any, what: str, like: LabelledTable | None = None) -> LabelledTable:
    """Return a DataFrame with labels that come beside it, which become its last column.

    Args:
        what: the name of both in messages.
        like: of which these are the test rows: the labels are called as they are there.

    Raises:
        DataError: as ``table_of_frame`` and ``labels_of``, or labels of another number.
    """
    table = _table_of(frame, f"{what}: X")
    labels = labels_of(_column_of(y), f"{what}: y", fractions=True)
    if len(labels) != table.num_rows:
        raise DataError(f"{what}: X has {table.num_rows} rows, but y has {len(labels)}")
    names = table.names
    if like is not None and names is None:
        names = tuple(name for name in like.table.names or () if name != like.target)
        if len(names) != len(table.columns):
            raise DataError(
                f"{what}: X has {len(table.columns)} columns, but the data have {len(names)}"
            )
    assert names is not None
    if like is None:
        target = _name_of_labels(y, names)
    else:
        target = like.target
        if target in names:
            raise DataError(f"{what}: X has a column {quoted(target)}, as the labels are called")
    cells = cells_of_array(labels, target, Origin(what))
    table = dataclasses.replace(
        table, path=what, names=(*names, target), columns=[*table.columns, cells]
    )
    return LabelledTable(table, target, labels)


def as_test_rows(test: LabelledTable, data: LabelledTable) -> LabelledTable:
    """Return test rows with the columns of the data, in their order; further ones are left out.

    Raises:
        DataError: a column is lacking, or the labels are of another kind.
    """
    names, own = data.table.names or (), test.table.names or ()
    for name in names:
        if name not in own:
            raise DataError(f"{test.table.path}: lacks column {quoted(name)}")
    if (test.labels.dtype.kind == "U") != (data.labels.dtype.kind == "U"):
        raise DataError(
            f"{test.table.path}: its labels are {_kind(test.labels)}, but those of "
            f"{data.table.path} are {_kind(data.labels)}"
        )
    columns = [test.table.columns[own.index(name)] for name in names]
    return dataclasses.replace(
        test, table=dataclasses.replace(test.table, names=names, columns=columns)
    )


def whole_table(data: LabelledTable, test: LabelledTable | None) -> Table:
    """Return all rows, test rows last."""
    return data.table if test is None else with_test_rows(data.table, test.table)


def source_of_frame(
    name: str, given: tuple[Any, Any], test: tuple[Any, Any] | None, what: str, task: str
) -> Source:
    """Return a DataFrame and its labels as a source, read as tables are by default.

    Raises:
        DataError: as ``beside``, ``as_test_rows``, ``encode_labels`` and ``source_of_table``.
    """
    data = beside(*given, what)
    if task != REGRESSION:
        encode_labels(data.labels, f"{what}: y")
        task = CLASSIFICATION
    rows = None if test is None else as_test_rows(beside(*test, "test", data), data)
    config = ColumnsConfig(name=name, target=data.target, task=task)
    return source_of_table(whole_table(data, rows), config)


def _table_of(frame: Any, what: str) -> Table:
    known = ("pandas", "polars", "pyarrow")
    if hasattr(frame, "columns") and (library := library_of(frame)) not in known:
        raise ConfigError(
            f"{what}: a {library} {type(frame).__name__} is not read; make it a DataFrame of "
            "pandas or polars, or a table of Arrow"
        )
    return table_of_frame(frame, what)


def _column(frame: Any, place: int) -> Any:
    library = library_of(frame)
    if library == "pandas":
        return frame.iloc[:, place]
    return _column_of(frame.to_series(place) if library == "polars" else frame.column(place))


def _column_of(y: Any) -> Any:
    """Labels as NumPy takes them: in a dictionary of Arrow, nulls would become its last value."""
    if isinstance(y, pa.ChunkedArray | pa.Array):
        if pa.types.is_dictionary(y.type):
            y = y.cast(y.type.value_type)
        return y.to_numpy() if isinstance(y, pa.ChunkedArray) else y.to_numpy(zero_copy_only=False)
    return y


def _name_of_labels(y: Any, names: tuple[str, ...]) -> str:
    """That of a Series if it has one, unless a feature has it."""
    own = getattr(y, "name", None)
    name = own if isinstance(own, str) and own and own not in names else _LABELS
    while name in names:
        name += "_"
    return name


def _kind(labels: NDArray[Any]) -> str:
    return "text" if labels.dtype.kind == "U" else str(labels.dtype)
