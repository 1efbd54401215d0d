"""The dialect of a CSV file (separator, header), and its table of named columns."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nnexp.config.overrides_text import paste
from nnexp.config.schema import TableConfig
from nnexp.data.encoder import is_declared
from nnexp.data.source import is_number, printable, quoted
from nnexp.data.sources.csv_parser import (
    cells_of,
    cells_of_any_length,
    lines_of,
    read_rows,
    read_text,
    reader_of,
    separator_line,
    unique_names,
)
from nnexp.data.table import Cells, Table, Texts
from nnexp.errors import ConfigError, DataError

# --------------------------------------------------------------------------------------------------
# What a file does not say of itself: its separator, and whether its first row is a header.
# --------------------------------------------------------------------------------------------------

_SEPARATORS = "\t;|, "  # by how rarely each stands inside a cell
_TYPED = {"\t": "tab"}  # as dataset.separator takes it
_SAMPLE = 200  # rows that are looked at
_ENOUGH_ROWS = 20  # from which it says something that a text does not come again


def find_separator(text: str, config: TableConfig) -> str:
    """What separates the cells of a table.

    Raises:
        DataError: the file is empty, or nothing separates its cells.
    """
    if not _sample(text, config):
        raise DataError(f"{config.path}: empty, no rows")
    best = _best_separator(text, config)
    if best is None:
        raise DataError(
            f"{config.path}: one column only, or a separator that is none of tab ; | , and space; "
            "give it with dataset.separator"
        )
    return best


def require_separator(text: str, separator: str, config: TableConfig) -> None:
    """The separator that the config gives stands in the first row.

    Raises:
        ConfigError: it does not; one that does is named.
    """
    reader = reader_of(lines_of(text, config), separator, config)
    with contextlib.suppress(csv.Error):  # told where all rows are read
        rows = (cells_of(cells, separator) for cells in reader)
        if len(next(filter(any, rows), "")) == 1:
            best = _best_separator(text, config)
            hint = f" (did you mean '{_TYPED.get(best, best)}'?)" if best else ""
            raise ConfigError(
                f"dataset.separator={config.separator}: none in line {reader.line_num} of "
                f"{config.path}{hint}"
            )


def _sample(text: str, config: TableConfig) -> list[str]:
    lines = (line for line in lines_of(text, config) if line.strip())
    return list(itertools.islice(lines, _SAMPLE))


def _best_separator(text: str, config: TableConfig) -> str | None:
    """The separator that cuts most of the first rows into the same number of cells, at least 2.

    One that leaves quotes inside of cells is taken only if all others do so too.
    """
    sample = _sample(text, config)
    best, most = None, (False, 0)
    for separator in _SEPARATORS:
        widths: Counter[int] = Counter()
        clean = True
        # A wrong separator breaks quoted cells; the end of the sample may cut a right one.
        with contextlib.suppress(csv.Error):
            for row in reader_of(iter(sample), separator, config):
                widths[len(cells_of(row, separator))] += 1
                clean = clean and not any(_stray_quote(cell, config.quote) for cell in row)
        width, rows = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and (clean, rows) > most:
            best, most = separator, (clean, rows)
    if not most[0]:
        _require_no_escapes(sample, config)
    return best


def _stray_quote(cell: str, quote: str | None) -> bool:
    """A cell with an odd number of quotes: a quoted one was cut, or its quotes mean nothing."""
    return quote is not None and cell.count(quote) % 2 == 1


def _require_no_escapes(sample: Sequence[str], config: TableConfig) -> None:
    """Every separator cuts cells at their quotes; that may be since these are escaped.

    Raises:
        DataError: a quote in the sample has a backslash before it.
    """
    if config.escape is not None or config.quote is None:
        return
    escaped = "\\" + config.quote
    line = next((line for line in sample if escaped in line), None)
    if line is not None:
        raise DataError(
            f"{config.path}: {printable(line.strip())}: a backslash before the quote "
            f"{config.quote}; {paste('dataset.escape', chr(92))} takes such a quote for a part of "
            "its cell, and dataset.quote=null takes all quotes as they are"
        )


def looks_like_header(
    first: Sequence[str], body: Sequence[Sequence[str]], config: TableConfig
) -> bool:
    """Whether a file's first row names its columns.

    It does not if it is all numbers, has a missing value, or has a text that comes again in its
    column; rows that repeat the first as a whole do not count where others show that it is a
    header, as of files that were joined. Else its texts are names; numbers beside them are names if
    they count up by one. A first row without others names columns only if it holds no number.

    Raises:
        DataError: a text stands above numbers, but numbers beside it look like values.
    """
    rows = body[:_SAMPLE]
    others = [row for row in rows if row != first]
    above_numbers = any(
        name and not is_number(name) and known and all(map(is_number, known))
        for name, known in zip(first, _known(others, len(first), config), strict=True)
    )
    if above_numbers or len(others) >= _ENOUGH_ROWS:
        rows = others
    for name, *cells in zip(first, *rows, strict=True):
        if name in cells and not is_number(name) and name:
            return False
        if name and is_declared(name, config.missing):
            return False
    numbers = [float(name) for name in first if is_number(name)]
    texts = [name for name in first if name and not is_number(name)]
    if not texts:
        return False
    if not numbers:
        return above_numbers or len(set(texts)) == len(texts)
    if body and len(numbers) > 1 and all(b - a == 1 for a, b in itertools.pairwise(numbers)):
        return True
    if above_numbers:
        raise DataError(
            f"{config.path}: cannot tell whether the first row names the columns; "
            "say so with dataset.header=true or dataset.header=false"
        )
    return False


def _known(rows: Sequence[Sequence[str]], width: int, config: TableConfig) -> list[list[str]]:
    """The distinct values of each column."""
    return [
        [cell for cell in {row[at] for row in rows} if not is_declared(cell, config.missing)]
        for at in range(width)
    ]


# --------------------------------------------------------------------------------------------------
# A file as a table.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """What had to be found out of a text before its rows can be read."""

    separator: str
    names: tuple[str, ...] | None
    first_line: int  # of the first row below the header, from 1
    width: int  # columns
    notes: tuple[str, ...]


@cells_of_any_length()
def read_carefully(config: TableConfig) -> Table:
    """Return the table of ``config.path``, read by the csv module: every fault is named.

    Raises:
        ConfigError, DataError: naming the file and, where there is one, the line.
    """
    text = read_text(config.path, config.encoding, "path")
    separator = separator_of(text, config)
    rows, lines = read_rows(text, separator, config, config.path)
    dialect = dialect_of(rows, lines, separator, config)
    names, width = dialect.names, dialect.width
    if names is not None:
        rows, lines = rows[1:], lines[1:]
    first_test_row = None
    if config.test_path is not None:
        first_test_row = len(rows)
        test_rows, test_lines = _read_test_rows(config, separator, names, width)
        rows, lines = rows + test_rows, lines + test_lines
    if not rows or first_test_row == 0:
        raise DataError(f"{config.path}: no rows below the header")
    columns: list[Cells] = [Texts.of(cells) for cells in zip(*rows, strict=True)]
    return Table(
        config.path, names, columns, len(rows), lines.__getitem__, config.test_path,
        first_test_row, separator, dialect.notes,
    )  # fmt: skip


def separator_of(text: str, config: TableConfig) -> str:
    if config.separator is None:
        return separator_line(text) or find_separator(text, config)
    separator = "\t" if config.separator in ("tab", "\\t") else config.separator
    require_separator(text, separator, config)
    return separator


def dialect_of(
    rows: Sequence[list[str]],
    lines: Sequence[int],
    separator: str,
    config: TableConfig,
    has_header: bool | None = None,
) -> Dialect:
    """Return what the first rows of a file say, given the line that each begins on.

    ``has_header``: as the file that this one belongs to; None: as declared, or found out.
    """
    notes = []
    if config.separator is None:
        notes.append(f"cells are separated by {_NAMES.get(separator, separator)}")
    if has_header is None:
        has_header = config.header
    if has_header is None:
        has_header = looks_like_header(rows[0], rows[1:], config)
        found = "names the columns" if has_header else "is a row: the columns have no names"
        notes.append(f"line {lines[0]} {found}")
    names = None
    if has_header:
        names, renamed = unique_names(rows[0])
        notes += renamed
    first_line = lines[0] if names is None else lines[1] if len(lines) > 1 else lines[0] + 1
    return Dialect(separator, names, first_line, len(rows[0]), tuple(notes))


_NAMES = {"\t": "tab", " ": "blanks"}


def _read_test_rows(
    config: TableConfig, separator: str, names: tuple[str, ...] | None, width: int
) -> tuple[list[list[str]], list[int]]:
    """The rows of ``config.test_path``, their cells in the order of the first file's header."""
    path = config.test_path
    assert path is not None
    text = read_text(path, config.encoding, "test_path")
    rows, lines = read_rows(text, separator, config, path)
    order = order_of_test(rows, lines, names, width, config)
    if names is None:
        return rows, lines
    if len(rows) == 1:
        raise DataError(f"{path}: no rows below the header")
    return [[row[i] for i in order] for row in rows[1:]], lines[1:]


def order_of_test(
    rows: Sequence[list[str]],
    lines: Sequence[int],
    names: tuple[str, ...] | None,
    width: int,
    config: TableConfig,
) -> list[int]:
    """Return the columns of ``config.test_path``, in the order of the first file's.

    Args:
        rows, lines: the first of that file.

    Raises:
        DataError: it has other columns.
    """
    path = config.test_path
    if len(rows[0]) != width:
        raise DataError(
            f"{path}: line {lines[0]} has {len(rows[0])} cells, but {config.path} has {width} "
            "columns"
        )
    if names is None:
        return list(range(width))
    header, line = list(unique_names(rows[0])[0]), lines[0]
    if sorted(header) != sorted(names):
        strange = next((name for name in header if name not in names), header[0])
        raise DataError(
            f"{path}: line {line} is not the header of {config.path}: it has no column "
            f"{quoted(strange)}"
        )
    return [header.index(name) for name in names]
