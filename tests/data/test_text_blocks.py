"""Separated text in blocks: the same cells as a whole, faults by their line, bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nnexp.data.blocks import in_blocks_of, rows_of
from nnexp.data.table import Table, Texts, as_texts
from nnexp.data.text_blocks import Expected, TextOptions, text_blocks, unique_names
from nnexp.errors import ConfigError, DataError

NAMED = Expected(("width", "height"), frozenset({"width"}))


def read(
    path: Path,
    text: str | bytes = "",
    expected: Expected = NAMED,
    num_rows: int = 100,
    **options: object,
) -> list[Table]:
    if text:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(text_blocks(path, TextOptions(**options), expected, num_rows, lambda _: None))


def cells(table: Table) -> list[list[str | None]]:
    columns = map(as_texts, table.columns)
    return [[None if c < 0 else t.values[c] for c in t.codes.tolist()] for t in columns]


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new.csv"


@pytest.mark.parametrize("separator", ["\t", ";", "|", ",", " "])
def test_a_separator_and_a_header_are_found_by_the_names(path: Path, separator: str) -> None:
    text = "\n".join(separator.join(row) for row in (["height", "width"], ["a", "1.5"], ["b", "2"]))
    (table,) = read(path, text)
    assert table.names == ("height", "width")
    assert cells(table) == [["a", "b"], ["1.5", "2"]]
    assert table.columns[1].tolist() == [1.5, 2.0]  # numbers already


def test_one_column_needs_no_separator(path: Path) -> None:
    (table,) = read(path, "width\n3\n4\n", Expected(("width",)))
    assert (table.names, cells(table)) == (("width",), [["3", "4"]])


def test_names_that_are_not_the_expected_ones_are_a_header_too(path: Path) -> None:
    assert read(path, "breadth,tall\n3,a\n")[0].names == ("breadth", "tall")
    assert read(path, "2,5\n3,4\n")[0].names is None  # numbers are not


def test_columns_that_go_by_number_have_no_header(path: Path) -> None:
    (table,) = read(path, "a,b\nc,d\n", Expected(None))
    assert (table.names, table.num_rows) == (None, 2)
    (table,) = read(path, "a,b\nc,d\n", Expected(None), header=True)
    assert (table.names, table.num_rows) == (("a", "b"), 1)


@pytest.mark.parametrize("cell", ["1_000", "nan", "inf", "x"])
def test_what_is_no_plain_number_stays_text(path: Path, cell: str) -> None:
    (table,) = read(path, f"width,height\n1,a\n{cell},b\n")
    assert isinstance(table.columns[0], Texts)
    assert table.columns[0].values == ("1", cell)


def test_missing_cells_of_numbers_are_nan(path: Path) -> None:
    (table,) = read(path, "width,height\n?,a\n,b\n2,c\n")
    assert np.isnan(table.columns[0]).tolist() == [True, True, False]


def test_quotes_comments_and_lines_left_out(path: Path) -> None:
    text = 'title\nwidth;height\n# none\n1;"a; ""b"""\n\n2;c\nsum\n\n'
    (table,) = read(path, text, skip_rows=1, comment="#", skip_footer=1)
    assert cells(table) == [["1", "2"], ['a; "b"', "c"]]
    assert [table.place(row) for row in range(2)] == [f"{path}: line 4", f"{path}: line 6"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_packed_text(path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert cells(read(path, pack(b"width,height\n1,a\n"))[0]) == [["1"], ["a"]]


def test_a_first_line_that_names_the_separator(path: Path) -> None:
    """As in training: Excel writes it."""
    (table,) = read(path, "sep=;\nwidth;height\n1;a,b\n")
    assert cells(table) == [["1"], ["a,b"]]
    assert table.place(0) == f"{path}: line 3"


def test_encodings(path: Path) -> None:
    assert read(path, "width,größe\n1,ü\n".encode("utf-8-sig"))[0].names == ("width", "größe")
    assert cells(read(path, "width,höhe\n1,ü\n".encode("latin-1"), encoding="latin-1")[0])[1] == [
        "ü"
    ]
    with pytest.raises(DataError, match="holds bytes that are not 'utf-8'; another encoding is"):
        read(path, "width,höhe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^dataset.encoding=klingon: no such encoding$"):
        read(path, encoding="klingon")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n\n", "empty, no rows"),
        ("width,height\n1,a\n1\n", "line 3 has 1 cell, but line 1 has 2"),
        ("width,height\n1,a\n2,b,c\n", "line 3 has 3 cells, but line 1 has 2"),
        ('width,height\n1,"a\n', "line 2: a quoted cell that begins here is never closed"),
        ('width,height\n1,"a"b\n', "line 2: a cell goes on after its quote"),
    ],
)
def test_a_fault_is_named_by_its_line(path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(path, text)
    assert str(caught.value) == f"{path}: {problem}"


def test_truncated_and_absent_files(path: Path) -> None:
    with pytest.raises(DataError, match="truncated, the packed data have no end"):
        read(path, gzip.compress(b"width,height\n" + b"1,a\n" * 50)[:-12])
    path.rename(path.with_name("news.csv"))
    with pytest.raises(DataError, match=r"new.csv: no such file \(did you mean 'news.csv'\?\)$"):
        read(path)
    with pytest.raises(DataError, match="a folder, not a file"):
        read(path.parent)


def test_blocks_are_the_rows_one_below_the_other(path: Path) -> None:
    rows = [[str(n), f"h{n % 3}"] for n in range(10)]
    text = "\n".join(",".join(row) for row in [["width", "height"], *rows])
    blocks = read(path, text, num_rows=4)
    assert [block.num_rows for block in blocks] == [4, 4, 2]
    joined = [list(chain.from_iterable(parts)) for parts in zip(*map(cells, blocks), strict=True)]
    assert joined == [list(column) for column in zip(*rows, strict=True)]
    assert blocks[1].place(0) == f"{path}: line 6"


@pytest.mark.parametrize("size", [1, 3, 4, 7, 100])
def test_blocks_are_cut_and_joined(size: int) -> None:
    whole = Table("t", ("n", "x"), [Texts.of(map(str, range(10))), np.arange(10.0)], 10)
    parts = [rows_of(whole, start, stop) for start, stop in ((0, 3), (3, 4), (4, 10))]
    blocks = list(in_blocks_of(parts, size))
    assert [block.num_rows for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert sum(block.num_rows for block in blocks) == 10
    assert np.concatenate([block.columns[1] for block in blocks]).tolist() == list(range(10))
    names = chain.from_iterable(cells(block)[0] for block in blocks)
    assert list(names) == list(map(str, range(10)))
    for number, block in enumerate(blocks):
        assert block.place(block.num_rows - 1) == f"t: row {min(number * size + size, 10) - 1}"


def test_a_second_column_of_a_name_is_renamed() -> None:
    names, renamed = unique_names(["x", "y", "x", "x.1", "x"])
    assert names == ("x", "y", "x.2", "x.1", "x.3")
    assert renamed[0] == "a second column 'x' is called 'x.2' here"
