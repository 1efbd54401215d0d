"""Dates and times as people write them, and their features."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnexp.data.date_formats import DateFeatures, find_date_order, looks_like_date, seconds_of

UTC = datetime.UTC
MAY = datetime.datetime(2024, 5, 1, tzinfo=UTC).timestamp()

COLUMNS = {
    "ISO": (["2024-05-01"], MAY),
    "slashes, year first": (["2024/05/01"], MAY),
    "points": (["1.5.2024"], MAY),
    "the day first, as another row tells": (["1/5/2024", "31/12/2024"], MAY),
    "the month first, as another row tells": (["5/1/2024", "12/31/2024"], MAY),
    "names of months": (["1 May 2024"], MAY),
    "names of months, first": (["May 1st, 2024"], MAY),
    "short names and years": (["01-May-24"], MAY),
    "a weekday": (["Wed, 1 May 2024"], MAY),
    "digits alone": (["20240501"], MAY),
    "months": (["2024-05"], MAY),
    "months by name": (["May 2024"], MAY),
    "a time": (["2024-05-01 13:30"], MAY + 48_600),
    "a time of ISO": (["2024-05-01T13:30:05.25Z"], MAY + 48_605.25),
    "a zone": (["2024-05-01T13:30:00+02:00"], MAY + 41_400),
    "half a day": (["5/1/2024 1:30 PM", "12/31/2024 12:00 am"], MAY + 48_600),
    "month and year": (["05/2024"], MAY),
    "weeks of ISO": (["2024-W18"], MAY - 2 * 86_400),
    "quarters": (["Q2 2024"], MAY - 30 * 86_400),
    "quarters, year first": (["2024-Q2"], MAY - 30 * 86_400),
    "months in German": (["1. Mai 2024"], MAY),
    "months in French": (["1er mai 2024", "2 févr. 2024"], MAY),
    "months in Spanish": (["1 de mayo de 2024"], MAY),
    "Japanese": (["2024年5月1日", "2024年12月31日"], MAY),
    "C": (["Wed May  1 13:30:05 2024"], MAY + 48_605),
    "a log of Apache": (["01/May/2024:13:30:05 +0000"], MAY + 48_605),
    "the name of a zone": (["2024-05-01 08:30:00 EST"], MAY + 48_600),
    "o'clock in German": (["01.05.2024 13:30 Uhr"], MAY + 48_600),
    "minutes and seconds": (["25:10", "39:40"], 1510),
    "many hours": (["25:27:14.5"], 91_634.5),
    "no date": (["13:30"], 48_600),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_ways_to_write_a_date(case: str) -> None:
    texts, seconds = COLUMNS[case]
    found = find_date_order(texts)
    assert found is not None
    assert found.ambiguous == ""
    assert seconds_of(texts[0], found.order) == seconds
    assert found.has_time == (":" in texts[0])


@pytest.mark.parametrize("text", ["20240501T133005", "20240501133005", "20240501T1330Z"])
def test_digits_that_are_a_moment(text: str) -> None:
    found = find_date_order([text])
    assert found is not None
    assert found.has_time
    assert seconds_of(text, found.order) == MAY + 48_600 + 5 * ("05" in text[-2:])


@pytest.mark.parametrize(
    ("text", "answer"),
    [("2020-1", True), ("Apr-24", True), ("5 :: May :: 2024", True), ("vr 5 2024", True),
     ("INV-2024-001", False), ("v1.2.3", False), ("3 rooms", False), ("10-20", False),
     ("2024", False), ("May", False)],
)  # fmt: skip
def test_what_looks_like_a_date(text: str, answer: bool) -> None:
    assert looks_like_date(text) is answer


@pytest.mark.parametrize(
    "texts",
    [["31/04/2024"], ["2024-13-01"], ["12:61"], ["2024"], ["1.2.3"], ["10.0.0.1"], ["3.5"],
     ["2024-05-01", "soon"], ["May"], []],
)  # fmt: skip
def test_what_is_no_date(texts: list[str]) -> None:
    assert find_date_order(texts) is None


def test_day_and_month_that_nothing_tells_apart() -> None:
    found = find_date_order(["05/01/2024", "06/02/2024"])
    assert found is not None
    assert found.ambiguous == "05/01/2024"
    assert find_date_order(["05/05/2024"]).ambiguous == ""  # type: ignore[union-attr]
    for day_first, order in ((True, "dmy"), (False, "mdy")):
        declared = find_date_order(["05/01/2024", "06/02/2024"], day_first)
        assert declared is not None
        assert (declared.order, declared.ambiguous) == (order, "")


@settings(max_examples=100, deadline=None)
@given(
    moments=st.lists(
        st.datetimes(datetime.datetime(1903, 1, 1), datetime.datetime(2090, 1, 1)), min_size=1
    ),
    style=st.sampled_from(
        ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d %B %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p"]
    ),
)
def test_what_is_written_is_read(moments: list[datetime.datetime], style: str) -> None:
    whole = [moment.replace(microsecond=0, tzinfo=UTC) for moment in moments]
    texts = [moment.strftime(style) for moment in whole]
    found = find_date_order(texts)
    assert found is not None
    assert found.ambiguous == ""
    assert [seconds_of(text, found.order) for text in texts] == [m.timestamp() for m in whole]


def days(*numbers: int) -> np.ndarray:
    return MAY + 86_400.0 * np.array(numbers)


def test_days_since_the_first() -> None:
    dates = DateFeatures.fitted(days(3, 0, 8), "ymd", has_time=False)
    assert dates.names("d") == ("d days",)
    assert dates.values(days(3, 0, 8)).tolist() == [[3], [0], [8]]
    assert dates.values(np.array([np.nan])).shape == (1, 1)
    assert DateFeatures.from_json(dates.to_json()) == dates


def test_what_comes_round_twice_is_a_feature_of_its_own() -> None:
    dates = DateFeatures.fitted(days(0, 5, 14), "ymd", has_time=False)
    assert dates.names("d") == ("d days", "d week sin", "d week cos")
    found = dates.values(days(5, 12))  # a Monday, and the next
    np.testing.assert_allclose(found, [[5, 0, 1], [12, 0, 1]], atol=1e-9)
    assert DateFeatures.fitted(days(0, 731), "ymd", False).cycles == ("week", "year")
    assert DateFeatures.fitted(days(0, 7, 14), "ymd", False).cycles == ()  # always a Wednesday
    hours = MAY + 3600.0 * np.array([0, 13, 60])
    assert DateFeatures.fitted(hours, "ymd", has_time=True).cycles == ("day",)
    assert DateFeatures.fitted(np.array([0.0, 43_200.0]), "time", True).cycles == ("day",)


def test_midnight_is_near_to_itself() -> None:
    dates = DateFeatures.fitted(np.array([0.0, 43_200.0]), "time", has_time=True)
    late, early = dates.values(np.array([86_340.0, 60.0]))[:, 1:]
    assert np.linalg.norm(late - early) < 0.01
