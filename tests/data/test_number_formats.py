"""Numbers as people write them: the format of a column, and the value of each cell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnexp.data.number_formats import NumberFormat, find_number_format, looks_missing

COLUMNS = {
    "percent": (["12.5%", "3 %", "0"], [12.5, 3, 0]),
    "currency": (["$1,234.50", "$5", "-$7", "$-8"], [1234.5, 5, -7, -8]),
    "currency by its code": (["USD 5", "USD 1,000.25"], [5, 1000.25]),
    "point for thousands, decimal comma": (["1.234,5", "12,25", "7"], [1234.5, 12.25, 7]),
    "points for thousands alone": (["1.234.567", "1.234"], [1234567, 1234]),
    "blanks for thousands": (["1 234", "12", "1\u00a0234\u202f567"], [1234, 12, 1234567]),
    "apostrophes for thousands": (["1'234.5", "2\u2019000"], [1234.5, 2000]),
    "groups of India": (["12,34,567", "1,000"], [1234567, 1000]),
    "commas for thousands": (["1,234", "950", "12,500.5"], [1234, 950, 12500.5]),
    "decimal comma": (["0,5", "-0,25", "1e-3"], [0.5, -0.25, 0.001]),
    "minus signs": (["(120)", "\u22125", "-3", "+4"], [-120, -5, -3, 4]),
    "exponents of Fortran": (["1.2D+02", "3d0", "4"], [120, 3, 4]),
    "units": (["12 kg", "3.5kg", "0"], [12, 3.5, 0]),
    "units in one and many": (["1 year", "2 years"], [1, 2]),
    "degrees": (["20°C", "-3 °C"], [20, -3]),
    "quotes": (['"5"', "'6'"], [5, 6]),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_format_of_a_column(case: str) -> None:
    texts, values = COLUMNS[case]
    found = find_number_format(texts)
    assert (found.bad, found.contradictory) == ((), False)
    assert [found.format.value(text) for text in texts] == values
    assert NumberFormat.from_json(found.format.to_json()) == found.format


NO_NUMBERS = {
    "ordinals": ["1st", "2nd", "3rd", "4th"],
    "names": ["A12", "p1", "x-3"],
    "ranges": ["10-20", "20-30"],
    "times": ["12:30", "1:05"],
    "dates": ["2024-01-01", "1/2/2024"],
    "fractions": ["3/4", "1/2"],
    "feet and inches": ["5'11\"", "6'0\""],
    "addresses": ["10.0.0.1", "192.168.1.22"],
    "versions": ["1.2.3", "10.4.11"],
    "infinities": ["inf", "nan"],
    "underscores": ["1_000"],
    "groups of another size": ["1,2345", "1,23,4567,8", "1.100.217.109.22.3333"],
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_column_of_numbers(case: str) -> None:
    texts = NO_NUMBERS[case]
    found = find_number_format(texts)
    assert len(found.bad) >= len(texts) - 1


def test_units_that_differ() -> None:
    found = find_number_format(["5 kg", "6 kg", "300 g"])
    assert found.bad == ("300 g",)
    assert found.alike == 3
    assert find_number_format(["0.5", "50%", "60%"]).bad == ("0.5",)  # a half, or half a per cent?
    assert find_number_format(["934", "20k", "9k"]).bad == ("934",)
    assert find_number_format(["6MW", "7MW", "22mW"]).bad == ("22mW",)
    assert find_number_format(["6 mOhm", "7 mOhm", "22 MOhm"]).bad == ("22 MOhm",)
    assert find_number_format(["6 Mb/s", "7 Mb/s", "22 MB/s"]).bad == ("22 MB/s",)
    assert find_number_format(["6 mmol", "7 mmol", "22 Mmol"]).bad == ("22 Mmol",)
    assert find_number_format(["£2.79bn", "£1bn", "£346m"]).bad == ("£346m",)
    assert find_number_format(["$2 per hour", "$3 per hour", "$99 per year"]).bad == (
        "$99 per year",
    )
    assert find_number_format(["$1 USD", "$3 USD", "$2 CAD"]).bad == ("$2 CAD",)
    assert find_number_format(["£1/month", "£2/month", "£12/year"]).bad == ("£12/year",)
    alone = find_number_format(["$6.0M", "$8.5M"])
    assert (alone.bad, alone.format.unit) == ((), "$ M")
    assert alone.format.value("$6.0") != 6  # nor is a price without its multiplier
    assert find_number_format(["2 Months", "1 month", "3 months"]).bad == ()
    assert find_number_format(["94", "25A"]).bad == ("94",)
    assert find_number_format(["00001x", "00002x"]).bad == ("00001x", "00002x")
    assert find_number_format(["4½", "5"]).bad == ("4½",)


def test_separators_that_contradict_each_other() -> None:
    assert find_number_format(["0,5", "1,234,567"]).contradictory
    assert find_number_format(["1.5", "2,5"]).contradictory


def test_what_is_declared_goes_before_what_is_found() -> None:
    assert find_number_format(["1,234", "2,345"], decimal=",").format.value("1,234") == 1.234
    assert find_number_format(["1,234"], thousands=",").format.value("1,234") == 1234
    assert find_number_format(["1.234", "2"], thousands=".").format.value("1.234") == 1234
    assert find_number_format(["43.259", "98.1"], decimal=",").bad == ("98.1",)
    assert find_number_format(["43.259", "950"], decimal=",").format.value("43.259") == 43259
    found = find_number_format(["1,234", "950"])
    assert (found.ambiguous, found.format.value("1,234")) == ("1,234", 1234)


def test_a_comma_beside_a_point_is_not_ambiguous() -> None:
    assert find_number_format(["1,234", "0.5"]).ambiguous == ""


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(
        st.floats(-1e9, 1e9).map(lambda value: round(value, 2)), min_size=2, max_size=8
    ),
    style=st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", "."), ("", "."), ("", ",")]),
    unit=st.sampled_from(["", "%", " kg", " EUR", "€"]),
)
def test_what_is_written_is_read(values: list[float], style: tuple[str, str], unit: str) -> None:
    """Two decimals in every cell leave nothing to guess."""
    thousands, decimal = style
    texts = [
        f"{value:,.2f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands) + unit
        for value in values
    ]
    found = find_number_format(texts)
    assert found.bad == ()
    assert [found.format.value(text) for text in texts] == values


@pytest.mark.parametrize("text", ["NA", "n/a", "NaN", "None", "null", "-", ".", "#N/A", " "])
def test_words_that_look_missing(text: str) -> None:
    assert looks_missing(text)
    assert math.isnan(NumberFormat().value(text))


@pytest.mark.parametrize("text", ["0", "no", "x", "nano", "--1"])
def test_words_that_do_not(text: str) -> None:
    assert not looks_missing(text)
