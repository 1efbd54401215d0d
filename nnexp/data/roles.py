"""What each column of a table is, found out from its cells, and what becomes of it.

The rules speak of kinds of columns, never of names or of one file, with one exception: a column of
whole numbers without a repeat that is called ``id`` identifies rows. What is declared goes before
what is found; the data card shows what was found, and a warning names what is left out.

Axes: ``M`` rows.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnexp.config.overrides_text import can_be_key, paste
from nnexp.data.date_formats import (
    DIGITS_ALONE,
    PIVOT,
    DateFeatures,
    FoundOrder,
    all_seconds_of,
    find_date_order,
    looks_like_date,
    seconds_of,
    years_of_two_digits,
)
from nnexp.data.encoder import Column, declared_among, is_declared, read_texts, without_declared
from nnexp.data.number_formats import (
    FoundFormat,
    NumberFormat,
    find_number_format,
    is_code_like,
    looks_missing,
    unit_of,
)
from nnexp.data.source import Doubles, in_order, is_number, plain_numbers, quoted
from nnexp.data.table import Cells, Moments, Table, Texts, as_texts, cell_text, number_text
from nnexp.errors import DataError

log = logging.getLogger(__name__)

_LATEST, _EARLIEST = 2.0e11, -5.0e10  # seconds: the years 8307 and 385, beyond all data
_ENOUGH_ROWS = 20  # from which a column is judged by how often its values repeat
_MOST_CATEGORIES = 1000  # of a column that is not declared categorical
_MOSTLY_DISTINCT = 0.5  # a text column with more distinct values than so many a row names rows
_ODD_COUNTS = 0.02  # of the rows, that a counter may repeat or lack
_NEARLY_CONSECUTIVE = 1.1  # whole numbers without a repeat that span no more than so many a row
_PROSE = 3  # words of a cell, on average, from which a column is text rather than names
_EXACT_DIGITS = 15  # of a whole number, which float64 always tells from its neighbours
_MANY_DAYS = 12  # of the month, more than which are no few years
_CODE = 4  # digits, from which numbers that are filled up with zeros may be codes
_TIMED = 1000  # columns, after which it is known how long the others will take
_WITH_FEATURES = 1.3  # of the time that it takes to understand a column, with that for its values
_LONG = 5.0  # seconds that are worth a word
_ASKED = 20  # distinct numbers beside texts, from which they are no categories
_MOST_ODD = 10  # texts beside numbers that are named in one message
_MOST_WORDS = 3  # kinds of texts beside numbers that may be a typing error


@dataclass(frozen=True)
class Options:
    """What is declared of all columns."""

    missing: tuple[Any, ...] = ("", "?")
    impute_numeric: str = "mean"
    impute_categorical: str = "category"
    indicator: bool = False
    decimal: str | None = None
    thousands: str | None = None
    day_first: bool | None = None
    dates: str = "use"  # or drop
    declared: Mapping[str, Sequence[str]] = field(default_factory=dict)  # columns by role
    target: str = "the label"  # what the target is


@dataclass(frozen=True)
class Finding:
    """One column as it was understood."""

    name: str
    role: str
    becomes: str  # for the data card
    column: Column | None = None  # None: not a feature
    distinct: int = 0
    missing: int = 0  # cells
    example: str = ""
    warning: str = ""  # why it is left out, or what was taken for missing
    reason: str = ""  # why it is left out, in a few words
    is_numbers: bool = False  # a column that is left out could be learnt from as numbers

    def to_json(self) -> dict[str, Any]:
        """As plain values, for result.json."""
        return {
            "column": self.name,
            "role": self.role,
            "distinct": self.distinct,
            "missing": self.missing,
            "example": self.example,
            "becomes": self.becomes,
        }


def find_roles(table: Table, declared: Sequence[str], options: Options) -> list[Finding]:
    """Understand every column of a table.

    Args:
        declared: for each column its role, or ``found`` where nothing is said of it.

    Raises:
        DataError: naming a cell that contradicts what is declared, or a column that may be one
            thing or another, with the option that settles it.
    """
    comma = _decimal_comma(table, declared, options)
    findings: list[Finding] = []
    began = time.perf_counter()
    for place, role in enumerate(declared):
        findings.append(_Understanding(table, place, role, options, comma=comma).finding())
        if len(findings) == _TIMED:
            _tell_of_time(table, (time.perf_counter() - began) / _TIMED)
    return findings


def date_order(table: Table, place: int, options: Options) -> str:
    """Return the order of the parts of a column of dates as text, whatever its role is.

    Raises:
        DataError: naming a cell that is no date, or whose day and month cannot be told apart.
    """
    as_used = dataclasses.replace(options, dates="use")
    column = _Understanding(table, place, "date", as_used, comma=False).finding().column
    assert column is not None
    assert column.dates is not None
    return column.dates.order


def _tell_of_time(table: Table, seconds: float) -> None:
    """How long a wide table will take, given the seconds that a column took so far."""
    left = len(table.columns) - _TIMED
    about = _WITH_FEATURES * seconds * left
    if about >= _LONG:
        log.info(
            "%s: %d columns; what they hold is found out in about %.0f s",
            table.path, len(table.columns), about,
        )  # fmt: skip


def _decimal_comma(table: Table, declared: Sequence[str], options: Options) -> bool:
    """Whether a column of the table shows that its numbers have a decimal comma.

    Then a comma that might be either is decimal in the other columns too, and a point that might be
    either stands between thousands.
    """
    if options.thousands is not None or options.decimal is not None:
        return False
    for cells, role in zip(table.columns, declared, strict=True):
        if role in ("found", "numeric") and isinstance(cells, Texts):
            if not any("," in text for text in cells.values):
                continue
            known = [text for text in cells.values if not _is_gap(text, options)]
            found = find_number_format(known, None, None)
            numbers = len(known) - len(found.bad)
            if found.format.decimal == "," and numbers > len(found.bad):
                return True
    return False


def _is_gap(text: str, options: Options) -> bool:
    return is_declared(text, options.missing) or looks_missing(text)


class _Understanding:
    """Of one column."""

    def __init__(
        self, table: Table, place: int, role: str, options: Options, *, comma: bool
    ) -> None:
        self._table, self._place, self._role, self._options = table, place, role, options
        self._comma = comma
        self._cells: Cells = table.columns[place]
        self._title = table.title(place)

    def finding(self) -> Finding:
        cells = self._cells
        if self._role == "weight":
            return self._plain("weight", "how much the row counts in training")
        if self._role in ("target", "group"):
            return self._plain(
                self._role, self._options.target if self._role == "target" else "kept together"
            )
        if self._role == "time":
            return self._plain("time", "the earliest rows train, later ones validate, then test")
        if self._role == "fold_column":
            return self._plain("fold", "says which fold a row is of")
        if self._role == "split_column":
            return self._plain("split", "says which rows are for training, validation and test")
        if self._role == "drop":
            return self._plain("dropped", "left out, as declared")
        if self._role == "categorical":
            return self._categorical(as_texts(cells))
        if isinstance(cells, Moments):
            return self._date(cells.seconds, FoundOrder("", cells.has_time))
        if isinstance(cells, Texts):
            return self._of_texts(cells)
        return self._numeric(without_declared(cells, self._options.missing), NumberFormat())

    def _plain(self, role: str, becomes: str, warning: str = "") -> Finding:
        """A column that becomes no feature."""
        texts = as_texts(self._cells)
        gaps = declared_among(texts.values, self._options.missing)
        missing = len(texts.codes) - int(texts.counts()[~gaps].sum())
        known = [text for text, gap in zip(texts.values, gaps, strict=True) if not gap]
        return Finding(
            self._title, role, becomes, None, len(known), missing, known[0] if known else "",
            warning,
        )  # fmt: skip

    def _left_out(self, role: str, why: str, keep: str) -> Finding:
        """With a warning, and what says otherwise."""
        how = self._declared_as(keep)
        found = self._plain(role, f"left out: {why}", f"{why}; left out ({how} keeps it)")
        return dataclasses.replace(found, reason=why, is_numbers=keep == "numeric")

    # Texts ------------------------------------------------------------------------------------

    def _of_texts(self, texts: Texts) -> Finding:
        options = self._options
        declared = declared_among(texts.values, options.missing).tolist()
        known = [text for text, gap in zip(texts.values, declared, strict=True) if not gap]
        if not known:
            return self._plain("empty", "left out: no values", "has no values; left out")
        words = [text for text in known if looks_missing(text)]
        given = [text for text in known if not looks_missing(text)]
        if self._role == "found" and given and all(map(is_code_like, given)):
            codes = self._categories_or_names(texts, known)
            keep = self._declared_as("numeric")
            return _warned(codes, f"{quoted(given[0])} is taken for a code; if a number: {keep}")
        found = self._number_format(given)
        if self._role == "numeric":
            return self._declared_numeric(texts, given, found, words)
        if self._role == "date":
            return self._declared_date(texts, given, words)
        numbers = len(given) - len(found.bad)
        if numbers and not found.bad and (numbers > 1 or not words):
            if self._role == "found" and (order := self._compact_dates(given)):
                return self._date_of(texts, order, words)
            self._require_clear(texts, found)
            if merged := self._merged_integers(given):
                return merged
            numeric = self._numeric(self._values(texts, found.format), found.format, words)
            return self._with_zeros_told(numeric, given)
        order = find_date_order(given, options.day_first) if found.bad else None
        if order is not None:
            return self._date_of(texts, order, words)
        if not given:
            return self._plain("empty", "left out: no values", "has no values; left out")
        if found.bad:
            self._ask_of_numbers(texts, given, found)
            self._ask_of_dates(texts, given)
        return self._categories_or_names(texts, known)

    def _number_format(self, given: Sequence[str]) -> FoundFormat:
        plain = (
            []
            if plain_numbers(given) is not None
            else [text for text in given if not is_number(text)]
        )
        options = self._options
        if options.thousands is not None or options.decimal is not None:
            declared = find_number_format(given, options.decimal, options.thousands)
            return self._better(declared, given)
        points = [text for text in given if "." in text]
        grouped = bool(points) and all(map(_is_grouped, points))
        if not plain and not (grouped and (self._comma or self._table.separator == ";")):
            return FoundFormat(NumberFormat())
        found = find_number_format(given, "," if self._comma else None)
        if self._comma:
            found = self._better(found, given)
        if not plain and not self._comma and len(points) < len(given):
            return dataclasses.replace(found, ambiguous=points[0])
        if found.bad and len(plain) <= len(found.bad):
            return dataclasses.replace(found, format=NumberFormat(), bad=tuple(plain))
        return found

    def _better(self, found: FoundFormat, given: Sequence[str]) -> FoundFormat:
        """What is declared of all columns, or shown by another one, or else this column's own
        format, if that fits all of its cells: those of another do not change what it is."""
        if not found.bad:
            return found
        own = find_number_format(given)
        return own if not own.bad and not own.contradictory else found

    def _require_clear(self, texts: Texts, found: FoundFormat) -> None:
        """A comma that may be either, in a table whose cells no comma separates."""
        witness = found.ambiguous
        if witness and self._table.separator != ",":
            row = texts.first_row(witness)
            sign, name = (",", "comma") if "," in witness else (".", "point")
            raise DataError(
                f"{self._table.where(row, self._place)}: {quoted(witness)} may have a decimal "
                f"{name} or a {name} between thousands; say so with "
                f"{paste('dataset.decimal', sign)} or {paste('dataset.thousands', sign)}"
            )

    def _merged_integers(self, given: Sequence[str]) -> Finding | None:
        """Integers so long that different ones are one float: the names of something."""
        long = [text for text in given if len(text) > _EXACT_DIGITS and text.lstrip("+-").isdigit()]
        if len(set(map(float, long))) == len(long):
            return None
        why = f"whole numbers of {max(map(len, long))} digits, which floats do not tell apart"
        return self._left_out("identifier", why, "categorical")

    def _with_zeros_told(self, found: Finding, given: Sequence[str]) -> Finding:
        """Numbers of one length, filled up with zeros, may be codes: 02139 is a place."""
        lengths = {len(text) for text in given}
        if len(lengths) != 1 or lengths.pop() < _CODE or not all(map(str.isdecimal, given)):
            return found
        filled = next((text for text in given if text.startswith("0")), None)
        if filled is None or found.role != "numeric" or self._role != "found":
            return found
        warning = (
            f"{quoted(filled)} begins with a zero: taken for a number; if it is a code, "
            f"{self._declared_as('categorical')}"
        )
        return _warned(found, warning)

    def _declared_numeric(
        self, texts: Texts, given: Sequence[str], found: FoundFormat, words: Sequence[str]
    ) -> Finding:
        for text in found.bad[:1]:
            row = texts.first_row(text)
            raise DataError(
                f"{self._table.where(row, self._place)}: {quoted(text)} is not a number"
            )
        if not given:
            return self._plain("empty", "left out: no values", "has no values; left out")
        return self._numeric(self._values(texts, found.format), found.format, words)

    def _declared_date(self, texts: Texts, given: Sequence[str], words: Sequence[str]) -> Finding:
        order = find_date_order(given, self._options.day_first)
        if order is None:
            order, bad = _likeliest_order(given)
            text = bad[0] if bad else given[0]
            row = texts.first_row(text)
            raise DataError(f"{self._table.where(row, self._place)}: {quoted(text)} is not a date")
        return self._date_of(texts, order, words)

    def _ask_of_numbers(self, texts: Texts, given: Sequence[str], found: FoundFormat) -> None:
        """Texts beside numbers that do not look like missing values: a typing error, perhaps."""
        bad = set(found.bad)
        counts = dict(zip(texts.values, texts.counts().tolist(), strict=True))
        num_texts = sum(counts[text] for text in bad)
        num_numbers = sum(counts[text] for text in given) - num_texts
        few = len(bad) <= _MOST_WORDS and len(given) - len(bad) >= _ASKED
        units = found.alike == len(given) >= _ASKED and num_numbers > 0
        if found.contradictory and 2 * found.alike > len(given):
            text = next(text for text in given if "," in text or "." in text)
            raise DataError(
                f"{self._table.where(texts.first_row(text), self._place)}: {quoted(text)} and "
                "other cells of the column contradict each other in what a comma and a point are; "
                f"mend the file, or say {self._declared_as('categorical')} or "
                f"{self._declared_as('drop')}"
            )
        if num_numbers <= num_texts and not few and not units:
            return
        text = min(bad, key=texts.first_row)
        odd = sorted(bad, key=texts.first_row)
        declare = paste("dataset.missing", [*self._options.missing, *odd[:_MOST_ODD]])
        they = "it means" if len(odd) == 1 else f"all {len(odd)} such texts mean"
        missing = f"if {they} no value: {declare}; " if len(odd) <= _MOST_ODD else ""
        raise DataError(
            f"{self._table.where(texts.first_row(text), self._place)}: {quoted(text)} is not a "
            f"number, but {num_numbers} cells of the column are; {_two_units(text, found)}{missing}"
            f"if the column holds categories: {self._declared_as('categorical')}; or leave it out: "
            f"{self._declared_as('drop')}{_units_hint(text, texts, self._table)}"
        )

    def _ask_of_dates(self, texts: Texts, given: Sequence[str]) -> None:
        if len(given) < _ASKED:
            return
        self._ask_of_styles(texts, given)
        if all(map(looks_like_date, given)):
            row = texts.first_row(given[0])
            raise DataError(
                f"{self._table.where(row, self._place)}: {quoted(given[0])} looks like a date in a "
                f"style that is not read; write dates as 2024-05-31, or leave the column out with "
                f"{self._declared_as('drop')}, or take each for a category with "
                f"{self._declared_as('categorical')}"
            )
        order, bad = _likeliest_order(given)
        if order is None or 10 * len(bad) > len(given):
            return
        row = texts.first_row(bad[0])
        raise DataError(
            f"{self._table.where(row, self._place)}: {quoted(bad[0])} is no date, but "
            f"{len(given) - len(bad)} values of the column are; if it means no value: "
            f"{paste('dataset.missing', [*self._options.missing, bad[0]])}; or leave the column "
            f"out with {self._declared_as('drop')}"
        )

    def _ask_of_styles(self, texts: Texts, given: Sequence[str]) -> None:
        """Dates that are written in several ways, of which none fits all."""
        orders = [find_date_order([text], self._options.day_first) for text in given]
        known = [order.order for order in orders if order is not None]
        if 10 * len(known) < 9 * len(given) or len(set(known)) < 2:
            return
        one = given[next(i for i, order in enumerate(orders) if order is not None)]
        other = next(
            text for text, order in zip(given, orders, strict=True)
            if order is not None and order.order != known[0]
        )  # fmt: skip
        raise DataError(
            f"{self._table.where(texts.first_row(other), self._place)}: {quoted(other)} and "
            f"{quoted(one)} are dates in two styles; write all in one, or leave the column out "
            f"with {self._declared_as('drop')}"
        )

    def _categories_or_names(self, texts: Texts, known: Sequence[str]) -> Finding:
        gaps = set(texts.values) - set(known)
        counts = texts.counts()
        rows = int(sum(n for text, n in zip(texts.values, counts, strict=True) if text not in gaps))
        if len(known) >= _ENOUGH_ROWS and len(known) > _MOSTLY_DISTINCT * rows:
            prose = np.mean([len(text.split()) for text in known[:1000]]) >= _PROSE
            why = f"{len(known)} different texts in {rows} rows"
            return self._left_out("text" if prose else "identifier", why, "categorical")
        if len(known) > _MOST_CATEGORIES:
            raise DataError(
                f"{self._table.path}: column {quoted(self._title)} has {len(known)} different "
                f"texts; leave it out with {self._declared_as('drop')}, or take each for a "
                f"category with {self._declared_as('categorical')}"
            )
        return self._categorical(texts)

    # Categories -------------------------------------------------------------------------------

    def _categorical(self, texts: Texts) -> Finding:
        options = self._options
        gaps = declared_among(texts.values, options.missing)
        categories = in_order([t for t, gap in zip(texts.values, gaps, strict=True) if not gap])
        counts = texts.counts()
        missing = len(texts.codes) - int(counts[~gaps].sum())
        if not categories:
            return self._plain("empty", "left out: no values", "has no values; left out")
        if missing and options.impute_categorical == "error":
            absent = np.flatnonzero(np.append(gaps, True)[texts.codes])
            self._refuse_missing(absent, "impute_categorical", ["most_frequent", "category"])
        if len(categories) == 1 and not missing and self._judged():
            return self._plain("constant", "left out: one value", "")
        own = bool(missing) and options.impute_categorical == "category"
        column = Column(
            self._title, "categorical", categories=tuple(categories), missing_category=own,
            number=self._number(),
        )  # fmt: skip
        width = len(column.feature_names)
        becomes = f"{width} columns of 0 and 1" if width > 1 else "1 column of 0 and 1"
        if missing:
            becomes += (
                ", one of them for missing values"
                if own
                else (", the most frequent one for missing values")
            )
        return Finding(
            self._title, "categorical", becomes, column, len(categories), missing, categories[0]
        )

    # Numbers ----------------------------------------------------------------------------------

    def _values(self, texts: Texts, number_format: NumberFormat) -> Doubles:
        missing = self._options.missing
        return without_declared(read_texts(texts, missing, number_format.values)[0], missing)

    def _numeric(
        self, values: Doubles, number_format: NumberFormat, words: Sequence[str] = ()
    ) -> Finding:
        gaps = np.flatnonzero(np.isnan(values))
        known = values if not len(gaps) else values[~np.isnan(values)]
        if not len(known):
            return self._plain("empty", "left out: no values", "has no values; left out")
        if self._role == "found" and isinstance(self._cells, np.ndarray):
            order = self._compact_dates(_whole_texts(known))
            if order is not None:
                return self._date_of(as_texts(values), order, words)
        for row in np.flatnonzero(np.isinf(values))[:1].tolist():
            raise DataError(
                f"{self._table.where(row, self._place)}: {values[row]:g} is not a finite number"
            )
        distinct = len(np.unique(known))
        if self._judged():
            if distinct == 1:
                return self._plain("constant", "left out: one value")
            if left_out := self._row_names(known, distinct, len(gaps)):
                return left_out
        if len(gaps) and self._options.impute_numeric == "error":
            self._refuse_missing(gaps, "impute_numeric", ["mean", "median"])
        indicator = self._options.indicator and bool(len(gaps))
        column = Column(
            self._title, "numeric", number_format, indicator=indicator, number=self._number()
        )
        becomes = (
            "a number" if number_format.is_plain else f"a number ({number_format.described()})"
        )
        if len(gaps):
            becomes += f", the {self._options.impute_numeric} for missing values"
            becomes += ", and 1 where it is missing" if indicator else ""
        return Finding(
            self._title, "numeric", becomes, column, distinct, len(gaps),
            cell_text(self._cells, int(np.argmax(~np.isnan(values)))), _told(words),
        )  # fmt: skip

    def _row_names(self, known: Doubles, distinct: int, gaps: int) -> Finding | None:
        """A column that counts the rows, or whose numbers are the names of rows.

        A few gaps and repeats, as of rows that were put together by hand, make no difference.
        """
        odd = gaps + len(known) - distinct
        if odd > _ODD_COUNTS * self._table.num_rows and (gaps or not self._counts_parts(known)):
            return None
        if not np.array_equal(known, np.floor(known)):
            return None
        are_years = known.min() >= 1800 and known.max() <= 2100
        step = _step_of(known)
        if not are_years and float(np.ptp(known)) / step + 1 <= _NEARLY_CONSECUTIVE * distinct:
            steps = f" in steps of {step}" if step > 1 else ""
            return self._left_out("identifier", f"it counts the rows{steps}", "numeric")
        if not odd and _is_named_id(self._title):
            return self._left_out("identifier", "a number of its own in every row", "numeric")
        return None

    def _counts_parts(self, known: Doubles) -> bool:
        """Whether the rows of the table and those of the file of test rows are counted alone."""
        first = self._table.first_test_row
        parts = [] if first is None else [known[:first], known[first:]]
        return bool(parts) and all(len(np.unique(part)) == len(part) for part in parts)

    # Dates ------------------------------------------------------------------------------------

    def _compact_dates(self, texts: Sequence[str]) -> FoundOrder | None:
        """20240501, or 20240501133005, in every cell, on more than one day."""
        compact = [text for text in texts if re.fullmatch(r"(19|20)\d{6}(\d{6})?", text)]
        if len(compact) < 2 or 10 * len(compact) < 9 * len(texts):
            return None
        order = find_date_order(compact)
        if order is None or order.order not in DIGITS_ALONE:
            return None
        if len(compact) < len(texts):
            dates = set(compact)
            odd = next(text for text in texts if text not in dates)
            raise DataError(
                f"{self._table.path}: column {quoted(self._title)}: {quoted(odd)} is no date, but "
                f"{len(compact)} values of the column are, as {compact[0]}; if it means no value: "
                f"{paste('dataset.missing', [*self._options.missing, odd])}; if the column holds "
                f"numbers: {self._declared_as('numeric')}"
            )
        return order

    def _date_of(self, texts: Texts, order: FoundOrder, words: Sequence[str]) -> Finding:
        if order.ambiguous:
            row = texts.first_row(order.ambiguous)
            raise DataError(
                f"{self._table.where(row, self._place)}: {quoted(order.ambiguous)} may begin with "
                f"the day or with the month; say so with {paste('dataset.day_first', True)} or "
                f"{paste('dataset.day_first', False)}"
            )
        given = [text for text in texts.values if not _is_gap(text, self._options)]
        parts = years_of_two_digits(given, order.order)
        if _may_begin_with_years(parts):
            raise DataError(
                f"{self._table.where(texts.first_row(given[0]), self._place)}: {quoted(given[0])} "
                "may begin with the year; write years with four digits, or leave the column out "
                f"with {self._declared_as('drop')}"
            )
        read = functools.partial(all_seconds_of, order=order.order)
        found = self._date(read_texts(texts, self._options.missing, read)[0], order, words)
        if len({int(year) < PIVOT for _, _, year in parts}) == 2:
            return _warned(found, "years of two digits are read as 1969 to 2068")
        return found

    def _date(self, seconds: Doubles, order: FoundOrder, words: Sequence[str] = ()) -> Finding:
        if self._options.dates == "drop":
            return self._plain("date", "left out, as declared")
        known = seconds[~np.isnan(seconds)]
        if not len(known):
            return self._plain("empty", "left out: no values", "has no values; left out")
        gaps = np.flatnonzero(np.isnan(seconds))
        distinct = len(np.unique(known))
        if distinct == 1 and self._judged():
            return self._plain("constant", "left out: one value")
        if len(gaps) and self._options.impute_numeric == "error":
            self._refuse_missing(gaps, "impute_numeric", ["mean", "median"])
        for row in np.flatnonzero((seconds > _LATEST) | (seconds < _EARLIEST))[:1].tolist():
            cell = cell_text(self._cells, row)
            raise DataError(
                f"{self._table.where(row, self._place)}: {quoted(cell)} is too far from other "
                f"dates to be one; if it means no value: "
                f"{paste('dataset.missing', [*self._options.missing, cell])}"
            )
        dates = DateFeatures.fitted(seconds, order.order, order.has_time)
        column = Column(self._title, "date", dates=dates, number=self._number())
        example = cell_text(self._cells, int(np.argmax(~np.isnan(seconds))))
        return Finding(
            self._title, "date", dates.described(), column, distinct, len(gaps), example,
            "; ".join(
                filter(None, (_told(words, "dates"), _told_of_order(order, self._options)))
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------

    def _judged(self) -> bool:
        """Whether it is found out if the column says anything: that takes rows enough."""
        return self._role == "found" and self._table.num_rows >= _ENOUGH_ROWS

    def _number(self) -> int | None:
        return self._place if self._table.names is None else None

    def _declared_as(self, role: str) -> str:
        """What declares this column to have a role, to be pasted."""
        reference = self._table.reference(self._place)
        if can_be_key(reference):
            return paste("dataset.columns", {reference: role})
        return paste(f"dataset.{role}", [*self._options.declared.get(role, ()), reference])

    def _refuse_missing(self, rows: Any, option: str, choices: Sequence[str]) -> None:
        row = int(rows[0])
        cell = cell_text(self._cells, row)
        count = f", as in {len(rows)} cells of the column" if len(rows) > 1 else ""
        remedies = " or ".join(choices)
        drop = self._declared_as("drop")
        raise DataError(
            f"{self._table.where(row, self._place)}: no value ({quoted(cell)}){count}; fill with "
            f"dataset.{option}={remedies}, or leave the column out with {drop}"
        )


def _warned(found: Finding, warning: str) -> Finding:
    """With one more warning."""
    return dataclasses.replace(found, warning="; ".join(filter(None, (found.warning, warning))))


def _may_begin_with_years(parts: Sequence[tuple[str, str, str]]) -> bool:
    """Whether of dates such as 24-05-13 the last part looks like the day: it takes many values, as
    days do, and the first part fewer, as years do."""
    firsts, lasts = {first for first, _, _ in parts}, {last for _, _, last in parts}
    are_days = all(1 <= int(last) <= 31 for last in lasts)
    return are_days and len(firsts) < len(lasts) > _MANY_DAYS


def _told(words: Sequence[str], kind: str = "numbers") -> str:
    if not words:
        return ""
    shown = ", ".join(map(quoted, sorted(words)))
    return f"{shown} beside {kind}: taken for missing values"


def _units_hint(text: str, texts: Texts, table: Table) -> str:
    """Where the first row below the header holds units: none of its cells is a number, though the
    columns hold numbers."""
    if table.line is None or texts.codes[0] < 0 or texts.values[int(texts.codes[0])] != text:
        return ""
    for cells in table.columns:
        if not isinstance(cells, Texts):
            return ""
        numbers = sum(map(is_number, cells.values))
        first = cells.values[int(cells.codes[0])] if cells.codes[0] >= 0 else ""
        if 2 * numbers > len(cells.values) and is_number(first):
            return ""
    skip = paste("dataset.skip_rows", [table.line(0)])
    return f"; if the line is no row but holds units, say: {skip}"


def _told_of_order(order: FoundOrder, options: Options) -> str:
    """Where dates show another order of day and month than is declared for all columns."""
    if not order.contradicts:
        return ""
    said = "false" if options.day_first is False else "true"
    first = "day" if order.order == "dmy" else "month"
    return (
        f"{quoted(order.contradicts)} does not fit dataset.day_first={said}: the dates of this "
        f"column are read with the {first} first"
    )


def _two_units(text: str, found: FoundFormat) -> str:
    """Where a text would be a number, but for its unit."""
    unit = unit_of(text)
    if not unit or unit == found.format.unit:
        return ""
    others = f"in {found.format.unit}" if found.format.unit else "without a unit"
    return f"its unit is {unit}, other cells are {others}: convert them to one unit; "


def _likeliest_order(texts: Sequence[str]) -> tuple[FoundOrder | None, list[str]]:
    """The order in which most texts are dates, and those that are none."""
    best: tuple[FoundOrder | None, list[str]] = (None, list(texts))
    for candidate in texts[:3]:
        order = find_date_order([candidate])
        if order is not None:
            bad = [text for text in texts if math.isnan(seconds_of(text, order.order))]
            if len(bad) < len(best[1]):
                best = order, bad
    return best


def _whole_texts(known: Doubles) -> list[str]:
    """The texts of whole numbers that might be dates; none if the middle one is not."""
    middle = np.median(known)
    if not any(19_000_101 * unit <= middle <= 20_991_231 * unit + unit for unit in (1, 10**6)):
        return []
    return [number_text(value) for value in np.unique(known).tolist()]


def _step_of(known: Doubles) -> int:
    """The greatest number that divides all differences of whole numbers; 1 for very large ones."""
    if not len(known) or np.abs(known).max() > 2**53:
        return 1
    differences = (known - known.min()).astype(np.int64)
    return max(1, int(np.gcd.reduce(differences)))


def _is_named_id(title: str) -> bool:
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", title)
    parts = re.split(r"[\W_]+", words.casefold())
    return bool({"id", "ids", "uuid", "guid", "rownames", "rownum", "rowid"} & set(parts)) or [
        part for part in parts if part
    ] in (["index"], ["row", "index"])


def _is_grouped(text: str) -> bool:
    """Whether the point of a number may stand between thousands, as in 12.345."""
    return re.fullmatch(r"[-+]?[1-9]\d{0,2}(\.\d{3})+", text) is not None
