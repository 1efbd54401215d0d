"""One table in files of every format becomes the same data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from nnexp.config.schema import TableConfig
from nnexp.data import Source, load_source
from nnexp.errors import ConfigError, DataError

ROWS = 40


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": [None if i % 9 == 4 else i % 13 / 4 for i in range(ROWS)],
            "colour": [("red", "green", "blue")[i % 3] for i in range(ROWS)],
            "count": [i % 11 for i in range(ROWS)],
            "day": pd.to_datetime([f"2024-01-{1 + i % 28:02}" for i in range(ROWS)]),
            "label": [f"class {i % 2}" for i in range(ROWS)],
        }
    )


def write(path: Path, rows: pd.DataFrame) -> None:
    days = rows.assign(day=rows["day"].dt.strftime("%Y-%m-%d"))
    table = pa.Table.from_pandas(rows, preserve_index=False)
    match path.suffix:
        case ".csv":
            days.to_csv(path, index=False)
        case ".tsv":
            days.to_csv(path, index=False, sep="\t")
        case ".parquet":
            pyarrow.parquet.write_table(table, path)
        case ".feather":
            pyarrow.feather.write_feather(table, path)
        case ".jsonl":
            objects = [row.dropna().to_json() for _, row in days.iterrows()]
            path.write_text("\n".join(objects), encoding="utf-8")
        case ".arff":
            lines = ["@relation t", "@attribute size numeric"]
            lines += ["@attribute colour {red,green,blue}", "@attribute count numeric"]
            lines += ['@attribute day date "yyyy-MM-dd"', "@attribute label string", "@data"]
            cells = days.astype(object).where(days.notna(), "?")
            lines += [
                f"{a},{b},{c},\"{d}\",'{e}'" for a, b, c, d, e in cells.itertuples(index=False)
            ]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path, **options: Any) -> Source:
    return load_source(TableConfig(path=str(path), target="label", **options))


FORMATS = (".csv", ".tsv", ".parquet", ".feather", ".jsonl", ".arff")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_source(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "t.csv", frame())
    write(tmp_path / f"t{suffix}", frame())
    source, expected = read(tmp_path / f"t{suffix}"), read(tmp_path / "t.csv")
    assert source.feature_names == expected.feature_names
    assert source.class_names == ("class 0", "class 1")
    np.testing.assert_array_equal(source.x, expected.x)
    np.testing.assert_array_equal(source.y, expected.y)
    assert source.fingerprint == expected.fingerprint
    assert [f.role for f in source.card.findings] == [f.role for f in expected.card.findings]  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_test_rows(tmp_path: Path, suffix: str) -> None:
    """Its columns may stand in another order where they have names."""
    rows = frame()
    write(tmp_path / f"t{suffix}", rows[:30])
    last = (
        rows[30:] if suffix == ".arff" else rows[30:][["label", "day", "count", "colour", "size"]]
    )
    write(tmp_path / f"test{suffix}", last)
    source = read(tmp_path / f"t{suffix}", test_path=str(tmp_path / f"test{suffix}"))
    write(tmp_path / "whole.csv", rows)
    whole = read(tmp_path / "whole.csv")
    np.testing.assert_array_equal(source.x, whole.x)
    assert source.test is not None
    assert source.test.tolist() == list(range(30, 40))


def test_a_column_that_is_left_out_may_hold_anything(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    nested = pa.array([[1, 2]] * ROWS)
    pyarrow.parquet.write_table(table.append_column("nested", nested), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'nested'"):
        read(tmp_path / "t.parquet")
    for options in ({"drop": ["nested"]}, {"columns": {"nested": "drop"}}):
        assert read(tmp_path / "t.parquet", **options).x.shape == (ROWS, 8)


def test_what_does_not_go_together(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", frame())
    write(tmp_path / "t.csv", frame())
    with pytest.raises(ConfigError, match=r"^dataset.separator=;: goes with separated text, and"):
        read(tmp_path / "t.parquet", separator=";")
    with pytest.raises(DataError, match=r"is separated, but .* is parquet"):
        read(tmp_path / "t.parquet", test_path=str(tmp_path / "t.csv"))
    with pytest.raises(DataError, match=r"is parquet, but .* is separated"):
        read(tmp_path / "t.csv", test_path=str(tmp_path / "t.parquet"))
