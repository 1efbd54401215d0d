"""A column of the file as one or more features: a number, or 0 and 1 for each of its categories."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from nnexp.config.schema import CSVConfig
from nnexp.data.columns import codes, in_order, one_hot, quoted, read_numbers
from nnexp.data.csv_source.table import Table
from nnexp.data.types import Doubles, Indices
from nnexp.errors import DataError

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
