"""A file of separated text in the hands of pyarrow: its quotes, its columns, the lines of rows.

Axes: ``M`` rows.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from nnexp.config.schema import TableConfig
from nnexp.data.readers.content import codec_of
from nnexp.data.source import Doubles
from nnexp.data.sources.csv_dialect import Dialect, separator_of
from nnexp.data.sources.csv_parser import cells_of, kept_lines, read_rows, reader_of
from nnexp.data.table import Cells, Texts

_SAMPLE = 2**20  # bytes that the dialect is found out of
_BLOCK = 2**20  # bytes that a thread parses at once
_PART = 2**22  # bytes that are text in memory at once
_MOST_TRIES = 6  # columns that turn out to hold texts, one after another
_NO_DOUBLE = re.compile(r"In CSV column #(\d+): CSV conversion error to double")


def texts_of(missing: Sequence[Any]) -> list[str]:
    """Return what is declared to be missing as text."""
    return [token for token in missing if isinstance(token, str)]


class TextFile:
    """A file of separated text, packed or not."""

    def __init__(self, path: str, config: TableConfig) -> None:
        self._path, self._config = Path(path).expanduser(), config

    @contextmanager
    def _stream(self) -> Iterator[IO[bytes]]:
        with self._path.open("rb") as file:
            packing = codec_of(file.read(8))
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
        """Whether quotes may hold line ends; None if some stand in odd places."""
        quote = self._config.quote
        if quote is None:
            return False
        hold_lines, inside, before = False, False, b"\n"
        with self._stream() as stream:
            while block := stream.read(_BLOCK):
                after = stream.read(1)
                part = before + block + after
                if quote.encode() in part or inside:
                    if self._config.escape is not None:
                        return True
                    if _odd(part, quote, separator):
                        return None
                    lines, inside = _lines_within(part, quote, inside)
                    hold_lines = hold_lines or lines
                before = part[-2:] if after else b""
        return hold_lines

    def read(
        self, dialect: Dialect, numeric: Sequence[bool], hold_lines: bool
    ) -> tuple[list[Cells], int]:
        """Return the columns below the header, and how many rows there are.

        Args:
            numeric: columns that may be numbers; one that is not is read as text.

        Raises:
            pa.ArrowInvalid: rows of different lengths, or bytes that are no text.
        """
        numeric = list(numeric)
        for attempt in itertools.count():
            texts = self._try(dialect, numeric, hold_lines)
            if isinstance(texts, tuple):
                return texts
            for place in texts:
                numeric[place] = False
            if attempt >= _MOST_TRIES:
                numeric = [False] * len(numeric)
        raise AssertionError

    def _try(
        self, dialect: Dialect, numeric: Sequence[bool], hold_lines: bool
    ) -> tuple[list[Cells], int] | list[int]:
        """The columns and how many rows there are, or the columns that are no numbers."""
        room = self._most_rows(dialect)
        doubles = [_Growing(room if is_numeric else 0) for is_numeric in numeric]
        texts: list[list[pa.Array]] = [[] for _ in numeric]
        count = 0
        for part, is_first in self._parts(hold_lines):
            try:
                table = self._arrow(part, dialect, numeric, hold_lines, is_first)
            except pa.ArrowInvalid as error:
                found = _NO_DOUBLE.search(str(error))
                if found is None:
                    raise
                return [int(found[1])]
            odd = [
                place for place, is_numeric in enumerate(numeric)
                if is_numeric and not _all_finite(table.column(place))
            ]  # fmt: skip
            if odd:  # nan and inf are texts here
                return odd
            count += table.num_rows
            arrived = deque(table.columns)
            del table
            for place, is_numeric in enumerate(numeric):
                column = arrived.popleft()  # its memory goes as soon as it is copied
                if is_numeric:
                    doubles[place].add(column)
                else:
                    texts[place] += column.chunks
            del column
            pa.default_memory_pool().release_unused()
        if not count:
            return [np.empty(0) for _ in numeric], 0
        columns: list[Cells] = [
            doubles[place].values() if is_numeric else _texts(texts[place])
            for place, is_numeric in enumerate(numeric)
        ]
        return columns, count

    def _most_rows(self, dialect: Dialect) -> int:
        """About as many rows as the file can have, by the length of its first ones."""
        with self._stream() as stream:
            lines = stream.read(_SAMPLE).splitlines()[dialect.first_line - 1 : -1]
        lengths = [len(line) + 1 for line in lines if line.strip()]
        size = self._path.stat().st_size
        return int(1.2 * size / (sum(lengths) / len(lengths))) + 10 if lengths else 10

    def _parts(self, hold_lines: bool) -> Iterator[tuple[Any, bool]]:
        """What pyarrow reads at once, and whether it is the beginning.

        A file whose quotes hold no line ends is cut at line ends, so that no more than a part of it
        lies in memory as text and as what pyarrow makes of it.
        """
        with self._stream() as stream:
            if hold_lines:
                yield stream, True
                return
            rest, is_first = b"", True
            while block := stream.read(_PART):
                block = rest + block
                cut = block.rfind(b"\n") + 1
                part, rest = block[:cut], block[cut:]
                if part.strip():
                    yield pa.BufferReader(part), is_first
                    is_first = False
            if rest.strip():
                yield pa.BufferReader(rest), is_first

    def _arrow(
        self, part: Any, dialect: Dialect, numeric: Sequence[bool], hold_lines: bool, is_first: bool
    ) -> pa.Table:
        config = self._config
        names = [str(place) for place in range(dialect.width)]
        kinds = {True: pa.float64(), False: pa.dictionary(pa.int32(), pa.string())}
        encoding = codecs.lookup(config.encoding).name
        return csv.read_csv(
            part,
            csv.ReadOptions(
                block_size=_BLOCK,
                skip_rows=dialect.first_line - 1 if is_first else 0,
                column_names=names,
                encoding="utf8" if encoding in ("utf-8", "ascii") else encoding,
            ),
            csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char=config.quote or False,
                escape_char=config.escape or False,
                newlines_in_values=hold_lines,
            ),
            csv.ConvertOptions(
                column_types={name: kinds[n] for name, n in zip(names, numeric, strict=True)},
                null_values=texts_of(config.missing),
                strings_can_be_null=False,
            ),
        )

    def line_of(self, separator: str, has_header: bool) -> Callable[[int], int]:
        """A function from a row below the header to the line on which it begins."""

        def line(row: int) -> int:
            with self._stream() as stream:
                text = io.TextIOWrapper(stream, self._config.encoding, newline="")
                reader = reader_of(kept_lines(text, self._config), separator, self._config)
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


class _Growing:
    """A column of numbers that arrives in parts.

    Memory that is asked for and not yet written to costs nothing, so that there is room for all
    rows from the beginning; joining parts in the end would hold everything twice.
    """

    def __init__(self, room: int) -> None:
        self._values, self._count = np.empty(room), 0

    def add(self, column: pa.ChunkedArray) -> None:
        """Put numbers below those that there are; NaN where there is a null."""
        stop = self._count + len(column)
        if stop > len(self._values):
            larger = np.empty(max(stop, 3 * len(self._values) // 2))
            larger[: self._count] = self._values[: self._count]
            self._values = larger
        for chunk in column.chunks:
            end = self._count + len(chunk)
            self._values[self._count : end] = chunk.to_numpy(zero_copy_only=False)
            self._count = end

    def values(self) -> Doubles:
        """Return [M]."""
        return self._values[: self._count]


def _odd(part: bytes, quote: str, separator: str) -> bool:
    """Whether a quote has neither a separator, a line end nor a quote beside it.

    The first and the last byte of ``part`` are those around what is looked at.
    """
    raw = np.frombuffer(part, np.uint8)
    places = np.flatnonzero(raw[1:-1] == ord(quote)) + 1
    edges = np.frombuffer((separator + "\r\n" + quote).encode(), np.uint8)
    return not bool(np.all(np.isin(raw[places - 1], edges) | np.isin(raw[places + 1], edges)))


def _lines_within(part: bytes, quote: str, inside: bool) -> tuple[bool, bool]:
    """Whether a line ends within quotes, and whether a quote is open at the end.

    Args:
        part: looked at but for its first and last byte.
        inside: whether a quote is open at the beginning.
    """
    raw = np.frombuffer(part, np.uint8)[1:-1]
    places = np.flatnonzero(raw == ord(quote))
    ends = np.flatnonzero((raw == ord("\n")) | (raw == ord("\r")))
    open_there = (np.searchsorted(places, ends) + inside) % 2 == 1
    return bool(open_there.any()), (len(places) + inside) % 2 == 1


def _all_finite(column: pa.ChunkedArray) -> bool:
    return all(
        bool(np.isfinite(chunk.drop_null().to_numpy(zero_copy_only=False)).all())
        for chunk in column.chunks
    )


def _texts(chunks: Sequence[pa.Array]) -> Texts:
    combined = pa.chunked_array(chunks).unify_dictionaries()
    values = combined.chunk(0).dictionary.to_pylist()
    places: dict[str, int] = {}
    new = np.array([places.setdefault(value.strip(), len(places)) for value in values], np.int32)
    codes = np.empty(len(combined), np.int32)
    begin = 0
    for chunk in combined.chunks:  # one after another, to spare memory
        codes[begin : begin + len(chunk)] = new[chunk.indices.to_numpy(zero_copy_only=False)]
        begin += len(chunk)
    return Texts(codes, tuple(places))
