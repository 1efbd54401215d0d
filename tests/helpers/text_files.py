"""Small files of text in each format, made up for the tests."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
_WORDS = """
deu der die das und nicht ist ein zu auf mit sich für dass haben werden
eng the of and to in that it is was for with his they have this
fra le la les et des est que une pour dans qui sur pas plus avec
"""
WORDS = {line.split()[0]: line.split()[1:] for line in _WORDS.strip().splitlines()}


def sentence(language: str, number: int) -> str:
    """A made-up line, another for every number below 3375."""
    words = WORDS[language]
    picked = [words[number % 15], words[number // 15 % 15], words[number // 225 % 15]]
    return " ".join([*picked, words[number * 7 % 15], words[number * 11 % 15]]).capitalize() + "."


def write(file: Path, content: str | bytes) -> Path:
    """A file, packed as its name ends."""
    raw = content.encode() if isinstance(content, str) else content
    file.write_bytes(PACKERS.get(file.suffix, bytes)(raw))
    return file


def tatoeba(rows: int, languages: tuple[str, ...] = ("deu", "eng", "fra")) -> str:
    """An export: id, language, text."""
    lines = [
        f"{number}\t{language}\t{sentence(language, number)}"
        for number in range(rows)
        for language in languages
    ]
    return "\n".join(lines) + "\n"


def wet(pages: list[tuple[str | None, str]], end: str = "\r\n") -> bytes:
    """A WET file: for each page the header of its language, if any, and its text."""
    info = b"Software-Info: made up"
    found = [_record("warcinfo", {}, info, end)]
    for language, text in pages:
        headers = {"WARC-Target-URI": f"http://{language}.example"}
        if language is not None:
            headers["WARC-Identified-Content-Language"] = language
        found.append(_record("conversion", headers, text.encode(), end))
    return b"".join(found)


def _record(kind: str, headers: dict[str, str], content: bytes, end: str) -> bytes:
    lines = ["WARC/1.0", f"WARC-Type: {kind}", *(f"{k}: {v}" for k, v in headers.items())]
    head = end.join([*lines, f"Content-Length: {len(content)}", "", ""])
    return head.encode() + content + 2 * end.encode()


def dump(language: str, articles: list[tuple[str, str]], *, extra: str = "", end: str = "") -> str:
    """A pages-articles dump. ``extra`` stands before its end, which ``end`` replaces."""
    pages = "".join(
        f"<page><title>{title}</title><ns>0</ns><id>1</id><revision><id>2</id>"
        f'<text xml:space="preserve">{text}</text></revision></page>\n'
        for title, text in articles
    )
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="{language}">\n'
        '<siteinfo><namespaces><namespace key="0" /><namespace key="6">Bild</namespace>'
        f"</namespaces></siteinfo>\n{pages}{extra}{end or '</mediawiki>'}\n"
    )
