"""Large files are read by pyarrow, small ones by the csv module: the table is the same."""

from __future__ import annotations

import bz2
import contextlib
import csv
import dataclasses
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnexp.config.schema import TableConfig
from nnexp.data import load_source
from nnexp.data.sources import csv_file, csv_quick
from nnexp.data.sources.csv_dialect import read_carefully
from nnexp.data.sources.csv_quick import read_quickly
from nnexp.data.table import Table, as_texts
from nnexp.data.tabular import source_of_table
from nnexp.errors import DataError


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_quick, "_SMALL", 0)


def cells(table: Table) -> list[list[str]]:
    """Numbers where every cell is one, as pyarrow reads them; else texts."""
    columns: list[list[str]] = []
    for column in table.columns:
        texts = as_texts(column)
        shown = ["" if code < 0 else texts.values[code] for code in texts.codes.tolist()]
        with contextlib.suppress(ValueError):
            shown = [str(float(text) + 0.0) if text not in ("", "?") else "none" for text in shown]
        columns.append(shown)
    return columns


def same(config: TableConfig) -> None:
    quick, careful = read_quickly(config), read_carefully(config)
    assert quick is not None
    assert (quick.names, quick.num_rows, quick.separator) == (
        careful.names, careful.num_rows, careful.separator,
    )  # fmt: skip
    assert cells(quick) == cells(careful)
    assert quick.line is not None
    assert careful.line is not None
    for row in {0, quick.num_rows // 2, quick.num_rows - 1}:
        assert quick.line(row) == careful.line(row)


PLAIN = "a,b,label\n1,2.5,x\n3,-4e-1,y\n5,6,x\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace(",", ";"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "\n\n" + PLAIN.replace("\n", "\n\n"),
        PLAIN.replace(",", ", "),
        '"a","b","label"\n"1","2.5","x, ""z"""\n3,4,"y\nz"\n5,6,x\n',
        "a,b,label\n1,?,x\n,2,y\n3,4,x\n",
        "a,b,label\n1,nan,x\n2,inf,y\n3,4,x\n",
        "a,b,label\n1,1e400,x\n2,+5,y\n3,0x10,x\n",
        "1,2,x\n3,4,y\n5,6,x\n",
        gzip.compress(PLAIN.encode(), mtime=0),
        bz2.compress(PLAIN.encode()),
        pa.compress(PLAIN.encode(), "zstd", asbytes=True),
    ],
)
def test_ways_to_write_a_table(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    same(TableConfig(path=str(path), target="-1"))


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (PLAIN.replace("x", "Größe").encode("latin-1"), {"encoding": "latin-1"}),
        (PLAIN.replace("x", '5" pipe').encode(), {"quote": None}),
        (PLAIN.replace("x", "'x,y'").encode(), {"quote": "'"}),
        (b"made by a probe\nin May\n" + PLAIN.encode(), {"skip_rows": 2}),
        (PLAIN.replace("x", '"x \\"y\\""').encode(), {"escape": "\\"}),
    ],
)
def test_declared_ways(tmp_path: Path, content: bytes, options: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    same(TableConfig(path=str(path), target="-1", **options))


def test_a_file_of_test_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN)
    (tmp_path / "test.csv").write_text("label,a,b\ny,7,q\n")
    same(
        TableConfig(
            path=str(tmp_path / "t.csv"), test_path=str(tmp_path / "test.csv"), target="label"
        )
    )


@pytest.mark.parametrize(
    "content",
    [
        'a,b\n1,"4"5\n',
        'a,b\n1,5" pipe\n',
        'a,b\n1,"open\n2,3\n',
        "a,b\n1,2,3\n4,5\n",
        "a,b\n1\n",
        b"a,b\n1,\xff\xfe\n",
        "a b\n1 2\n",
    ],
)
def test_what_needs_more_care(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_quickly(TableConfig(path=str(path), target="b")) is None


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["x", '"x, y"', '"two\nlines"'])
def test_a_file_that_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, end: str
) -> None:
    monkeypatch.setattr(csv_file, "_PART", 300)
    monkeypatch.setattr(csv_file, "_BLOCK", 100)
    rows = [f'{i},{i / 8},"{i % 7}",{text if i % 9 == 0 else "z"}' for i in range(200)]
    path = tmp_path / "t.csv"
    path.write_text(end.join(['"a","b","c","label"', *rows, "", ""]), encoding="utf-8", newline="")
    same(TableConfig(path=str(path), target="label"))


def test_a_text_far_below_numbers(tmp_path: Path) -> None:
    """The first megabyte says that a column is numeric; it is not."""
    path = tmp_path / "t.csv"
    body = "".join(f"{i % 97 / 8},{'xy'[i % 2]}\n" for i in range(150_000))
    path.write_text(f"a,label\n{body}high,x\n")
    with pytest.raises(DataError, match="line 150002, column 'a': 'high' is not a number, but"):
        load_source(TableConfig(path=str(path), target="label"))


TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs", "Cc", "Zs")
    ),
    max_size=6,
).map(str.strip)
NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str)
CELLS = st.one_of(
    NUMBER, TEXT, st.sampled_from(["", "?", "NA", 'say "hi"', "a,b", "x;y", "two words"])
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_generated_tables(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, quoting: Any
) -> None:
    """What is read equals what was written, cell by cell, by either way."""
    width = data.draw(st.integers(2, 4))
    kinds = [data.draw(st.sampled_from([NUMBER, TEXT, CELLS])) for _ in range(width - 1)]
    rows = data.draw(st.lists(st.tuples(*kinds, st.sampled_from("xy")), min_size=1, max_size=8))
    buffer = io.StringIO()
    names = [f"column {i}" for i in range(width)]
    csv.writer(buffer, quoting=quoting, lineterminator="\n").writerows([names, *rows])
    path = tmp_path_factory.mktemp("generated") / "t.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    config = TableConfig(path=str(path), target="-1", header=True, separator=",")
    careful = read_carefully(config)
    written = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    texts = [as_texts(column) for column in careful.columns]
    assert [[t.values[code] for code in t.codes.tolist()] for t in texts] == written
    quick = read_quickly(config)
    if quick is not None:
        assert cells(quick) == cells(careful)


def test_missing_values_of_numbers_are_nan(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,x\n?,y\n,x\n2,y\n")
    table = read_quickly(TableConfig(path=str(path), target="label"))
    assert table is not None
    np.testing.assert_array_equal(np.asarray(table.columns[0]), [1, np.nan, np.nan, 2])


@pytest.mark.parametrize(
    "content",
    [
        "a,b,label\n" + '"1,5",1.234,x\n"2,5",12.500,y\n"1,5",7.125,x\n' * 20,
        "a,b,label\n" + "12E4,1,x\n34E7,2,y\n" * 20,
        "a,b,label\n" + "02139,1,x\n94103,2,y\n" * 20,
    ],
    ids=["a decimal comma beside", "codes", "zeros"],
)
def test_what_is_found_out_is_the_same(tmp_path: Path, content: str) -> None:
    """Of the columns' meanings, too: their texts are not numbers before they are understood."""
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    config = TableConfig(path=str(path), target="label")
    quick = source_of_table(csv_quick.read_text_table(config), config)
    careful = source_of_table(read_carefully(config), config)
    assert quick.feature_names == careful.feature_names
    assert quick.card is not None
    assert careful.card is not None
    assert quick.card.to_json() == careful.card.to_json()
    assert quick.notices == careful.notices
    np.testing.assert_array_equal(quick.x, careful.x)


@pytest.mark.parametrize("repeats", [1, 3, 40])
def test_repeated_headers_are_found_by_both(tmp_path: Path, repeats: int) -> None:
    """The place of a row in a large file takes a look through it: of many rows one is enough."""
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + "1,x\n2,y\n" * 30 + "a,label\n3,x\n" * repeats, encoding="utf-8")
    config = TableConfig(path=str(path), target="label")
    table = read_quickly(config)
    assert table is not None
    assert table.line is not None
    looked: list[int] = []
    counted = dataclasses.replace(table, line=lambda row: looked.append(row) or 62 + 2 * (row - 60))
    with pytest.raises(DataError, match="line 62 repeats the header") as caught:
        csv_quick._require_one_header(counted)
    assert (f"in all {repeats} lines do" in str(caught.value)) is (repeats > 1)
    assert ("dataset.skip_rows" in str(caught.value)) is (repeats <= 10)
    assert len(looked) <= 1 + min(repeats, 10)
