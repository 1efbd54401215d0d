"""Tables in memory: pandas, polars, arrays; every type of theirs."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from table_cells import by_name, plain

from nnexp.config.schema import TableConfig
from nnexp.data import load_source
from nnexp.data.readers.frames import table_of_frame
from nnexp.data.table import Moments, Texts
from nnexp.data.tabular import source_of_table
from nnexp.errors import DataError

DAY = 86400.0


def test_pandas() -> None:
    frame = pd.DataFrame(
        {
            "int": [1, 2, 3],
            "float": [0.5, math.nan, 2],
            "bool": [True, False, True],
            "Int64": pd.array([2**53 + 1, None, 1], dtype="Int64"),
            "Float32": pd.array([1.5, None, 1], dtype="Float32"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "text": ["a ", None, "b"],
            "string": pd.array(["a", None, "b"], dtype="string"),
            "category": pd.Categorical(["low", "high", None], ["none", "low", "high"]),
            "bins": pd.cut([1, 5, 9], [0, 4, 10]),
            "codes": pd.Categorical([2.0, 1.5, 2.0]),
            "datetime": pd.to_datetime(["2020-01-02 00:00:00", None, "1970-01-01 00:00:01"]),
            "zone": pd.to_datetime(["1970-01-01", None, None]).tz_localize("Asia/Tokyo"),
            "delta": pd.to_timedelta(["1h", None, "1s"]),
            "objects": pd.Series([1, "a", None], dtype=object),
            "dates": pd.Series([dt.date(1970, 1, 2), None, pd.NaT], dtype=object),
            "flags": pd.Series([True, None, False], dtype=object),
            "numbers": pd.Series([Decimal("0.1"), pd.NA, 3], dtype=object),
            "huge": pd.Series([2**70, None, 3], dtype=object),
            "sparse": pd.arrays.SparseArray([0.0, 0.0, 5.0]),
        }
    ).set_axis([7, 8, 9])
    table = table_of_frame(frame)
    assert by_name(table) == {
        "int": [1, 2, 3],
        "float": [0.5, None, 2],
        "bool": ["True", "False", "True"],
        "Int64": ["9007199254740993", None, "1"],
        "Float32": [1.5, None, 1],
        "boolean": ["True", None, "False"],
        "text": ["a", None, "b"],
        "string": ["a", None, "b"],
        "category": ["low", "high", None],
        "bins": ["(0, 4]", "(4, 10]", "(4, 10]"],
        "codes": ["2", "1.5", "2"],
        "datetime": [18263 * DAY, None, 1],
        "zone": [-9 * 3600, None, None],
        "delta": [3600, None, 1],
        "objects": ["1", "a", None],
        "dates": [DAY, None, None],
        "flags": ["True", None, "False"],
        "numbers": [0.1, None, 3],
        "huge": ["1180591620717411303424", None, "3"],
        "sparse": [0, 0, 5],
    }
    categories = table.columns[8]
    assert isinstance(categories, Texts)
    assert categories.values == ("low", "high")  # in the order declared
    assert table.where(2, 0) == "X: row 2, column 'int'"


def test_polars() -> None:
    frame = pl.DataFrame(
        {
            "int": [1, None, 3],
            "text": ["a", None, " b"],
            "flag": [True, None, False],
            "category": pl.Series(["u", "v", None], dtype=pl.Categorical),
            "enum": pl.Series(["b", "a", None], dtype=pl.Enum(["a", "b", "c"])),
            "date": [dt.date(1970, 1, 2), None, None],
            "time": [dt.datetime(1970, 1, 1, 1), None, None],
            "span": [dt.timedelta(minutes=1), None, None],
            "money": pl.Series([Decimal("1.10"), None, None], dtype=pl.Decimal(10, 2)),
            "null": [None, None, None],
        }
    )
    table = table_of_frame(frame)
    assert by_name(table) == {
        "int": [1, None, 3],
        "text": ["a", None, "b"],
        "flag": ["True", None, "False"],
        "category": ["u", "v", None],
        "enum": ["b", "a", None],
        "date": [DAY, None, None],
        "time": [3600, None, None],
        "span": [60, None, None],
        "money": [1.1, None, None],
        "null": [None, None, None],
    }
    with pytest.raises(DataError, match=r"^X: column 'l' holds .*list.*; leave it out$"):
        table_of_frame(pl.DataFrame({"l": [[1]]}))


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2.5], [3, math.nan]],
        np.array([[1, 2.5], [3, math.nan]], np.float32),
        torch.tensor([[1, 2.5], [3, math.nan]]),
        np.array([[1, 2.5], [3, None]], object),
    ],
)
def test_arrays_go_by_number(rows: Any) -> None:
    table = table_of_frame(rows)
    assert table.names is None
    assert [plain(column) for column in table.columns] == [[1, 3], [2.5, None]]
    assert table.where(1, 0) == "X: row 1, column 0 (from 0)"


def test_structured_arrays() -> None:
    kinds = [("n", "i2"), ("s", "S2"), ("t", "M8[D]"), ("d", "m8[ms]"), ("m", "M8[ns]")]
    rows = [(1, b"ab", "1970-01-02", 500, "1970-01-01T01"), (2, b"c", "NaT", "NaT", "NaT")]
    table = table_of_frame(np.array(rows, kinds))
    assert by_name(table) == {
        "n": [1, 2],
        "s": ["ab", "c"],
        "t": [DAY, None],
        "d": [0.5, None],
        "m": [3600, None],
    }
    days, moments = table.columns[2], table.columns[4]
    assert isinstance(days, Moments)
    assert isinstance(moments, Moments)
    assert (days.has_time, moments.has_time) == (False, True)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (pl.LazyFrame({"a": [1]}), "X: a polars LazyFrame is no table; call its collect() first"),
        (pd.Series([1]), "X: a pandas Series is no table; give a table of one column"),
        ([1, 2], "X: must be [rows, columns], got [2]; a single column is x.reshape(-1, 1)"),
        ([[1, 2], [3]], "X: cannot be read as a table: setting an array element with a sequence"),
        (np.zeros((0, 2)), "X: empty, no rows"),
        (np.zeros((2, 0)), "X: has no columns"),
        ([[1.0], [math.inf]], "X: row 1, column '0': inf is not a finite number"),
        ([[1j]], "X: column '0' holds complex128; leave it out"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "X: two columns are named 'a'"),
        (pd.DataFrame({"a": [{}]}), "X: row 0, column 'a': an object, not a single value"),
        (pd.DataFrame({"a": [1, -math.inf]}), "X: row 1, column 'a': -inf is not a finite number"),
        (
            pd.DataFrame({"p": pd.period_range("2020", periods=1)}),
            "X: column 'p' holds extension<pandas.period<ArrowPeriodType>>, which is not one value",
        ),
    ],
)
def test_what_is_no_table(frame: Any, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        table_of_frame(frame)
    assert str(caught.value).startswith(problem)


def test_no_library_of_frames_is_imported() -> None:
    code = (
        "import sys, nnexp.data.readers.formats, nnexp.data.readers.frames as f; "
        "f.table_of_frame([[1, 2]]); assert not {'pandas', 'polars'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_times_of_day_are_those_of_a_file_of_text(tmp_path: Path) -> None:
    """With what comes round in a day, whatever library holds them."""
    rows = 40
    times = [dt.time(i % 24, i * 7 % 60) for i in range(rows)]
    labels = ["xy"[i % 2] for i in range(rows)]
    path = tmp_path / "t.csv"
    path.write_text(
        "at,label\n" + "".join(f"{t},{y}\n" for t, y in zip(times, labels, strict=True))
    )
    expected = load_source(TableConfig(path=str(path), target="label"))
    assert expected.feature_names == ("at seconds", "at day sin", "at day cos")
    columns = {"at": times, "label": labels}
    config = TableConfig(target="label")
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        source = source_of_table(table_of_frame(frame), config)
        assert source.feature_names == expected.feature_names
        np.testing.assert_array_equal(source.x, expected.x)
