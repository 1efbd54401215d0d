"""How a table's columns become features: found on the training table, applied to any later one.

An encoder holds all that reading a row takes (which columns, how their numbers and dates are
written, which categories there are) as plain values, so that a checkpoint carries it. It is applied
by column name: other orders and further columns do not matter.

Axes: ``M`` rows, ``D`` features, ``K`` features of one column.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.data.date_formats import DIGITS_ALONE, DateFeatures, all_seconds_of
from nnexp.data.number_formats import NumberFormat, looks_missing
from nnexp.data.source import Doubles, Indices, is_number, one_hot, quoted
from nnexp.data.table import Cells, Moments, Table, Texts, as_texts, cell_text, same_value
from nnexp.errors import DataError, did_you_mean

# --------------------------------------------------------------------------------------------------
# What counts as no value.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tokens:
    """What is declared to be missing, sorted by how it is compared."""

    texts: frozenset[str]
    numbers: frozenset[float]
    special: tuple[Any, ...]  # words of YAML, in whatever case


@functools.lru_cache(maxsize=32)
def _tokens(missing: tuple[Any, ...]) -> _Tokens:
    return _Tokens(
        frozenset(token for token in missing if isinstance(token, str)) | {""},
        frozenset(numbers_declared(missing)),
        tuple(token for token in missing if _is_word(token)),
    )


def _is_word(token: Any) -> bool:
    if token is None or isinstance(token, bool | float):
        return True
    return str(token).strip().casefold() in ("nan", "null", "none", "true", "false")


def declared_among(texts: Sequence[str], missing: Sequence[Any]) -> NDArray[np.bool_]:
    """Return for each text [V] whether it ``is_declared``."""
    tokens = _tokens(tuple(missing))
    if not tokens.numbers and not tokens.special:
        found = (text in tokens.texts for text in texts)
    else:
        found = (is_declared(text, missing) for text in texts)
    return np.fromiter(found, bool, len(texts))


def read_texts(
    texts: Texts, missing: Sequence[Any], read: Callable[[Sequence[str]], Doubles]
) -> tuple[Doubles, list[str]]:
    """Return a column of text [M] as numbers or moments, and the distinct texts that are neither.

    Args:
        missing: what is declared to be no value; it becomes NaN, as does what cannot be read.
        read: reads texts, NaN for what is none.
    """
    given = np.flatnonzero(~declared_among(texts.values, missing))
    values = [texts.values[place] for place in given.tolist()]
    found = np.full(len(texts.values) + 1, np.nan)  # the last is for nulls, whose code is -1
    found[given] = read(values)
    unread = [values[at] for at in np.flatnonzero(np.isnan(found[given])).tolist()]
    return found[texts.codes], unread


def is_declared(text: str, missing: Sequence[Any]) -> bool:
    """Return whether a text is declared to be missing, by value or as it was typed.

    An empty cell always is.
    """
    tokens = _tokens(tuple(missing))
    if text in tokens.texts:
        return True
    if tokens.numbers and is_number(text) and float(text) in tokens.numbers:
        return True
    return any(same_value(text, token) for token in tokens.special)


def numbers_declared(missing: Sequence[Any]) -> list[float]:
    """Return the numbers that are declared to be missing."""
    texts = [str(token) for token in missing if not isinstance(token, bool) and token is not None]
    return [float(text) for text in texts if is_number(text)]


def without_declared(values: Doubles, missing: Sequence[Any]) -> Doubles:
    """Return numbers [M] with NaN for those that are declared to be missing."""
    declared = numbers_declared(missing)
    return np.where(np.isin(values, declared), np.nan, values) if declared else values


# --------------------------------------------------------------------------------------------------
# One column.
# --------------------------------------------------------------------------------------------------

KINDS = ("numeric", "categorical", "date")


@dataclass
class Unseen:
    """Texts of later tables that the training table did not have, by column."""

    counts: dict[str, int] = field(default_factory=dict)  # cells
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, column: str, example: str, count: int) -> None:
        """Count cells of one column."""
        self.counts[column] = self.counts.get(column, 0) + count
        self.examples.setdefault(column, example)


@dataclass(frozen=True)
class Column:
    """A column of a table, and the features that it becomes."""

    name: str  # its title: the name, or "column 3" where the table has none
    kind: str  # numeric, categorical or date
    number_format: NumberFormat = NumberFormat()  # noqa: RUF009 -- it is immutable
    dates: DateFeatures | None = None
    categories: tuple[str, ...] = ()
    missing_category: bool = False  # a category of its own, the last, for cells without value
    indicator: bool = False  # a further feature: 1 where a number is missing
    number: int | None = None  # its place in a table without names

    @property
    def feature_names(self) -> tuple[str, ...]:
        """[K]"""
        if self.kind == "categorical":
            names = tuple(f"{self.name}={category}" for category in self.categories)
            return (*names, f"{self.name} missing") if self.missing_category else names
        if self.kind == "date":
            assert self.dates is not None
            return self.dates.names(self.name)
        return (self.name, f"{self.name} missing") if self.indicator else (self.name,)

    def values(
        self, cells: Cells, missing: Sequence[Any], where: Callable[[int], str], unseen: Unseen
    ) -> Doubles:
        """Return the features [M, K]; NaN in all of them where the cell has no value.

        A category that the training table did not have becomes zeros, and is counted in ``unseen``.

        Args:
            missing: what is declared to be no value.
            where: for messages, the place of a row's cell.

        Raises:
            DataError: a cell that is no number or no date where one belongs.
        """
        if self.kind == "categorical":
            return self._one_hot(cells, missing, unseen)
        if self.kind == "date":
            assert self.dates is not None
            return self.dates.values(self._seconds(cells, missing, where))
        numbers = self.numbers(cells, missing, where)
        if self.indicator:
            return np.stack([numbers, np.isnan(numbers).astype(np.float64)], axis=1)
        return numbers[:, np.newaxis]

    def numbers(self, cells: Cells, missing: Sequence[Any], where: Callable[[int], str]) -> Doubles:
        """Return the numbers [M] of a numeric column; NaN where there is none. Raises as above."""
        if isinstance(cells, Moments):
            raise DataError(f"{where(0)}: {quoted(cell_text(cells, 0))} is a date, not a number")
        if isinstance(cells, Texts):
            read = self.number_format.values
            style = self.number_format.described()
            wanted = f"a number as in training ({style})" if style else "a number"
            numbers = self._of_texts(cells, missing, read, wanted, where)
            return without_declared(numbers, missing)
        cells = without_declared(cells, missing)
        for row in np.flatnonzero(np.isinf(cells))[:1].tolist():
            raise DataError(f"{where(row)}: {cells[row]:g} is not a finite number")
        return cells

    def _seconds(
        self, cells: Cells, missing: Sequence[Any], where: Callable[[int], str]
    ) -> Doubles:
        assert self.dates is not None
        order = self.dates.order
        if isinstance(cells, Moments):
            return cells.seconds
        if not isinstance(cells, Texts) and order not in DIGITS_ALONE:
            cell = cell_text(cells, 0)
            raise DataError(f"{where(0)}: {cell} is not {self._date_of_training()}")
        texts = as_texts(cells)
        read = functools.partial(all_seconds_of, order=order)
        return self._of_texts(texts, missing, read, self._date_of_training(), where)

    def _date_of_training(self) -> str:
        assert self.dates is not None
        return f"a date as in training ({self.dates.written()})"

    def _of_texts(
        self,
        texts: Texts,
        missing: Sequence[Any],
        read: Callable[[Sequence[str]], Doubles],
        wanted: str,
        where: Callable[[int], str],
    ) -> Doubles:
        values, unread = read_texts(texts, missing, read)
        for text in unread:
            if not looks_missing(text):
                row = texts.first_row(text)
                raise DataError(f"{where(row)}: {quoted(text)} is not {wanted}")
        return values

    def _one_hot(self, cells: Cells, missing: Sequence[Any], unseen: Unseen) -> Doubles:
        texts = as_texts(cells)
        known = {category: code for code, category in enumerate(self.categories)}
        absent = len(self.categories) if self.missing_category else -1
        codes = np.full(len(texts.values) + 1, absent, np.int64)
        strange: list[int] = []
        for place, text in enumerate(texts.values):
            if text in known:
                codes[place] = known[text]
            elif not is_declared(text, missing):
                code = self._by_value(text)
                if code is None:
                    strange.append(place)
                codes[place] = -2 if code is None else code
        features = one_hot(codes[texts.codes], len(self.feature_names))
        if strange:
            counts = texts.counts()
            for place in strange:
                unseen.add(self.name, texts.values[place], int(counts[place]))
            features[np.isin(texts.codes, strange)] = 0.0
        return features

    def _by_value(self, text: str) -> int | None:
        """The category that is the same number or the same word of YAML, as 1 and 1.0."""
        matches = [code for code, one in enumerate(self.categories) if _one_value(one, text)]
        return matches[0] if len(matches) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        fields: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.number is not None:
            fields["number"] = self.number
        if self.kind == "numeric":
            fields["number_format"] = self.number_format.to_json()
            fields["indicator"] = self.indicator
        if self.kind == "categorical":
            fields["categories"] = list(self.categories)
            fields["missing_category"] = self.missing_category
        if self.dates is not None:
            fields["dates"] = self.dates.to_json()
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Column:
        """Read what ``to_json`` has written. Raises KeyError, TypeError or ValueError."""
        kind = str(fields["kind"])
        if kind not in KINDS:
            raise ValueError(f"kind {kind}")
        number = fields.get("number")
        name = str(fields["name"])
        place = None if number is None else int(number)
        if kind == "numeric":
            number_format = NumberFormat.from_json(fields["number_format"])
            return cls(name, kind, number_format, indicator=bool(fields["indicator"]), number=place)
        if kind == "date":
            return cls(name, kind, dates=DateFeatures.from_json(fields["dates"]), number=place)
        return cls(
            name,
            kind,
            categories=tuple(str(category) for category in fields["categories"]),
            missing_category=bool(fields["missing_category"]),
            number=place,
        )


def _one_value(category: str, text: str) -> bool:
    if is_number(category) and is_number(text):
        return float(category) == float(text)
    words = ("true", "false")
    return category.casefold() in words and category.casefold() == text.casefold()


# --------------------------------------------------------------------------------------------------
# All columns.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoder:
    """The columns of a table that a network learns from, in the table's order."""

    columns: tuple[Column, ...]
    missing: tuple[str, ...] = ("", "?")  # texts that are declared to be no value
    impute_numeric: str = "mean"  # error: a number that is missing is refused
    impute_categorical: str = "category"
    target: str | None = None  # the column of the labels, if a later table has it
    target_number: int | None = None  # its place in a table without names
    target_strip: str = ""  # characters taken off both ends of a label
    target_format: NumberFormat | None = None  # how the quantity of a regression is written

    @property
    def feature_names(self) -> tuple[str, ...]:
        """[D]"""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def one_hot(self) -> tuple[tuple[int, int], ...]:
        """The features, from start to stop, of each categorical column."""
        places, start = [], 0
        for column in self.columns:
            stop = start + len(column.feature_names)
            if column.kind == "categorical":
                places.append((start, stop))
            start = stop
        return tuple(places)

    def encode(
        self,
        table: Table,
        unseen: Unseen | None = None,
        *,
        by_column: bool = False,
        consume: bool = False,
    ) -> Doubles:
        """Return a table as features [M, D], float64 with NaN where a value is missing.

        Args:
            table: with these columns by name, in any order, among others; without names, in the
                places that they had.
            unseen: collects categories that are new.
            by_column: lay the features out column by column in memory.
            consume: give the table's columns up as they are encoded, to spare memory.

        Raises:
            DataError: naming the column that is lacking, or row, column and value of a cell that is
                no number or no date, or that is missing where ``impute`` is ``error``.
        """
        unseen = Unseen() if unseen is None else unseen
        places = [self._place(column, table) for column in self.columns]
        shape = (table.num_rows, len(self.feature_names))
        x = np.empty(shape, order="F" if by_column else "C")
        start = 0
        for column, place in zip(self.columns, places, strict=True):
            stop = start + len(column.feature_names)

            def where(row: int, place: int = place) -> str:
                return table.where(row, place)

            x[:, start:stop] = column.values(table.columns[place], self.missing, where, unseen)
            self._require_values(column, x[:, start:stop], where)
            if consume:
                table.columns[place] = x[:, start]
            start = stop
        return x

    def quantities(self, table: Table, place: int | None = None) -> Doubles | None:
        """Return the target [M] of a regression, or None if the table has no such column; NaN
        where a cell has no value.

        Args:
            place: of its column; None: that of training.

        Raises:
            DataError: a cell that is no number as those of training.
        """
        if place is None:
            place = self._find(self.target, self.target_number, table)
        if place is None:
            return None
        column = Column(table.title(place), "numeric", self.target_format or NumberFormat())

        def where(row: int) -> str:
            return table.where(row, place)

        return column.numbers(table.columns[place], self.missing, where)

    def labels(self, table: Table) -> Texts | None:
        """Return the labels of a table as text, or None if it has no such column."""
        place = self._find(self.target, self.target_number, table)
        return None if place is None else self.labels_of(table.columns[place])

    def labels_of(self, cells: Cells) -> Texts:
        """Return the cells of a column of labels as text, what is to be taken off taken off."""
        texts, strip = as_texts(cells), self.target_strip
        return Texts.of(
            None if code < 0 else texts.values[code].strip(strip).strip()
            for code in texts.codes.tolist()
        )

    def _place(self, column: Column, table: Table) -> int:
        place = self._find(column.name, column.number, table)
        if place is not None:
            return place
        if table.names is None:
            raise DataError(
                f"{table.path}: lacks column {quoted(column.name)}; it has "
                f"{len(table.columns)} columns without names"
            )
        near = did_you_mean(column.name, [name for name in table.names if name])
        raise DataError(f"{table.path}: lacks column {quoted(column.name)}{near}")

    def _find(self, name: str | None, number: int | None, table: Table) -> int | None:
        if name is None:
            return None
        if table.names is not None:
            return table.places.get(name)
        # Without names: the places of training, the target's left out where the table lacks it.
        if number is None:
            return None
        last = max(self._last_number, -1 if self.target_number is None else self.target_number)
        has_target = len(table.columns) > last
        if self.target_number is not None and not has_target:
            if number == self.target_number:
                return None
            number -= number > self.target_number
        return number if number < len(table.columns) else None

    @functools.cached_property
    def _last_number(self) -> int:
        """The last place of a column without a name."""
        return max(
            (column.number for column in self.columns if column.number is not None), default=-1
        )

    def _require_values(self, column: Column, values: Doubles, where: Callable[[int], str]) -> None:
        rule = self.impute_categorical if column.kind == "categorical" else self.impute_numeric
        if rule != "error":
            return
        for row in np.flatnonzero(np.isnan(values[:, 0]))[:1].tolist():
            raise DataError(f"{where(row)}: no value, and the network was trained without such")

    def to_json(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        written: dict[str, Any] = {}
        if self.target_format is not None:
            written["target_format"] = self.target_format.to_json()
        return {
            "columns": [column.to_json() for column in self.columns],
            "missing": list(self.missing),
            "impute_numeric": self.impute_numeric,
            "impute_categorical": self.impute_categorical,
            "target": self.target,
            "target_number": self.target_number,
            "target_strip": self.target_strip,
            **written,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Encoder:
        """Read what ``to_json`` has written. Raises KeyError, TypeError or ValueError."""
        number = fields["target_number"]
        return cls(
            tuple(Column.from_json(column) for column in fields["columns"]),
            tuple(str(token) for token in fields["missing"]),
            str(fields["impute_numeric"]),
            str(fields["impute_categorical"]),
            None if fields["target"] is None else str(fields["target"]),
            None if number is None else int(number),
            str(fields["target_strip"]),
            NumberFormat.from_json(fields["target_format"]) if "target_format" in fields else None,
        )


def label_codes(texts: Texts, class_names: Sequence[str]) -> Indices:
    """Return each label's class [M], -1 where there is none of that name."""
    known = {name: code for code, name in enumerate(class_names)}
    codes = np.full(len(texts.values) + 1, -1, np.int64)
    for place, text in enumerate(texts.values):
        if text in known:
            codes[place] = known[text]
        else:
            matches = [code for code, name in enumerate(class_names) if _one_value(name, text)]
            codes[place] = matches[0] if len(matches) == 1 else -1
    return codes[texts.codes]
