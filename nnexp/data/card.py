"""The data card: what each column of a table was taken for, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnexp.data.roles import Finding
from nnexp.data.source import printable

_MOST_ROWS = 40  # columns that are shown in a log
_MOST_KEPT = 1000  # columns that result.json describes
_WIDEST = {"column": 30, "example": 20}
_HEADINGS = ("column", "role", "distinct", "missing", "example", "becomes")
_RIGHT = ("distinct", "missing")


@dataclass(frozen=True)
class DataCard:
    """What was understood of a table."""

    path: str
    num_rows: int
    num_features: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()  # what was found out of the file as a whole

    def text(self, most: int | None = _MOST_ROWS) -> str:
        """Return the card as lines of a terminal.

        Args:
            most: columns that are shown; None shows all.
        """
        shown = self.findings if most is None else self.findings[:most]
        rows = [_HEADINGS, *(_row(finding) for finding in shown)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
        lines = [_line(row, widths) for row in rows]
        more = len(self.findings) - len(shown)
        if more:
            lines.append(f"  ... and {more} more columns (nnexp data {self.path} shows all)")
        columns = len(self.findings)
        width = f"{self.num_features} feature{'s' * (self.num_features != 1)}"
        head = f"{self.path}: {self.num_rows} rows, {columns} columns, {width}"
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([head, *notes, *lines])

    def to_json(self, most: int | None = _MOST_KEPT) -> dict[str, Any]:
        """As plain values, for result.json.

        Args:
            most: columns that are described; None: all.
        """
        return {
            "rows": self.num_rows,
            "features": self.num_features,
            "notes": list(self.notes),
            "num_columns": len(self.findings),
            "columns": [finding.to_json() for finding in self.findings[:most]],
        }


def _row(finding: Finding) -> tuple[str, ...]:
    return (
        _cut(finding.name, _WIDEST["column"]),
        finding.role,
        str(finding.distinct),
        str(finding.missing),
        _cut(finding.example, _WIDEST["example"]),
        finding.becomes,
    )


def _cut(text: str, width: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
        for heading, cell, width in zip(_HEADINGS, row, widths, strict=True)
    ]
    return ("  " + "  ".join(cells)).rstrip()
