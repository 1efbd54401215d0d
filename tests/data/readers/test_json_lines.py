"""JSON lines: regular ones as pyarrow reads them, irregular ones by Python, errors by line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_cells import by_name

from nnexp.data.readers.formats import read_table_file
from nnexp.data.readers.json_lines import read_json_lines
from nnexp.data.table import Table
from nnexp.errors import DataError


def read(text: str | bytes, drop: list[Any] | None = None) -> Table:
    content = text if isinstance(text, bytes) else text.encode()
    return read_json_lines(content, "t.jsonl", drop or [])


def test_regular_lines() -> None:
    table = read('{"n":1,"s":" a","f":true}\n\n{"n":2.5,"s":null}\n  \n{"s":"2020-01-01"}')
    assert by_name(table) == {
        "n": [1, 2.5, None],
        "s": ["a", None, "2020-01-01"],
        "f": ["True", None, None],
    }
    assert [table.where(row, 0) for row in (0, 1, 2)] == [
        f"t.jsonl: line {line}, column 'n'" for line in (1, 3, 5)
    ]


def test_dates_remain_text() -> None:
    assert by_name(read('{"d":"2020-01-01 00:00:00"}\n{"d":null}\n')) == {
        "d": ["2020-01-01 00:00:00", None]
    }


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ('{"a":1}\n{"a":"x"}\n{"a":true}\n{"a":2.0}', ["1", "x", "True", "2"]),
        ('{"a":12345678901234567890}\n{"a":1}', ["12345678901234567890", "1"]),
        ('{"a":9007199254740993}\n{"a":null}', ["9007199254740993", None]),
        ('{"a":9007199254740993}\n{"a":"0.5"}', ["9007199254740993", "0.5"]),
        ('{"a":NaN}\n{"a":1e300}', [None, 1e300]),
        ('\ufeff{"a":"é"}', ["é"]),
        ('{"a":"' + "x" * 2_000_000 + '"}', ["x" * 2_000_000]),
    ],
)
def test_irregular_lines(text: str, cells: list[Any]) -> None:
    assert by_name(read(text)) == {"a": cells}


CELL = st.none() | st.booleans() | st.text("ab1", max_size=2) | st.integers() | st.floats(-9, 9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("xyz"), CELL, min_size=1), min_size=1, max_size=6))
def test_any_objects_come_back(rows: list[dict[str, Any]]) -> None:
    found = by_name(read("\n".join(map(json.dumps, rows))))
    assert set(found) == {key for row in rows for key in row}
    for key, cells in found.items():
        given_cells = [row.get(key) for row in rows]
        known = [cell for cell in given_cells if cell is not None]
        texts = any(isinstance(cell, str | bool) or abs(cell) > 2**53 for cell in known)
        for cell, back in zip(given_cells, cells, strict=True):
            if cell is None or not texts:
                assert back == cell
            elif isinstance(cell, float):
                assert float(back) == cell
            else:
                assert back == str(cell)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a":1}\n{"a":', "line 2: no JSON object (Expecting value at character 6)"),
        ('{"a":1}\n\n[1]', 'line 3: [1] is no JSON object; a line holds one, as {"a": 1}'),
        ('{"a":1}{"a":2}', "line 1: no JSON object (Extra data at character 8)"),
        ('{"a":1,"a":2}', "line 1: the key 'a' stands there twice"),
        (b'{"a":1}\n{"a":"\xff"}', "line 2: byte 0xff is not UTF-8"),
        ('{"a":1}\n{"a":[1]}', "line 2, column 'a': a list, not a single value; leave it out with"),
        ('{"a":{"b":1}}', "line 1, column 'a': an object, not a single value; leave it out with"),
        ('{"a":1}\n{"a":1e400}', "line 2, column 'a': inf is not a finite number"),
        ('{"a":1}\n{"a":-Infinity}', "line 2, column 'a': -inf is not a finite number"),
        ('{"a":' + "[" * 100_000, "line 1: "),
        ("\n \n", "empty, no rows"),
        ("{}\n{}\n", "has no columns"),
    ],
)
def test_errors_name_the_line(text: str | bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert str(caught.value).startswith(f"t.jsonl: {problem}")


def test_a_nested_column_may_be_dropped() -> None:
    text = '{"a":1,"b":[1]}\n{"a":2,"b":{}}'
    assert by_name(read(text, ["b"])) == {"a": [1, 2], "b": [None, None]}
    assert by_name(read(text.partition("\n")[0], [1])) == {"a": [1], "b": [None]}


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)],
)
def test_packed_files(suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"t.jsonl.{suffix}"
    packed = pack(b"".join(b'{"a":%d}\n' % (number * 7919) for number in range(5000)))
    path.write_bytes(packed)
    table = read_table_file(str(path))
    assert by_name(table) == {"a": [number * 7919 for number in range(5000)]}
    path.write_bytes(packed[:-20])
    with pytest.raises(DataError, match=f"{path}: .*truncated"):
        read_table_file(str(path))
    if suffix == "zst":
        return  # written without a checksum
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=f"{path}: (damaged|line)"):
        read_table_file(str(path))


def test_nan_is_a_null() -> None:
    assert by_name(read(json.dumps({"a": math.nan}) + '\n{"a":0}')) == {"a": [None, 0]}
