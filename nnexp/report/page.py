"""The page: one file that says all of a comparison, without network access or scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.analysis.types import Comparison, Verdict
from nnexp.report.blocks import Block, Folded, Gallery, Section, Tone, counted
from nnexp.report.sections import sections
from nnexp.report.sections.view import VERDICT_SIGNS, View, short_kind

if TYPE_CHECKING:
    from nnexp.report.figures.canvas import Drawing

_TEMPLATES = Path(__file__).parent / "templates"
_VERDICTS_SHOWN = 6  # of a task
_GROUPS_SHOWN = 4
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class _Said:
    """A verdict with its sign."""

    sign: str
    tone: Tone
    kind: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The verdicts about one task, or about all."""

    title: str
    shown: Sequence[_Said]
    more: Sequence[_Said]
    is_folded: bool = False


def write_page(comparison: Comparison, folder: Path) -> Path:
    """Write ``index.html`` and ``figures/*.png``; return the path of the page.

    The same comparison gives the same bytes.
    """
    from nnexp.report.figures.canvas import drawing

    with drawing():
        found = sections(View(comparison))
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for one in _drawings(block for section in found for block in section.blocks):
        (figures / f"{one.name}.png").write_bytes(one.png)
    page = folder / "index.html"
    page.write_text(_html(comparison, found), encoding="utf-8")
    return page


def _drawings(blocks: Iterable[Block]) -> Iterable[Drawing]:
    for block in blocks:
        if isinstance(block, Gallery):
            yield from block.drawings
        elif isinstance(block, Folded):
            yield from _drawings(block.blocks)


def _html(comparison: Comparison, found: Sequence[Section]) -> str:
    import jinja2

    from nnexp.report.figures import canvas, palette

    @cache
    def swatch(look: palette.Look) -> Any:
        from markupsafe import Markup

        return Markup(canvas.swatch(look))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    from markupsafe import Markup

    return environment.get_template("page.html.j2").render(
        title=comparison.title,
        summary=_summary(comparison),
        groups=_groups(comparison),
        warnings=comparison.warnings,
        sections=found,
        swatch=swatch,
        light=Markup(palette.css_variables(dark=False)),
        dark=Markup(palette.css_variables(dark=True)),
        classes=Markup(palette.css_classes()),
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
    )


def _printable(value: Any) -> Any:
    """A text without the characters that HTML cannot hold."""
    if type(value) is str:
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def _groups(comparison: Comparison) -> list[_Group]:
    """Verdicts by task, in the order given; those of tasks with few rows are folded, and many."""
    by_task: dict[str | None, list[_Said]] = {}
    for verdict in comparison.verdicts:
        said = _said(verdict)
        if verdict.kind == "summary" and verdict.task and verdict.task not in by_task:
            said = replace(said, kind="answer", tone="best")
        by_task.setdefault(verdict.task, []).append(said)
    smaller = {task.name for task in comparison.tasks if not task.is_whole}
    whole = [task for task in by_task if task not in smaller]
    return [
        _Group(
            title=task or "Over all data sets",
            shown=by_task[task][:_VERDICTS_SHOWN],
            more=by_task[task][_VERDICTS_SHOWN:],
            is_folded=task in smaller or place >= _GROUPS_SHOWN,
        )
        for place, task in enumerate([*whole, *(t for t in by_task if t in smaller)])
    ]


def _said(verdict: Verdict) -> _Said:
    sign, tone = VERDICT_SIGNS[verdict.kind]
    return _Said(sign=sign, tone=tone, kind=short_kind(verdict.kind), sentence=verdict.sentence)


def _summary(comparison: Comparison) -> str:
    """``1,000 runs · 8 models · 2 data sets · compared with KNN``."""
    found = {result.task for result in comparison.results if result.test_score is not None}
    datasets = len({task.dataset for task in comparison.tasks if task.name in found})
    none = 0 < comparison.num_runs <= len(comparison.failed)
    parts = [
        counted(comparison.num_runs, "run") + (", none of them completed" if none else ""),
        counted(len(comparison.learners), "model"),
        counted(datasets, "data set") + ("" if datasets else " with results"),
    ]
    if comparison.reference:
        by = "" if comparison.metric.is_accuracy else f" by {comparison.metric.label}"
        parts.append(f"compared with {comparison.reference}{by}")
    if comparison.relative_equivalence is not None:
        of = "error" if comparison.metric.is_accuracy else comparison.metric.error_name
        share = f"{100 * comparison.relative_equivalence:g} % of {comparison.reference}'s {of}"
        parts += [f"differences within {share} are negligible"] if comparison.reference else []
    elif comparison.equivalence:
        limit = comparison.equivalence * comparison.metric.span
        within = f"±{100 * limit:g} pp" if comparison.metric.is_share else f"±{limit:g}"
        parts.append(f"differences within {within} are negligible")
    return " · ".join(parts)
