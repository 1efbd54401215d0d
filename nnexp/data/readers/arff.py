"""ARFF, Weka's format, which OpenML has as well: declared attributes, then rows, dense or sparse.

Source: https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/

Axes: ``M`` rows, ``D`` attributes.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnexp.data.readers.origin import (
    Origin,
    dropped_columns,
    no_cells,
    require_shape,
    texts_in_use,
)
from nnexp.data.source import is_number, printable, quoted
from nnexp.data.table import Cells, Moments, Table, Texts
from nnexp.errors import DataError

# --------------------------------------------------------------------------------------------------
# The header: what each attribute holds.
# --------------------------------------------------------------------------------------------------

_MISSING = "?"
_NUMERIC = ("numeric", "real", "integer")
_WORD = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_WORD}|[^\s{{]+)\s*(.*)", re.IGNORECASE)
_DATE_LETTERS = {
    "yyyy": "%Y", "yy": "%y", "MM": "%m", "MMM": "%b", "dd": "%d", "HH": "%H", "mm": "%M",
    "ss": "%S", "SSS": "%f", "Z": "%z",
}  # fmt: skip
_TIME_LETTERS = "HmsS"


@dataclass(frozen=True)
class _Attribute:
    name: str
    kind: str  # numeric, nominal, text or date
    values: tuple[str, ...] = ()  # of a nominal one, as declared
    date: str = ""  # of a date: the format of strptime
    has_time: bool = True


def read_arff(content: bytes, path: str, drop: Collection[Any] = ()) -> Table:
    """Read an ARFF file.

    Nominal values come in the order in which the file declares them; ``?`` is a null. In a sparse
    row, what is absent is 0, or the first value of a nominal attribute.

    Args:
        content: of the file, unpacked.
        path: its name in messages.
        drop: columns that keep their places but are not read, whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: naming the line of what is not as the format or the header has it.
    """
    lines = _text(content, path).split("\n")
    attributes, start = _header(lines, path)
    rows, numbers = _rows(lines, start, attributes, path)
    names = [attribute.name for attribute in attributes]
    require_shape(path, names, len(rows), len(names))
    origin = Origin(path, line=numbers.__getitem__)
    dropped = dropped_columns(path, names, len(names), drop)
    columns = [
        no_cells(len(rows)) if number in dropped else _cells(attribute, cells, origin)
        for number, (attribute, cells) in enumerate(
            zip(attributes, zip(*rows, strict=True), strict=True)
        )
    ]
    return origin.table(names, columns, len(rows))


def _text(content: bytes, path: str) -> str:
    """UTF-8 or, as many old files are, Latin-1."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _header(lines: Sequence[str], path: str) -> tuple[list[_Attribute], int]:
    """The attributes, and the line after ``@data`` (from 0)."""
    attributes: list[_Attribute] = []
    for number, line in enumerate(map(str.strip, lines)):
        if not line or line.startswith("%"):
            continue
        word = line.split(None, 1)[0].lower()
        where = f"{path}: line {number + 1}"
        if word == "@data":
            return attributes, number + 1
        if word == "@attribute":
            attributes.append(_attribute(line, where))
        elif word != "@relation":
            raise DataError(
                f"{where}: {printable(line)} is none of @relation, @attribute and @data"
            )
    raise DataError(f"{path}: has no @data, so it is no whole ARFF file")


def _attribute(line: str, where: str) -> _Attribute:
    match = _ATTRIBUTE.match(line)
    if match is None or not match[2]:
        raise DataError(f"{where}: {printable(line)}: an attribute has a name and a type")
    name, declared = _unquoted(match[1]), match[2].strip()
    if declared.startswith("{"):
        inside, closed, _ = declared[1:].rpartition("}")
        if not closed:
            raise DataError(f"{where}: the values of {quoted(name)} end without a brace")
        return _Attribute(name, "nominal", values=tuple(_split(inside, where)))
    word, *rest = declared.split(None, 1)
    kind = word.lower()
    if kind in _NUMERIC:
        return _Attribute(name, "numeric")
    if kind == "string":
        return _Attribute(name, "text")
    if kind == "date":
        letters = _unquoted(rest[0].strip()) if rest else "yyyy-MM-dd'T'HH:mm:ss"
        has_time = any(letter in re.sub("'[^']*'", "", letters) for letter in _TIME_LETTERS)
        return _Attribute(name, "date", date=_strptime(letters, where), has_time=has_time)
    raise DataError(
        f"{where}: {quoted(name)} is {printable(word)}, which is none of numeric, real, integer, "
        "string, date and {values}"
    )


def _strptime(letters: str, where: str) -> str:
    """Java's format of dates as Python's."""
    parts = []
    for part in re.finditer(r"'([^']*)'|(([A-Za-z])\3*)|(.)", letters):
        if part[2]:
            if part[2] not in _DATE_LETTERS:
                raise DataError(
                    f"{where}: {quoted(part[2])} of the date format {quoted(letters)} is none of "
                    f"{', '.join(_DATE_LETTERS)}"
                )
            parts.append(_DATE_LETTERS[part[2]])
        else:
            parts.append((part[1] or part[4] or "'").replace("%", "%%"))
    return "".join(parts)


# --------------------------------------------------------------------------------------------------
# The rows: cells between commas, quoted where they hold a blank or a comma.
# --------------------------------------------------------------------------------------------------

_CELL = re.compile(rf"\s*({_WORD}|(?!['\"])[^,]*?)\s*(,|$)")
_SPARSE_CELL = re.compile(rf"\s*(\d+)\s+({_WORD}|(?!['\"])[^,]+?)\s*(,|$)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _split(line: str, where: str) -> list[str]:
    """The cells of a line, without their quotes."""
    if "'" not in line and '"' not in line and "\\" not in line:
        return [cell.strip() for cell in line.split(",")]
    cells, at = [], 0
    while True:
        match = _CELL.match(line, at)
        if match is None:
            raise DataError(
                f"{where}: a cell goes on after its quote, or its quote is never closed: "
                f"{printable(line[at:].strip())}"
            )
        cells.append(_unquoted(match[1]))
        if not match[2]:
            return cells
        at = match.end()


def _unquoted(word: str) -> str:
    if word[:1] in ("'", '"') and word[-1:] == word[:1] and len(word) > 1:
        word = word[1:-1]
    if "\\" not in word:
        return word
    return _ESCAPE.sub(
        lambda m: chr(int(m[1][1:], 16)) if len(m[1]) > 1 else _ESCAPED.get(m[1], m[1]), word
    )


def _rows(
    lines: Sequence[str], start: int, attributes: Sequence[_Attribute], path: str
) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, all as long, and the line of each, from 1."""
    width = len(attributes)
    absent = [a.values[0] if a.kind == "nominal" and a.values else "0" for a in attributes]
    rows, numbers = [], []
    for number, raw in enumerate(lines[start:], start + 1):
        line = raw.strip()
        if not line or line.startswith("%"):
            continue
        where = f"{path}: line {number}"
        if line.startswith("{"):
            row = _sparse(line, absent, where)
        else:
            row = _split(line, where)
            if len(row) == width + 1 and row[-1].startswith("{"):
                row = row[:-1]  # a weight of the row
        if len(row) != width:
            raise DataError(
                f"{where}: has {len(row)} cell{'s' * (len(row) != 1)}, but {width} attributes are "
                "declared"
            )
        rows.append(row)
        numbers.append(number)
    return rows, numbers


def _sparse(line: str, absent: list[str], where: str) -> list[str]:
    """The cells of ``{3 0.5, 7 yes}``."""
    inside, closed, _ = line[1:].rpartition("}")
    if not closed:
        raise DataError(f"{where}: a sparse row ends without a brace")
    row, at = absent.copy(), 0
    while inside[at:].strip():
        match = _SPARSE_CELL.match(inside, at)
        if match is None or int(match[1]) >= len(row):
            raise DataError(
                f"{where}: {quoted(inside[at:].strip())} is no cell of a sparse row, which is the "
                f"number of an attribute, 0 to {len(row) - 1}, and its value"
            )
        row[int(match[1])] = _unquoted(match[2])
        at = match.end()
    return row


# --------------------------------------------------------------------------------------------------
# The cells of an attribute.
# --------------------------------------------------------------------------------------------------


def _cells(attribute: _Attribute, cells: Sequence[str], origin: Origin) -> Cells:
    if attribute.kind == "numeric":
        return _numbers(attribute.name, cells, origin)
    if attribute.kind == "date":
        return _moments(attribute, cells, origin)
    if attribute.kind == "text":
        return Texts.of(None if cell == _MISSING else cell.strip() for cell in cells)
    places = {value: place for place, value in enumerate(attribute.values)}
    places.setdefault(_MISSING, -1)
    try:
        codes = np.fromiter(map(places.__getitem__, cells), np.int32, len(cells))
    except KeyError as error:
        row = cells.index(error.args[0])
        shown = ", ".join(map(quoted, attribute.values[:10]))
        more = ", ..." if len(attribute.values) > 10 else ""
        raise DataError(
            f"{origin.where(row, attribute.name)}: {quoted(cells[row])} is none of the declared "
            f"{shown}{more}"
        ) from None
    return texts_in_use(codes, [value.strip() for value in attribute.values])


def _numbers(name: str, cells: Sequence[str], origin: Origin) -> Cells:
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        if cell == _MISSING:
            values[row] = math.nan
        elif is_number(cell):
            values[row] = float(cell)
        else:
            raise DataError(f"{origin.where(row, name)}: {quoted(cell)} is not a number")
    return values


def _moments(attribute: _Attribute, cells: Sequence[str], origin: Origin) -> Moments:
    seconds = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell == _MISSING:
            continue
        try:
            moment = datetime.datetime.strptime(cell, attribute.date)
        except ValueError:
            raise DataError(
                f"{origin.where(row, attribute.name)}: {quoted(cell)} is no date as declared"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        seconds[row] = moment.timestamp()
    return Moments(seconds, attribute.has_time)
