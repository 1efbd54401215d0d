"""A table of cells, with where each row stands; what its columns are called."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nnexp.config.schema import CSVConfig
from nnexp.data.columns import printable, quoted
from nnexp.data.csv_source.cells import cells_of_any_length, read_rows
from nnexp.data.csv_source.found_out import find_separator, looks_like_header, require_separator
from nnexp.data.csv_source.text import read_text
from nnexp.errors import ConfigError, DataError

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
