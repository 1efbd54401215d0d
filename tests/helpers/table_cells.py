"""Cells of a table as plain lists, for comparison."""

from __future__ import annotations

import math
from typing import Any

from nnexp.data.table import Cells, Moments, Table, Texts


def plain(cells: Cells) -> list[Any]:
    """Numbers, texts or seconds; None for a null."""
    if isinstance(cells, Texts):
        assert sorted(set(cells.codes.tolist()) - {-1}) == list(range(len(cells.values)))
        assert len(set(cells.values)) == len(cells.values)
        return [None if code < 0 else cells.values[code] for code in cells.codes.tolist()]
    values = cells.seconds if isinstance(cells, Moments) else cells
    return [None if math.isnan(value) else value for value in values.tolist()]


def by_name(table: Table) -> dict[str, list[Any]]:
    """Every column by its title."""
    assert all(len(plain(cells)) == table.num_rows for cells in table.columns)
    return {table.title(number): plain(cells) for number, cells in enumerate(table.columns)}
