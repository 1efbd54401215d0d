"""The plain text of MediaWiki's markup, roughly: enough to tell languages and topics apart."""

from __future__ import annotations

import html
import re
from collections.abc import Set

_DROPPED = re.compile(
    r"<!--.*?-->|<(ref|math|nowiki|gallery|timeline|syntaxhighlight|score|code)\b[^<>]*?"
    r"(?:/>|>.*?</\1\s*>)",
    re.DOTALL | re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL)
_LINK = re.compile(r"\[\[((?:[^\[\]]|\[[^\[\]]+\])*)\]\]")
_URL = re.compile(r"\[(?:https?:)?//[^\s\]]*\s*([^\]]*)\]|https?://[^\s\]|]+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_QUOTES = re.compile(r"'{2,}")
_BEGINNING = re.compile(r"^[*#:;\s]+")
_NO_TEXT = re.compile(r"^(?:=.*=|__\w+__|[|!{}].*)$")  # headings, switches, remains of tables
_MOST_NESTED = 20


def plain_lines(text: str, namespaces: Set[str]) -> list[str]:
    """Paragraphs and list items of an article, without markup, templates, tables and headings.

    Args:
        namespaces: in lower case; links into these, as to pictures, are left out.
    """
    text = _URL.sub(r"\1", _repeated(_TEMPLATE, "", _DROPPED.sub("", text)))

    def linked(match: re.Match[str]) -> str:
        target, _, shown = match.group(1).partition("|")
        prefix, colon, _ = target.partition(":")
        if colon and prefix.strip().casefold() in namespaces:
            return ""
        return shown.rpartition("|")[2] or target

    text = _repeated(_LINK, linked, text)
    text = _TAG.sub("", _QUOTES.sub("", text))
    lines = []
    for line in html.unescape(text).split("\n"):
        stripped = " ".join(_BEGINNING.sub("", line).split())
        if stripped and not _NO_TEXT.match(stripped):
            lines.append(stripped)
    return lines


def _repeated(pattern: re.Pattern[str], by: object, text: str) -> str:
    """The innermost first, until nothing changes."""
    for _ in range(_MOST_NESTED):
        text, count = pattern.subn(by, text)  # type: ignore[call-overload]
        if not count:
            break
    return text
