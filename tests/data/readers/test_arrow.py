"""Parquet, Feather and Arrow streams: what pyarrow, pandas and polars write comes back."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_cells import by_name, plain

from nnexp.data.readers.formats import read_table_file
from nnexp.data.readers.frames import table_of_frame
from nnexp.data.table import Moments, Texts
from nnexp.errors import ConfigError, DataError

DAY = 86400.0
TABLE = pa.table(
    {
        "whole": pa.array([1, None, 2**53], pa.int64()),
        "large": pa.array([2**53 + 1, None, -3], pa.int64()),
        "unsigned": pa.array([7, 2**64 - 1, None], pa.uint64()),
        "half": pa.array([0.5, None, math.nan], pa.float16()),
        "single": pa.array([0.1, None, 3], pa.float32()),
        "price": pa.array([Decimal("-0.01"), None, Decimal("12.30")], pa.decimal128(10, 2)),
        "wide": pa.array([Decimal("0.0000001"), None, Decimal(5)], pa.decimal128(38, 10)),
        "exact": pa.array([Decimal("1.50"), None, Decimal("1234567890123456.75")]),
        "flag": pa.array([True, None, False]),
        "text": pa.array([" a", "b", None]),
        "long": pa.array(["b", None, " b"], pa.large_string()),
        "view": pa.array(["x", None, ""], pa.string_view()),
        "bytes": pa.array([b"u", None, b"v"]),
        "colour": pa.array(["red", "blue", "red"]).dictionary_encode(),
        "day": pa.array([dt.date(2020, 1, 2), None, dt.date(1969, 12, 31)]),
        "midnight": pa.array([dt.datetime(2020, 1, 2), None, dt.datetime(1970, 1, 1)]),
        "moment": pa.array([dt.datetime(1970, 1, 1, 1), None, None], pa.timestamp("ns")),
        "zone": pa.array([dt.datetime(1970, 1, 1), None, None], pa.timestamp("s", "Asia/Tokyo")),
        "span": pa.array([dt.timedelta(hours=1), None, dt.timedelta(0, 0.5)]),
        "clock": pa.array([dt.time(1), None, dt.time(0, 0, 2, 500_000)], pa.time64("us")),
        "nothing": pa.nulls(3),
    }
)
CELLS: dict[str, list[Any]] = {
    "whole": [1, None, 2**53],
    "large": ["9007199254740993", None, "-3"],
    "unsigned": ["7", "18446744073709551615", None],
    "half": [0.5, None, None],
    "single": [float(np.float32(0.1)), None, 3],
    "price": [-0.01, None, 12.3],
    "wide": [1e-7, None, 5],
    "exact": ["1.5", None, "1234567890123456.75"],
    "flag": ["True", None, "False"],
    "text": ["a", "b", None],
    "long": ["b", None, "b"],
    "view": ["x", None, ""],
    "bytes": ["u", None, "v"],
    "colour": ["red", "blue", "red"],
    "day": [18263 * DAY, None, -DAY],
    "midnight": [18263 * DAY, None, 0],
    "moment": [3600, None, None],
    "zone": [0, None, None],
    "span": [3600, None, 0.5],
    "clock": ["01:00:00", None, "00:00:02.5"],
    "nothing": [None, None, None],
}


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "parquet": lambda table, path: pq.write_table(table, path, row_group_size=2),
    "feather": lambda table, path: feather.write_feather(table, str(path), chunksize=2),
    "arrows": write_stream,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_type(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table.{suffix}"
    WRITERS[suffix](TABLE, path)
    table = read_table_file(str(path))
    assert by_name(table) == CELLS
    assert table.names == tuple(CELLS)
    assert table.where(2, 0) == f"{path}: row 2, column 'whole'"
    assert (
        table.notes == ("column 'span' is a duration (duration[us]), read as a number of seconds",)
        or suffix == "parquet"
    )  # which has no seconds but milliseconds
    kinds = {name: table.columns[number] for number, name in enumerate(CELLS)}
    times = [kinds[name] for name in ("day", "midnight", "moment", "zone")]
    assert [isinstance(t, Moments) and t.has_time for t in times] == [False, False, True, True]


def test_every_type_of_a_frame() -> None:
    assert by_name(table_of_frame(TABLE)) == CELLS
    whole = table_of_frame(TABLE.to_batches()[0], "frame")
    assert by_name(whole) == CELLS
    assert whole.where(1, 0) == "frame: row 1, column 'whole'"


def test_a_dictionary_is_not_expanded_and_keeps_its_order(tmp_path: Path) -> None:
    declared = pa.DictionaryArray.from_arrays(pa.array([2, 0, None]), pa.array(["c", "b", "a"]))
    other = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["z", "c"]))
    column = pa.chunked_array([declared, other])
    for path in (tmp_path / "t.parquet", tmp_path / "t.arrow"):
        if path.suffix == ".parquet":
            pq.write_table(pa.table({"x": column}), path)
        else:
            with (
                pa.OSFile(str(path), "wb") as file,
                pa.ipc.new_stream(file, pa.schema([("x", column.type)])) as stream,
            ):
                for chunk in column.chunks:
                    stream.write_batch(pa.record_batch({"x": chunk}))
        cells = read_table_file(str(path)).columns[0]
        assert plain(cells) == ["a", "c", None, "z", "c"]
        assert isinstance(cells, Texts)
        assert set(cells.values) == {"a", "c", "z"}
    numbers = pa.array([2.5, None, 1]).dictionary_encode()
    assert plain(table_of_frame(pa.table({"x": numbers})).columns[0]) == ["2.5", None, "1"]


CELL = st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(2**53), 2**53))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(CELL, st.none() | st.text("ab c", max_size=3), st.none() | st.booleans()),
        min_size=1,
        max_size=9,
    )
)
def test_generated_tables_come_back(rows: list[tuple[Any, Any, Any]]) -> None:
    numbers, texts, flags = (list(column) for column in zip(*rows, strict=True))
    floats = [None if n is None else float(n) for n in numbers]
    written = pa.table(
        {
            "n": pa.array(floats, pa.float64()),
            "t": pa.array(texts, pa.string()),
            "f": pa.array(flags, pa.bool_()),
        }
    )
    expected = {
        "n": [None if n is None or math.isnan(n) else n for n in floats],
        "t": [None if t is None else t.strip() for t in texts],
        "f": [None if f is None else str(f) for f in flags],
    }
    with tempfile.TemporaryDirectory() as folder:
        for suffix, write in WRITERS.items():
            path = Path(folder) / f"t.{suffix}"
            write(written, path)
            assert by_name(read_table_file(str(path))) == expected


# ── columns that are left out or refused ──────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_nested_column_is_refused_unless_it_is_dropped(suffix: str, tmp_path: Path) -> None:
    nested = pa.table({"a": [1, 2], "tags": [["x"], []], "a.b": [3, 4]})
    path = tmp_path / f"t.{suffix}"
    WRITERS[suffix](nested, path)
    with pytest.raises(DataError) as caught:
        read_table_file(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: column 'tags' holds list<")
    assert message.endswith("which is not one value a row; leave it out with dataset.drop")
    for reference in ("tags", 1, -2):
        table = read_table_file(str(path), drop=[reference])
        assert by_name(table) == {"a": [1, 2], "tags": [None, None], "a.b": [3, 4]}
    with pytest.raises(ConfigError, match=r"dataset.drop=tag: .*did you mean 'tags'"):
        read_table_file(str(path), drop=["tag"])


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pa.array([{"a": 1}]), "column 'x' holds struct<a: int64>, which is not one value a row"),
        (pa.array([b"\xff"]), "column 'x' holds binary that is not UTF-8 text; leave it out"),
        (pa.array([math.inf]), "row 0, column 'x': inf is not a finite number"),
        (pa.array([1]).slice(1), "empty, no rows"),
    ],
)
def test_columns_that_cannot_be_read(column: pa.Array, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": column}), path)
    with pytest.raises(DataError) as caught:
        read_table_file(str(path))
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize("suffix", WRITERS)
def test_names_and_damage(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{suffix}"
    WRITERS[suffix](pa.table([[1], [2]], names=["x", "x"]), path)
    with pytest.raises(DataError, match=r"t\..*: two columns are named 'x'"):
        read_table_file(str(path))
    WRITERS[suffix](pa.table({"x": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"t\..*: damaged (Parquet|Arrow) file, ") as caught:
        read_table_file(str(path))
    assert "\n" not in str(caught.value)


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 6])
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table_file(str(tmp_path / "t.parquet"))
    assert by_name(table) == {"a": [1, 2]}
    assert table.notes == ("the index that pandas has written along is no column",)
    frame.rename_axis("id").to_parquet(tmp_path / "t.parquet")
    assert by_name(read_table_file(str(tmp_path / "t.parquet"))) == {"a": [1, 2], "id": [5, 6]}
