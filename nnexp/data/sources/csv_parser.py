"""CSV parsing: from the bytes of a file to rows of cells, each as it was written."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.config.schema import CSVConfig
from nnexp.data.sources.files import unpack
from nnexp.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from _csv import Reader as CSVReader

# --------------------------------------------------------------------------------------------------
# The text of a file, and what a file is that holds none.
# --------------------------------------------------------------------------------------------------

_WORKBOOK = "an Excel workbook; save its sheet as CSV first"
# What files begin with that hold no text.
_FORMATS = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": _WORKBOOK,
    b"PAR1": "a Parquet file; write it as CSV first",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ\x00": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"SQLite format 3\x00": "an SQLite database; write the table as CSV first",
    b"\x93NUMPY": "a NumPy array; write it as CSV first",
    b"\x89HDF\r\n": "an HDF5 file; write the table as CSV first",
}
_OFFICE = b"[Content_Types].xml"  # the first member of an .xlsx, which is a zip archive
_MARKUP = {
    r"\s*<(?:!doctype html|html)\b": "an HTML page",
    r"\s*<\?xml\b": "XML",
    r'\s*(?:\[\s*)?\{\s*"': "JSON",
}
_BEGINNING = 1000  # characters that are looked at for NUL


def read_text(path: str, encoding: str, option: str) -> str:
    """The file's text, unpacked if it is gzip, without a byte order mark.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        ConfigError: no encoding has that name.
        DataError: the file is not there, or holds no text in that encoding.
    """
    content = _read(path, option)
    for beginning, kind in _FORMATS.items():
        if content.startswith(beginning):
            raise DataError(f"{path}: {_WORKBOOK if _OFFICE in content[:200] else kind}")
    content = unpack(content, path)
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


def _read(path: str, option: str) -> bytes:
    file = Path(path).expanduser()
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        near = []
        with contextlib.suppress(OSError):
            near = [sibling.name for sibling in file.parent.iterdir()]
        place = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise DataError(
            f"dataset.{option}={path}: no such file{place}{did_you_mean(file.name, near)}"
        ) from error
    except IsADirectoryError as error:
        raise DataError(f"dataset.{option}={path}: a folder, not a file") from error
    except OSError as error:
        raise DataError(f"dataset.{option}={path}: cannot be read, {error.strerror}") from error


def _require_table(text: str, path: str, encoding: str) -> None:
    """No text of another kind, and no UTF-16 that was read as something else."""
    for pattern, kind in _MARKUP.items():
        if re.match(pattern, text, re.IGNORECASE):
            raise DataError(f"{path}: {kind}, not a table of separated cells")
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
    text: str, separator: str, config: CSVConfig, path: str
) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, all as long, and the line that each begins on.

    Raises:
        DataError: there is no row, a row is longer or shorter, or a quote is not closed.
    """
    reader = reader_of(lines_of(text, config.comment), separator, config.quote)
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
        problem = {
            "unexpected end of data": "a quoted cell that begins here is never closed",
            f"'{separator}' expected after '{config.quote}'": "a cell goes on after its quote",
        }.get(str(error), str(error))
        hint = " (dataset.quote=null takes quotes as they are)" if config.quote else ""
        raise DataError(f"{path}: line {begins}: {problem}{hint}") from error
    if not rows:
        raise DataError(f"{path}: empty, no rows")
    _require_rectangle(rows, lines, path)
    return rows, lines


def lines_of(text: str, comment: str | None) -> Iterator[str]:
    """Physical lines; a comment is an empty line, so that the others keep their numbers."""
    lines = io.StringIO(text, newline="")
    if comment is None:
        return lines
    return ("\n" if line.startswith(comment) else line for line in lines)


def reader_of(lines: Iterator[str], separator: str, quote: str | None) -> CSVReader:
    """Strict, so that a stray quote is an error rather than a cell that swallows lines."""
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=quote,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        skipinitialspace=separator not in " \t",
        strict=True,
    )


def cells_of(cells: list[str], separator: str) -> list[str]:
    """One row: any number of blanks separates where a blank does, else blanks are trimmed."""
    if separator == " ":
        return [cell for cell in cells if cell]
    return [cell.strip() for cell in cells]


def _require_rectangle(rows: Sequence[Sequence[str]], lines: Sequence[int], path: str) -> None:
    width = len(rows[0])
    strange = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if strange is None:
        return
    below = {len(row) for row in rows[1:]}
    if len(below) == 1 and len(rows) > 2:
        hint = "; if it is a title, delete it or say with dataset.comment how it begins"
        raise DataError(
            f"{path}: line {lines[0]} has {_cells(width)}, but every line below has {below.pop()}"
            f"{hint if width == 1 else ''}"
        )
    raise DataError(
        f"{path}: line {lines[strange]} has {_cells(len(rows[strange]))}, but line {lines[0]} has "
        f"{width}"
    )


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"
