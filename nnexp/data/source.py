"""A source: all rows of a data set as they were read, and the cells of its columns."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    from nnexp.data.card import DataCard
    from nnexp.data.encoder import Encoder

# --------------------------------------------------------------------------------------------------
# A source: all rows of a data set as they were read.
#
# Axes: ``M`` rows of the whole table, ``D`` features, ``C`` classes.
# --------------------------------------------------------------------------------------------------

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 16
RawTable = Doubles | npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Source:
    """All rows of a data set as they were read, before anything is split, filled in or scaled.

    A source depends on none of the options of the split, so one source serves many splits.
    """

    name: str
    x: RawTable  # [M, D]; uint8 for pixels, else float64 with NaN where a value is missing
    y: Indices | Doubles  # [M], classes from 0 to C - 1; of a regression the quantity, float64
    class_names: tuple[str, ...]  # [C]; () of a regression
    feature_names: tuple[str, ...]
    unit: float = 1.0  # what scaling=none multiplies by: 1/255 brings pixels to [0, 1]
    one_hot: tuple[tuple[int, int], ...] = ()  # columns from start to stop that encode one cell
    fill: str = "mean"  # what missing numbers become: mean or median of the training rows
    test: Indices | None = None  # official test rows
    val: Indices | None = None  # official validation rows; only beside official test rows
    # Of a row that is a picture: height, width and, of colour, 3 channels side by side.
    image_shape: tuple[int, ...] | None = None
    encoder: Encoder | None = None  # how a table's columns became the features
    card: DataCard | None = None  # what was understood of a table
    # Messages about the data, as level of logging and text: for the log of each run on them,
    # whichever process has read them.
    notices: tuple[tuple[int, str], ...] = ()
    groups: Indices | None = None  # [M]; rows of one group go to the same part of a split
    times: Doubles | None = None  # [M]; no row is earlier than those of the part before its own
    folds: Indices | None = None  # [M], from 0 to K - 1
    weights: Doubles | None = None  # [M], how much rows count in training

    @property
    def task(self) -> str:
        """Classification, or regression where ``y`` is a quantity."""
        return REGRESSION if self.y.dtype.kind == "f" else CLASSIFICATION

    @cached_property
    def strata(self) -> tuple[Indices, tuple[str, ...]]:
        """What a split keeps the shares of: the class of each row [M], and the names of all. A
        regression has one stratum of all rows."""
        if self.task == REGRESSION:
            return np.zeros(len(self.y), np.int64), ("all",)
        return self.y.astype(np.int64, copy=False), self.class_names

    @cached_property
    def pixels(self) -> torch.Tensor | None:
        """``x`` where it is uint8, in the same memory: one object for all splits of the source."""
        if self.x.dtype != np.uint8:
            return None
        return torch.from_numpy(np.require(self.x, requirements=["C", "W"]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, labels, names and official split: 64 hexadecimal digits."""
        header = {
            "version": 1,
            "shape": self.x.shape,
            "dtype": self.x.dtype.name,
            "class_names": self.class_names,
            "feature_names": self.feature_names,
            "official": [None if rows is None else len(rows) for rows in (self.val, self.test)],
        }
        digest = hashlib.sha256(json.dumps(header).encode())
        parts = [self.x, self.y, *(rows for rows in (self.val, self.test) if rows is not None)]
        for part in parts:
            little_endian = part.dtype.newbyteorder("<")
            for start in range(0, len(part), _ROWS_AT_ONCE):  # a copy of all would take memory
                rows = part[start : start + _ROWS_AT_ONCE]
                digest.update(np.ascontiguousarray(rows, dtype=little_endian).data)
        return digest.hexdigest()


# --------------------------------------------------------------------------------------------------
# Cells of one column as numbers, as categories, and as words of a message.
# --------------------------------------------------------------------------------------------------

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


def plain_numbers(cells: Sequence[str]) -> Doubles | None:
    """Return cells [M] as numbers; None unless ``is_number`` holds for every one of them."""
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    is_plain = np.isfinite(values).all() and not any("_" in cell for cell in cells)
    return values if is_plain else None


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


def in_order(texts: Collection[str]) -> list[str]:
    """Distinct texts sorted: by value if all are numbers ("2" before "10"), else by character."""
    distinct = set(texts)
    if all(map(is_number, distinct)):
        return sorted(distinct, key=lambda text: (float(text), text))
    return sorted(distinct)


def one_hot(column: Indices, num_categories: int) -> Doubles:
    """Codes [N] as 0 and 1 [N, K]; a row of NaN where the code is -1."""
    table = np.zeros((len(column), num_categories))
    known = np.flatnonzero(column >= 0)
    table[known, column[known]] = 1.0
    table[column < 0] = np.nan
    return table
