"""Where the cells of a column come from, for messages, and rules that hold in every format.

Axes: ``M`` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.data.source import Doubles, printable, quoted
from nnexp.data.table import Cells, Table, Texts
from nnexp.errors import DataError

EXACT = 2**53
"""Every integer up to this one, and down to its negative, is a float64."""

DIGITS = 15
"""Decimals of so many digits are one to one with the float64s nearest to them."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The file, or the argument of a function, that a table is read from."""

    path: str  # as it was given
    line: Callable[[int], int] | None = None  # of a row, from 1; None: rows have no lines
    way_out: str = "leave it out with dataset.drop"  # of a column that cannot be read
    notes: list[str] = field(default_factory=list)  # what was converted, for the data card

    def where(self, row: int, name: str) -> str:
        """Return file, line (or row from 0) and column."""
        place = f"row {row}" if self.line is None else f"line {self.line(row)}"
        return f"{self.path}: {place}, column {quoted(name)}"

    def refused(self, name: str, problem: str) -> DataError:
        """Return the error of a column that cannot be read, with the way out."""
        return DataError(f"{self.path}: column {quoted(name)} {problem}; {self.way_out}")

    def converted(self, name: str, what: str) -> None:
        """Note what became of a column."""
        self.notes.append(f"column {quoted(name)} {what}")

    def finite(self, values: Doubles, name: str) -> Doubles:
        """Return numbers [M], NaN where there is none.

        Raises:
            DataError: naming the row of the first that is infinite.
        """
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise DataError(f"{self.where(row, name)}: {values[row]:g} is not a finite number")
        return values

    def table(self, names: Sequence[str] | None, columns: Sequence[Cells], num_rows: int) -> Table:
        """Return what was read as a table."""
        return Table(
            path=self.path,
            names=None if names is None else tuple(names),
            columns=list(columns),
            num_rows=num_rows,
            line=self.line,
            notes=tuple(self.notes),
        )


def no_cells(num_rows: int) -> Texts:
    """Return a column [M] of nulls, which takes no memory: one that is dropped, or empty."""
    return Texts(np.broadcast_to(np.int32(-1), (num_rows,)), ())


def texts_in_use(codes: NDArray[np.int32], values: Sequence[str]) -> Texts:
    """Return codes [M] and their texts in the order given, each once, if a row has it.

    Args:
        codes: places in ``values``, of which several may have one text; -1 is a null.
    """
    if len(set(values)) < len(values):
        places = {text: place for place, text in enumerate(dict.fromkeys(values))}
        codes = np.array([*map(places.__getitem__, values), -1], np.int32)[codes]
        values = tuple(places)
    used = np.bincount(codes[codes >= 0], minlength=len(values)) > 0
    if used.all():
        return Texts(codes, tuple(values))
    new = np.full(len(values) + 1, -1, np.int32)
    new[:-1][used] = np.arange(int(used.sum()))
    return Texts(new[codes], tuple(v for v, use in zip(values, used, strict=True) if use))


def texts_of_booleans(values: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> Texts:
    """Return booleans [M] as the texts False and True.

    Args:
        known: [M], False where there is none; None: all are known.
    """
    codes = values.astype(np.int32)
    if known is not None:
        codes[~known] = -1
    return texts_in_use(codes, ("False", "True"))


def dropped_columns(
    path: str, names: Sequence[str] | None, width: int, drop: Collection[Any]
) -> frozenset[int]:
    """Return the numbers of columns that need not be read.

    They keep their places in the table, without cells, so that the numbers of the others stay.

    Args:
        names: [width]; None: the columns go by number.
        drop: references to columns, as ``Table.find`` takes them.

    Raises:
        ConfigError: there is no such column.
    """
    bare = Table(path, None if names is None else tuple(names), [no_cells(0)] * width, 0)
    return frozenset(bare.find(reference, "drop") for reference in drop)


def require_shape(path: str, names: Sequence[str] | None, num_rows: int, width: int) -> None:
    """Check that there is something to read, under names of which no two are the same.

    Raises:
        DataError: no columns, no rows, or a name that two columns have.
    """
    if not width:
        raise DataError(f"{path}: has no columns")
    if names is not None and len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise DataError(f"{path}: two columns are named {quoted(twice)}")
    if not num_rows:
        raise DataError(f"{path}: empty, no rows")


def first_line(error: BaseException) -> str:
    """Return what an error of another library says, for a message of one line."""
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__
