"""Labels of users, and the columns of their arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.data.preprocessing import raw_features
from nnexp.data.source import Doubles, Indices, printable, quoted
from nnexp.errors import DataError

# --------------------------------------------------------------------------------------------------
# Labels in an array or a column: checked, then encoded as classes from 0 to C - 1.
#
# Axes: ``M`` rows, ``C`` classes.
# --------------------------------------------------------------------------------------------------

_MOST_CLASSES = 100  # that are numbers and have fewer than _ROWS_OF_A_CLASS rows each
_ROWS_OF_A_CLASS = 20
_REGRESSION = "task=regression predicts a quantity"


@dataclass(frozen=True, eq=False)
class Labels:
    """Encoded labels, with the classes in the labels' own type."""

    codes: Indices  # [M], from 0 to C - 1
    classes: NDArray[Any]  # [C], sorted; integers, booleans, text or whole floats

    @property
    def names(self) -> tuple[str, ...]:
        """The classes as text."""
        return tuple(str(label) for label in self.classes.tolist())


def labels_of(y: Any, what: str = "y", *, fractions: bool = False) -> NDArray[Any]:
    """Return labels [M] as an array of integers, booleans, text or floats.

    Args:
        y: a list, an array, a tensor or a column of a DataFrame.
        what: the name of the labels in messages.
        fractions: floats need not be whole: whether they are a quantity is asked elsewhere.

    Raises:
        DataError: another shape, or a row whose label is missing or of another type.
    """
    try:
        labels = np.asarray(y)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{what}: cannot be read as labels: {str(error).splitlines()[0]}") from None
    if labels.ndim != 1:
        hint = ""
        if labels.ndim == 2:
            hint = " (one-hot rows become labels by y.argmax(1))"
            if labels.shape[1] == 1:
                hint = " (y.ravel() makes it one)"
        raise DataError(
            f"{what}: must hold one label a row, [rows], got {list(labels.shape)}{hint}"
        )
    if labels.dtype.kind == "O":
        labels = _of_objects(labels, what)
    if labels.dtype.kind == "f":
        _require_known(labels, what)
        if not fractions:
            _require_whole(labels, what)
    if labels.dtype.kind not in "biufU":
        raise DataError(f"{what}: labels must be integers, booleans or text, got {labels.dtype}")
    return labels


def encode_labels(labels: NDArray[Any], what: str = "y") -> Labels:
    """Encode what ``labels_of`` has checked.

    Raises:
        DataError: one class only, numbers with fractions, or so many numbers that they are a
            quantity.
    """
    if labels.dtype.kind == "f":
        _require_whole(labels, what)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        only = f", {quoted(str(classes[0]))}" if len(classes) else ""
        raise DataError(f"{what}: has one class only{only}; a classifier needs two")
    many = len(classes) > _MOST_CLASSES and len(labels) < _ROWS_OF_A_CLASS * len(classes)
    if many and labels.dtype.kind in "iuf":
        raise DataError(
            f"{what}: has {len(classes)} different numbers in {len(labels)} rows: a quantity, not "
            f"a class; {_REGRESSION}"
        )
    return Labels(codes.reshape(-1).astype(np.int64), classes)


def quantities_of(y: NDArray[Any], what: str = "y") -> Doubles:
    """Return what ``labels_of`` has checked as the quantity of a regression [M].

    Raises:
        DataError: it is no number, or all are one number.
    """
    if y.dtype.kind not in "iuf":
        kind = "text" if y.dtype.kind == "U" else "booleans"
        raise DataError(f"{what}: holds {kind}; task=regression needs numbers")
    values: Doubles = y.astype(np.float64)
    if len(values) and values.min() == values.max():
        raise DataError(f"{what}: is {values[0]:g} in all rows: there is nothing to predict")
    return values


def _of_objects(labels: NDArray[Any], what: str) -> NDArray[Any]:
    """Objects of one type as an array of it."""
    for row, label in enumerate(labels):
        # Before the comparison: of a missing value of pandas that is no boolean.
        if label is None or type(label).__name__ in ("NAType", "NaTType") or label != label:
            raise DataError(f"{what}: row {row}: the label is missing ({label})")
    for kind, dtype in ((str, np.str_), (bool | np.bool_, np.bool_), (int | np.integer, np.int64)):
        if all(isinstance(label, kind) for label in labels):
            return labels.astype(dtype)
    first = type(labels[0]).__name__ if len(labels) else "nothing"
    odd = next((r for r, label in enumerate(labels) if type(label).__name__ != first), 0)
    shown = printable(repr(labels[odd])) if len(labels) else "nothing"
    raise DataError(
        f"{what}: row {odd}: {shown} is of type {type(labels[odd]).__name__ if odd else first}; "
        "labels must be all integers, all booleans or all text"
    )


def _require_known(labels: NDArray[Any], what: str) -> None:
    for row in np.flatnonzero(~np.isfinite(labels))[:1]:
        raise DataError(f"{what}: row {row}: the label is missing ({labels[row]:g})")


def _require_whole(labels: NDArray[Any], what: str) -> None:
    for row in np.flatnonzero(labels != np.floor(labels))[:1]:
        raise DataError(
            f"{what}: row {row}: {labels[row]:g} is a quantity, not a class; {_REGRESSION}"
        )


# --------------------------------------------------------------------------------------------------
# The columns of arrays.
#
# Axes: ``M`` rows, ``K`` columns of the table, ``D`` features, at least as many.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """The columns of a table, and the categories of those that held text.

    Arrays have none of text. DataFrames with text were once written as arrays, which runs recorded
    then still need.
    """

    names: tuple[str, ...]  # [K]
    categories: tuple[tuple[str, ...] | None, ...]  # [K]; None: numbers

    @classmethod
    def of_numbers(cls, names: Sequence[str]) -> Columns:
        """Columns that hold numbers alone."""
        return cls(tuple(names), (None,) * len(names))

    @property
    def are_numbers(self) -> bool:
        """Whether no column has to be encoded."""
        return all(found is None for found in self.categories)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """[D]: a column's name, or ``city=Rome`` for each of its categories."""
        names: list[str] = []
        for name, found in zip(self.names, self.categories, strict=True):
            names += [name] if found is None else [f"{name}={category}" for category in found]
        return tuple(names)

    @property
    def one_hot(self) -> tuple[tuple[int, int], ...]:
        """The features, from start to stop, of each column that holds text."""
        places, start = [], 0
        for found in self.categories:
            stop = start + (1 if found is None else len(found))
            if found is not None:
                places.append((start, stop))
            start = stop
        return tuple(places)

    def to_json(self) -> str:
        """As text, for a file."""
        return json.dumps({"names": self.names, "categories": self.categories})

    @classmethod
    def from_json(cls, text: str) -> Columns:
        """Read what ``to_json`` has written. Raises ValueError or TypeError for another text."""
        fields = json.loads(text)
        found = (None if one is None else tuple(map(str, one)) for one in fields["categories"])
        return cls(tuple(map(str, fields["names"])), tuple(found))


def is_frame(table: Any) -> bool:
    """Return whether a table has columns with names, as a DataFrame has."""
    return hasattr(table, "columns") and hasattr(table, "__getitem__")


def shape_of(table: Any, what: str) -> tuple[int, int]:
    """Return rows and columns of a table.

    Raises:
        DataError: it has no rows, no columns or another number of axes.
    """
    try:
        shape = np.shape(table)
    except ValueError:
        raise DataError(f"{what}: its rows are not all of one length") from None
    if len(shape) != 2:
        hint = "; a single feature is X.reshape(-1, 1)" if len(shape) == 1 else ""
        raise DataError(f"{what}: must be [rows, features], got {list(shape)}{hint}")
    rows, width = shape
    if not rows or not width:
        raise DataError(f"{what}: has {rows} rows and {width} features, nothing to learn from")
    return rows, width


def numbers_of(table: Any, names: Sequence[str], what: str) -> Doubles:
    """Return the features [M, D] of a table of numbers, as they are.

    Raises:
        DataError: naming the row and the column of a value that is missing, not finite or of
            another type.
    """
    try:
        features: Doubles = raw_features(table, names, pixels=False).numpy()
    except DataError as error:
        raise DataError(f"{what}: {error}") from None
    return features
