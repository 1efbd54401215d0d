"""Lines and labels out of each format, and what is said of files that are none of it."""

from pathlib import Path

import pytest
from text_files import dump, tatoeba, wet, write

from nnexp.data.text.formats import Reading, labelled_lines
from nnexp.data.text.streams import files_of
from nnexp.data.text.wikitext import plain_lines
from nnexp.errors import ConfigError, DataError

LANGUAGE = "WARC-Identified-Content-Language"


def read(
    file: Path, format: str = "auto", label: str = "file", text_column: int = -1
) -> list[tuple[str, str]]:
    return list(labelled_lines(file, Reading(format, label, text_column)))


@pytest.mark.parametrize("packed", ["", ".gz", ".bz2"])
def test_tsv(tmp_path: Path, packed: str) -> None:
    file = write(tmp_path / f"export.csv{packed}", '\ufeff1\tdeu\tJa.\r\n\n2\tfra\tOui, "moi".\n')
    assert read(file, label="1", text_column=2) == [("deu", "Ja."), ("fra", 'Oui, "moi".')]
    assert read(file) == [("export", "Ja."), ("export", 'Oui, "moi".')]


@pytest.mark.parametrize("packed", ["", ".gz", ".bz2"])
def test_lines(tmp_path: Path, packed: str) -> None:
    file = write(tmp_path / f"german.txt{packed}", "Ja.\nNein.")
    assert read(file) == [("german", "Ja."), ("german", "Nein.")]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_wet(tmp_path: Path, packed: str) -> None:
    pages = [("deu,eng", "Ja.\nWARC/1.0 ist kein Anfang.\n"), (None, "?"), ("fra", "Été.\n")]
    file = write(tmp_path / f"x.warc.wet{packed}", wet(pages))
    expected = [("deu", "Ja."), ("deu", "WARC/1.0 ist kein Anfang."), ("deu", ""),
                ("fra", "Été."), ("fra", "")]  # fmt: skip
    assert read(file, label=LANGUAGE) == expected
    assert {label for label, _ in read(file)} == {"x"}
    assert {label for label, _ in read(file, label="warc-target-uri")} >= {"http://fra.example"}


def test_wet_with_other_line_ends(tmp_path: Path) -> None:
    """Somebody has converted it, and Content-Length is no longer right."""
    content = wet([("deu", "Ja.\r\nNein."), ("fra", "Oui.")]).replace(b"\r\n", b"\n")
    file = write(tmp_path / "x.wet.txt", content)
    lines = [(label, line) for label, line in read(file, label=LANGUAGE) if line]
    assert lines == [("deu", "Ja."), ("deu", "Nein."), ("fra", "Oui.")]


@pytest.mark.parametrize("packed", ["", ".bz2"])
def test_wikipedia(tmp_path: Path, packed: str) -> None:
    other = "<page><title>Hilfe:X</title><ns>12</ns><revision><text>Nein</text></revision></page>"
    moved = (
        '<page><title>Alt</title><ns>0</ns><redirect title="Neu" /><revision><text>#R</text>'
        "</revision></page>"
    )
    text = "'''Rom''' ist eine [[Stadt|große Stadt]].\n[[Bild:Rom.jpg|mini|in [[Rom]]]]"
    content = dump("de", [("Rom", text), ("Po", "Ein Fluss.\n\n== Lauf ==\n* Turin")],
                   extra=other + moved)  # fmt: skip
    file = write(tmp_path / f"dewiki-1.xml{packed}", content)
    lines = ["Rom ist eine große Stadt.", "Ein Fluss.", "Turin"]
    assert read(file) == [("dewiki-1", line) for line in lines]
    assert [label for label, _ in read(file, label="title")] == ["Rom", "Po", "Po"]
    assert {label for label, _ in read(file, label="language")} == {"de"}


def test_a_dump_that_ends_between_articles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "x.xml", dump("de", [("Po", "Ein Fluss.")], end=" "))
    assert read(file) == [("x", "Ein Fluss.")]
    assert "ends after an article without </mediawiki>" in caplog.text


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        ("{{Infobox|a={{b|c}}\n|d=e}}Text {{x}}here.", ["Text here."]),
        ("{| class=a\n| cell\n{| inner\n|}\n|}\nAfter.", ["After."]),
        ("A<ref name=a>no</ref>, b<ref name=c />.<!-- no\nno -->", ["A, b."]),
        ("''I'' see [http://x.y the page] and [[a|b]]s, [[c]].", ["I see the page and bs, c."]),
        ("[[File:a.png|thumb|a [[b]] c]]Text", ["Text"]),
        ("[[File:a.png|by [http://x.y b]]]Text", ["Text"]),
        ("[[File:a.png|said [sic] so]]Text [sic]", ["Text [sic]"]),
        ("== Head ==\n* one\n# two\n: three\n__TOC__\n----", ["one", "two", "three", "----"]),
        ("a &amp; b &lt;c&gt;&nbsp;d", ["a & b <c> d"]),
        ("unclosed {{template\n[[link", ["unclosed {{template", "[[link"]),
    ],
)
def test_wikitext(markup: str, lines: list[str]) -> None:
    assert plain_lines(markup, {"file"}) == lines


# ── what is said ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "label", "said"),
    [
        ("x.tsv", "1\tdeu\tJa.\n2\tfra\n", "1",
         "{file}, line 2: '2\\tfra' has 2 columns, dataset.text_column=2 is none of them (the "
         "first is 0)"),
        ("x.tsv", b"1\tdeu\tJa\xff.\n", "1", "{file}, line 1: byte 0xff is not UTF-8"),
        ("x.wet", "Something else", LANGUAGE,
         "{file}, byte 0: a record begins with WARC/, not 'Something else'"),
        ("x.wet", wet([("deu", "Ja.")])[:-6], LANGUAGE,
         "{file}, record at byte 79: cut short, 1 of 3 bytes"),
        ("x.wet", wet([("deu", "Ja.")])[:100], LANGUAGE,
         "{file}, record at byte 79: cut short within its headers"),
        ("x.wet", wet([("deu", "Ja.")]).replace(b"Content-Length: 3", b"Content-Length: 3x"),
         LANGUAGE, "{file}, record at byte 79: Content-Length is '3x', not a number"),
        ("x.wet", wet([(None, "Ja.")]), LANGUAGE,
         "{file}: no record has the header 'WARC-Identified-Content-Language', dataset.label; "
         "there are content-length, warc-target-uri, warc-type"),
        ("x.wet", wet([]), LANGUAGE,
         "{file}: no record of text (WARC-Type: conversion); is it a WET file?"),
        ("x.xml", "<html></html>", "file", "{file}: a dump begins with <mediawiki>, not <html>"),
        ("x.xml", dump("de", [("Po", "Fluss")])[:-40], "file",
         "{file}, line 3, column 94: not the XML of a dump, no element found"),
        ("x.xml", "none", "file",
         "{file}, line 1, column 0: not the XML of a dump, syntax error"),
        ("x.txt.gz", None, "file", "{file}: truncated, its compressed stream has no end"),
    ],
)  # fmt: skip
def test_bad_files(
    tmp_path: Path, name: str, content: str | bytes | None, label: str, said: str
) -> None:
    file = tmp_path / name
    if content is None:
        write(file, tatoeba(50))
        file.write_bytes(file.read_bytes()[:100])
    else:
        write(file, content)
    with pytest.raises(DataError) as caught:
        read(file, label=label, text_column=2)
    assert str(caught.value) == said.format(file=file)


@pytest.mark.parametrize(
    ("name", "label", "text_column", "said"),
    [
        ("x.tsv", "lang", 2,
         "dataset.label=lang: must be the number of a column, 0 the first, or file"),
        ("x.tsv", "1", 1, "dataset.text_column=1: is the column of the labels, dataset.label=1, in "
         "{file}, line 1"),
        ("x.xml", "1", 2, "dataset.label=1: must be file, title or language"),
        ("x.txt", "1", 2, "dataset.label=1: lines of text are labelled by their file"),
    ],
)  # fmt: skip
def test_labels_that_a_format_does_not_have(
    tmp_path: Path, name: str, label: str, text_column: int, said: str
) -> None:
    file = write(tmp_path / name, tatoeba(3))
    with pytest.raises(ConfigError) as caught:
        read(file, label=label, text_column=text_column)
    assert str(caught.value) == said.format(file=file)


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", ".hidden", "c.xml"):
        write(tmp_path / name, "x\n")
    (tmp_path / "inner").mkdir()
    names = [file.name for file in files_of([str(tmp_path / "c.xml"), str(tmp_path)])]
    assert names == ["c.xml", "a.txt", "b.txt"]
    assert [file.name for file in files_of([str(tmp_path / "*.txt")])] == ["a.txt", "b.txt"]
    with pytest.raises(DataError, match="no such file, and no folder or pattern of files"):
        files_of([str(tmp_path / "*.gz")])
