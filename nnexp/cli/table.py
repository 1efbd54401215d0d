"""Plain tables for terminals of any width and for pipes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

_GAP = "  "
_NARROW = 40  # a terminal is taken to have at least so many columns
_UNPRINTABLE = dict.fromkeys((*range(32), *range(127, 160)), " ")


@dataclass(frozen=True)
class Column:
    """A column and what becomes of it where there is little room.

    Attributes:
        shrinks_to: cells to which its texts may be cut, if at all.
        goes: the columns with the largest number are left out first; those with 0 stay.
        whole: its texts, such as paths, go on a line of their own rather than being cut.
    """

    name: str
    right: bool = False
    shrinks_to: int | None = None
    goes: int = 0
    whole: bool = False


def terminal_width() -> int | None:
    """Return the columns of the terminal or what ``COLUMNS`` says; None for a pipe: no limit."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return max(_NARROW, shutil.get_terminal_size().columns)
    return None


def lines_of(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> tuple[list[str], list[str]]:
    """Lay out a table with a header.

    Args:
        width: in cells; None: as wide as it comes out.

    Returns:
        The lines, and the names of columns that there was no room for.
    """
    cells = [[text.translate(_UNPRINTABLE) for text in row] for row in rows]
    table = [[column.name for column in columns], *cells]
    widths = [max(cell_len(row[i]) for row in table) for i in range(len(columns))]
    kept = list(range(len(columns)))
    below: list[int] = []
    if width is not None and _total(widths, kept) > width:
        below = [i for i in kept if columns[i].whole]
        kept, widths = _fitted(columns, widths, [i for i in kept if i not in below], width)
    lines = []
    for number, row in enumerate(table):
        lines.append(_line(columns, row, widths, kept))
        if number:
            lines += [f"{_GAP}{row[i]}" for i in below if row[i]]
    dropped = [column.name for i, column in enumerate(columns) if i not in (*kept, *below)]
    return lines, dropped


def _fitted(
    columns: Sequence[Column], widths: Sequence[int], kept: list[int], width: int
) -> tuple[list[int], list[int]]:
    """Return the columns that fit, as indices, and the widths of all."""
    least = [min(w, c.shrinks_to or w) for c, w in zip(columns, widths, strict=True)]
    while _total(least, kept) > width:
        leaving = max(kept, key=lambda i: (columns[i].goes, i))
        if not columns[leaving].goes:
            break
        kept = [i for i in kept if i != leaving]
    fitted = list(widths)
    while _total(fitted, kept) > width:
        wide = max(kept, key=lambda i: fitted[i] - least[i])
        if fitted[wide] == least[wide]:
            break
        fitted[wide] -= 1
    return kept, fitted


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1)


def _line(
    columns: Sequence[Column], row: Sequence[str], widths: Sequence[int], kept: Sequence[int]
) -> str:
    return _GAP.join(_cell(row[i], widths[i], columns[i].right) for i in kept).rstrip()


def _cell(text: str, width: int, right: bool) -> str:
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else "…"
    padding = " " * (width - size)
    return padding + text if right else text + padding
