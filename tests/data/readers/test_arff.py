"""ARFF: as scipy reads it, and what it does not: text, quotes, sparse rows; errors by line."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from scipy.io import arff as scipy_arff
from table_cells import by_name, plain

from nnexp.data.readers.arff import read_arff
from nnexp.data.table import Moments, Table, Texts
from nnexp.errors import DataError

HEAD = "@relation r\n@attribute n numeric\n@attribute c {x, y, z}\n@data\n"


def read(text: str, drop: list[Any] | None = None) -> Table:
    return read_arff(text.encode(), "t.arff", drop or [])


def test_as_scipy_reads_it() -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"{a:.17g},{'?' if b < 0 else f'{b:.6g}'},{'big' if c else 'small'}"
        for a, b, c in zip(
            rng.normal(size=50), rng.normal(size=50), rng.integers(0, 2, 50), strict=True
        )
    ]
    head = "% a comment\n@RELATION r\n\n@ATTRIBUTE a REAL\n@attribute b integer\n"
    text = f"{head}@attribute size {{small, big}}\n@DATA\n" + "\n".join(lines)
    rows, _ = scipy_arff.loadarff(io.StringIO(text))
    found = by_name(read(text))
    assert found["a"] == rows["a"].tolist()
    assert found["b"] == [None if np.isnan(b) else b for b in rows["b"].tolist()]
    assert found["size"] == [size.decode() for size in rows["size"].tolist()]


def test_quotes_text_and_dates() -> None:
    table = read(
        "@relation 'a relation'\n"
        "@attribute 'two words' {'in use', unused, \"b, c\"}\n"
        "@attribute free string\n"
        '@attribute day date "yyyy-MM-dd"\n'
        "@attribute at date\n"
        "@data\n"
        "'b, c' , 'it\\'s' , 1970-01-02, 1970-01-01T00:00:01\n"
        "% between rows\n"
        '"in use", "say \\"hi\\"", "1970-01-03", ?\n'
        "?, ?, ?, '1970-01-01T01:00:00'\n"
        "'in use', plain words, ?, ?, {5}\n"
    )
    assert by_name(table) == {
        "two words": ["b, c", "in use", None, "in use"],
        "free": ["it's", 'say "hi"', None, "plain words"],
        "day": [86400, 172800, None, None],
        "at": [1, None, 3600, None],
    }
    declared, _, day, at = table.columns
    assert isinstance(declared, Texts)
    assert declared.values == ("in use", "b, c")  # in the order declared
    assert isinstance(day, Moments)
    assert isinstance(at, Moments)
    assert (day.has_time, at.has_time) == (False, True)
    assert table.where(1, 0) == "t.arff: line 9, column 'two words'"


def test_sparse_rows() -> None:
    table = read(HEAD + "{}\n{0 2.5}\n{ 1 'z' }\n{0 ?, 1 y}\n3,z\n")
    assert by_name(table) == {
        "n": [0, 2.5, 0, None, 3],
        "c": ["x", "x", "z", "y", "z"],
    }


def test_latin_1_and_dropped_columns() -> None:
    text = "@relation r\n@attribute é string\n@attribute n numeric\n@data\nü,no number\n"
    table = read_arff(text.encode("latin-1"), "t.arff", [1])
    assert by_name(table) == {"é": ["ü"], "n": [None]}
    assert plain(read(text.replace("no number", "5")).columns[1]) == [5]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "1,x\n2\n", "line 6: has 1 cell, but 2 attributes are declared"),
        (HEAD + "1,x\n\n2,w\n", "line 7, column 'c': 'w' is none of the declared 'x', 'y', 'z'"),
        (HEAD + "one,x\n", "line 5, column 'n': 'one' is not a number"),
        (HEAD + "inf,x\n", "line 5, column 'n': 'inf' is not a number"),
        (HEAD + "1,'x\n", "line 5: a cell goes on after its quote, or its quote is never closed"),
        (HEAD + "1,'x'y\n", "line 5: a cell goes on after its quote"),
        (HEAD + "{2 1}\n", "line 5: '2 1' is no cell of a sparse row, which is the number of an"),
        (HEAD + "{0 1\n", "line 5: a sparse row ends without a brace"),
        (HEAD, "empty, no rows"),
        ("@relation r\n@data\n", "has no columns"),
        ("@relation r\n@attribute a numeric\n", "has no @data, so it is no whole ARFF file"),
        ("@relation r\n@attribute a\n@data\n", "line 2: @attribute a: an attribute has a name and"),
        ("@relation r\n@attribute a {b\n@data\n", "line 2: the values of 'a' end without a brace"),
        ("@relation r\n@attribute a relational\n", "line 2: 'a' is relational, which is none of"),
        ("@relation r\n@attribute a date 'yyyy w'\n", "line 2: 'w' of the date format 'yyyy w' is"),
        ("@relation r\nbad\n", "line 2: bad is none of @relation, @attribute and @data"),
        (
            "@relation r\n@attribute d date yyyy\n@data\n20\n",
            "line 4, column 'd': '20' is no date as declared",
        ),
        (
            "@relation r\n@attribute d numeric\n@attribute d numeric\n@data\n1,2\n",
            "two columns are named 'd'",
        ),
    ],
)
def test_errors_name_the_line(text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert str(caught.value).startswith(f"t.arff: {problem}")
