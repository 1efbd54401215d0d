"""Tables in blocks of rows, so that a file of any length is read in bounded memory.

Axes: ``M`` rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from nnexp.data.table import Table, join_rows, take_rows


def rows_of(table: Table, start: int, stop: int) -> Table:
    """Return a block of a table's rows, which knows where they stand in the file.

    Args:
        stop: may lie behind the last row.
    """
    stop = min(stop, table.num_rows)
    if start == 0 and stop == table.num_rows:
        return table
    line = table.line
    return dataclasses.replace(
        table,
        columns=[take_rows(cells, slice(start, stop)) for cells in table.columns],
        num_rows=stop - start,
        line=None if line is None else lambda row: line(row + start),
        first_row=table.first_row + start,
    )


def in_blocks_of(tables: Iterable[Table], num_rows: int) -> Iterator[Table]:
    """Cut and join tables, one below the other, to blocks of so many rows; the last has the rest.

    Args:
        tables: with the same columns.
    """
    waiting: list[Table] = []
    count = 0
    for table in tables:
        start = 0
        while count + table.num_rows - start >= num_rows:
            stop = start + num_rows - count
            yield _joined([*waiting, rows_of(table, start, stop)])
            waiting, count, start = [], 0, stop
        if start < table.num_rows:
            waiting.append(rows_of(table, start, table.num_rows))
            count += table.num_rows - start
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Table]) -> Table:
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + part.num_rows)

    def line(row: int) -> int:
        number = next(n for n, stop in enumerate(starts[1:]) if row < stop)
        own = parts[number].line
        assert own is not None
        return own(row - starts[number])

    return dataclasses.replace(
        first,
        columns=[
            join_rows([part.columns[column] for part in parts])
            for column in range(len(first.columns))
        ],
        num_rows=starts[-1],
        line=None if first.line is None else line,
    )
