"""A table as a file holds it: named columns of cells, and where each row stands.

Every reader (of separated text, Parquet, JSON lines, a DataFrame, ...) ends in a ``Table``; what
the columns mean is found out from there on, the same for all formats.

Axes: ``M`` rows.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.data.source import Doubles, is_number, printable, quoted
from nnexp.errors import ConfigError

# --------------------------------------------------------------------------------------------------
# The cells of one column: numbers, moments in time, or texts.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of text, each distinct one once.

    What a column means hangs on its distinct texts alone, so that two million rows of ten
    categories cost no more to understand than ten rows.
    """

    codes: NDArray[np.int32]  # [M], places in ``values``; -1 where the file has no cell (a null)
    values: tuple[str, ...]  # blanks around them taken off; every one stands in a row at least

    @classmethod
    def of(cls, cells: Iterable[str | None]) -> Texts:
        """From the cells [M] in order of the rows; None is a null."""
        places: dict[str, int] = {}
        codes = np.fromiter(
            (-1 if cell is None else places.setdefault(cell, len(places)) for cell in cells),
            np.int32,
        )
        return cls(codes, tuple(places))

    def counts(self) -> NDArray[np.int64]:
        """Return in how many rows each of ``values`` stands."""
        known = self.codes[self.codes >= 0]
        return np.bincount(known, minlength=len(self.values)).astype(np.int64)

    def first_row(self, value: str) -> int:
        """Return the first row that has this text; it must be one of ``values``."""
        return int(np.argmax(self.codes == self.values.index(value)))


@dataclass(frozen=True, eq=False)
class Moments:
    """A column that its format declares to be dates or times, as Parquet can."""

    seconds: Doubles  # [M], since 1970-01-01 00:00 UTC; NaN where there is none
    has_time: bool  # False: days


Cells = Doubles | Texts | Moments
"""float64 [M] with NaN where there is no number, or one of the classes above."""


def num_cells(cells: Cells) -> int:
    """Return M."""
    if isinstance(cells, Texts):
        return len(cells.codes)
    return len(cells.seconds if isinstance(cells, Moments) else cells)


def take_rows(cells: Cells, rows: NDArray[np.int64] | slice) -> Cells:
    """Return some rows of a column, in the order given."""
    if isinstance(cells, Texts):
        return _compact(cells.codes[rows], cells.values)
    if isinstance(cells, Moments):
        return Moments(cells.seconds[rows], cells.has_time)
    return cells[rows]


def join_rows(parts: Sequence[Cells]) -> Cells:
    """Return columns one below the other. Where their kinds differ they are joined as texts."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
    if all(isinstance(part, Moments) for part in parts):
        moments = [part for part in parts if isinstance(part, Moments)]
        return Moments(
            np.concatenate([part.seconds for part in moments]),
            any(part.has_time for part in moments),
        )
    places: dict[str, int] = {}
    codes = []
    for part in map(as_texts, parts):
        new = np.array(
            [places.setdefault(value, len(places)) for value in part.values] + [-1], np.int32
        )
        codes.append(new[part.codes])
    return Texts(np.concatenate(codes), tuple(places))


def as_texts(cells: Cells) -> Texts:
    """Return a column as text: whole numbers without a point, moments as ISO 8601 has them."""
    if isinstance(cells, Texts):
        return cells
    values = cells.seconds if isinstance(cells, Moments) else cells
    known = ~np.isnan(values)
    distinct, places = np.unique(values[known], return_inverse=True)
    codes = np.full(len(values), -1, np.int32)
    codes[known] = places.reshape(-1)
    if isinstance(cells, Moments):
        unit = "s" if cells.has_time else "D"
        moments = (distinct * 1e6).round().astype("datetime64[us]")
        texts = [str(moment) for moment in moments.astype(f"datetime64[{unit}]")]
        return _merged(codes, texts)
    return Texts(codes, tuple(map(number_text, distinct.tolist())))


def number_text(value: float) -> str:
    """Return the shortest text of a number, ``3`` rather than ``3.0``."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def cell_text(cells: Cells, row: int) -> str:
    """Return a cell for a message; an empty text where there is none."""
    part = as_texts(take_rows(cells, slice(row, row + 1)))
    return part.values[0] if part.values else ""


def _compact(codes: NDArray[np.int32], values: tuple[str, ...]) -> Texts:
    """Without the texts that no row has any more, in the order in which rows have them."""
    used, first = np.unique(codes, return_index=True)
    used = used[np.argsort(first)]
    used = used[used >= 0]
    places = np.full(len(values) + 1, -1, np.int32)
    places[used] = np.arange(len(used))
    return Texts(places[codes], tuple(values[code] for code in used.tolist()))


def _merged(codes: NDArray[np.int32], texts: Sequence[str]) -> Texts:
    """Several codes may have one text, as times of one second that a fraction told apart."""
    places: dict[str, int] = {}
    new = np.array([places.setdefault(text, len(places)) for text in texts] + [-1], np.int32)
    return Texts(new[codes], tuple(places))


# --------------------------------------------------------------------------------------------------
# The table, and how its columns are found and named.
# --------------------------------------------------------------------------------------------------

_MOST_NAMES = 10  # in a message
_NEAR = 0.6  # the likeness from which a name may be what was meant


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of cells, with where each row stands.

    The rows of a second file, of official test rows, follow those of the first.
    """

    path: str  # as the config gives it, for messages
    names: tuple[str, ...] | None  # None: the columns have none, and go by number
    columns: list[Cells]
    num_rows: int  # M, headers not counted
    line: Callable[[int], int] | None = None  # of a row in its file, from 1; None: it has no lines
    test_path: str | None = None
    first_test_row: int | None = None  # None: no file of test rows
    separator: str = ""  # between cells, of text
    notes: tuple[str, ...] = ()  # what was guessed or changed, for the data card
    first_row: int = 0  # in the file, of a table that is a block of it
    categorical: frozenset[int] = frozenset()  # columns that the data declare to be categories

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """The column of each name, the first of those that share one."""
        names = self.names or ()
        return {name: place for place, name in reversed(list(enumerate(names)))}

    def title(self, column: int) -> str:
        """Return the name of a column or, where it has none, its number from 0."""
        return (self.names[column] if self.names else "") or f"column {column}"

    def reference(self, column: int) -> str:
        """Return how an option names a column: its name or, where it has none that can be typed,
        its number."""
        name = self.names[column] if self.names else ""
        return name if name and name.isprintable() else str(column)

    def where(self, row: int, column: int) -> str:
        """For messages: file, line (or row from 0, where a file has no lines) and column."""
        title = quoted(self.names[column]) if self.names else f"{column} (from 0)"
        return f"{self.place(row)}, column {title}"

    def place(self, row: int) -> str:
        """For messages: file and line, or row from 0 where a file has no lines."""
        in_test = self.first_test_row is not None and row >= self.first_test_row
        path = self.test_path if in_test else self.path
        if self.line is not None:
            return f"{path}: line {self.line(row)}"
        return f"{path}: row {self.first_row + row - (self.first_test_row or 0) * in_test}"

    def find(self, reference: Any, option: str) -> int:
        """Return the number of the column of that name or, where none has it, of that number.

        Args:
            reference: as YAML has read it: ``true`` may stand for the column True.
            option: of ``dataset``, for the message.

        Raises:
            ConfigError: there is no such column.
        """
        if self.names is not None:
            for match in (self._exactly, self._by_value):
                found = match(reference)
                if found is not None:
                    return found
        width = len(self.columns)
        if isinstance(reference, str | int) and not isinstance(reference, bool):
            try:
                number = int(reference)
            except ValueError:
                pass
            else:
                if -width <= number < width:
                    return number % width
                if not self._in_first_row(reference):
                    raise ConfigError(
                        f"dataset.{option}={reference}: {self.path} has columns 0 to {width - 1}"
                    )
        if self.names is None:
            have = (
                f"has no header, so its columns go by number, 0 to {width - 1}; "
                "dataset.header=true takes its first row for one"
            )
        else:
            have = f"has no such column{nearest_first(str(reference), self.names)}"
        raise ConfigError(f"dataset.{option}={reference}: {self.path} {have}")

    def _in_first_row(self, reference: Any) -> bool:
        """Whether the first row of a table without names has such a cell: a header, perhaps."""
        return self.names is None and any(
            same_value(cell_text(cells, 0), reference) for cells in self.columns
        )

    def _exactly(self, reference: Any) -> int | None:
        assert self.names is not None
        return self.names.index(reference) if reference in self.names else None

    def _by_value(self, reference: Any) -> int | None:
        """The one column whose name YAML would have read as the same value."""
        assert self.names is not None
        matches = [at for at, name in enumerate(self.names) if same_value(name, reference)]
        return matches[0] if len(matches) == 1 else None


def same_value(text: str, declared: Any) -> bool:
    """Return whether a text of a file is what was declared on the command line.

    It is if the texts are equal, if both are one number (``-9999.0`` and -9999), or if both are one
    of YAML's words (``True`` and true, ``NaN`` and nan, ``None`` and null).
    """
    if text == declared:
        return True
    if declared is None:
        return text.casefold() in ("null", "none", "~")
    if isinstance(declared, bool) or str(declared) in ("True", "False"):
        return text.casefold() == str(declared).casefold()
    if isinstance(declared, float) and math.isnan(declared):
        return text.casefold() == "nan"
    word = str(declared).strip()
    if word.casefold() in ("nan", "null", "none", "true", "false"):
        return text.casefold() == word.casefold()
    return is_number(text) and is_number(word) and float(text) == float(word)


def nearest_first(reference: str, names: Sequence[str]) -> str:
    """For messages: the name that may have been meant, and which names there are."""
    wanted = reference.casefold()
    likeness = {
        name: difflib.SequenceMatcher(None, name.casefold(), wanted).ratio()
        for name in filter(None, names)
    }
    if not likeness:
        return ""
    nearest = sorted(likeness, key=lambda name: -likeness[name])
    hint = f" (did you mean {quoted(nearest[0])}?)" if likeness[nearest[0]] >= _NEAR else ""
    more = len(nearest) - _MOST_NAMES
    shown = ", ".join(map(printable, nearest[:_MOST_NAMES]))
    return f"{hint}; it has {shown}" + (f" and {more} more" if more > 0 else "")
