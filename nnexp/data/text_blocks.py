"""Separated text as blocks of a table, for rows to predict: read line by line, whatever its length.

Which columns there must be is known here, so a separator and a header are looked for by their
names. Cells are read as in training: blanks around them taken off, strictly quoted, every row as
long as the first.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import itertools
import lzma
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from nnexp.data.source import Doubles, is_number, plain_numbers, quoted
from nnexp.data.sources.csv_parser import (
    cells_of,
    cells_of_any_length,
    kept_lines,
    problem_of,
    reader_of,
    separator_line,
    unique_names,
)
from nnexp.data.table import Cells, Table, Texts
from nnexp.errors import ConfigError, DataError, did_you_mean

Row = tuple[list[str], int]
"""Its cells, and the line that it begins on."""

LINE = "text"
"""The column of lines of text."""
SEPARATORS = "\t;|, "  # by how rarely each stands inside a cell
_SAMPLE = 200  # lines that are looked at
_PACKED: dict[bytes, Any] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(file, "zstd"),
}


@dataclass(frozen=True)
class TextOptions:
    """How a text is written; the options of the same names of ``dataset=csv``."""

    header: bool | None = None  # None: found out
    separator: str | None = None  # None: found out
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    encoding: str = "utf-8"
    skip_rows: int | Sequence[int] = 0
    skip_footer: int = 0
    index_column: str | None = None


@dataclass(frozen=True)
class Expected:
    """The columns that rows to predict should have."""

    names: tuple[str, ...] | None  # None: they go by number
    numeric: frozenset[str] = frozenset()  # names of those that hold plain numbers
    missing: tuple[str, ...] = ("", "?")  # cells that mean no value
    needed: frozenset[str] | None = None  # names of columns whose cells are wanted; None: all

    def needs(self, name: str) -> bool:
        """Return whether the cells of a column are wanted."""
        return self.needed is None or name in self.needed


def text_blocks(
    path: Path, options: TextOptions, expected: Expected, num_rows: int, tell: Callable[[int], None]
) -> Iterator[Table]:
    """Read a text in blocks of at most ``num_rows`` rows; it may be packed as in training.

    Args:
        tell: is called with how many bytes of the file have been read.

    Raises:
        ConfigError: no encoding has the name that is given.
        DataError: the file is not there, damaged, or no table, by its line.
    """
    with _errors(path, options), path.open("rb") as file:
        numbered = _Lines(_unpacked(file), options)
        separator = _separator(numbered, options, expected)
        rows = _rows(numbered, separator, path, options)
        block = _taken(rows, 1)
        if not block:
            raise DataError(f"{path}: empty, no rows")
        names = _header(block[0][0], options, expected)
        header_line, width = block[0][1], len(block[0][0])
        block = [] if names is not None else block
        block += _taken(rows, num_rows - len(block))
        rows_are_named = names is not None and options.index_column in ("0", "")
        if rows_are_named and block and len(block[0][0]) == width + 1:
            names, width = ("", *(names or ())), width + 1  # R names no column of row names
        while block:
            for row, line in block:
                if len(row) != width:
                    raise DataError(
                        f"{path}: line {line} has {_cells(len(row))}, but line {header_line} has "
                        f"{width}"
                    )
            tell(file.tell())
            yield _table(path, names, block, expected)
            block = _taken(rows, num_rows)


def line_blocks(
    path: Path, options: TextOptions, num_rows: int, tell: Callable[[int], None]
) -> Iterator[Table]:
    """Read lines of text, plain or packed, as a table with the one column ``text``.

    Empty lines are left out. Args and raises as ``text_blocks``.
    """
    with _errors(path, options), path.open("rb") as file:
        numbered = _Lines(_unpacked(file), options)
        lines = ((line.strip(), number) for number, line in enumerate(numbered, start=1))
        full = (pair for pair in lines if pair[0])
        while block := list(itertools.islice(full, num_rows)):
            tell(file.tell())
            numbers = [number for _, number in block]
            texts = Texts.of(line for line, _ in block)
            yield Table(str(path), (LINE,), [texts], len(block), numbers.__getitem__)


def _taken(rows: Iterator[Row], count: int) -> list[Row]:
    with cells_of_any_length():
        return list(itertools.islice(rows, count))


# --------------------------------------------------------------------------------------------------
# Lines: unpacked, decoded; one that is left out is an empty line: the others keep their numbers.
# --------------------------------------------------------------------------------------------------


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    start = file.read(8)
    file.seek(0)
    for magic, opened in _PACKED.items():
        if start.startswith(magic):
            unpacked: IO[bytes] = opened(file)
            return unpacked
    return file


class _Lines:
    """An iterator over the lines of a text, of which the first can be looked at before."""

    def __init__(self, file: IO[bytes], options: TextOptions) -> None:
        encoding = (
            "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding
        )
        self._text = io.TextIOWrapper(file, encoding, newline="")  # closes the file when it goes
        first = next(self._text, "")
        self.separator = separator_line(first)  # None: the first line names none
        self._lines = kept_lines(itertools.chain([first], self._text), options)
        self._ahead: deque[str] = deque()
        count = 0
        for line in self._lines:
            self._ahead.append(line)
            count += bool(line.strip())
            if count == _SAMPLE:
                break
        self.sample = [line for line in self._ahead if line.strip()]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._ahead.popleft() if self._ahead else next(self._lines)


# --------------------------------------------------------------------------------------------------
# Rows: the separator, the header, the cells.
# --------------------------------------------------------------------------------------------------


def _separator(lines: _Lines, options: TextOptions, expected: Expected) -> str:
    """The one that is given; else the one that cuts the expected names out of the first line, or
    most of the first lines into cells of the same number."""
    if options.separator is not None:
        return "\t" if options.separator in ("tab", "\\t") else options.separator
    if lines.separator is not None:
        return lines.separator
    best, most = ",", (0, 0)
    for separator in SEPARATORS:
        rows: list[list[str]] = []
        with contextlib.suppress(csv.Error):
            reader = reader_of(iter(lines.sample), separator, options)
            rows.extend(cells_of(cells, separator) for cells in reader)
        if not rows:
            continue
        known = len(set(expected.names or ()) & set(rows[0]))
        width = len(rows[0])
        alike = sum(len(row) == width for row in rows) if width > 1 else 0
        if (known, alike) > most:
            best, most = separator, (known, alike)
    return best


def _header(
    first: Sequence[str], options: TextOptions, expected: Expected
) -> tuple[str, ...] | None:
    """The names of the columns, if the first row has them."""
    has_header = options.header
    if has_header is None:
        # Some names are the expected ones, or none is a number where names are expected.
        known = set(first) & set(expected.names or ())
        has_header = bool(known) or (expected.names is not None and not any(map(is_number, first)))
    return unique_names(first)[0] if has_header else None


def _rows(lines: Iterator[str], separator: str, path: Path, options: TextOptions) -> Iterator[Row]:
    """Rows of cells, and the line that each begins on."""
    reader = reader_of(lines, separator, options)
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = problem_of(error, separator, options)
            raise DataError(f"{path}: line {begins}: {problem}") from error
        row = cells_of(cells, separator)
        if len(row) > 1 or (row and row[0]):
            yield row, begins
        begins = reader.line_num + 1


def _table(
    path: Path,
    names: tuple[str, ...] | None,
    block: list[Row],
    expected: Expected,
) -> Table:
    columns: list[Cells] = []
    lines = [line for _, line in block]
    for number, cells in enumerate(zip(*(row for row, _ in block), strict=True)):
        if names is not None and not expected.needs(names[number]):
            columns.append(_nothing(len(block)))
            continue
        is_numeric = names is not None and names[number] in expected.numeric
        numbers = _numbers(cells, expected.missing) if is_numeric else None
        columns.append(Texts.of(cells) if numbers is None else numbers)
    return Table(str(path), names, columns, len(block), lines.__getitem__)


def _nothing(num_rows: int) -> Texts:
    """A column that is not wanted: no cells, and no memory."""
    return Texts(np.broadcast_to(np.int32(-1), (num_rows,)), ())


def _numbers(cells: Sequence[str], missing: Collection[str]) -> Doubles | None:
    """Cells as plain numbers; None where one is neither that nor missing."""
    if any(map(is_number, missing)):
        return None
    is_known = np.fromiter((cell not in missing for cell in cells), bool, len(cells))
    known = plain_numbers(list(itertools.compress(cells, is_known)))
    if known is None:
        return None
    values = np.full(len(cells), np.nan)
    values[is_known] = known
    return values


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


@contextlib.contextmanager
def _errors(path: Path, options: TextOptions) -> Iterator[None]:
    """What goes wrong while a file is read, in one line."""
    try:
        yield
    except FileNotFoundError as error:
        near = []
        with contextlib.suppress(OSError):
            near = [sibling.name for sibling in path.parent.iterdir()]
        raise DataError(f"{path}: no such file{did_you_mean(path.name, near)}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder, not a file") from error
    except LookupError as error:
        if options.encoding.lower() in str(error).lower():
            raise ConfigError(f"dataset.encoding={options.encoding}: no such encoding") from error
        raise
    except UnicodeError as error:
        raise DataError(
            f"{path}: holds bytes that are not {quoted(options.encoding)}; another encoding is "
            "given by dataset.encoding"
        ) from error
    except EOFError as error:
        raise DataError(f"{path}: truncated, the packed data have no end") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: damaged, {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror or error}") from error
