"""Colours in light and in dark, and matplotlib's SVG made to follow them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from nnexp.analysis.learners import lacking
from nnexp.analysis.types import Comparison

# --------------------------------------------------------------------------------------------------
# Colours of the page and its figures, in light and in dark, and how each learner is drawn.
#
# A figure is drawn in the light colours. In its SVG each of them becomes a CSS class, so that the
# same drawing is right in the dark: therefore no two names may share a light colour.
# --------------------------------------------------------------------------------------------------

# Each as (light, dark). The eight hues are told apart in the common forms of colour blindness
# (Okabe and Ito's, darkened to at least 3:1 on white), and no learner is told by hue alone.
COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#59626c", "#a3adb8"),
    "faint": ("#b9c0c8", "#55606b"),
    "grid": ("#e4e7eb", "#2b3138"),
    "paper": ("#ffffff", "#14171b"),
    "c0": ("#0072b2", "#58aef0"),
    "c1": ("#d1540f", "#ff8f52"),
    "c2": ("#00805d", "#37c79c"),
    "c3": ("#b0418e", "#ea90cd"),
    "c4": ("#9c6f00", "#e6b93d"),
    "c5": ("#1f8ba3", "#74d6ec"),
    "c6": ("#5d45b8", "#ab9aff"),
    "c7": ("#7a4a2b", "#cfa585"),
}
NETWORKS_SHOWN = 8  # in colour in one figure
MIXED_NETWORKS, MIXED_BASELINES = 5, 4  # the same where networks and baselines share it

_NETWORK_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_BASELINE_MARKERS = ("s", "o", "^", "D", "v", "P")
_BASELINE_DASHES: tuple[tuple[float, ...], ...] = (
    (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 1.5), (8, 2), (6, 2, 1.5, 2, 1.5, 2),
)  # fmt: skip

Group = Literal["networks", "mixed"]


def light(name: str) -> str:
    """The colour that a figure is drawn in."""
    return COLOURS[name][0]


@dataclass(frozen=True)
class Look:
    """How a learner is drawn, the same in all figures: networks solid, baselines dashed."""

    colour: str  # its name in COLOURS
    marker: str  # matplotlib's letter; "" for none
    dashes: tuple[float, ...] = ()  # on, off, ... in multiples of the line's width; () is solid
    hollow: bool = False

    @property
    def hex(self) -> str:
        return light(self.colour)

    @property
    def face(self) -> str:
        """The colour inside a marker."""
        return light("paper") if self.hollow else self.hex

    @property
    def is_grey(self) -> bool:
        """Whether it is one of many in the background, without a place in the legend."""
        return not self.marker


GREY = Look("faint", "")
SELECTION = Look("ink", "*")  # the best network, another on each split


class Looks:
    """The learners of a comparison, how each is drawn, and which stand out in a figure.

    Those with the best validation accuracy stand out (mean rank over the tasks), so that what is
    shown is not chosen by the test rows; the reference always does.
    """

    def __init__(self, comparison: Comparison) -> None:
        ranks = _mean_ranks(comparison)
        known = {r.learner: r.is_network for r in comparison.results}
        by_rank = sorted(
            (name for name in comparison.learners if name in known),
            key=lambda name: (
                name != comparison.reference,
                ranks.get(name, float("inf")),
                comparison.learners.index(name),
            ),
        )
        self.networks = [name for name in by_rank if known[name]]
        self.baselines = [name for name in by_rank if not known[name]]
        self._looks = {name: _network(i) for i, name in enumerate(self.networks)}
        self.selections = [*dict.fromkeys(r.learner for r in comparison.results if r.is_selection)]
        self._looks |= dict.fromkeys(self.selections, SELECTION)
        self._looks |= {
            name: _baseline(i, name == comparison.reference)
            for i, name in enumerate(self.baselines)
        }

    def of(self, learner: str, group: Group = "networks") -> Look:
        """How ``learner`` is drawn in a figure of networks alone, or of both kinds."""
        if (
            group == "mixed"
            and len(self.networks + self.baselines) > MIXED_NETWORKS + MIXED_BASELINES
        ):
            shown = self.selections + self.networks[:MIXED_NETWORKS]
            shown += self.baselines[:MIXED_BASELINES]
            if learner not in shown:
                return GREY
        return self._looks.get(learner, GREY)

    def back_to_front(self, learners: Iterable[str], group: Group = "networks") -> list[str]:
        """The order in which to draw: grey ones first, the best last and on top."""
        order = {name: i for i, name in enumerate(self.selections + self.networks + self.baselines)}
        return sorted(learners, key=lambda n: (not self.of(n, group).is_grey, -order.get(n, 0)))

    def legend(self, learners: Iterable[str], group: Group = "networks") -> list[tuple[str, Look]]:
        """Those with a look of their own, networks first, best first."""
        wanted = set(learners)
        every = self.selections + self.networks + self.baselines
        names = [name for name in every if name in wanted]
        return [(n, self.of(n, group)) for n in names if not self.of(n, group).is_grey]


def _mean_ranks(comparison: Comparison) -> dict[str, float]:
    """Mean over the tasks of the rank by validation score; 0 is best. Learners that lack splits
    of a task rank below those that have all."""
    ranks: dict[str, list[int]] = {}
    for task in comparison.tasks:
        rows = [
            r
            for r in comparison.results
            if r.task == task.name and r.val_score is not None and not r.is_selection
        ]
        badness = comparison.metric.badness
        rows.sort(
            key=lambda r: (lacking(r, task) > 0, badness(r.val_score.mean if r.val_score else None))
        )
        for rank, row in enumerate(rows):
            ranks.setdefault(row.learner, []).append(rank)
    return {name: sum(places) / len(places) for name, places in ranks.items()}


def _network(i: int) -> Look:
    return Look(f"c{i}", _NETWORK_MARKERS[i]) if i < NETWORKS_SHOWN else GREY


def _baseline(i: int, is_reference: bool) -> Look:
    """Baselines share two greys and differ in marker and dashes; the reference is the darkest."""
    i %= len(_BASELINE_MARKERS)
    colour = "ink" if is_reference else "muted"
    return Look(colour, _BASELINE_MARKERS[i], _BASELINE_DASHES[i], hollow=True)


def css_classes() -> str:
    """Rules that give the classes of an SVG (``f-ink``, ``s-c0``) the page's colours."""
    return "".join(
        f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in COLOURS
    )


def css_variables(dark: bool) -> str:
    """``--ink:#1b1f24;...``"""
    return "".join(f"--{name}:{pair[dark]};" for name, pair in COLOURS.items())


# --------------------------------------------------------------------------------------------------
# matplotlib's SVG made fit for a page: small, with the page's fonts and colours.
#
# What matplotlib writes is a document of its own: fixed colours and fonts as inline styles, ids
# that would clash with those of the next figure, coordinates with six decimals. Here colours
# become classes, which the page's style sheet fills in for light and dark; text takes the page's
# font.
# --------------------------------------------------------------------------------------------------

_CLASS_OF = {pair[0]: name for name, pair in COLOURS.items()}
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+e-?\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_KEPT_STYLES = (
    "fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity",
    "stroke-opacity", "text-anchor", "font-weight",
)  # fmt: skip
_DROPPED_TAGS = {"metadata", "style", "title"}
_PLACES = ("x", "y", "href")


def for_page(document: str, prefix: str, label: str) -> str:
    """The ``<svg>`` element to put into a page.

    Args:
        document: what matplotlib has written, with text as text.
        prefix: what its ids begin with, no other figure's.
        label: what the figure shows, in words, for those who do not see it.

    Raises:
        ValueError: the document has a colour that the palette does not name, which would stay
            the same in the dark.
    """
    root = ElementTree.fromstring(document)
    _tidy(root)
    _unwrap(root)
    _rename(root, prefix)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": label})
    return ElementTree.tostring(root, encoding="unicode")


def _tidy(element: Element) -> None:
    """Strip names of spaces, styles and what a page does not need, all the way down."""
    element.tag = element.tag.rpartition("}")[2]
    element.text = element.text if element.tag == "text" else None
    element.tail = None
    style = element.attrib.pop("style", "")
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    _restyle(element, style)
    if element.attrib.get("transform", "").startswith("rotate(-0 "):  # of a level text
        del element.attrib["transform"]
    for key, value in element.attrib.items():
        if key not in ("id", "class", "href", "clip-path"):
            element.attrib[key] = _rounded(value)
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED_TAGS:
            element.remove(child)
        else:
            _tidy(child)


def _restyle(element: Element, style: str) -> None:
    """Put what matters of a style into attributes, and its colours into classes."""
    declared = dict(part.split(":", 1) for part in style.split(";") if ":" in part)
    declared = {key.strip(): value.strip() for key, value in declared.items()}
    font = declared.pop("font", "")
    if font:  # matplotlib's shorthand: [weight] size family
        size = re.search(r"([\d.]+)px", font)
        declared["font-size"] = size[1] if size else "12"
        if re.match(r"(bold|[6-9]00)\b", font):
            declared["font-weight"] = "bold"
        element.attrib["font-size"] = declared["font-size"]
    if "font-size" in declared:
        element.attrib["font-size"] = declared["font-size"].removesuffix("px")
    classes = []
    for key in _KEPT_STYLES:
        value = declared.get(key)
        if value is None or (key, value) in (("opacity", "1"), ("stroke-width", "1")):
            continue
        if key in ("fill", "stroke") and value != "none":
            if value not in _CLASS_OF:
                raise ValueError(f"the colour {value} is not in the palette of the report")
            classes.append(f"{key[0]}-{_CLASS_OF[value]}")
        elif (key, value) != ("stroke", "none"):
            element.attrib[key] = value
    if classes:
        element.attrib["class"] = " ".join(classes)


def _rounded(text: str) -> str:
    """Coordinates to a tenth of a pixel."""

    def one(match: re.Match[str]) -> str:
        value = f"{float(match[0]):.1f}".removesuffix(".0")
        return "0" if value == "-0" else value

    return re.sub(r"\s+", " ", _NUMBER.sub(one, text)).strip()


def _unwrap(element: Element) -> None:
    """Give a group what all its children share, and take away groups that say nothing."""
    for child in list(element):
        _unwrap(child)
    if element.tag == "g" and len(element) > 1:
        _hoist(element)
    kept: list[Element] = []
    for child in element:
        if child.tag == "g":
            child.attrib.pop("id", None)
            if not child.attrib or not len(child):
                kept.extend(child)
                continue
        if child.tag == "defs" and not len(child):
            continue
        kept.append(child)
    element[:] = kept


def _hoist(group: Element) -> None:
    """Marks that look the same tell it once, in their group."""
    uses = [child for child in group if child.tag == "use"]
    others = [child for child in group if child.tag not in ("use", "defs")]
    if len(uses) < 2 or others:
        return
    looks = [{k: v for k, v in use.attrib.items() if k not in _PLACES} for use in uses]
    if any(look != looks[0] for look in looks) or set(looks[0]) & set(group.attrib):
        return
    group.attrib.update(looks[0])
    for use in uses:
        use.attrib = {k: v for k, v in use.attrib.items() if k in _PLACES}


def _rename(root: Element, prefix: str) -> None:
    """Number the ids that something refers to, and drop the others."""
    wanted: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            match = _REFERENCE.search(value) if key in ("href", "clip-path") else None
            if match:
                old = match[1] or match[2]
                new = wanted.setdefault(old, f"{prefix}-{len(wanted)}")
                element.attrib[key] = value.replace(old, new)
    for element in root.iter():
        old = element.attrib.pop("id", "")
        if old in wanted:
            element.attrib["id"] = wanted[old]


def swatch(colour: str, marker: str = "", dashes: str = "", *, hollow: bool = False) -> str:
    """A sample of a line with its marker, 28 x 12 pixels, for legends and tables in the page.

    Args:
        colour: its name in the palette.
        marker: the outline of the marker as a path; "" for none.
        dashes: lengths on and off; "" for a solid line.
    """
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = f'<path class="s-{colour}" stroke-width="2" fill="none" d="M1 6H27"{dash}/>'
    face = "paper" if hollow else colour
    if marker:
        line += f'<path class="s-{colour} f-{face}" stroke-width="1.4" d="{marker}"/>'
    return f'<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true">{line}</svg>'
