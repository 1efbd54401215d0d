"""Numbers as people write them: with units, separators of thousands, a decimal comma.

``1,234.50``, ``1.234,5``, ``1 234``, ``1'234``, ``12 %``, ``$5``, ``3.5 kg``, ``(120)`` and
``120.00-`` for -120, ``5,-`` for 5, ``="12"``, and ``1.2D+02`` are numbers. What a comma means
cannot be read off one cell, so a format is found for a whole column and then holds for each of its
cells, and for those of later files.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnexp.data.source import Doubles, is_number, plain_numbers

# --------------------------------------------------------------------------------------------------
# Words that stand for no value in a column of numbers.
# --------------------------------------------------------------------------------------------------

MISSING_WORDS = frozenset(
    """
    na n/a n.a. n.a nan -nan <na> nat none null (null) nil \\n - -- --- – — . .. ... * ? ??
    #n/a #na #value! #div/0! #ref! #name? #null! #num! 1.#qnan 1.#ind -1.#ind
    missing unknown blank (blank) empty undefined undef nd n.d. tbd n/d not_available not_applicable
    """.split()
) | {"", "not available", "not applicable", "no data", "not known"}
"""In lower case."""


def looks_missing(text: str) -> bool:
    """Return whether a text stands for no value where numbers are expected, as ``NA`` or ``-``."""
    return text.strip().casefold() in MISSING_WORDS


# --------------------------------------------------------------------------------------------------
# One text taken apart: sign, digits with their separators, exponent, and the unit beside them.
# --------------------------------------------------------------------------------------------------

_BLANKS = " \u00a0\u2007\u2009\u202f"  # no-break, figure, thin and narrow blanks
_APOSTROPHES = "'\u2019"
_MINUSES = "\u2212\u2012\u2013\uff0d"
_CURRENCIES = frozenset(
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD INR JPY KRW MXN NOK NZD PLN RUB SEK SGD TRY USD ZAR "
    "Rs Rs. Fr Fr. kr kr. R$ US$ A$ C$".split()
)
_LONGEST_UNIT = 15
_WORDS_WITH_M = frozenset(
    "meter meters metre metres mile miles million millions mill mins minute minutes month months "
    "monat monate mois mes meses mrd".split()
)
_PARTS = re.compile(
    rf"""
    (?P<sign>[-+]?) \s*
    (?P<before>[^\d\s.,+'\-][^\d,'+\-]*?)? \s*
    (?P<inner>[-+]?) \s*
    (?P<digits>[.,]?\d(?:[\d.,{_APOSTROPHES}]|[{_BLANKS}](?=\d))*)
    (?P<exponent>[eEdD][-+]?\d+)?
    \s* (?P<after>[^\d\s][^\n]*?)? \s*
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Parts:
    sign: float
    digits: str  # with separators
    exponent: str
    unit: str


def _take_apart(text: str) -> _Parts | None:
    text = text.strip()
    if text.startswith('="') and text.endswith('"'):  # as spreadsheets keep a cell from changing
        text = text[1:]
    text = text.strip("\"'").strip()
    for minus in _MINUSES:
        if text.startswith(minus):
            text = "-" + text[1:]
    sign = 1.0
    if text.startswith("(") and text.endswith(")"):
        text, sign = text[1:-1].strip(), -1.0
    elif re.fullmatch(r"[^\d-]*\d[\d.,]*[.,]\d+-", text):  # as SAP and COBOL write it
        text, sign = text[:-1], -1.0
    elif re.fullmatch(r"[^\d-]*\d+[.,][-\u2013\u2014]+", text):  # 5,- is a price without cents
        text = text.rstrip("-\u2013\u2014")[:-1]
    found = _PARTS.fullmatch(text)
    if found is None or (found["sign"] and found["inner"]):
        return None
    if sign < 0 and (found["sign"] or found["inner"]):
        return None
    before, after = (found["before"] or "").strip(), (found["after"] or "").strip()
    if before and not _is_currency(before):
        return None
    if len(after) > _LONGEST_UNIT or (after and not _is_unit(after)):
        return None
    if "-" in (found["sign"], found["inner"]):
        sign = -1.0
    exponent = (found["exponent"] or "").lower().replace("d", "e")
    unit = " ".join(filter(None, (before, after)))  # $ and M of $6.0M
    return _Parts(sign, found["digits"], exponent, unit)


def _is_currency(text: str) -> bool:
    return text in _CURRENCIES or all(unicodedata.category(char) == "Sc" for char in text)


def _is_unit(text: str) -> bool:
    """Letters, degrees, per cent, currencies; with digits only as powers (``m2``, ``m/s2``)."""
    if any(unicodedata.category(char) in ("No", "Nl") and char not in "²³" for char in text):
        return False  # 4½ is no 4
    if _is_currency(text) or text in ("%", "‰", "°"):
        return True
    text = re.sub(r"^(/|per )\s*", "", text)  # £1/month
    return (
        re.fullmatch(r"[^\W\d_°%µ]*[°%µ]?[^\W\d_]+[²³23]?\.?(?:[ /·*^-]?[^\W\d_]+[²³23]?)*", text)
        is not None
    )


def _same_unit(unit: str) -> str:
    """``Years`` and ``year`` are one unit; ``MW`` and ``mW``, ``Mb/s`` and ``MB/s`` are not."""
    bare = unit.rstrip(".")
    if not re.fullmatch(r"[^\W\d_]?[a-zà-ÿ]{3,}|[A-Z]{4,}", bare):
        return bare
    if bare[0] in "mM" and bare.casefold() not in _WORDS_WITH_M:
        return bare  # milli and mega
    folded = bare.casefold()
    return folded[:-1] if folded.endswith("s") else folded


# --------------------------------------------------------------------------------------------------
# The format of a column.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written."""

    decimal: str = "."
    thousands: str = ""  # "": none; a blank stands for all blanks, an apostrophe for both
    unit: str = ""  # taken off; the numbers beside it stay as they are, 12 for 12 %

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as Python writes them."""
        return self == NumberFormat()

    def values(self, texts: Sequence[str]) -> Doubles:
        """Return the ``value`` of each text."""
        plain = plain_numbers(texts) if self.is_plain else None
        if plain is not None:
            return plain
        return np.fromiter(map(self.value, texts), np.float64, len(texts))

    def value(self, text: str) -> float:
        """Return a finite number, or NaN for a text that is none in this format."""
        if self.is_plain and is_number(text):
            return float(text)
        parts = _take_apart(text)
        if parts is None or (parts.unit and _same_unit(parts.unit) != _same_unit(self.unit)):
            return math.nan
        if self.unit and not parts.unit and parts.digits.strip("0.,"):
            return math.nan  # 0.5 beside 50 %, 934 beside 20k: who knows
        if parts.unit and re.match(r"0\d", parts.digits):
            return math.nan  # 007x names something
        whole, point, fraction = parts.digits.partition(self.decimal)
        if self.thousands:
            grouped = _blanks_alike(whole)
            if self.thousands in grouped:
                if grouped.startswith("0"):
                    return math.nan  # 030 123 456 is called, not counted
                groups = grouped.split(self.thousands)
                if not _are_groups(groups, self.thousands):
                    return math.nan
                whole = "".join(groups)
        if not re.fullmatch(r"\d*", whole + fraction) or not whole + fraction:
            return math.nan
        value = float(f"{whole or 0}{'.' if point else ''}{fraction}{parts.exponent}")
        return parts.sign * value if math.isfinite(value) else math.nan

    def described(self) -> str:
        """For the data card: what was taken off or read in another way; "" for plain numbers."""
        said = []
        if self.unit:
            said.append(f"unit {self.unit}")
        if self.thousands:
            said.append(f"thousands {self.thousands!r}")
        if self.decimal != ".":
            said.append(f"decimal {self.decimal!r}")
        return ", ".join(said)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> NumberFormat:
        """Read what ``to_json`` has written."""
        decimal = str(fields["decimal"])
        if decimal not in (".", ","):
            raise ValueError(f"decimal {decimal}")
        return cls(decimal, str(fields["thousands"]), str(fields["unit"]))


@dataclass(frozen=True)
class FoundFormat:
    """What ``find_number_format`` has found."""

    format: NumberFormat
    bad: tuple[str, ...] = ()  # texts that are no numbers in it
    ambiguous: str = ""  # a text whose comma may be decimal or between thousands
    alike: int = 0  # texts that are digits with something beside or between them
    contradictory: bool = False  # a comma or point is decimal here and between thousands there


def find_number_format(
    texts: Sequence[str], decimal: str | None = None, thousands: str | None = None
) -> FoundFormat:
    """Find the format in which most of a column's texts are numbers.

    Args:
        texts: distinct, without those that are missing.
        decimal, thousands: as declared; None: found out.
    """
    parts = {text: found for text in texts if (found := _take_apart(text)) is not None}
    unit = _commonest_unit(parts.values())
    digits = [found.digits for found in parts.values()]
    separators = _separators(digits, decimal, thousands)
    if separators is None:
        return FoundFormat(
            NumberFormat(unit=unit), tuple(texts), alike=len(parts), contradictory=True
        )
    found_decimal, found_thousands, ambiguous = separators
    number_format = NumberFormat(found_decimal, found_thousands, unit)
    if number_format.unit and all(is_number(text) for text in texts):
        number_format = NumberFormat(found_decimal, found_thousands)
    bad = tuple(text for text in texts if math.isnan(number_format.value(text)))
    witness = next((text for text in parts if "," in text), "") if ambiguous else ""
    return FoundFormat(number_format, bad, witness, len(parts))


def is_code_like(text: str) -> bool:
    """Return whether a text may be a power of ten, but is a code or a roll of dice if all of a
    column are: 12E4, 2d6."""
    return re.fullmatch(r"\d+[eEdD]\d+", text) is not None


def unit_of(text: str) -> str:
    """Return the unit beside a number; "" where there is none, or no number."""
    parts = _take_apart(text)
    return parts.unit if parts else ""


def _commonest_unit(parts: Iterable[_Parts]) -> str:
    counts: dict[str, int] = {}
    for found in parts:
        if found.unit:
            counts[found.unit] = counts.get(found.unit, 0) + 1
    return max(counts, key=lambda unit: (counts[unit], unit)) if counts else ""


def _separators(
    digits: Sequence[str], decimal: str | None, thousands: str | None
) -> tuple[str, str, bool] | None:
    """The decimal and the thousands separator, and whether a comma might be either.

    None if the texts contradict each other.
    """
    alike = [_blanks_alike(text) for text in digits]
    roles: dict[str, set[str]] = {",": set(), ".": set()}
    for text in alike:
        for separator, other in ((",", "."), (".", ",")):
            if separator in text:
                roles[separator].add(_role(text, separator, other))
    blank = next((sep for sep in (" ", "'") if any(sep in text for text in alike)), "")
    if decimal is not None or thousands is not None:
        found_thousands = thousands if thousands is not None else blank
        found_decimal = decimal if decimal is not None else ("," if thousands == "." else ".")
        if thousands is None and not blank:
            other = "," if found_decimal == "." else "."
            found_thousands = other if roles[other] & {"thousands", "either"} else ""
        return found_decimal, _blanks_alike(found_thousands), False
    if any({"decimal", "thousands"} <= found for found in roles.values()):
        return None
    comma, dot = roles[","], roles["."]
    if comma == dot == {"either"}:  # 1,234 beside 1.234
        return None
    if "decimal" in comma and "decimal" in dot:
        return None
    if "decimal" in comma or "thousands" in dot:
        # A point that might be either groups thousands beside a comma that is decimal.
        return ",", "." if dot else blank, False
    if comma:
        return ".", ",", comma == {"either"} and not dot
    return ".", blank, False


def _role(text: str, separator: str, other: str) -> str:
    """What a separator is in a number that has it: decimal, thousands or either."""
    if other in text:
        return "decimal" if text.rindex(separator) > text.rindex(other) else "thousands"
    groups = text.split(separator)
    if len(groups) > 2:
        return "thousands"
    if _blanks_alike(groups[0]).strip("0123456789"):  # 1 234,500
        return "decimal"
    is_group = len(groups[1]) == 3 and 1 <= len(groups[0]) <= 3 and not groups[0].startswith("0")
    return "either" if is_group else "decimal"


def _are_groups(groups: Sequence[str], separator: str) -> bool:
    """``1``, ``234``, ``567``; India writes ``12``, ``34``, ``567``."""
    first, *others = groups
    if not all(group.isdigit() for group in groups) or not 1 <= len(first) <= 3:
        return False
    return (
        len(others[-1]) == 3
        and len({len(group) for group in others[:-1]} | {3}) <= 2
        and all(len(group) == 3 or (len(group) == 2 and separator == ",") for group in others)
    )


def _blanks_alike(text: str) -> str:
    for blank in _BLANKS[1:]:
        text = text.replace(blank, " ")
    return text.replace(_APOSTROPHES[1], "'")
