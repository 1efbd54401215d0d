"""Cells of one column as numbers, as categories, and as words of a message."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from nnexp.data.types import Doubles, Indices

_MOST_CHARACTERS = 80  # of a cell in a message


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number in decimal notation, as 3, -0.5 or 1e-3."""
    return not math.isnan(_number(cell))


def _number(cell: str) -> float:
    """A finite number, or NaN: 'nan', 'inf' and Python's '1_000' are texts here."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in cell else math.nan


def printable(text: str) -> str:
    """A cell or a name for a message: one line of a terminal, whatever the file holds.

    Unprintable characters are escaped as in Python's repr, and only the beginning of a long text
    is given.
    """
    start = text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
    if start.isprintable():
        return start
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in start
    )


def quoted(text: str) -> str:
    """``printable`` in quotes."""
    return f"'{printable(text)}'"


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers."""

    values: Doubles  # [N], NaN where the cell is missing or no number
    bad: frozenset[str]  # cells that are neither missing nor numbers
    num_numbers: int


def read_numbers(cells: Sequence[str], missing: Collection[str]) -> Numbers:
    """Every cell as a number, with the cells that are none."""
    if not any(map(is_number, missing)):
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            pass
        else:
            if np.isfinite(values).all() and "_" not in "".join(cells):
                return Numbers(values, frozenset(), len(cells))
    distinct = {cell: math.nan if cell in missing else _number(cell) for cell in set(cells)}
    values = np.fromiter(map(distinct.__getitem__, cells), np.float64, len(cells))
    bad = frozenset(
        cell for cell, value in distinct.items() if math.isnan(value) and cell not in missing
    )
    return Numbers(values, bad, int(np.isfinite(values).sum()))


def in_order(texts: Collection[str]) -> list[str]:
    """Distinct texts sorted: by value if all are numbers ("2" before "10"), else by character."""
    distinct = set(texts)
    if all(map(is_number, distinct)):
        return sorted(distinct, key=lambda text: (float(text), text))
    return sorted(distinct)


def codes(cells: Sequence[str], categories: Sequence[str]) -> Indices:
    """The index of each cell in ``categories``, -1 where it is none of them."""
    index = {category: code for code, category in enumerate(categories)}
    return np.fromiter((index.get(cell, -1) for cell in cells), np.int64, len(cells))


def one_hot(column: Indices, num_categories: int) -> Doubles:
    """Codes [N] as 0 and 1 [N, K]; a row of NaN where the code is -1."""
    table = np.zeros((len(column), num_categories))
    known = np.flatnonzero(column >= 0)
    table[known, column[known]] = 1.0
    table[column < 0] = np.nan
    return table
