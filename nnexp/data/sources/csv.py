"""A CSV file as a source: labels, numeric columns, one-hot encoded categories."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnexp.config.schema import CSVConfig
from nnexp.data.source import (
    Doubles,
    Indices,
    Source,
    codes,
    in_order,
    is_number,
    one_hot,
    quoted,
    read_numbers,
)
from nnexp.data.sources.csv_dialect import Table, read_table
from nnexp.errors import ConfigError, DataError

# --------------------------------------------------------------------------------------------------
# Labels: the class of every row, and what is no class.
# --------------------------------------------------------------------------------------------------

_MOST_CLASSES = 100  # whose names are numbers, or fewer than two rows each
_MOST_FRACTIONS = 30


def read_labels(table: Table, target: int, config: CSVConfig) -> tuple[Indices, tuple[str, ...]]:
    """Every row's class, and the names of the classes: numbers by value, else by character."""
    labels = [cell.strip(config.target_strip).strip() for cell in table.columns[target]]
    for row, (label, cell) in enumerate(zip(labels, table.columns[target], strict=True)):
        if label in config.missing or cell in config.missing:
            raise DataError(f"{table.where(row, target)}: the label is missing ({quoted(cell)})")
    names = in_order(labels)
    _require_classes(table, target, names)
    return codes(labels, names), tuple(names)


def _require_classes(table: Table, target: int, names: list[str]) -> None:
    """At least two names, which name classes rather than a quantity or the rows themselves."""
    where = f"{table.path}: target {quoted(table.title(target))}"
    if len(names) == 1:
        raise DataError(f"{where} has one class only, {quoted(names[0])}")
    are_numbers = all(map(is_number, names))
    if _is_quantity(names, are_numbers, table.num_rows):
        kind = "numbers" if are_numbers else "labels, most of them numbers,"
        raise DataError(
            f"{where} has {len(names)} different {kind} in {table.num_rows} rows: a quantity, not "
            "a class; this looks like regression, which nnexp does not do"
        )
    if are_numbers:
        for name, other in itertools.pairwise(names):
            if float(name) == float(other):
                raise DataError(f"{where}: {quoted(name)} and {quoted(other)} are one number")
    if len(names) > _MOST_CLASSES and table.num_rows < 2 * len(names):
        raise DataError(
            f"{where} has {len(names)} different values in {table.num_rows} rows: a name, not a "
            "class"
        )


def _is_quantity(names: list[str], are_numbers: bool, num_rows: int) -> bool:
    """Whether the names are too many numbers for classes that happen to be numbered.

    Numbers with fractions are too many sooner, and above ``_MOST_CLASSES`` with any number of rows.
    """
    values = [value for value in map(_value, names) if math.isfinite(value)]
    if 2 * len(values) <= len(names):
        return False
    fractions = any(value != round(value) for value in values)
    if fractions and are_numbers and len(names) > _MOST_CLASSES:
        return True
    most = _MOST_FRACTIONS if fractions else _MOST_CLASSES
    return len(names) > most and num_rows < 20 * len(names)


def _value(label: str) -> float:
    """What a label says as a quantity, as 0.5, 0,5, $1,200.50 or 12 %; else NaN."""
    digits = label.strip("$€£% ")
    try:
        return float(digits.replace(",", "" if "." in digits else "."))
    except ValueError:
        return math.nan


# --------------------------------------------------------------------------------------------------
# A column of the file as one or more features: a number, or 0 and 1 for each of its categories.
# --------------------------------------------------------------------------------------------------

_WITH_COMMA = re.compile(r"[-+]?[\d.]*(?:,\d+)+(?:[eE][-+]?\d+)?")
_MOST_CATEGORIES = 1000  # of a column that is not declared categorical


@dataclass(frozen=True)
class Feature:
    """One column of the file, as one or more of the source."""

    names: tuple[str, ...]
    numbers: Doubles | None = None  # of a numeric column
    codes: Indices | None = None  # of a categorical one; -1 where the value is missing

    def values(self) -> Doubles:
        """[M, number of names]"""
        if self.codes is not None:
            return one_hot(self.codes, len(self.names))
        assert self.numbers is not None
        return self.numbers[:, None]


def encode(table: Table, column: int, role: str, config: CSVConfig) -> Feature:
    cells = table.columns[column]
    if all(cell in config.missing for cell in set(cells)):
        raise DataError(
            f"{table.path}: column {quoted(table.title(column))} has no values; leave it out with "
            "dataset.drop"
        )
    if role == "categorical":
        return _categorical(table, column, config)
    numbers = read_numbers(cells, config.missing)
    if not numbers.bad:
        return _numeric(table, column, numbers.values, config)
    row = next(row for row, cell in enumerate(cells) if cell in numbers.bad)
    if role == "numeric":
        raise DataError(f"{table.where(row, column)}: {quoted(cells[row])} is not a number")
    if all(map(_WITH_COMMA.fullmatch, numbers.bad)):
        raise DataError(
            f"{table.where(row, column)}: {quoted(cells[row])} is not a number: numbers have a "
            "decimal point here, and nothing between thousands; mend the file, or leave the column "
            "out with dataset.drop"
        )
    num_texts = sum(cell in numbers.bad for cell in cells)
    if numbers.num_numbers > num_texts:
        raise DataError(
            f"{table.where(row, column)}: {quoted(cells[row])} is not a number, but "
            f"{numbers.num_numbers} cells of the column are; name such cells in dataset.missing, "
            "or the column in dataset.categorical"
        )
    num_categories = len(set(cells))
    if num_categories > _MOST_CATEGORIES:
        raise DataError(
            f"{table.path}: column {quoted(table.title(column))} has {num_categories} different "
            "texts; leave it out with dataset.drop, or declare it with dataset.categorical"
        )
    return _categorical(table, column, config)


def _numeric(table: Table, column: int, values: Doubles, config: CSVConfig) -> Feature:
    missing = np.flatnonzero(np.isnan(values))
    if len(missing) and config.impute_numeric == "error":
        _refuse_missing(table, column, missing, "impute_numeric=mean or median")
    return Feature((table.title(column),), numbers=values)


def _categorical(table: Table, column: int, config: CSVConfig) -> Feature:
    cells, title = table.columns[column], table.title(column)
    categories = in_order(set(cells) - set(config.missing))
    column_codes = codes(cells, categories)
    names = [f"{title}={category}" for category in categories]
    missing = np.flatnonzero(column_codes < 0)
    if len(missing) and config.impute_categorical == "error":
        _refuse_missing(table, column, missing, "impute_categorical=most_frequent or category")
    if len(missing) and config.impute_categorical == "category":
        column_codes[missing] = len(categories)
        names.append(f"{title} missing")
    return Feature(tuple(names), codes=column_codes)


def _refuse_missing(table: Table, column: int, rows: Indices, remedy: str) -> None:
    row = int(rows[0])
    cell = quoted(table.columns[column][row])
    count = f", as in {len(rows)} cells of the column" if len(rows) > 1 else ""
    raise DataError(
        f"{table.where(row, column)}: no value ({cell}){count}; fill with "
        f"dataset.{remedy}, or leave the column out with dataset.drop"
    )


# --------------------------------------------------------------------------------------------------
# A table of cells becomes a source: labels, numeric columns, one-hot encoded categories.
# --------------------------------------------------------------------------------------------------

_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_MOST_NUMBERS = 2**31  # of the encoded table: 8 GiB in float32


def load_csv(config: CSVConfig) -> Source:
    """The table at ``config.path``, and behind its rows those of ``config.test_path``.

    Numeric columns come as they are, with NaN where a value is missing. A categorical column
    becomes, in its place, one column of 0 and 1 for each of its categories, those of all rows: the
    features must not depend on the split.

    Raises:
        ConfigError: an option that does not fit the table.
        DataError: naming the file and, where there is one, line and column.
    """
    table = read_table(config)
    roles = _roles(table, config)
    target = roles.index("target")
    y, class_names = read_labels(table, target, config)
    val, test = _official_rows(table, roles)
    _require_training_rows(table, target, y, class_names, [val, test])
    features = [
        encode(table, column, role, config)
        for column, role in enumerate(roles)
        if role in ("found", "numeric", "categorical")
    ]
    width = sum(len(feature.names) for feature in features)
    if width * table.num_rows > _MOST_NUMBERS:
        raise DataError(
            f"{config.path}: {width} columns after one-hot encoding, times {table.num_rows} rows, "
            "are too many; leave columns out with dataset.drop"
        )
    stops = np.cumsum([len(feature.names) for feature in features]).tolist()
    return Source(
        name=config.name or Path(config.path).name.split(".")[0],
        x=np.concatenate([feature.values() for feature in features], axis=1),
        y=y,
        class_names=class_names,
        feature_names=tuple(name for feature in features for name in feature.names),
        one_hot=tuple(
            (stop - len(feature.names), stop)
            for feature, stop in zip(features, stops, strict=True)
            if feature.codes is not None
        ),
        fill=config.impute_numeric,
        val=val,
        test=test,
    )


def _roles(table: Table, config: CSVConfig) -> list[str]:
    """What each column is: target, split_column, drop, numeric, categorical, or to be found out."""
    roles = ["found"] * len(table.columns)
    declared = [
        ("target", [config.target]),
        ("split_column", [] if config.split_column is None else [config.split_column]),
        ("drop", config.drop),
        ("numeric", config.numeric),
        ("categorical", config.categorical),
    ]
    for option, references in declared:
        for reference in references:
            column = table.find(reference, option)
            if roles[column] not in ("found", option):
                raise ConfigError(
                    f"dataset.{option}={reference}: this column is dataset.{roles[column]} already"
                )
            roles[column] = option
    for column, role in enumerate(roles):
        if role == "found" and table.names is not None and not table.names[column]:
            lacks = "has no name, a row number perhaps"
            if all(cell in config.missing for cell in set(table.columns[column])):
                lacks = "has no name and no values, as where lines end in a separator"
            raise DataError(
                f"{table.path}: column {column} (from 0) {lacks}; leave it out with "
                f"dataset.drop=[{column}]"
            )
    if not {"found", "numeric", "categorical"} & set(roles):
        raise DataError(f"{table.path}: no column is left to learn from")
    return roles


def _official_rows(table: Table, roles: list[str]) -> tuple[Indices | None, Indices | None]:
    """Validation and test rows that the table itself sets apart."""
    if table.first_test_row is not None:
        return None, np.arange(table.first_test_row, table.num_rows, dtype=np.int64)
    if "split_column" not in roles:
        return None, None
    column = roles.index("split_column")
    parts = []
    for row, cell in enumerate(table.columns[column]):
        part = _PARTS.get(cell.lower())
        if part is None:
            raise DataError(
                f"{table.where(row, column)}: {quoted(cell)} is none of train, val and test"
            )
        parts.append(part)
    if "test" not in parts:
        title = quoted(table.title(column))
        raise DataError(f"{table.path}: column {title} sets no test row apart")
    drawn = np.array(parts)
    val = np.flatnonzero(drawn == "val")
    return val if len(val) else None, np.flatnonzero(drawn == "test")


def _require_training_rows(
    table: Table,
    target: int,
    y: Indices,
    class_names: tuple[str, ...],
    official: list[Indices | None],
) -> None:
    """No class that only validation or test rows have."""
    free = np.ones(len(y), dtype=bool)
    for rows in official:
        if rows is not None:
            free[rows] = False
    for label in sorted(set(range(len(class_names))) - set(y[free].tolist())):
        row = int(np.flatnonzero(y == label)[0])
        raise DataError(
            f"{table.where(row, target)}: no training row has the class "
            f"{quoted(class_names[label])}"
        )
