"""CSV parsing: from the bytes of a file to rows of cells, each as it was written."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nnexp.config.overrides_text import paste
from nnexp.config.schema import TableConfig
from nnexp.data.readers.content import content_of
from nnexp.data.source import quoted
from nnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from _csv import Reader as CSVReader


class TextFormat(Protocol):
    """How a text is written: ``TableConfig`` says so for training, other classes for predicting."""

    @property
    def quote(self) -> str | None: ...
    @property
    def escape(self) -> str | None: ...
    @property
    def comment(self) -> str | None: ...
    @property
    def skip_rows(self) -> Any: ...
    @property
    def skip_footer(self) -> int: ...


# --------------------------------------------------------------------------------------------------
# The text of a file.
# --------------------------------------------------------------------------------------------------

_FEW_ODD = 3  # lines inside a table that a hint leaves out
_SEPARATOR_LINE = re.compile(r"sep=([^\w\s\"']|\t)[\r\n]", re.IGNORECASE)
_BEGINNING = 1000  # characters that are looked at for NUL


def read_text(path: str, encoding: str, option: str) -> str:
    """The file's text, unpacked if it is packed, without a byte order mark.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        ConfigError: no encoding has that name.
        DataError: the file is not there, or holds no text in that encoding.
    """
    content = content_of(path, option)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise ConfigError(f"dataset.encoding={encoding}: no such encoding") from error
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(
                f"{path}: UTF-16, not {encoding}; give dataset.encoding=utf-16"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte 0x{content[error.start]:02x} is not {encoding}; "
            "another encoding, such as latin-1 or utf-16, is given by dataset.encoding"
        ) from error
    _require_table(text, path, encoding)
    return text


def _require_table(text: str, path: str, encoding: str) -> None:
    """No UTF-16 that was read as something else."""
    beginning = text[:_BEGINNING]
    if beginning.count("\0") * 3 > len(beginning):
        raise DataError(
            f"{path}: full of NUL characters; if it is text, its encoding is not {encoding} but "
            "perhaps dataset.encoding=utf-16-le"
        )


# --------------------------------------------------------------------------------------------------
# From text to rows of cells, all as long, every cell as it was written.
#
# The csv module reads it, not pandas, which moves values into an index where a row is too long,
# fills short rows up and takes the class "NA" for a missing value. Here such a row is an error
# that names its line.
# --------------------------------------------------------------------------------------------------

_NO_LIMIT = 2**31 - 1  # the largest that the csv module takes on every platform
_limit_lock = threading.Lock()


@contextlib.contextmanager
def cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells of more than 131072 characters, by a limit of the process.

    It is lifted while a file is read: a long text may be a column to drop, and a quote that is
    never closed is told by the line where it begins rather than by the limit it runs into.
    """
    with _limit_lock:
        limit = csv.field_size_limit(_NO_LIMIT)
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def read_rows(
    text: str, separator: str, config: TableConfig, path: str
) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, all as long, and the line that each begins on.

    Raises:
        DataError: there is no row, a row is longer or shorter, or a quote is not closed.
    """
    reader = reader_of(lines_of(text, config), separator, config)
    rows, lines = [], []
    begins = 1
    try:
        for cells in reader:
            row = cells_of(cells, separator)
            if len(row) > 1 or (row and row[0]):
                rows.append(row)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        problem = problem_of(error, separator, config)
        hint = quote_hint(text, config)
        raise DataError(f"{path}: line {begins}: {problem}{hint}") from error
    if not rows:
        raise DataError(f"{path}: empty, no rows")
    _name_index_column(rows, config)
    _drop_trailing_cells(rows)
    _require_no_rule(rows, lines, path)
    _require_rectangle(rows, lines, path, config.skip_footer)
    return rows, lines


def problem_of(error: csv.Error, separator: str, config: TextFormat) -> str:
    """Return what is wrong with a row that the csv module refuses."""
    return {
        "unexpected end of data": "a quoted cell that begins here is never closed",
        f"'{separator}' expected after '{config.quote}'": "a cell goes on after its quote",
    }.get(str(error), str(error))


def unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return names of columns without a repeat, and a sentence on each that was renamed.

    A second ``x`` is ``x.1``. Columns without a name stay so.
    """
    taken, seen = set(names), set[str]()
    unique, renamed = [], []
    for name in names:
        new, number = name, 1
        while name and (new in seen or (new != name and new in taken)):
            new, number = f"{name}.{number}", number + 1
        if new != name:
            renamed.append(f"a second column {quoted(name)} is called {quoted(new)} here")
        seen.add(new)
        unique.append(new)
    return tuple(unique), renamed


def quote_hint(text: str, config: TableConfig) -> str:
    """For a message: what else quotes may mean."""
    if not config.quote:
        return ""
    if config.escape is None and "\\" + config.quote in text:
        escape = paste("dataset.escape", "\\")
        return f" ({escape} takes a backslash before a quote for a quote in a cell)"
    return " (dataset.quote=null takes quotes as they are)"


def _drop_trailing_cells(rows: list[list[str]]) -> None:
    """Rows that end in a separator, below a header that does not."""
    width = len(rows[0])
    longer = [row for row in rows[1:] if len(row) == width + 1]
    if len(longer) == len(rows) - 1 > 0 and not any(row[-1] for row in longer):
        for row in longer:
            row.pop()


def _require_no_rule(rows: list[list[str]], lines: list[int], path: str) -> None:
    """A line of dashes below the header, as programs draw it that print tables."""
    if len(rows) > 1 and _is_markdown(rows):
        raise DataError(
            f"{path}: a table of Markdown: save it as CSV, without the line of dashes and the | at "
            "both ends"
        )
    if len(rows) > 1 and all(len(cell) > 2 and not set(cell) - set("-=:+|") for cell in rows[1]):
        raise DataError(
            f"{path}: line {lines[1]} is a line between header and rows, no row: "
            f"{paste('dataset.skip_rows', [lines[1]])} leaves it out"
        )


def _is_markdown(rows: list[list[str]]) -> bool:
    """``| a | b |`` above ``|---|:-:|``: cells between two empty ones."""
    first, rule = rows[0], rows[1]
    ends = {first[0], first[-1], rule[0], rule[-1]}
    return (
        ends == {""}
        and len(rule) > 2
        and all(re.fullmatch(r":?-+:?", cell) is not None for cell in rule[1:-1])
    )


def _name_index_column(rows: list[list[str]], config: TableConfig) -> None:
    """R writes no name above the names of rows, so that its header is a cell short."""
    if config.index_column in ("0", "") and len(rows) > 1 and len(rows[0]) == len(rows[1]) - 1:
        rows[0].insert(0, "")


def lines_of(text: str, config: TextFormat) -> Iterator[str]:
    """Return the physical lines of a text. See ``kept_lines``."""
    return kept_lines(io.StringIO(text, newline=""), config)


def kept_lines(lines: Iterator[str], config: TextFormat) -> Iterator[str]:
    """Yield lines; one that is left out is an empty line, so that the others keep their numbers.

    Comments are left out, the lines of ``skip_rows`` and ``skip_footer``, and a first line such as
    ``sep=;``.
    """
    skip = config.skip_rows
    left_out = frozenset(range(1, skip + 1) if isinstance(skip, int) else skip)
    for number, line in enumerate(_without_footer(lines, config.skip_footer), start=1):
        is_comment = config.comment is not None and line.startswith(config.comment)
        names_separator = number == 1 and separator_line(line) is not None
        yield "\n" if number in left_out or is_comment or names_separator else line


def _without_footer(lines: Iterator[str], footer: int) -> Iterator[str]:
    """All but the last lines that are not empty, and what stands between and behind these."""
    if not footer:
        yield from lines
        return
    held: deque[str] = deque()
    full = 0
    for line in lines:
        held.append(line)
        full += bool(line.strip())
        while full > footer:
            first = held.popleft()
            full -= bool(first.strip())
            yield first


def separator_line(text: str) -> str | None:
    """Return the separator that the first line names for Excel, as in ``sep=;``."""
    found = _SEPARATOR_LINE.match(text)
    return found[1] if found else None


def reader_of(lines: Iterator[str], separator: str, config: TextFormat) -> CSVReader:
    """Strict, so that a stray quote is an error rather than a cell that swallows lines."""
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=config.quote,
        escapechar=config.escape,
        doublequote=True,
        quoting=csv.QUOTE_NONE if config.quote is None else csv.QUOTE_MINIMAL,
        skipinitialspace=separator not in " \t",
        strict=True,
    )


def cells_of(cells: list[str], separator: str) -> list[str]:
    """One row: any number of blanks separates where a blank does, else blanks are trimmed."""
    if separator == " ":
        return [cell for cell in cells if cell]
    return [cell.strip() for cell in cells]


def _require_rectangle(
    rows: Sequence[Sequence[str]], lines: Sequence[int], path: str, footer: int
) -> None:
    width = len(rows[0])
    strange = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if strange is None:
        return
    widths = [len(row) for row in rows]
    below = set(widths[1:])
    if len(below) == 1 and len(rows) > 2:
        there = below.pop()
        hint = ""
        if width == 1:
            hint = "; if it is a title, delete it or say with dataset.comment how it begins"
            hint += f", or leave it out with dataset.skip_rows={lines[1] - 1}"
        elif width == there - 1:
            hint = (
                "; if the first cell of a row is its name: dataset.index_column=0; if a cell holds "
                "the separator, as 5,9 for 5.9, put such cells in quotes"
            )
        raise DataError(
            f"{path}: line {lines[0]} has {_cells(width)}, but every line below has {there}{hint}"
        )
    raise DataError(
        f"{path}: line {lines[strange]} has {_cells(widths[strange])}, but line {lines[0]} has "
        f"{width}{_edges_hint(widths, lines, footer)}"
    )


def _edges_hint(widths: Sequence[int], lines: Sequence[int], footer: int) -> str:
    """What to leave out where only a few lines, the first or the last ones, have other lengths."""
    ((usual, _),) = Counter(widths).most_common(1)
    odd = [row for row, width in enumerate(widths) if width != usual]
    if len(odd) <= _FEW_ODD < len(widths) - len(odd) and not {0, len(widths) - 1} & set(odd):
        which = "this line is" if len(odd) == 1 else "these lines are"
        return f"; if {which} no row: {paste('dataset.skip_rows', [lines[row] for row in odd])}"
    start = next(i for i in range(len(widths)) if len(set(widths[i:])) == 1)
    if widths[start] > 1 and 2 * start < len(widths) and len(widths) - start > 2:
        return (
            f"; if the table begins with line {lines[start]}: dataset.skip_rows={lines[start] - 1}"
        )
    stop = next(i for i in range(len(widths), 0, -1) if len(set(widths[:i])) == 1)
    if widths[0] > 1 and 2 * stop > len(widths) and stop > 2:
        return (
            f"; if the table ends before line {lines[stop]}: "
            f"dataset.skip_footer={footer + len(widths) - stop}"
        )
    return ""


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"
