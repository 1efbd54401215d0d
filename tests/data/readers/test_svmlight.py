"""SVMlight and LIBSVM: what scikit-learn writes and reads; errors by line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file
from table_cells import by_name

from nnexp.data.readers.svmlight import read_svmlight
from nnexp.errors import DataError


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(
                st.just(0.0) | st.floats(-1e9, 1e9, allow_subnormal=False),
                min_size=width,
                max_size=width,
            ),
            min_size=1,
            max_size=6,
        )
    ),
    st.booleans(),
)
def test_what_scikit_learn_writes(rows: list[list[float]], zero_based: bool) -> None:
    x = np.array(rows)
    x[0, 0] = x[0, -1] = 1  # so that the first and the last feature occur
    y = np.arange(len(x)) % 2
    file = io.BytesIO()
    dump_svmlight_file(x, y, file, zero_based=zero_based)
    table = read_svmlight(file.getvalue(), "t.svm")
    first = 0 if zero_based else 1
    expected = {"label": y.tolist()}
    for column in range(x.shape[1]):
        written = [float(f"{value:.16g}") for value in x[:, column]]
        expected[str(first + column)] = written
    assert by_name(table) == expected


def test_comments_lines_and_dropped_features() -> None:
    content = b"# head\n+1 1:0.5 3:2 # a row\n\n-1 qid:2 2:1e3\n"
    table = read_svmlight(content, "t.svm")
    assert by_name(table) == {"label": [1, -1], "1": [0.5, 0], "2": [0, 1000], "3": [2, 0]}
    assert table.where(1, 2) == "t.svm: line 4, column '2'"
    assert table.notes == ("qid, the query that a row belongs to, is no column",)
    assert by_name(read_svmlight(content, "t.svm", ["3", "label"])) == {
        "label": [None, None],
        "1": [0.5, 0],
        "2": [0, 1000],
        "3": [None, None],
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"1 1:2\n1,2 1:2\n", "line 2: '1,2': several labels a row, where a class is one"),
        (b"1 1:2\nyes 1:2\n", "line 2: the label 'yes' is not a number"),
        (b"1 1:2\n\n0 1:x\n", "line 3: '1:x' is no feature, as 3:0.5 is"),
        (b"1 2:2 1:1\n", "line 1: feature 1 follows feature 2; their numbers must grow"),
        (b"1 1:1 1:1\n", "line 1: feature 1 follows feature 1; their numbers must grow"),
        (b"1 -1:2\n", "line 1: '-1:2' is no feature"),
        (b"1 1:2\n0 1:inf\n", "line 2, column '1': inf is not a finite number"),
        (b"# nothing\n", "empty, no rows"),
        (b"1 2000000000:1\n" * 20, "20 rows of 2000000001 features, dense, would take 320.0 GB"),
    ],
)
def test_errors_name_the_line(content: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read_svmlight(content, "t.svm")
    assert str(caught.value).startswith(f"t.svm: {problem}")
