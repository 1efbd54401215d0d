"""Labels of a table: the class of every row, and what is no class.

Axes: ``M`` rows, ``C`` classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnexp.config.dataset_schema import ColumnsConfig
from nnexp.config.overrides_text import paste
from nnexp.data.date_formats import find_date_order
from nnexp.data.encoder import is_declared, label_codes
from nnexp.data.source import Indices, in_order, is_number, quoted
from nnexp.data.table import Table, Texts, as_texts, cell_text
from nnexp.errors import DataError

_MOST_CLASSES = 100  # whose names are numbers, or fewer than two rows each
_MOST_FRACTIONS = 30
_MOST_LISTED = 5  # lines, in a hint
_MANY_NUMBERS = 10  # different numbers, from which each class needs a few rows
_FEW_ROWS, _FEW_ROWS_OF_FRACTIONS = 5, 10  # of a class: with fewer, numbers are a quantity


@dataclass(frozen=True, eq=False)
class Labels:
    """The classes of a table's rows."""

    y: Indices  # [M], from 0 to C - 1
    names: tuple[str, ...]  # [C], numbers by value, else by character
    merged: tuple[str, ...]  # other spellings of these names: ``1.0`` of ``1``


NO_LABELS = Labels(np.empty(0, np.int64), (), ())


def read_labels(table: Table, target: int, config: ColumnsConfig) -> Labels:
    """Return every row's class.

    Raises:
        DataError: a label is missing, or the column holds something else than classes.
    """
    texts = as_texts(table.columns[target])
    stripped = [text.strip(config.target_strip).strip() for text in texts.values]
    gaps = {
        place
        for place, (text, label) in enumerate(zip(texts.values, stripped, strict=True))
        if is_declared(text, config.missing) or is_declared(label, config.missing)
    }
    missing = np.isin(texts.codes, [-1, *gaps]).nonzero()[0].tolist()
    if missing:
        cell = quoted(cell_text(table.columns[target], missing[0]))
        raise DataError(
            f"{table.where(missing[0], target)}: the label is missing ({cell})"
            f"{_rows_hint(table, missing)}"
        )
    spellings = in_order(stripped)
    names = _one_of_each_number(spellings)
    _require_classes(table, target, names, config.task)
    by_text = label_codes(Texts.of(stripped), names)
    merged = tuple(text for text in spellings if text not in set(names))
    return Labels(by_text[texts.codes], tuple(names), merged)


def _rows_hint(table: Table, rows: list[int]) -> str:
    """What leaves a few rows of separated text out: a line of sums, say."""
    if not table.separator or table.line is None or len(rows) > _MOST_LISTED:
        return ""
    if table.first_test_row is not None:
        return ""  # lines are those of one of two files
    which = "it is no row" if len(rows) == 1 else f"these {len(rows)} lines are no rows"
    return f"; if {which}: {paste('dataset.skip_rows', [table.line(row) for row in rows])}"


def _one_of_each_number(names: list[str]) -> list[str]:
    """Of ``1``, ``1.0`` and ``01`` the shortest, if all names are numbers: they are one class."""
    if not all(map(is_number, names)):
        return names
    shortest: dict[float, str] = {}
    for name in sorted(names, key=len):
        shortest.setdefault(float(name), name)
    return in_order(shortest.values())


def _require_classes(table: Table, target: int, names: list[str], task: str) -> None:
    """At least two names, which name classes rather than a quantity or the rows themselves."""
    where = f"{table.path}: target {quoted(table.title(target))}"
    if len(names) == 1:
        raise DataError(f"{where} has one class only, {quoted(names[0])}")
    are_numbers = all(map(is_number, names))
    if task == "auto" and _is_quantity(names, are_numbers, table.num_rows):
        numbers = [name for name in names if math.isfinite(_value(name))]
        kind = "numbers" if are_numbers else "labels, most of them numbers," if numbers else "dates"
        answer = "task=classification takes them for classes"
        if numbers:
            answer = "task=regression predicts a quantity, task=classification classes"
        raise DataError(
            f"{where} has {len(names)} different {kind} in {table.num_rows} rows: classes or a "
            f"quantity? {answer}"
        )
    if len(names) > _MOST_CLASSES and table.num_rows < 2 * len(names):
        raise DataError(
            f"{where} has {len(names)} different values in {table.num_rows} rows: a name, not a "
            "class"
        )


def _is_quantity(names: list[str], are_numbers: bool, num_rows: int) -> bool:
    """Whether the names are too many numbers for classes that happen to be numbered.

    Numbers with fractions are too many sooner, and above ``_MOST_CLASSES`` with any number of rows.
    """
    values = [value for value in map(_value, names) if math.isfinite(value)]
    if not values and len(names) > _MANY_NUMBERS and num_rows < _FEW_ROWS * len(names):
        return find_date_order(names) is not None
    if 2 * len(values) <= len(names):
        return False
    fractions = any(value != round(value) for value in values)
    if fractions and are_numbers and len(names) > _MOST_CLASSES:
        return True
    few = _FEW_ROWS_OF_FRACTIONS if fractions else _FEW_ROWS
    if len(names) > _MANY_NUMBERS and num_rows < few * len(names):
        return True
    most = _MOST_FRACTIONS if fractions else _MOST_CLASSES
    return len(names) > most and num_rows < 20 * len(names)


def _value(label: str) -> float:
    """What a label says as a quantity, as 0.5, 0,5, $1,200.50 or 12 %; else NaN."""
    digits = label.strip("$€£% ")
    try:
        return float(digits.replace(",", "" if "." in digits else "."))
    except ValueError:
        return math.nan
