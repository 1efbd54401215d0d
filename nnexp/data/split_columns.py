"""Columns that say how rows are split: when each row was, and which fold it is of.

Axes: ``M`` rows.
"""

from __future__ import annotations

import functools

import numpy as np

from nnexp.config.overrides_text import paste
from nnexp.data.date_formats import all_seconds_of
from nnexp.data.encoder import declared_among, read_texts
from nnexp.data.number_formats import find_number_format, looks_missing
from nnexp.data.roles import Options, date_order
from nnexp.data.source import Doubles, Indices, quoted
from nnexp.data.table import Moments, Table, Texts, as_texts, cell_text
from nnexp.errors import DataError


def read_times(table: Table, column: int, options: Options) -> Doubles:
    """Return what the rows are ordered by [M]: numbers, or dates as seconds.

    Raises:
        DataError: naming the row and the column of a cell without a value, or of one that is
            neither a number nor a date as the others are.
    """
    cells = table.columns[column]
    _require_all(table, column, options, "time")
    if isinstance(cells, Moments):
        return cells.seconds
    if not isinstance(cells, Texts):
        for row in np.flatnonzero(np.isinf(cells))[:1].tolist():
            raise DataError(f"{table.where(row, column)}: {cells[row]:g} is not a finite number")
        return cells
    found = find_number_format(cells.values, options.decimal, options.thousands)
    if not found.bad:
        witness = found.ambiguous
        if witness and table.separator != ",":
            raise DataError(
                f"{table.where(cells.first_row(witness), column)}: {quoted(witness)} may have a "
                "decimal comma or a comma between thousands; say so with "
                f"{paste('dataset.decimal', ',')} or {paste('dataset.thousands', ',')}"
            )
        return read_texts(cells, options.missing, found.format.values)[0]
    numbers = len(cells.values) - len(found.bad)
    if numbers > len(found.bad):
        row = cells.first_row(found.bad[0])
        raise DataError(
            f"{table.where(row, column)}: {quoted(found.bad[0])} is not a number, as other values "
            "of dataset.time are"
        )
    read = functools.partial(all_seconds_of, order=date_order(table, column, options))
    return read_texts(cells, options.missing, read)[0]


def read_folds(table: Table, column: int, options: Options) -> Indices:
    """Return the fold of each row [M].

    Raises:
        DataError: naming the row and the column of a cell that is no whole number from 0.
    """
    _require_all(table, column, options, "fold_column")
    texts = as_texts(table.columns[column])
    numbers = np.array([fold_number(text) for text in texts.values], np.int64)
    for at in np.flatnonzero(numbers < 0)[:1].tolist():
        text = texts.values[at]
        raise DataError(
            f"{table.where(texts.first_row(text), column)}: {quoted(text)} is not the number of a "
            "fold, 0, 1, 2, ..."
        )
    return numbers[texts.codes]


def fold_number(text: str) -> int:
    """Return a whole number from 0, also as ``2.0``; -1 for any other text."""
    whole, point, fraction = text.strip().partition(".")
    is_one = whole.isascii() and whole.isdigit() and (not point or not fraction.strip("0"))
    return int(whole) if is_one and len(whole) < 10 else -1


def _require_all(table: Table, column: int, options: Options, option: str) -> None:
    texts = as_texts(table.columns[column])
    gaps = declared_among(texts.values, options.missing)
    gaps |= np.array([looks_missing(text) for text in texts.values], bool)
    for row in np.flatnonzero(np.append(gaps, True)[texts.codes])[:1].tolist():
        cell = quoted(cell_text(table.columns[column], row))
        raise DataError(
            f"{table.where(row, column)}: no value ({cell}), where dataset.{option} needs one"
        )
