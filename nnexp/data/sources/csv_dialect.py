"""The dialect of a CSV file (separator, header), and its table of named columns."""

from __future__ import annotations

import contextlib
import csv
import difflib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nnexp.config.schema import CSVConfig
from nnexp.data.source import is_number, printable, quoted
from nnexp.data.sources.csv_parser import (
    cells_of,
    cells_of_any_length,
    lines_of,
    read_rows,
    read_text,
    reader_of,
)
from nnexp.errors import ConfigError, DataError

# --------------------------------------------------------------------------------------------------
# What a file does not say of itself: its separator, and whether its first row is a header.
# --------------------------------------------------------------------------------------------------

_SEPARATORS = "\t;|, "  # by how rarely each stands inside a cell
_TYPED = {"\t": "tab"}  # as dataset.separator takes it
_SAMPLE = 200  # rows that are looked at


def find_separator(text: str, config: CSVConfig) -> str:
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


def require_separator(text: str, separator: str, config: CSVConfig) -> None:
    """The separator that the config gives stands in the first row.

    Raises:
        ConfigError: it does not; one that does is named.
    """
    reader = reader_of(lines_of(text, config.comment), separator, config.quote)
    with contextlib.suppress(csv.Error):  # told where all rows are read
        rows = (cells_of(cells, separator) for cells in reader)
        if len(next(filter(any, rows), "")) == 1:
            best = _best_separator(text, config)
            hint = f" (did you mean '{_TYPED.get(best, best)}'?)" if best else ""
            raise ConfigError(
                f"dataset.separator={config.separator}: none in line {reader.line_num} of "
                f"{config.path}{hint}"
            )


def _sample(text: str, config: CSVConfig) -> list[str]:
    lines = (line for line in lines_of(text, config.comment) if line.strip())
    return list(itertools.islice(lines, _SAMPLE))


def _best_separator(text: str, config: CSVConfig) -> str | None:
    """The separator that cuts most of the first rows into the same number of cells, at least 2."""
    sample = _sample(text, config)
    best, most = None, 0
    for separator in _SEPARATORS:
        widths: Counter[int] = Counter()
        # A wrong separator breaks quoted cells; the end of the sample may cut a right one.
        with contextlib.suppress(csv.Error):
            for row in reader_of(iter(sample), separator, config.quote):
                widths[len(cells_of(row, separator))] += 1
        width, rows = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and rows > most:
            best, most = separator, rows
    return best


def looks_like_header(
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
    for name, *cells in zip(first, *body[:_SAMPLE], strict=True):
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


# --------------------------------------------------------------------------------------------------
# A table of cells, with where each row stands; what its columns are called.
# --------------------------------------------------------------------------------------------------

_MOST_NAMES = 10  # in a message
_NEAR = 0.6  # the likeness from which a name may be what was meant


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
                have = (
                    f"has no header, so its columns go by number, 0 to {width - 1}; "
                    "dataset.header=true takes its first row for one"
                )
            else:
                have = f"has no such column{_nearest_first(reference, self.names)}"
        else:
            if -width <= number < width:
                return number % width
            have = f"has columns 0 to {width - 1}"
        raise ConfigError(f"dataset.{option}={reference}: {self.path} {have}")


def _nearest_first(reference: str, names: Sequence[str]) -> str:
    """For messages: the name that may have been meant, and which names there are."""
    wanted = reference.casefold()
    likeness = {
        name: difflib.SequenceMatcher(None, name.casefold(), wanted).ratio()
        for name in filter(None, names)
    }
    nearest = sorted(likeness, key=lambda name: -likeness[name])
    hint = f" (did you mean {quoted(nearest[0])}?)" if likeness[nearest[0]] >= _NEAR else ""
    more = len(nearest) - _MOST_NAMES
    shown = ", ".join(map(printable, nearest[:_MOST_NAMES]))
    return f"{hint}; it has {shown}" + (f" and {more} more" if more > 0 else "")


@cells_of_any_length()
def read_table(config: CSVConfig) -> Table:
    """The table of ``config.path``, its separator and header found out where they are not given.

    Raises:
        ConfigError, DataError: naming the file and, where there is one, the line.
    """
    text = read_text(config.path, config.encoding, "path")
    separator = config.separator
    if separator is None:
        separator = find_separator(text, config)
    else:
        separator = "\t" if separator in ("tab", "\\t") else separator
        require_separator(text, separator, config)
    rows, lines = read_rows(text, separator, config, config.path)
    width, has_header = len(rows[0]), config.header
    if has_header is None:
        has_header = looks_like_header(rows[0], rows[1:], config)
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
    text = read_text(path, config.encoding, "test_path")
    rows, lines = read_rows(text, separator, config, path)
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


def _require_unique(names: Sequence[str], path: str, line: int) -> None:
    for name, count in Counter(names).items():
        if count > 1 and name:
            first = names.index(name)
            second = names.index(name, first + 1)
            raise DataError(
                f"{path}: line {line}: columns {first} and {second} (from 0) are both named "
                f"{quoted(name)}"
            )
