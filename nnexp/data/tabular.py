"""A table becomes a source: labels, features, official rows, groups, and the data card."""

from __future__ import annotations

import dataclasses
import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.config.dataset_schema import ColumnsConfig, OpenMLConfig, TableConfig
from nnexp.data.card import DataCard
from nnexp.data.encoder import Column, Encoder, Unseen, declared_among, numbers_declared
from nnexp.data.labels import NO_LABELS, Labels, read_labels
from nnexp.data.number_formats import find_number_format, looks_missing
from nnexp.data.readers.openml import OpenMLQuery, openml_table
from nnexp.data.reading import read_table
from nnexp.data.roles import Finding, Options, find_roles
from nnexp.data.source import Doubles, Indices, Source, is_number, quoted
from nnexp.data.split_columns import read_folds, read_times
from nnexp.data.split_files import PARTS
from nnexp.data.table import Table, Texts, as_texts, cell_text, same_value
from nnexp.data.targets import read_target, target_format
from nnexp.errors import ConfigError, DataError
from nnexp.tasks import REGRESSION

_NO_FEATURES = ("target", "dropped", "group", "weight", "split", "time", "fold")
_MOST_NUMBERS = 2**31  # of the encoded table: 8 GiB in float32
_BY_COLUMN = 2**24  # numbers from which the table is filled and kept column by column
_MOST_WARNINGS = 20  # of single columns


def load_table(config: TableConfig) -> Source:
    """Return the table at ``config.path``, and behind its rows those of ``config.test_path``.

    Raises:
        ConfigError: an option that does not fit the table.
        DataError: naming the file and, where there is one, line and column.
    """
    return source_of_table(read_table(config), config)


def load_openml(config: OpenMLConfig) -> Source:
    """Return a table of OpenML. Raises as ``load_table``."""
    query = OpenMLQuery(
        config.openml, config.version, config.data_id, config.target or None, config.cache
    )
    table, target = openml_table(query)
    name = config.name or config.openml or f"openml-{config.data_id}"
    return source_of_table(table, dataclasses.replace(config, target=target, name=name))


def source_of_table(table: Table, config: ColumnsConfig) -> Source:
    """Return a table as a source.

    Numeric columns come as they are, with NaN where a value is missing. A categorical column
    becomes, in its place, one column of 0 and 1 for each of its categories, those of all rows: the
    features must not depend on the split.

    Raises:
        ConfigError: an option that does not fit the table.
        DataError: naming the file and, where there is one, line and column.
    """
    found = understood(table, config)
    encoder = found.encoder
    # Before the table's columns are given up.
    notices = tuple(_notices(found, table, config))
    return Source(
        name=config.name or Path(table.path).name.split(".")[0],
        x=_encoded(table, encoder),
        y=found.labels.y if found.target is None else found.target,
        class_names=found.labels.names,
        feature_names=encoder.feature_names,
        one_hot=encoder.one_hot,
        fill=config.impute_numeric,
        val=found.val,
        test=found.test,
        encoder=encoder,
        groups=found.groups,
        weights=found.weights,
        times=found.times,
        folds=found.folds,
        card=found.card,
        notices=notices,
    )


@dataclass(frozen=True, eq=False)
class Understood:
    """All that is found out of a table before its features are computed."""

    labels: Labels  # of a regression none
    target: Doubles | None  # [M], of a regression
    val: Indices | None
    test: Indices | None
    groups: Indices | None
    group_names: tuple[str, ...]  # in the order of their numbers
    weights: Doubles | None
    times: Doubles | None
    folds: Indices | None
    encoder: Encoder
    card: DataCard


def understood(table: Table, config: ColumnsConfig) -> Understood:
    """Find out what a table holds. Raises as ``source_of_table``."""
    roles = declared_roles(table, config)
    target = roles.index("target")
    labels, quantity, written = NO_LABELS, None, None
    if config.task == REGRESSION:
        written = target_format(table.columns[target], config)
        quantity = read_target(table, target, written, config)
    else:
        labels = read_labels(table, target, config)
    val, test = _official_rows(table, roles)
    if quantity is None:
        _require_training_rows(table, target, labels.y, labels.names, [val, test])
    groups, group_names = _groups(table, roles, config)
    weights = _weights(table, roles, config)
    options = _options(config)
    times = read_times(table, roles.index("time"), options) if "time" in roles else None
    folds = None
    if "fold_column" in roles:
        folds = read_folds(table, roles.index("fold_column"), options)
    findings = understand(table, roles, config)
    encoder = dataclasses.replace(_encoder(table, findings, target, config), target_format=written)
    width = len(encoder.feature_names)
    if width * table.num_rows > _MOST_NUMBERS:
        raise DataError(
            f"{table.path}: {width} columns after one-hot encoding, times {table.num_rows} rows, "
            "are too many; leave columns out with dataset.drop"
        )
    card = _card(table, findings)
    return Understood(
        labels, quantity, val, test, groups, group_names, weights, times, folds, encoder, card
    )


def card_of(config: TableConfig) -> DataCard:
    """Return what is understood of a table, whether its target is given or not.

    Raises:
        ConfigError, DataError: as ``load_table``.
    """
    table = read_table(config)
    roles = declared_roles(table, config)
    if config.target and config.task == REGRESSION:
        target = roles.index("target")
        read_target(table, target, target_format(table.columns[target], config), config)
    elif config.target:
        read_labels(table, roles.index("target"), config)
    return _card(table, understand(table, roles, config))


def _card(table: Table, findings: Sequence[Finding]) -> DataCard:
    columns = [finding.column for finding in findings if finding.column is not None]
    width = sum(len(column.feature_names) for column in columns)
    return DataCard(table.path, table.num_rows, width, tuple(findings), table.notes)


def _options(config: ColumnsConfig) -> Options:
    return Options(
        missing=tuple(config.missing),
        impute_numeric=config.impute_numeric,
        impute_categorical=config.impute_categorical,
        indicator=config.missing_indicator,
        decimal=config.decimal,
        thousands=config.thousands,
        day_first=config.day_first,
        dates=config.dates,
        target="the quantity" if config.task == REGRESSION else "the label",
        declared={
            role: getattr(config, role) for role in ("drop", "numeric", "categorical", "date")
        },
    )


def understand(table: Table, roles: Sequence[str], config: ColumnsConfig) -> list[Finding]:
    """Return what each column was found to be.

    Raises:
        DataError: as ``find_roles``, or no column is left to learn from.
    """
    options = _options(config)
    findings = find_roles(table, roles, options)
    if not any(finding.column for finding in findings):
        findings = _with_numbered_rows(table, roles, options, findings)
    if not any(finding.column for finding in findings):
        reason = "; ".join(
            f"{quoted(finding.name)} {finding.becomes}"
            for finding in findings[:5]
            if finding.role not in _NO_FEATURES
        )
        raise DataError(
            f"{table.path}: no column is left to learn from{': ' if reason else ''}{reason}"
        )
    return findings


def _with_numbered_rows(
    table: Table, roles: Sequence[str], options: Options, findings: list[Finding]
) -> list[Finding]:
    """Columns of numbers that name or count the rows are kept where there are no others."""
    numbered = [
        "numeric" if finding.role == "identifier" and finding.is_numbers else role
        for role, finding in zip(roles, findings, strict=True)
    ]
    again = find_roles(table, numbered, options)
    return [
        dataclasses.replace(new, warning=f"{old.reason}; kept, since no other column is left")
        if old.is_numbers and old.reason
        else new
        for old, new in zip(findings, again, strict=True)
    ]


def declared_roles(table: Table, config: ColumnsConfig) -> list[str]:
    """Return what is said of each column: target, group, drop, numeric, ..., or ``found``.

    Raises:
        ConfigError: there is no such column, or two things are said of one.
        DataError: a column without a name that holds values.
    """
    roles = ["found"] * len(table.columns)
    index = config.index_column
    declared: list[tuple[str, str, Sequence[Any]]] = [
        ("target", "target", [config.target] if config.target else []),
        ("split_column", "split_column", _one(config.split_column)),
        ("group", "group", _one(config.group)),
        ("weight", "weight", _one(config.weight)),
        ("time", "time", _one(config.time)),
        ("fold_column", "fold_column", _one(config.fold_column)),
        ("drop", "index_column", _one(index)),
        ("drop", "drop", config.drop),
        ("numeric", "numeric", config.numeric),
        ("categorical", "categorical", config.categorical),
        ("date", "date", config.date),
        *((role, "columns", [name]) for name, role in config.columns.items()),
    ]
    for role, option, references in declared:
        for reference in references:
            column = table.find(reference, option)
            if roles[column] not in ("found", role):
                raise ConfigError(
                    f"dataset.{option}={reference}: this column is dataset.{roles[column]} already"
                )
            roles[column] = role
    for column in table.categorical:
        if roles[column] == "found":
            roles[column] = "categorical"
    for column, role in enumerate(roles):
        cells = table.columns[column]
        if role != "found" or table.names is None or table.names[column]:
            continue
        values = cells.values if isinstance(cells, Texts) else ("0",)
        if all(any(same_value(text, token) for token in config.missing) for text in values):
            continue  # as where lines end in a separator
        raise DataError(
            f"{table.path}: column {column} (from 0) has no name, a row number perhaps; leave it "
            f"out with dataset.drop=[{column}]"
        )
    return roles


def _one(reference: str | None) -> list[str]:
    return [] if reference is None else [reference]


def _encoder(
    table: Table, findings: Sequence[Finding], target: int, config: ColumnsConfig
) -> Encoder:
    return Encoder(
        columns=tuple(finding.column for finding in findings if finding.column is not None),
        missing=tuple(text for token in config.missing for text in _as_typed(token)),
        impute_numeric=config.impute_numeric,
        impute_categorical=config.impute_categorical,
        target=table.title(target),
        target_number=target if table.names is None else None,
        target_strip=config.target_strip,
    )


def _as_typed(token: Any) -> tuple[str, ...]:
    """What was declared to be missing, as a checkpoint keeps it."""
    return ("null", "none") if token is None else (str(token),)


def _encoded(table: Table, encoder: Encoder) -> Doubles:
    """The features [M, D]. A large table gives its columns up one by one, to spare memory."""
    by_column = table.num_rows * len(encoder.feature_names) > _BY_COLUMN
    return encoder.encode(table, Unseen(), by_column=by_column, consume=True)


def _notices(found: Understood, table: Table, config: ColumnsConfig) -> Iterator[tuple[int, str]]:
    """The data card, and what of it is worth a warning."""
    card, labels = found.card, found.labels
    yield logging.INFO, card.text()
    told = [finding for finding in card.findings if finding.warning]
    warnings = [f"column {quoted(one.name)}: {one.warning}" for one in told[:_MOST_WARNINGS]]
    if len(told) > _MOST_WARNINGS:
        more = len(told) - _MOST_WARNINGS
        warnings.append(f"the like of {more} more columns (nnexp data {table.path} shows all)")
    warnings += [note for note in table.notes if note.startswith("a second column")]
    for token in _unmatched(table, config):
        shown = quoted(token) if isinstance(token, str) else "null" if token is None else token
        warnings.append(f"dataset.missing: no cell is {shown}")
    alike: dict[str, str] = {}
    for name in labels.names:
        other = alike.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            warnings.append(f"{quoted(other)} and {quoted(name)} are two classes")
    for text in labels.merged:
        name = next(name for name in labels.names if same_value(name, text))
        warnings.append(f"{quoted(text)} and {quoted(name)} are one number, and one class")
    for name in filter(looks_missing, labels.names):
        warnings.append(
            f"{quoted(name)} is taken for a class; if it means no label, name it in dataset.missing"
        )
    for name in filter(looks_missing, found.group_names):
        warnings.append(
            f"{quoted(name)} is taken for a group, kept together like the others; if it means that "
            "the group is not known, name it in dataset.missing"
        )
    for warning in warnings:
        yield logging.WARNING, f"{table.path}: {warning}"


def _unmatched(table: Table, config: ColumnsConfig) -> list[Any]:
    """What is declared to be missing and stands nowhere; of what is so by default nothing is said.

    Columns that pyarrow has read as numbers no longer have the texts that were missing in them, so
    that a text is looked for in vain only where no such column has a gap.
    """
    left = [token for token in config.missing if token not in ("", "?")]
    for cells in table.columns:
        if not left:
            break
        if isinstance(cells, Texts):
            left = [t for t in left if not _stands_in(cells, t)]
        elif isinstance(cells, np.ndarray):
            gaps = bool(np.isnan(cells).any())
            left = [t for t in left if not (gaps or _holds(cells, t))]
    return left


def _stands_in(texts: Texts, token: Any) -> bool:
    if any(same_value(text, token) for text in texts.values):
        return True
    if not numbers_declared([token]):
        return False
    read = find_number_format(texts.values).format.value
    return any(read(text) == float(token) for text in texts.values)


def _holds(values: Doubles, token: Any) -> bool:
    try:
        return bool((values == float(token)).any())
    except (TypeError, ValueError):
        return False


def _official_rows(table: Table, roles: Sequence[str]) -> tuple[Indices | None, Indices | None]:
    """Validation and test rows that the table itself sets apart."""
    if table.first_test_row is not None:
        return None, np.arange(table.first_test_row, table.num_rows, dtype=np.int64)
    if "split_column" not in roles:
        return None, None
    column = roles.index("split_column")
    texts = as_texts(table.columns[column])
    parts = np.array([PARTS.get(text.lower(), "") for text in texts.values] + [""])[texts.codes]
    for row in np.flatnonzero(parts == "")[:1].tolist():
        cell = quoted(cell_text(table.columns[column], row))
        raise DataError(f"{table.where(row, column)}: {cell} is none of train, val and test")
    if not (parts == "test").any():
        title = quoted(table.title(column))
        raise DataError(f"{table.path}: column {title} sets no test row apart")
    val = np.flatnonzero(parts == "val")
    return val if len(val) else None, np.flatnonzero(parts == "test")


def _groups(
    table: Table, roles: Sequence[str], config: ColumnsConfig
) -> tuple[Indices | None, tuple[str, ...]]:
    """Every row's group, and the groups' names."""
    if "group" not in roles:
        return None, ()
    column = roles.index("group")
    texts = as_texts(table.columns[column])
    gaps = np.append(declared_among(texts.values, config.missing), True)[texts.codes]
    for row in np.flatnonzero(gaps)[:1].tolist():
        cell = quoted(cell_text(table.columns[column], row))
        raise DataError(
            f"{table.where(row, column)}: no value ({cell}), where dataset.group needs one"
        )
    names = texts.values
    codes = texts.codes.astype(np.int64)
    if all(map(is_number, names)):  # 1 and 1.0 are one group
        _, places = np.unique([float(name) for name in names], return_inverse=True)
        codes = places.reshape(-1)[codes]
    return codes, names


def _weights(table: Table, roles: Sequence[str], config: ColumnsConfig) -> Doubles | None:
    """How much each row counts in training."""
    if "weight" not in roles:
        return None
    place = roles.index("weight")
    cells = table.columns[place]
    column = Column(table.title(place), "numeric", target_format(cells, config))

    def where(row: int) -> str:
        return f"{table.where(row, place)}: dataset.weight"

    values = column.numbers(cells, config.missing, where)
    for row in np.flatnonzero(~(values >= 0))[:1].tolist():
        cell = quoted(cell_text(cells, row))
        raise DataError(f"{where(row)}: {cell} is no weight, a number from 0 on")
    if not values.any():
        raise DataError(f"{table.path}: column {quoted(column.name)}: all weights are 0")
    return values


def _require_training_rows(
    table: Table,
    target: int,
    y: Indices,
    class_names: tuple[str, ...],
    official: Sequence[Indices | None],
) -> None:
    """No class that only validation or test rows have."""
    free = np.ones(len(y), dtype=bool)
    for rows in official:
        if rows is not None:
            free[rows] = False
    trained = np.zeros(len(class_names), dtype=bool)
    trained[y[free]] = True
    for label in np.flatnonzero(~trained)[:1].tolist():
        row = int(np.flatnonzero(y == label)[0])
        raise DataError(
            f"{table.where(row, target)}: no training row has the class "
            f"{quoted(class_names[label])}"
        )
