"""Articles of Wikipedia's pages-articles dumps (MediaWiki's XML export), as lines of text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, iterparse
from xml.parsers.expat import errors

from nnexp.data.text.streams import opened
from nnexp.data.text.wikitext import plain_lines
from nnexp.errors import DataError

log = logging.getLogger(__name__)

_ARTICLES = "0"  # the namespace
_ENDS_EARLY = errors.codes[errors.XML_ERROR_NO_ELEMENTS]
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


@dataclass(frozen=True)
class Page:
    """An article."""

    title: str
    language: str  # of the dump, as vi
    lines: list[str]  # paragraphs and list items, without markup


def pages(file: Path) -> Iterator[Page]:
    """The articles of a dump, one after the other: no redirects, no other namespaces.

    What has been read is forgotten: a dump may be larger than memory. One that ends between two
    articles is read to there, with a warning.

    Raises:
        DataError: it is no such dump, is damaged or cut short; the message names line and column.
    """
    language = ""
    namespaces = {"file", "image", "category"}
    root: Element | None = None
    with opened(file) as stream:
        try:
            for event, element in iterparse(stream, ("start", "end")):
                name = element.tag.rpartition("}")[2]
                if root is None:
                    root = element
                    if name != "mediawiki":
                        raise DataError(f"{file}: a dump begins with <mediawiki>, not <{name}>")
                    language = element.get(_LANGUAGE, "")
                if event == "start":
                    continue
                if name == "namespace" and element.text:
                    namespaces.add(element.text.casefold())
                elif name == "page":
                    if page := _page(element, language, namespaces):
                        yield page
                    root.clear()
        except ParseError as error:
            line, column = error.position
            if error.code == _ENDS_EARLY and root is not None and not len(root):
                log.warning("%s ends after an article without </mediawiki>: is it whole?", file)
                return
            raise DataError(
                f"{file}, line {line}, column {column}: not the XML of a dump, "
                f"{str(error).partition(':')[0]}"
            ) from error


def _page(element: Element, language: str, namespaces: set[str]) -> Page | None:
    parts = {child.tag.rpartition("}")[2]: child for child in element.iter()}
    namespace, text = parts.get("ns"), parts.get("text")
    if namespace is None or namespace.text != _ARTICLES or "redirect" in parts or text is None:
        return None
    title = parts["title"].text if "title" in parts else None
    return Page(title or "", language, plain_lines(text.text or "", namespaces))
