"""What each format yields: the lines of a file with their labels, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnexp.data.source import quoted
from nnexp.data.text.streams import decoded, label_of, opened
from nnexp.data.text.warc import records
from nnexp.data.text.wikipedia import pages
from nnexp.errors import ConfigError, DataError

FILE = "file"  # the label that is the name of the file

Labelled = tuple[str, str]  # label, line


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    format: str  # auto, lines, tsv, wet or wikipedia
    label: str  # file; a column's number in tsv, a header's name in wet, title or language
    text_column: int  # in tsv


def labelled_lines(file: Path, reading: Reading) -> Iterator[Labelled]:
    """The lines of a file.

    Raises:
        ConfigError: a label that the format does not have.
        DataError: the file is missing, damaged or of another format: what is wrong, and where.
    """
    match _format_of(file) if reading.format == "auto" else reading.format:
        case "tsv":
            yield from _tsv(file, reading)
        case "wet":
            yield from _wet(file, reading)
        case "wikipedia":
            yield from _wikipedia(file, reading)
        case _:
            _require(reading.label == FILE, reading, "lines of text are labelled by their file")
            for _, line in _numbered(file):
                yield label_of(file), line


def _format_of(file: Path) -> str:
    """As the name says, its last ending first, once that of the compression is off."""
    endings = [ending.lower() for ending in file.suffixes]
    if {".tsv", ".csv"} & set(endings):
        return "tsv"
    if ".wet" in endings:
        return "wet"
    return "wikipedia" if any(ending.startswith(".xml") for ending in endings) else "lines"


def _numbered(file: Path) -> Iterator[tuple[int, str]]:
    """Lines without their ends, counted from 1."""
    with opened(file) as stream:
        for number, raw in enumerate(stream, 1):
            line = decoded(raw, f"{file}, line {number}").rstrip("\r\n")
            yield number, line.removeprefix("\ufeff") if number == 1 else line


def _tsv(file: Path, reading: Reading) -> Iterator[Labelled]:
    by_file = reading.label == FILE
    _require(
        by_file or reading.label.isdecimal(), reading,
        "must be the number of a column, 0 the first, or file",
    )  # fmt: skip
    columns = {"text_column": reading.text_column}
    if not by_file:
        columns["label"] = int(reading.label)
    for number, line in _numbered(file):
        if not line:
            continue
        cells = line.split("\t")
        for option, column in columns.items():
            if column >= len(cells):
                raise DataError(
                    f"{file}, line {number}: {quoted(line)} has {len(cells)} columns, "
                    f"dataset.{option}={column} is none of them (the first is 0)"
                )
        if not by_file and columns["label"] == reading.text_column % len(cells):
            raise ConfigError(
                f"dataset.text_column={reading.text_column}: is the column of the labels, "
                f"dataset.label={reading.label}, in {file}, line {number}"
            )
        label = label_of(file) if by_file else cells[columns["label"]]
        yield label, cells[reading.text_column]  # -1 is the last


def _wet(file: Path, reading: Reading) -> Iterator[Labelled]:
    by_file = reading.label == FILE
    found = is_labelled = False
    names: set[str] = set()
    for record in records(file):
        if record.headers.get("warc-type") != "conversion":
            continue
        found = True
        names.update(record.headers)
        label = label_of(file) if by_file else record.headers.get(reading.label.lower())
        if label is None:
            continue
        is_labelled = True
        if reading.label.lower().endswith("language"):
            label = label.partition(",")[0]  # of several languages the first has most of the text
        for line in decoded(record.content, f"{file}, record at byte {record.start}").split("\n"):
            yield label, line.rstrip("\r")
    if not found:
        raise DataError(f"{file}: no record of text (WARC-Type: conversion); is it a WET file?")
    if not is_labelled:
        raise DataError(
            f"{file}: no record has the header {quoted(reading.label)}, dataset.label; there are "
            f"{', '.join(sorted(names))}"
        )


def _wikipedia(file: Path, reading: Reading) -> Iterator[Labelled]:
    _require(
        reading.label in (FILE, "title", "language"), reading, "must be file, title or language"
    )
    for page in pages(file):
        labels = {FILE: label_of(file), "title": page.title, "language": page.language}
        for line in page.lines:
            yield labels[reading.label], line


def _require(fits: bool, reading: Reading, problem: str) -> None:
    if not fits:
        raise ConfigError(f"dataset.label={reading.label}: {problem}")
