"""From text to rows of cells, all as long, every cell as it was written.

The csv module reads it, not pandas, which moves values into an index where a row is too long, fills
short rows up and takes the class "NA" for a missing value. Here such a row is an error that names
its line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnexp.config.schema import CSVConfig
from nnexp.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

_NO_LIMIT = 2**31 - 1  # the largest that the csv module takes on every platform
_limit_lock = threading.Lock()


@contextlib.contextmanager
def cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells of more than 131072 characters, by a limit of the process.

    It is lifted while a file is read: a long text may be a column to drop, and a quote that is
    never closed is told by the line where it begins rather than by the limit it runs into.
    """
    with _limit_lock:
        limit = csv.field_size_limit(_NO_LIMIT)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def read_rows(
    text: str, separator: str, config: CSVConfig, path: str
) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, all as long, and the line that each begins on.

    Raises:
        DataError: there is no row, a row is longer or shorter, or a quote is not closed.
    """
    reader = reader_of(lines_of(text, config.comment), separator, config.quote)
    rows, lines = [], []
    begins = 1
    try:
        for cells in reader:
            row = cells_of(cells, separator)
            if len(row) > 1 or (row and row[0]):
                rows.append(row)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        problem = {
            "unexpected end of data": "a quoted cell that begins here is never closed",
            f"'{separator}' expected after '{config.quote}'": "a cell goes on after its quote",
        }.get(str(error), str(error))
        hint = " (dataset.quote=null takes quotes as they are)" if config.quote else ""
        raise DataError(f"{path}: line {begins}: {problem}{hint}") from error
    if not rows:
        raise DataError(f"{path}: empty, no rows")
    _require_rectangle(rows, lines, path)
    return rows, lines


def lines_of(text: str, comment: str | None) -> Iterator[str]:
    """Physical lines; a comment is an empty line, so that the others keep their numbers."""
    lines = io.StringIO(text, newline="")
    if comment is None:
        return lines
    return ("\n" if line.startswith(comment) else line for line in lines)


def reader_of(lines: Iterator[str], separator: str, quote: str | None) -> CSVReader:
    """Strict, so that a stray quote is an error rather than a cell that swallows lines."""
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=quote,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        skipinitialspace=separator not in " \t",
        strict=True,
    )


def cells_of(cells: list[str], separator: str) -> list[str]:
    """One row: any number of blanks separates where a blank does, else blanks are trimmed."""
    if separator == " ":
        return [cell for cell in cells if cell]
    return [cell.strip() for cell in cells]


def _require_rectangle(rows: Sequence[Sequence[str]], lines: Sequence[int], path: str) -> None:
    width = len(rows[0])
    strange = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if strange is None:
        return
    below = {len(row) for row in rows[1:]}
    if len(below) == 1 and len(rows) > 2:
        hint = "; if it is a title, delete it or say with dataset.comment how it begins"
        raise DataError(
            f"{path}: line {lines[0]} has {_cells(width)}, but every line below has {below.pop()}"
            f"{hint if width == 1 else ''}"
        )
    raise DataError(
        f"{path}: line {lines[strange]} has {_cells(len(rows[strange]))}, but line {lines[0]} has "
        f"{width}"
    )


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"
