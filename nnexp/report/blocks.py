"""What a page is made of: blocks, and numbers as it shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nnexp.analysis.types import Difference, Estimate, Interval
from nnexp.analysis.verdicts import better_text

if TYPE_CHECKING:
    from nnexp.report.figures.canvas import Drawing
    from nnexp.report.figures.palette import Look

# --------------------------------------------------------------------------------------------------
# Numbers as the page shows them: accuracies in per cent, differences in pp, true minus signs.
# --------------------------------------------------------------------------------------------------

NOTHING = "–"


def percent(share: float | None, decimals: int = 2) -> str:
    """``97.49`` for 0.9749."""
    return NOTHING if share is None else fixed(100 * share, decimals)


def points(share: float | None, decimals: int = 2) -> str:
    """``+0.83`` or ``−0.83`` for a difference of shares."""
    if share is None or not math.isfinite(share):
        return NOTHING
    text = fixed(100 * share, decimals)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def better_in(difference: Difference, sign: int = 1) -> str:
    """``8 of 10``, ties counted half; nothing where no pair says it.

    Args:
        sign: -1 for the pairs in which the other learner is better.
    """
    if difference.num_better is None:
        return ""
    return f"{better_text(difference, sign)} of {difference.num_pairs:,}"


def percent_interval(interval: Interval | None) -> str:
    """``[96.90, 98.08]``, or nothing."""
    return "" if interval is None else f"[{percent(interval.low)}, {percent(interval.high)}]"


def points_interval(interval: Interval | None) -> str:
    """``[+0.31, +1.24]``, or nothing."""
    return "" if interval is None else f"[{points(interval.low)}, {points(interval.high)}]"


def score(estimate: Estimate | None) -> str:
    """A log-loss or a Brier score: ``0.0812``."""
    return NOTHING if estimate is None else fixed(estimate.mean, 4)


def score_interval(estimate: Estimate | None) -> str:
    """``[0.0790, 0.0834]``, or nothing."""
    if estimate is None or estimate.interval is None:
        return ""
    return f"[{fixed(estimate.interval.low, 4)}, {fixed(estimate.interval.high, 4)}]"


def fixed(value: float, decimals: int) -> str:
    """With so many decimals; no ``−0.00``; a dash for what is no number."""
    if not math.isfinite(value):
        return NOTHING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    text = f"{value:.{decimals}f}"
    return f"{abs(value):.{decimals}f}" if float(text) == 0 else text.replace("-", "−")


def probability(p: float | None) -> str:
    """``0.032``, or ``<0.001``."""
    if p is None or math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def probability_sentence(p: float) -> str:
    """``p = 0.032``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def seconds(value: float | None) -> str:
    """Three digits that matter: ``0.00412``, ``1.91``, ``1,240``."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(digits, 6)}f}"


def count(value: int | None) -> str:
    """``59,146``."""
    return NOTHING if value is None else f"{value:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 run``, ``1,000 runs``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def either(words: Iterable[str]) -> str:
    """``splits``, or ``splits or seeds``: each word once."""
    return " or ".join(dict.fromkeys(words))


def setting(values: Mapping[str, Any]) -> str:
    """``lr=0.01, scheduler=step``: keys without their group, unless two would become the same.

    A component's name is told by its group.
    """
    last = [key.removesuffix(".name").rpartition(".")[2] for key in values]
    names = last if len(set(last)) == len(last) else list(values)
    return ", ".join(f"{n}={_value(v)}" for n, v in zip(names, values.values(), strict=True))


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_value(v) for v in value) + "]"
    return str(value)


# --------------------------------------------------------------------------------------------------
# What a page is made of. The template turns these into HTML and decides nothing else.
# --------------------------------------------------------------------------------------------------

Tone = Literal["", "good", "bad", "same", "quiet", "warn", "best"]


@dataclass(frozen=True)
class Cell:
    """One field of a table. ``tone`` is never alone in telling something: the text tells it too."""

    text: str
    note: str = ""  # smaller, below
    tone: Tone = ""
    look: Look | None = None  # a sample of the learner's line before the text


@dataclass(frozen=True)
class Column:
    """A column's head; ``note`` in smaller letters below. Numbers are set to the right."""

    text: str
    note: str = ""
    is_number: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells; the first cell of a row is its head."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    style: Literal["plain", "matrix"] = "plain"
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Heading:
    """A task's name within a section."""

    text: str
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Figures side by side where there is room, with one legend."""

    drawings: Sequence[Drawing]
    legend: Sequence[tuple[str, Look]] = ()
    note: str = ""
    kind: Literal["gallery"] = "gallery"


@dataclass(frozen=True, kw_only=True)
class Folded:
    """What is seen after a click."""

    summary: str
    blocks: Sequence[Block]
    is_open: bool = False
    kind: Literal["folded"] = "folded"


@dataclass(frozen=True)
class Lines:
    """Names and texts."""

    lines: Sequence[tuple[str, str]]
    kind: Literal["lines"] = "lines"


Block = Table | Heading | Text | Gallery | Folded | Lines


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page with a heading of its own."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    intro: str = ""
