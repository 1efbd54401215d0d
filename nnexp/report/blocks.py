"""What a page is made of. The template turns these into HTML and decides nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nnexp.report.figures.canvas import Drawing
    from nnexp.report.figures.palette import Look

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
