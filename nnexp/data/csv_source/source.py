"""A table of cells becomes a source: labels, numeric columns, one-hot encoded categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnexp.config.schema import CSVConfig
from nnexp.data.columns import quoted
from nnexp.data.csv_source.features import encode
from nnexp.data.csv_source.labels import read_labels
from nnexp.data.csv_source.table import Table, read_table
from nnexp.data.types import Indices, Source
from nnexp.errors import ConfigError, DataError

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
