"""matplotlib's SVG made fit for a page: small, with the page's fonts and colours.

What matplotlib writes is a document of its own: fixed colours and fonts as inline styles, ids that
would clash with those of the next figure, coordinates with six decimals. Here colours become
classes, which the page's style sheet fills in for light and dark; text takes the page's font.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from nnexp.report.figures.palette import COLOURS

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
