"""A text file as a table of cells: every row as long as the first, every cell as it was written.

The csv module reads it, not pandas, which moves values into an index where a row is too long, fills
short rows up and takes the class "NA" for a missing value. Here such a row is an error that names
its line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.config.schema import CSVConfig
from nnexp.data.columns import is_number, printable, quoted
from nnexp.data.packed import unpack
from nnexp.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

_SEPARATORS = "\t;|, "  # by how rarely each stands inside a cell
_SAMPLE = 200  # rows that are looked at to find the separator and the header
_NO_LIMIT = 2**31 - 1  # the largest that the csv module takes on every platform
_limit_lock = threading.Lock()


@dataclass(frozen=True)
class Table:
    """Columns of cells, with where each row stands: in the file of the table or of its test rows.

    The test rows of ``dataset.test_path`` follow the others.
    """

    path: str  # as the config gives it, for messages
    test_path: str | None
    names: tuple[str, ...] | None  # None: the file has no header
    columns: list[tuple[str, ...]]
    lines: list[int]  # of each row in its file, from 1
    first_test_row: int | None  # None: no file of test rows

    @property
    def num_rows(self) -> int:
        """Number of rows, headers not counted."""
        return len(self.lines)

    def title(self, column: int) -> str:
        """The name of a column or, where it has none, its number from 0."""
        return (self.names[column] if self.names else "") or f"column {column}"

    def where(self, row: int, column: int) -> str:
        """For messages: file, line and column of a cell."""
        in_test = self.first_test_row is not None and row >= self.first_test_row
        title = quoted(self.names[column]) if self.names else f"{column} (from 0)"
        return f"{self.test_path if in_test else self.path}: line {self.lines[row]}, column {title}"

    def find(self, reference: str, option: str) -> int:
        """The number of the column of that name or, where none has it, of that number.

        Raises:
            ConfigError: there is no such column; ``option`` is named.
        """
        if self.names is not None and reference in self.names:
            return self.names.index(reference)
        width = len(self.columns)
        try:
            number = int(reference)
        except ValueError:
            if self.names is None:
                have = f"has no header, so its columns go by number, 0 to {width - 1}"
            else:
                names = [printable(name) for name in self.names]
                shown = ", ".join(names[:10]) + (", ..." if width > 10 else "")
                have = f"has no such column{did_you_mean(reference, names)}; it has {shown}"
        else:
            if -width <= number < width:
                return number % width
            have = f"has columns 0 to {width - 1}"
        raise ConfigError(f"dataset.{option}={reference}: {self.path} {have}")


@contextlib.contextmanager
def _cells_of_any_length() -> Iterator[None]:
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


@_cells_of_any_length()
def read_table(config: CSVConfig) -> Table:
    """The table of ``config.path``, its separator and header found out where they are not given.

    Raises:
        ConfigError, DataError: naming the file and, where there is one, the line.
    """
    text = _read_text(config.path, config.encoding, "path")
    separator = config.separator
    if separator is None:
        separator = _find_separator(text, config)
    separator = "\t" if separator in ("tab", "\\t") else separator
    rows, lines = _rows(text, separator, config, config.path)
    width, has_header = len(rows[0]), config.header
    if has_header is None:
        has_header = _looks_like_header(rows[0], rows[1 : 1 + _SAMPLE], config)
    names = None
    if has_header:
        names = tuple(rows[0])
        _require_unique(names, config.path, lines[0])
        rows, lines = rows[1:], lines[1:]
    first_test_row = None
    if config.test_path is not None:
        first_test_row = len(rows)
        test_rows, test_lines = _read_test_rows(config, separator, names, width)
        rows, lines = rows + test_rows, lines + test_lines
    if not rows or first_test_row == 0:
        raise DataError(f"{config.path}: no rows below the header")
    columns = list(zip(*rows, strict=True))
    return Table(config.path, config.test_path, names, columns, lines, first_test_row)


def _read_test_rows(
    config: CSVConfig, separator: str, names: tuple[str, ...] | None, width: int
) -> tuple[list[list[str]], list[int]]:
    """The rows of ``config.test_path``, their cells in the order of the first file's header."""
    path = config.test_path
    assert path is not None
    text = _read_text(path, config.encoding, "test_path")
    rows, lines = _rows(text, separator, config, path)
    if len(rows[0]) != width:
        raise DataError(
            f"{path}: line {lines[0]} has {len(rows[0])} cells, but {config.path} has {width} "
            "columns"
        )
    if names is None:
        return rows, lines
    header, line = rows[0], lines[0]
    if sorted(header) != sorted(names):
        strange = next((name for name in header if name not in names), header[0])
        raise DataError(
            f"{path}: line {line} is not the header of {config.path}: it has no column "
            f"{quoted(strange)}"
        )
    if len(rows) == 1:
        raise DataError(f"{path}: no rows below the header")
    order = [header.index(name) for name in names]
    return [[row[i] for i in order] for row in rows[1:]], lines[1:]


def _read_text(path: str, encoding: str, option: str) -> str:
    """The file's text, unpacked if it is gzip, without a byte order mark."""
    file = Path(path).expanduser()
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        near = []
        with contextlib.suppress(OSError):
            near = [sibling.name for sibling in file.parent.iterdir()]
        place = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise DataError(
            f"dataset.{option}={path}: no such file{place}{did_you_mean(file.name, near)}"
        ) from error
    except IsADirectoryError as error:
        raise DataError(f"dataset.{option}={path}: a folder, not a file") from error
    except OSError as error:
        raise DataError(f"dataset.{option}={path}: cannot be read, {error.strerror}") from error
    if content.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: a zip archive; unpack it first")
    content = unpack(content, path)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise ConfigError(f"dataset.encoding={encoding}: no such encoding") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte 0x{content[error.start]:02x} is not {encoding}; "
            "another encoding, such as latin-1 or utf-16, is given by dataset.encoding"
        ) from error


def _rows(
    text: str, separator: str, config: CSVConfig, path: str
) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, all as long, and the line that each begins on."""
    reader = _reader(_lines(text, config.comment), separator, config.quote)
    rows, lines = [], []
    begins = 1
    try:
        for cells in reader:
            row = _cells(cells, separator)
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


def _lines(text: str, comment: str | None) -> Iterator[str]:
    """Physical lines; a comment is an empty line, so that the others keep their numbers."""
    lines = io.StringIO(text, newline="")
    if comment is None:
        return lines
    return ("\n" if line.startswith(comment) else line for line in lines)


def _reader(lines: Iterator[str], separator: str, quote: str | None) -> CSVReader:
    """Strict, so that a stray quote is an error rather than a cell that swallows lines."""
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=quote,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        skipinitialspace=separator not in " \t",
        strict=True,
    )


def _cells(cells: list[str], separator: str) -> list[str]:
    """One row: any number of blanks separates where a blank does, else blanks are trimmed."""
    if separator == " ":
        return [cell for cell in cells if cell]
    return [cell.strip() for cell in cells]


def _find_separator(text: str, config: CSVConfig) -> str:
    """The separator that cuts most of the first rows into the same number of cells, at least 2."""
    lines = (line for line in _lines(text, config.comment) if line.strip())
    sample = list(itertools.islice(lines, _SAMPLE))
    if not sample:
        raise DataError(f"{config.path}: empty, no rows")
    best, most = None, 0
    for separator in _SEPARATORS:
        widths: Counter[int] = Counter()
        # A wrong separator breaks quoted cells; the end of the sample may cut a right one.
        with contextlib.suppress(csv.Error):
            for row in _reader(iter(sample), separator, config.quote):
                widths[len(_cells(row, separator))] += 1
        width, rows = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and rows > most:
            best, most = separator, rows
    if best is None:
        raise DataError(
            f"{config.path}: no separator found among tab ; | , and space; "
            "give it with dataset.separator"
        )
    return best


def _require_rectangle(rows: Sequence[Sequence[str]], lines: Sequence[int], path: str) -> None:
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise DataError(
                f"{path}: line {line} has {len(row)} cells, but line {lines[0]} has {width}"
            )


def _require_unique(names: Sequence[str], path: str, line: int) -> None:
    for name, count in Counter(names).items():
        if count > 1 and name:
            first = names.index(name)
            second = names.index(name, first + 1)
            raise DataError(
                f"{path}: line {line}: columns {first} and {second} (from 0) are both named "
                f"{quoted(name)}"
            )


def _looks_like_header(
    first: Sequence[str], body: Sequence[Sequence[str]], config: CSVConfig
) -> bool:
    """Whether a file's first row names its columns.

    It does not if it is all numbers, has a missing value, or has a text that comes again in its
    column. Else its texts are names; numbers beside them are names if they count up by one. A
    first row without others names columns only if it holds no number.

    Raises:
        DataError: a text stands above numbers, but numbers beside it look like values.
    """
    above_numbers = False
    for name, *cells in zip(first, *body, strict=True):
        if name in cells and not is_number(name) and name:
            return False
        if name in config.missing and name:
            return False
        known = [cell for cell in cells if cell not in config.missing]
        if name and known and not is_number(name) and all(map(is_number, known)):
            above_numbers = True
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
