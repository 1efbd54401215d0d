"""A file of any format as a table, and behind its rows those of the file of test rows."""

from __future__ import annotations

from nnexp.config.dataset_schema import TEXT_OPTIONS
from nnexp.config.schema import TableConfig
from nnexp.data.readers.formats import SEPARATED, format_of, read_table_file
from nnexp.data.source import quoted
from nnexp.data.sources.csv_quick import read_text_table
from nnexp.data.table import Table, join_rows
from nnexp.errors import ConfigError, DataError


def read_table(config: TableConfig) -> Table:
    """Return the table of ``config.path``, followed by the rows of ``config.test_path``.

    Raises:
        ConfigError: an option of separated text for a file of another format.
        DataError: a file that is missing, damaged, of an unknown format, or whose columns are not
            those of the first.
    """
    found = format_of(config.path)
    if config.test_path is not None:
        test_format = format_of(config.test_path, option="test_path")
        if test_format != found:
            raise DataError(f"{config.test_path}: is {test_format}, but {config.path} is {found}")
    if found == SEPARATED:
        return read_text_table(config)
    defaults = TableConfig()
    for option in TEXT_OPTIONS:
        value = getattr(config, option)
        if value != getattr(defaults, option):
            raise ConfigError(
                f"dataset.{option}={value}: goes with separated text, and {config.path} is {found}"
            )
    drop = [*config.drop, *(name for name, role in config.columns.items() if role == "drop")]
    table = read_table_file(config.path, drop=drop)
    if config.test_path is None:
        return table
    return with_test_rows(table, read_table_file(config.test_path, option="test_path", drop=drop))


def with_test_rows(table: Table, test: Table) -> Table:
    """Return a table followed by the rows of another one, which are official test rows.

    Raises:
        DataError: the columns of the other one are not those of the first.
    """
    order = list(range(len(table.columns)))
    if len(test.columns) != len(order):
        raise DataError(
            f"{test.path}: has {len(test.columns)} columns, but {table.path} has {len(order)}"
        )
    if table.names is not None and test.names is not None:
        strange = next((name for name in test.names if name not in table.names), None)
        if strange is not None:
            raise DataError(f"{test.path}: {table.path} has no column {quoted(strange)}")
        order = [test.names.index(name) for name in table.names]
    count, first_line, test_line = table.num_rows, table.line, test.line

    def line(row: int) -> int:
        assert first_line is not None
        assert test_line is not None
        return first_line(row) if row < count else test_line(row - count)

    return Table(
        path=table.path,
        names=table.names,
        columns=[
            join_rows([cells, test.columns[place]])
            for cells, place in zip(table.columns, order, strict=True)
        ],
        num_rows=count + test.num_rows,
        line=None if first_line is None or test_line is None else line,
        test_path=test.path,
        first_test_row=count,
        notes=table.notes,
        categorical=table.categorical,
    )
