"""Large files of separated text, read by pyarrow: as fast as the disk, and column by column.

What the csv module reads with more care (comments, lines at the end, blanks between cells, other
encodings than those that contain ASCII, quotes in odd places) is left to it, and so is every file
with a fault: it names the line. Where both can read a file they give the same table.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from nnexp.config.schema import TableConfig
from nnexp.data.source import is_number
from nnexp.data.sources.csv_dialect import (
    Dialect,
    dialect_of,
    order_of_test,
    read_carefully,
    separator_of,
)
from nnexp.data.sources.csv_parser import cells_of, read_rows, reader_of
from nnexp.data.sources.files import packing_of
from nnexp.data.table import Cells, Table, Texts, join_rows
from nnexp.errors import ConfigError, DataError

_SMALL = 2**22  # bytes, up to which the csv module is quick enough
_SAMPLE = 2**20  # bytes that the dialect is found out of
_BLOCK = 2**22  # bytes that are parsed at once
_MOST_TRIES = 6  # columns that turn out to hold texts, one after another

ASCII_COMPATIBLE = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "iso8859-15", "cp1250"})


def read_text_table(config: TableConfig) -> Table:
    """Return the table of ``config.path``, separator and header found out where they are not given.

    Raises:
        ConfigError, DataError: naming the file and, where there is one, the line.
    """
    table = read_quickly(config)
    return read_carefully(config) if table is None else table


def read_quickly(config: TableConfig) -> Table | None:
    """Return the table of a file; None where it needs more care."""
    if not _can_be_quick(config):
        return None
    try:
        return _read(config)
    except (pa.ArrowException, DataError, ConfigError, OSError, UnicodeError):
        return None  # the csv module names the fault, or sees none


def _can_be_quick(config: TableConfig) -> bool:
    try:
        size = Path(config.path).expanduser().stat().st_size
        encoding = codecs.lookup(config.encoding).name
    except (OSError, LookupError):
        return False
    plain = config.comment is None and not config.skip_footer and config.separator != " "
    plain = plain and not isinstance(config.skip_rows, list) and config.index_column is None
    return size > _SMALL and plain and encoding in ASCII_COMPATIBLE


def _read(config: TableConfig) -> Table | None:
    first = _File(config.path, config)
    rows, lines, separator = first.sample()
    if separator == " ":
        return None
    dialect = dialect_of(rows, lines, separator, config)
    quotes = first.quotes(separator)
    if quotes is None:
        return None
    numeric = _numeric(rows, dialect, config)
    columns, count = first.read(dialect, numeric, quotes)
    if config.test_path is None:
        line = first.line_of(separator, dialect.names is not None)
        return _table(config, dialect, columns, count, line, None)
    test = _File(config.test_path, config)
    test_rows, test_lines, _ = test.sample(separator)
    order = order_of_test(test_rows, test_lines, dialect.names, dialect.width, config)
    test_quotes = test.quotes(separator)
    if test_quotes is None:
        return None
    header = dialect.names is not None
    test_dialect = dialect_of(test_rows, test_lines, separator, config, header)
    inverse = [order.index(place) for place in range(dialect.width)]
    numeric = [isinstance(cells, np.ndarray) for cells in columns]
    test_columns, test_count = test.read(test_dialect, [numeric[p] for p in inverse], test_quotes)
    mixed = [
        isinstance(columns[place], np.ndarray) != isinstance(test_columns[at], np.ndarray)
        for place, at in enumerate(order)
    ]
    if any(mixed):  # texts in one of the files: the cells of both are wanted as they were written
        numeric = [n and not m for n, m in zip(numeric, mixed, strict=True)]
        columns, _ = first.read(dialect, numeric, quotes)
    if not count or not test_count:
        return None
    joined: list[Cells] = []
    for place in range(dialect.width):
        joined.append(join_rows([columns[place], test_columns[order[place]]]))
        columns[place] = np.empty(0)
    lines_of_first = first.line_of(separator, header)
    lines_of_test = test.line_of(separator, header)

    def either(row: int) -> int:
        return lines_of_first(row) if row < count else lines_of_test(row - count)

    return _table(config, dialect, joined, count + test_count, either, count)


def _table(
    config: TableConfig,
    dialect: Dialect,
    columns: list[Cells],
    count: int,
    line: Callable[[int], int],
    first_test_row: int | None,
) -> Table | None:
    if not count:
        return None
    return Table(
        config.path, dialect.names, columns, count, line, config.test_path, first_test_row,
        dialect.separator, dialect.notes,
    )  # fmt: skip


def _numeric(rows: Sequence[Sequence[str]], dialect: Dialect, config: TableConfig) -> list[bool]:
    """Whether the first cells of each column are plain numbers or declared to be missing."""
    body = rows[1:] if dialect.names is not None else rows
    missing = _texts_of(config.missing)
    numeric = [
        all(is_number(cell) or cell in missing for cell in set(cells))
        for cells in zip(*body, strict=True)
    ] or [False] * dialect.width
    names = dialect.names or ("",) * dialect.width
    as_written = {
        str(reference)
        for reference in (
            config.target, config.split_column, config.group, *config.categorical, *config.date,
            *(name for name, role in config.columns.items() if role in ("categorical", "date")),
        )
        if reference is not None
    }  # fmt: skip
    width = dialect.width
    for place in range(width):
        if {names[place], str(place), str(place - width)} & as_written:
            numeric[place] = False
    return numeric


def _texts_of(missing: Sequence[Any]) -> list[str]:
    return [token for token in missing if isinstance(token, str)]


class _File:
    """A file of separated text, packed or not."""

    def __init__(self, path: str, config: TableConfig) -> None:
        self._path, self._config = Path(path).expanduser(), config

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        with self._path.open("rb") as file:
            packing = packing_of(file.read(8))
        if packing is None:
            with self._path.open("rb") as file:
                yield file
        else:
            with pa.OSFile(str(self._path)) as raw, pa.CompressedInputStream(raw, packing) as file:
                yield file

    def sample(self, separator: str | None = None) -> tuple[list[list[str]], list[int], str]:
        """The first rows, the line that each begins on, and the separator."""
        with self._stream() as stream:
            beginning = stream.read(_SAMPLE)
        cut = beginning.rfind(b"\n")
        if len(beginning) == _SAMPLE and cut > 0:
            beginning = beginning[: cut + 1]
        text = beginning.decode(self._config.encoding).removeprefix("\ufeff")
        found = separator_of(text, self._config) if separator is None else separator
        rows, lines = read_rows(text, found, self._config, str(self._path))
        return rows, lines, found

    def quotes(self, separator: str) -> bool | None:
        """Whether the file has quotes; None if some stand in odd places."""
        quote = self._config.quote
        if quote is None:
            return False
        found, before = False, b"\n"
        with self._stream() as stream:
            while block := stream.read(_BLOCK):
                after = stream.read(1)
                part = before + block + after
                if quote.encode() in part:
                    found = True
                    if self._config.escape is None and _odd(part, quote, separator):
                        return None
                before = part[-2:] if after else b""
        return found

    def read(
        self, dialect: Dialect, numeric: Sequence[bool], has_quotes: bool
    ) -> tuple[list[Cells], int]:
        """The columns below the header, and how many rows there are."""
        numeric = list(numeric)
        for attempt in itertools.count():
            try:
                table = self._arrow(dialect, numeric, has_quotes)
            except pa.ArrowInvalid as error:
                found = re.search(
                    r"In CSV column #(\d+): CSV conversion error to double", str(error)
                )
                if found is None:
                    raise
                numeric[int(found[1])] = False
                if attempt >= _MOST_TRIES:
                    numeric = [False] * len(numeric)
                continue
            odd = [
                place for place, is_numeric in enumerate(numeric)
                if is_numeric and not _all_finite(table.column(place))
            ]  # fmt: skip
            if not odd:
                break
            for place in odd:  # nan and inf are texts here
                numeric[place] = False
        count = table.num_rows
        columns: list[Cells] = []
        for is_numeric in numeric:
            column = table.column(0)
            table = table.remove_column(0)  # its memory goes as soon as it is copied
            columns.append(_doubles(column) if is_numeric else _texts(column))
        return columns, count

    def _arrow(self, dialect: Dialect, numeric: Sequence[bool], has_quotes: bool) -> pa.Table:
        config = self._config
        names = [str(place) for place in range(dialect.width)]
        kinds = {True: pa.float64(), False: pa.dictionary(pa.int32(), pa.string())}
        encoding = codecs.lookup(config.encoding).name
        with self._stream() as stream:
            return csv.read_csv(
                stream,
                csv.ReadOptions(
                    block_size=_BLOCK,
                    skip_rows=dialect.first_line - 1,
                    column_names=names,
                    encoding="utf8" if encoding in ("utf-8", "ascii") else encoding,
                ),
                csv.ParseOptions(
                    delimiter=dialect.separator,
                    quote_char=config.quote or False,
                    escape_char=config.escape or False,
                    newlines_in_values=has_quotes,
                ),
                csv.ConvertOptions(
                    column_types={name: kinds[n] for name, n in zip(names, numeric, strict=True)},
                    null_values=_texts_of(config.missing),
                    strings_can_be_null=False,
                ),
            )

    def line_of(self, separator: str, has_header: bool) -> Callable[[int], int]:
        """A function from a row below the header to the line on which it begins."""

        def line(row: int) -> int:
            with self._stream() as stream:
                text = io.TextIOWrapper(stream, self._config.encoding, newline="")
                lines = _skipping(text, self._config)
                reader = reader_of(lines, separator, self._config)
                begins, at = 1, -1 if has_header else 0
                for cells in reader:
                    kept = cells_of(cells, separator)
                    if len(kept) > 1 or (kept and kept[0]):
                        if at == row:
                            break
                        at += 1
                    begins = reader.line_num + 1
                return begins

        return line


def _skipping(lines: Iterator[str], config: TableConfig) -> Iterator[str]:
    return ("\n" if n < config.skip_rows else line for n, line in enumerate(lines))


def _odd(part: bytes, quote: str, separator: str) -> bool:
    """Whether a quote has neither a separator, a line end nor a quote beside it.

    The first and the last byte of ``part`` are those around what is looked at.
    """
    raw = np.frombuffer(part, np.uint8)
    places = np.flatnonzero(raw[1:-1] == ord(quote)) + 1
    edges = np.frombuffer((separator + "\r\n" + quote).encode(), np.uint8)
    return not bool(np.all(np.isin(raw[places - 1], edges) | np.isin(raw[places + 1], edges)))


def _all_finite(column: pa.ChunkedArray) -> bool:
    return all(
        bool(np.isfinite(chunk.drop_null().to_numpy(zero_copy_only=False)).all())
        for chunk in column.chunks
    )


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """NaN where there is a null."""
    values: NDArray[np.float64] = column.to_numpy()
    return values if values.flags.writeable else values.copy()


def _texts(column: pa.ChunkedArray) -> Texts:
    combined = column.unify_dictionaries()
    values = combined.chunk(0).dictionary.to_pylist() if combined.num_chunks else []
    codes = np.concatenate(
        [chunk.indices.to_numpy(zero_copy_only=False) for chunk in combined.chunks]
        or [np.empty(0, np.int32)]
    ).astype(np.int32)
    places: dict[str, int] = {}
    new = np.array([places.setdefault(value.strip(), len(places)) for value in values], np.int32)
    return Texts(new[codes], tuple(places))
