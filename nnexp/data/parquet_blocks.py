"""Parquet files as blocks of a table, for rows to predict: only what is wanted, some rows at once.

Axes: ``M`` rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from nnexp.data.readers.arrow_cells import cells_of_arrow
from nnexp.data.readers.origin import Origin, first_line, no_cells
from nnexp.data.readers.parquet import named_columns
from nnexp.data.table import Table
from nnexp.data.text_blocks import Expected
from nnexp.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class _Block(Origin):
    """Rows of a file that do not begin with its first."""

    first_row: int = 0

    def where(self, row: int, name: str) -> str:
        """See ``Origin``."""
        return super().where(self.first_row + row, name)


def parquet_blocks(
    path: Path, expected: Expected, num_rows: int, tell: Callable[[int], None]
) -> Iterator[Table]:
    """Read a Parquet file in blocks of at most ``num_rows`` rows.

    Columns that are not wanted keep their places, whatever they hold, and are not read.

    Args:
        tell: is called with how many bytes of the file have been read, about.

    Raises:
        DataError: the file is damaged, or a column that is wanted cannot be read.
    """
    size = path.stat().st_size
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            names = named_columns(file.schema_arrow, Origin(str(path)))
            wanted = [name for name in names if expected.needs(name)]
            total, first_row = file.metadata.num_rows, 0
            for batch in file.iter_batches(num_rows, columns=wanted, use_threads=False):
                yield _table(pa.Table.from_batches([batch]), names, wanted, str(path), first_row)
                first_row += batch.num_rows
                tell(size * first_row // total)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged Parquet file, {first_line(error)}") from error


def _table(
    found: pa.Table, names: list[str], wanted: list[str], path: str, first_row: int
) -> Table:
    origin = _Block(path, first_row=first_row)
    count = found.num_rows
    columns = [
        cells_of_arrow(found.column(name), name, origin) if name in wanted else no_cells(count)
        for name in names
    ]
    return Table(path, tuple(names), columns, count, first_row=first_row)
