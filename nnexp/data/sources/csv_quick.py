"""Large files of separated text, read by pyarrow: as fast as the disk, and column by column.

What the csv module reads with more care (comments, lines at the end, blanks between cells, other
encodings than those that contain ASCII, quotes in odd places) is left to it, and so is every file
with a fault: it names the line. Where both can read a file they give the same table.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from nnexp.config.overrides_text import paste
from nnexp.config.schema import TableConfig
from nnexp.data.number_formats import is_code_like
from nnexp.data.source import is_number
from nnexp.data.sources.csv_dialect import (
    Dialect,
    dialect_of,
    order_of_test,
    read_carefully,
)
from nnexp.data.sources.csv_file import TextFile, texts_of
from nnexp.data.table import Cells, Table, Texts, join_rows
from nnexp.errors import ConfigError, DataError

_EXACT_DIGITS = 15  # of a whole number, which float64 always tells from its neighbours
_MOST_COLUMNS = 5000  # of more pyarrow takes as long a cell as the csv module, or longer
_MOST_SKIPPED = 10  # lines that a message lists: each is looked for in the file
_SMALL = 2**22  # bytes, up to which the csv module is quick enough

ASCII_COMPATIBLE = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "iso8859-15", "cp1250"})


def read_text_table(config: TableConfig) -> Table:
    """Return the table of ``config.path``, separator and header found out where they are not given.

    Raises:
        ConfigError, DataError: naming the file and, where there is one, the line.
    """
    table = read_quickly(config)
    if table is None:
        table = read_carefully(config)
    _require_one_header(table)
    return table


def _require_one_header(table: Table) -> None:
    """No row repeats the header, as where files were joined."""
    repeats = np.ones(table.num_rows, dtype=bool)
    for name, cells in zip(table.names or [""], table.columns, strict=False):
        if not isinstance(cells, Texts) or not name or name not in cells.values:
            return
        repeats &= cells.codes == cells.values.index(name)
    rows = np.flatnonzero(repeats).tolist()
    if not rows or table.line is None:
        return
    leave_out = ""
    if len(rows) <= _MOST_SKIPPED and table.first_test_row is None:  # lines of one file
        leave_out = paste("dataset.skip_rows", [table.line(row) for row in rows])
    raise DataError(
        f"{table.place(rows[0])} repeats the header"
        + (f" (in all {len(rows)} lines do)" if len(rows) > 1 else "")
        + (f"; {leave_out} leaves {'it' if len(rows) == 1 else 'them'} out" if leave_out else "")
        + "; if it is a row like the others, the file has no header: dataset.header=false"
    )


def read_quickly(config: TableConfig) -> Table | None:
    """Return the table of a file; None where it needs more care."""
    if not _can_be_quick(config):
        return None
    try:
        return _read(config)
    except (pa.ArrowException, DataError, ConfigError, OSError, ValueError):
        return None  # the csv module names the fault, or sees none


def _can_be_quick(config: TableConfig) -> bool:
    try:
        size = Path(config.path).expanduser().stat().st_size
        encoding = codecs.lookup(config.encoding).name
    except (OSError, LookupError):
        return False
    plain = config.comment is None and not config.skip_footer and config.separator != " "
    plain = plain and not isinstance(config.skip_rows, list) and config.index_column is None
    return size > _SMALL and plain and encoding in ASCII_COMPATIBLE


def _read(config: TableConfig) -> Table | None:
    first = TextFile(config.path, config)
    rows, lines, separator = first.sample()
    if separator == " ":
        return None
    dialect = dialect_of(rows, lines, separator, config)
    if dialect.width > _MOST_COLUMNS:
        return None
    quotes = first.quotes(separator)
    if quotes is None:
        return None
    numeric = _numeric(rows, dialect, config)
    columns, count = first.read(dialect, numeric, quotes)
    if config.test_path is None:
        line = first.line_of(separator, dialect.names is not None)
        return _table(config, dialect, columns, count, line, None)
    test = TextFile(config.test_path, config)
    test_rows, test_lines, _ = test.sample(separator)
    order = order_of_test(test_rows, test_lines, dialect.names, dialect.width, config)
    test_quotes = test.quotes(separator)
    if test_quotes is None:
        return None
    header = dialect.names is not None
    test_dialect = dialect_of(test_rows, test_lines, separator, config, header)
    inverse = [order.index(place) for place in range(dialect.width)]
    numeric = [isinstance(cells, np.ndarray) for cells in columns]
    test_columns, test_count = test.read(test_dialect, [numeric[p] for p in inverse], test_quotes)
    mixed = [
        isinstance(columns[place], np.ndarray) != isinstance(test_columns[at], np.ndarray)
        for place, at in enumerate(order)
    ]
    if any(mixed):  # texts in one of the files: the cells of both are wanted as they were written
        numeric = [n and not m for n, m in zip(numeric, mixed, strict=True)]
        columns, _ = first.read(dialect, numeric, quotes)
    if not count or not test_count:
        return None
    joined: list[Cells] = []
    for place in range(dialect.width):
        joined.append(join_rows([columns[place], test_columns[order[place]]]))
        columns[place] = np.empty(0)
    lines_of_first = first.line_of(separator, header)
    lines_of_test = test.line_of(separator, header)

    def either(row: int) -> int:
        return lines_of_first(row) if row < count else lines_of_test(row - count)

    return _table(config, dialect, joined, count + test_count, either, count)


def _table(
    config: TableConfig,
    dialect: Dialect,
    columns: list[Cells],
    count: int,
    line: Callable[[int], int],
    first_test_row: int | None,
) -> Table | None:
    if not count:
        return None
    return Table(
        config.path, dialect.names, columns, count, line, config.test_path, first_test_row,
        dialect.separator, dialect.notes,
    )  # fmt: skip


def _numeric(rows: Sequence[Sequence[str]], dialect: Dialect, config: TableConfig) -> list[bool]:
    """Whether the first cells of each column are plain numbers or declared to be missing."""
    body = rows[1:] if dialect.names is not None else rows
    missing = texts_of(config.missing)
    distinct = [set(cells) for cells in zip(*body, strict=True)]
    commas = dialect.separator == ";" or any(
        re.fullmatch(r"[-+]?[\d.]*\d,\d+", cell) for cells in distinct for cell in cells
    )
    numeric = [
        all(cell in missing or _is_plain(cell, commas=commas) for cell in cells)
        for cells in distinct
    ] or [False] * dialect.width
    names = dialect.names or ("",) * dialect.width
    as_written = {
        str(reference)
        for reference in (
            config.target, config.split_column, config.group, config.time, config.fold_column,
            *config.categorical, *config.date,
            *(name for name, role in config.columns.items() if role in ("categorical", "date")),
        )
        if reference is not None
    }  # fmt: skip
    width = dialect.width
    for place in range(width):
        if {names[place], str(place), str(place - width)} & as_written:
            numeric[place] = False
    return numeric


def _is_plain(cell: str, *, commas: bool) -> bool:
    """A number of which nothing is lost, and nothing has to be found out, by reading it at once.

    Args:
        commas: some numbers of the file may have a decimal comma.
    """
    if not is_number(cell) or len(cell.lstrip("+-").partition(".")[0]) > _EXACT_DIGITS:
        return False
    if re.match(r"0\d{3}", cell):  # a code, perhaps: its zeros are told of
        return False
    if is_code_like(cell):
        return False
    return not commas or not re.fullmatch(r"[-+]?[1-9]\d{0,2}(\.\d{3})+", cell)
