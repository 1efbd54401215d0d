"""Dates and times as people write them, and what a network is given of them.

``2024-05-01``, ``1.5.2024``, ``05/01/2024``, ``1 May 2024``, ``May 1, 2024``, ``20240501``, each
with or without a time of day (``T13:30:05.25Z``, ``1:30 PM``), ``20240501T133005``, ``Wed May  1
13:30:05 2024``, ``2024-05`` and ``13:30`` alone. What looks like a date and is none of these is
``looks_like_date``.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnexp.data.source import Doubles

_DAY = 86_400.0  # seconds
_YEAR = 365.2425 * _DAY
_CYCLES = {"day": _DAY, "week": 7 * _DAY, "year": _YEAR}
_MONDAY = 4 * _DAY  # 1970-01-05: weeks begin there
_ENOUGH_CYCLES = 2  # that a column must span before a part that comes round is a feature of its own

# --------------------------------------------------------------------------------------------------
# Texts as moments, in seconds since 1970-01-01 00:00 UTC; without a zone the wall clock counts.
# --------------------------------------------------------------------------------------------------

# In English, German, French, Spanish, Italian, Portuguese and Dutch.
_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan january januar jän jänner janv janvier ene enero gen gennaio janeiro januari,"
        "feb february februar févr fév février febrero febbraio fev fevereiro februari,"
        "mar march märz mär mars marzo março maart mrt,apr april avr avril abr abril aprile,"
        "may mai mayo mag maggio maio mei,jun june juni juin junio giu giugno junho,"
        "jul july juli juil juillet julio lug luglio julho,"
        "aug august août aoû ago agosto augustus,"
        "sep sept september septembre septiembre set settembre setembro,"
        "oct october okt oktober octobre octubre ott ottobre out outubro,"
        "nov november novembre noviembre novembro,"
        "dec december dez dezember déc décembre dic diciembre dicembre dezembro".split(","),
        start=1,
    )
    for name in names.split()
}
_ZONES = {  # hours from UTC; of names that stand for several the commonest
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "MEZ": 1, "CEST": 2,
    "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "AEST": 10, "AEDT": 11, "EST": -5,
    "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_CLOCK = r"""
    (?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<fraction>[.,]\d+)?)?
    (?:\s?(?P<half>[AaPp])\.?[Mm]\.?|\sUhr)?
"""
_ZONE = "|".join(sorted(_ZONES, key=len, reverse=True))
_TIME = rf"{_CLOCK} \s?(?P<zone>{_ZONE}|[-+]\d{{2}}(?::?\d{{2}})?)?"
_TIME_ALONE = rf"{_CLOCK} \s?(?P<zone>{_ZONE})?"  # 08:00-10:00 is no time west of Greenwich
_OF = r"(?:\s(?:de|of|di|van)\s)?"  # 1 de enero de 2024
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[,.]?\s+)?"
_DATES = {
    "ymd": r"(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})",
    "dmy": r"(?P<day>\d{1,2})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<year>\d{4}|\d{2})",
    "mdy": r"(?P<month>\d{1,2})(?P<sep>[-/.])(?P<day>\d{1,2})(?P=sep)(?P<year>\d{4}|\d{2})",
    "day month year": rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|º)?{_OF}[-\s./]*(?P<name>{_MONTH})"
    rf"\.?,?{_OF}[-\s./]*(?P<year>\d{{4}}|\d{{2}})",
    "cjk": r"(?P<year>\d{4})\s?[年년]\s?(?P<month>\d{1,2})\s?[月월]\s?(?P<day>\d{1,2})\s?[日일]",
    "month day year": rf"(?P<name>{_MONTH})\.?[-\s]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[-\s]+"
    r"(?P<year>\d{4})",
    "year-month": r"(?P<year>\d{4})[-/](?P<month>\d{2})",
    "month year": rf"(?P<name>{_MONTH})\.?[-\s,]*(?P<year>\d{{4}})",
    "month/year": r"(?P<month>\d{1,2})[/.-](?P<year>\d{4})",
    "week": r"(?P<year>\d{4})-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?",
    "quarter year": r"Q(?P<quarter>[1-4])[-\s/]*(?P<year>\d{4})",
    "year quarter": r"(?P<year>\d{4})[-\s/]*Q(?P<quarter>[1-4])",
    "compact": r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})",
}
_EXAMPLES = {
    "ymd": "2024-12-31",
    "dmy": "31.12.2024, the day first",
    "mdy": "12/31/2024, the month first",
    "day month year": "31 December 2024",
    "month day year": "December 31, 2024",
    "year-month": "2024-12",
    "compact": "20241231",
    "basic": "20241231T235959",
    "time": "23:59",
    "duration": "25:59:59",
}
DIGITS_ALONE = ("compact", "basic")  # which a file may hold as numbers
_SLASHES = ("dmy", "mdy")  # which of them it is has to be found out
_READERS = {
    order: re.compile(
        rf"{_WEEKDAY}{pattern}(?:(?:[T,:]|\s)\s*{_TIME})?", re.VERBOSE | re.IGNORECASE
    )
    for order, pattern in _DATES.items()
} | {
    "basic": re.compile(
        r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})T?"
        r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})?(?P<fraction>[.,]\d+)?"
        r"(?P<zone>Z|[-+]\d{2}(?::?\d{2})?)?"
    ),
    "ctime": re.compile(
        rf"{_WEEKDAY}(?P<name>{_MONTH})\s+(?P<day>\d{{1,2}})\s+{_TIME}\s+(?P<year>\d{{4}})",
        re.VERBOSE | re.IGNORECASE,
    ),
    "time": re.compile(_TIME_ALONE, re.VERBOSE),
    "duration": re.compile(
        r"(?P<first>\d+):(?P<second>[0-5]\d)(?::(?P<third>[0-5]\d)(?P<fraction>[.,]\d+)?)?"
    ),
}


def seconds_of(text: str, order: str) -> float:
    """Return a text as a moment; NaN if it is none in this order of its parts."""
    found = _READERS[order].fullmatch(text.strip())
    if found is None:
        return math.nan
    parts = found.groupdict()
    if order == "duration":
        return _duration(parts)
    try:
        return (_day_of(parts) - _EPOCH).days * _DAY + _of_day(parts)
    except ValueError:  # the 31st of April, 25 o'clock
        return math.nan


def all_seconds_of(texts: Sequence[str], order: str) -> Doubles:
    """Return ``seconds_of`` each text."""
    return np.fromiter((seconds_of(text, order) for text in texts), np.float64, len(texts))


def _duration(parts: Mapping[str, str | None]) -> float:
    """Hours, minutes and seconds, or minutes and seconds."""
    first, second, third = (int(parts[name] or 0) for name in ("first", "second", "third"))
    if parts["third"] is None:
        return first * 60.0 + second
    fraction = float("0" + parts["fraction"].replace(",", ".")) if parts["fraction"] else 0.0
    return first * 3600.0 + second * 60.0 + third + fraction


def _day_of(parts: Mapping[str, str | None]) -> datetime.date:
    """The day, or the first of a month, a quarter or a week; ValueError if there is none such."""
    year = _full_year(parts.get("year"))
    if parts.get("week"):
        return datetime.date.fromisocalendar(
            year, int(parts["week"] or 1), int(parts.get("weekday") or 1)
        )
    if parts.get("quarter"):
        return datetime.date(year, 3 * int(parts["quarter"] or 1) - 2, 1)
    name = parts.get("name")
    month = _MONTHS[name.casefold()] if name else int(parts.get("month") or 1)
    if parts.get("day") is None and not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise ValueError  # 1/4000 is a fraction
    return datetime.date(year, month, int(parts.get("day") or 1))


_EPOCH = datetime.date(1970, 1, 1)
_FIRST_YEAR, _LAST_YEAR = 1500, 2200  # of months
PIVOT = 69  # years of two digits from here on are of the 20th century, as POSIX has it


def _full_year(year: str | None) -> int:
    if year is None:
        return 1970
    number = int(year)
    if len(year) == 4:
        return number
    return number + (2000 if number < PIVOT else 1900)


def _of_day(parts: Mapping[str, str | None]) -> float:
    if parts["hour"] is None:
        return 0.0
    hour, minute, second = int(parts["hour"]), int(parts["minute"] or 0), int(parts["second"] or 0)
    if half := parts.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (half in "pP")
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        raise ValueError
    fraction = float("0" + parts["fraction"].replace(",", ".")) if parts["fraction"] else 0.0
    offset = 0.0
    if parts["zone"] and parts["zone"].upper() in _ZONES:
        offset = 3600.0 * _ZONES[parts["zone"].upper()]
    elif parts["zone"]:
        digits = parts["zone"][1:].replace(":", "").ljust(4, "0")
        offset = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (
            -1 if parts["zone"][0] == "-" else 1
        )
    return hour * 3600 + minute * 60 + second + fraction - offset


_DATE_PARTS = re.compile(r"\d+|[^\W\d_]+")


def looks_like_date(text: str) -> bool:
    """Return whether a text consists of what dates consist of, whatever their style.

    It has a year of four digits, or the name of a month, and beside these numbers of one or two
    digits, at least one; and no more than four words, none of them long.
    """
    parts = _DATE_PARTS.findall(text)
    numbers = [part for part in parts if part.isdecimal()]
    words = [part.casefold() for part in parts if not part.isdecimal()]
    if len(words) > 4 or max(map(len, words), default=0) > 10 or len(numbers) > 7:
        return False
    years = [part for part in numbers if len(part) == 4 and part[:2] in ("19", "20")]
    short = [part for part in numbers if len(part) <= 2]
    has_month = any(word in _MONTHS for word in words)
    return bool(short) and (has_month or (len(years) == 1 and len(short) + 1 == len(numbers)))


@dataclass(frozen=True)
class FoundOrder:
    """What ``find_date_order`` has found."""

    order: str
    has_time: bool
    ambiguous: str = ""  # a text whose day and month cannot be distinguished
    contradicts: str = ""  # a text that cannot be read as ``day_first`` declares


def find_date_order(texts: Sequence[str], day_first: bool | None = None) -> FoundOrder | None:
    """Find the order of parts in which every text is a date or a time; None if there is none.

    Args:
        texts: distinct, without those that are missing.
        day_first: whether 5/1/2024 is the 5th of January, as declared; None: found out.
    """
    if not texts:
        return None
    fitting = [order for order in _READERS if _all_fit(texts, order)]
    if not fitting:
        return None
    order, ambiguous, contradicts = fitting[0], "", ""
    if order == "time" and "duration" in fitting and all(len(text) == 4 for text in texts):
        order = "duration"  # 3:59 and 4:30: no clock is ever past 9:59
    if order == "year-month" and all(_is_season(text) for text in texts):
        return None
    if set(_SLASHES) <= set(fitting):
        order = "mdy" if day_first is False else "dmy"
        same = all(seconds_of(text, "dmy") == seconds_of(text, "mdy") for text in texts)
        unclear = next((text for text in texts if "." not in text), None)
        if day_first is None and unclear and not same:
            ambiguous = unclear
    elif order in _SLASHES and day_first is not None and day_first != (order == "dmy"):
        declared = "dmy" if day_first else "mdy"
        contradicts = next(text for text in texts if math.isnan(seconds_of(text, declared)))
    has_time = order in ("time", "duration", "basic") or any(":" in text for text in texts)
    return FoundOrder(order, has_time, ambiguous, contradicts)


def _is_season(text: str) -> bool:
    """``2009-10``, which ends in 2010."""
    found = re.fullmatch(r"(\d{4})[-/](\d{2})", text)
    return found is not None and (int(found[1]) + 1) % 100 == int(found[2])


def years_of_two_digits(texts: Sequence[str], order: str) -> list[tuple[str, str, str]]:
    """Return the three parts of each date in digits whose year has two; none if one has four."""
    if order not in _SLASHES:
        return []
    parts = [re.findall(r"\d+", text)[:3] for text in texts]
    if any(len(found) < 3 or len(found[2]) != 2 for found in parts):
        return []
    return [(a, b, c) for a, b, c in parts]


def _all_fit(texts: Sequence[str], order: str) -> bool:
    return not any(math.isnan(seconds_of(text, order)) for text in texts)


# --------------------------------------------------------------------------------------------------
# Moments as features.
# --------------------------------------------------------------------------------------------------


def cycle_lengths() -> dict[str, tuple[float, float]]:
    """Return the length of what comes round, and a moment when it begins, in seconds."""
    return {name: (length, _MONDAY if name == "week" else 0.0) for name, length in _CYCLES.items()}


@dataclass(frozen=True)
class DateFeatures:
    """What becomes of a column of dates or times: one number, and what comes round in it.

    The number counts days, or seconds where there are times of day, since ``origin``. A part that
    comes round (of the day, the week, the year) is a sine and a cosine: 23:59 is close to 0:00.
    """

    order: str  # of the parts in a text; "": the file's format holds moments
    has_time: bool
    origin: float  # seconds, of the earliest
    cycles: tuple[str, ...]  # day, week, year

    @classmethod
    def fitted(cls, seconds: Doubles, order: str, has_time: bool) -> DateFeatures:
        """With the origin of moments [M], and the parts that come round often enough in them."""
        known = seconds[~np.isnan(seconds)]
        origin, span = float(known.min()), float(np.ptp(known))
        cycles = []
        for name, length in _CYCLES.items():
            phases = np.unique(np.mod(known, length)) if name != "year" else known
            if span >= _ENOUGH_CYCLES * length and len(phases) > 1 and (name != "day" or has_time):
                cycles.append(name)
        if order == "duration":
            cycles = []
        if order == "time":
            cycles = ["day"]
        return cls(order, has_time, origin, tuple(cycles))

    @property
    def unit(self) -> str:
        """Of the number: days or seconds."""
        return "seconds" if self.has_time else "days"

    def names(self, column: str) -> tuple[str, ...]:
        """Return the features' names."""
        parts = [f"{column} {cycle} {wave}" for cycle in self.cycles for wave in ("sin", "cos")]
        return (f"{column} {self.unit}", *parts)

    def values(self, seconds: Doubles) -> Doubles:
        """Return the features [M, K] of moments [M]; rows of NaN where there is none."""
        number = seconds - self.origin
        columns = [number if self.has_time else number / _DAY]
        for cycle in self.cycles:
            start = _MONDAY if cycle == "week" else 0.0
            turn = 2 * np.pi * np.mod(seconds - start, _CYCLES[cycle]) / _CYCLES[cycle]
            columns += [np.sin(turn), np.cos(turn)]
        return np.stack(columns, axis=1)

    def written(self) -> str:
        """How dates are written in this order of parts, for messages: ``31.12.2024``."""
        return _EXAMPLES.get(self.order, self.order or "of the file's own type")

    def described(self) -> str:
        """For the data card."""
        if self.order == "duration":
            return "seconds"
        first = str(np.datetime64(int(self.origin), "s"))
        since = first[11:] if self.order == "time" else first if self.has_time else first[:10]
        cycles = "".join(f", {cycle} as sine and cosine" for cycle in self.cycles)
        return f"{self.unit} since {since}{cycles}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"cycles": list(self.cycles)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> DateFeatures:
        """Read what ``to_json`` has written."""
        cycles = tuple(str(cycle) for cycle in fields["cycles"])
        if not set(cycles) <= set(_CYCLES):
            raise ValueError(f"cycles {cycles}")
        order, origin = str(fields["order"]), float(fields["origin"])
        if order and order not in _READERS:
            raise ValueError(f"order {order}")
        if not math.isfinite(origin):
            raise ValueError(f"origin {origin}")
        return cls(order, bool(fields["has_time"]), origin, cycles)
