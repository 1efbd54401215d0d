"""Records of WARC files, of which Common Crawl's WET files are a kind (ISO 28500)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nnexp.data.source import quoted
from nnexp.data.text.streams import decoded, opened
from nnexp.errors import DataError

_BEGINNING = b"WARC/"


@dataclass(frozen=True)
class Record:
    """One record."""

    headers: dict[str, str]  # names in lower case
    content: bytes
    start: int  # byte of the unpacked file that it begins with


def records(file: Path) -> Iterator[Record]:
    """The records of a WARC file, one after the other.

    Lines of headers end in CR LF. Where they end in LF alone somebody has converted the file, and
    Content-Length, which counted the CRs, is not trusted: a record ends where the next begins.

    Raises:
        DataError: it is none, is damaged or cut short; the message names the byte.
    """
    with opened(file) as stream:
        reader = _Reader(stream, file)
        while line := reader.next_line():
            start = reader.at - len(line)
            if not line.startswith(_BEGINNING):
                shown = quoted(line[:40].decode("utf-8", "replace").strip())
                raise DataError(f"{file}, byte {start}: a record begins with WARC/, not {shown}")
            headers = reader.headers(start)
            if line.endswith(b"\r\n"):
                content = reader.content(headers.get("content-length", ""), start)
            else:
                content = reader.until_next()
            yield Record(headers, content, start)


class _Reader:
    """The parts of records, and where in the file they are."""

    def __init__(self, stream: IO[bytes], file: Path) -> None:
        self._stream, self._file = stream, file
        self._ahead = b""  # a line that has been read too early
        self.at = 0

    def next_line(self) -> bytes:
        """The next line that is not blank; empty at the end of the file."""
        while line := self._line():
            if line.strip():
                break
        return line

    def headers(self, start: int) -> dict[str, str]:
        """The headers of a record, to the blank line behind them."""
        headers: dict[str, str] = {}
        while line := self._line():
            if not line.strip():
                return headers
            where = f"{self._file}, byte {self.at - len(line)}"
            name, colon, value = decoded(line, where).partition(":")
            if not colon:
                raise DataError(
                    f"{where}: {quoted(name.strip())} is no header, as WARC-Type: conversion"
                )
            headers[name.strip().lower()] = value.strip()
        raise DataError(f"{self._file}, record at byte {start}: cut short within its headers")

    def content(self, length: str, start: int) -> bytes:
        """As many bytes as Content-Length says."""
        where = f"{self._file}, record at byte {start}"
        if not length.isdecimal():
            raise DataError(f"{where}: Content-Length is {quoted(length)}, not a number")
        content = self._stream.read(int(length))
        self.at += len(content)
        if len(content) < int(length):
            raise DataError(f"{where}: cut short, {len(content)} of {length} bytes")
        return content

    def until_next(self) -> bytes:
        """All to the beginning of the next record, or to the end of the file."""
        lines = []
        while line := self._line():
            if line.startswith(_BEGINNING):
                self._ahead = line
                self.at -= len(line)
                break
            lines.append(line)
        return b"".join(lines)

    def _line(self) -> bytes:
        line, self._ahead = self._ahead or self._stream.readline(), b""
        self.at += len(line)
        return line
