"""What the columns of a table are taken for: kinds of columns, each with the nearest other kind."""

from __future__ import annotations

import datetime
import itertools
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from nnexp.config.schema import TableConfig
from nnexp.data import Source, load, load_source, roles
from nnexp.data.roles import Options
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError

ROWS = 60


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write columns and a label beside them, and read them as a source."""

    def write_and_read(separator: str = ",", **columns: Any) -> Source:
        options = columns.pop("options", {})
        columns.setdefault("noise", [f"{(7 * i % 31) / 8}" for i in range(ROWS)])
        columns["label"] = ["xy"[i % 2] for i in range(ROWS)]
        rows = zip(*columns.values(), strict=True)
        path = tmp_path / "table.csv"
        lines = [separator.join(columns), *(separator.join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        source = load_source(TableConfig(path=str(path), target="label", **options))
        for level, text in source.notices:
            logging.getLogger("notices").log(level, text)
        return source

    return write_and_read


def role_of(source: Source, name: str) -> str:
    assert source.card is not None
    return next(finding.role for finding in source.card.findings if finding.name == name)


def feature(source: Source, name: str) -> list[float]:
    values: list[float] = source.x[:, source.feature_names.index(name)].tolist()
    return values


# ── numbers ───────────────────────────────────────────────────────────────────────────────────


def test_numbers_in_other_dress(read: Any) -> None:
    share = [f"{i % 37 + 0.5} %" for i in range(ROWS)]
    price = [f"${i % 41 * 100}" for i in range(ROWS)]
    source = read(share=share, price=price)
    assert source.feature_names == ("share", "price", "noise")
    assert feature(source, "share")[:3] == [0.5, 1.5, 2.5]
    assert feature(source, "price")[:3] == [0, 100, 200]


def test_a_decimal_comma_in_one_column_speaks_for_all(read: Any) -> None:
    source = read(
        separator=";",
        a=[f"{i % 29},5" for i in range(ROWS)],
        b=[f"{1 + i % 23},{100 + i}" for i in range(ROWS)],
        noise=[f"0,{i % 17}" for i in range(ROWS)],
    )
    assert feature(source, "b")[:2] == [1.100, 2.101]


def test_a_comma_that_may_be_either_is_asked_about(read: Any) -> None:
    columns: Any = {
        "separator": ";",
        "b": [f"{1 + i % 23},{100 + i}" for i in range(ROWS)],
        "noise": [i % 7 for i in range(ROWS)],
    }
    with pytest.raises(DataError) as caught:
        read(**columns)
    message = str(caught.value)
    assert "line 2, column 'b': '1,100' may have a decimal comma" in message
    assert feature(read(**columns, options={"decimal": ","}), "b")[0] == 1.1
    assert feature(read(**columns, options={"thousands": ","}), "b")[0] == 1100


def test_a_point_between_thousands(read: Any) -> None:
    price = [f"{i % 37},{10 + i}" for i in range(ROWS)]
    grouped = [f"{10 + i}.{100 + i}" if i % 5 else str(500 + i) for i in range(ROWS)]
    source = read(separator=";", price=price, people=grouped, noise=[i % 7 for i in range(ROWS)])
    assert feature(source, "people")[:2] == [500, 11_101]
    with pytest.raises(DataError, match=r"'11.101' may have a decimal point or a point between"):
        read(separator=";", people=grouped, noise=[i % 7 for i in range(ROWS)])
    declared = read(
        people=[*grouped[1:], "11.101"],
        noise=[i % 7 for i in range(ROWS)],
        options={"thousands": "."},
    )
    assert feature(declared, "people")[0] == 11_101
    assert feature(read(people=grouped), "people")[1] == 11.101  # an English file


@pytest.mark.parametrize("text", ["-9999,0", "\u22129999", "-9999 kg"])
def test_a_declared_number_matches_in_any_dress(read: Any, text: str, caplog: Any) -> None:
    unit = " kg" if "kg" in text else ""
    rest = ",5" if text.endswith(",0") else ""
    values = [text if i % 6 == 0 else f"{i % 13}{rest}{unit}" for i in range(ROWS)]
    with caplog.at_level(logging.WARNING):
        source = read(separator="\t", v=values, options={"missing": [-9999]})
    assert np.isnan(feature(source, "v")).sum() == 10
    assert "no cell is" not in caplog.text


def test_an_empty_cell_is_missing_whatever_is_declared(read: Any) -> None:
    source = read(
        v=["" if i % 6 == 0 else f"{i % 13}" for i in range(ROWS)], options={"missing": [-1]}
    )
    assert np.isnan(feature(source, "v")).sum() == 10


def test_one_number_beside_missing_words(read: Any) -> None:
    source = read(v=["NA" if i % 3 else "1" for i in range(ROWS)])
    assert role_of(source, "v") == "categorical"
    assert role_of(read(v=["NA" if i % 3 else "-" for i in range(ROWS)]), "v") == "empty"


def test_whole_numbers_too_long_for_floats(read: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        source = read(v=[10**18 + i * i for i in range(ROWS)])
    assert source.feature_names == ("noise",)
    assert "whole numbers of 19 digits, which floats do not tell apart" in caplog.text


@pytest.mark.parametrize("word", ["NA", "n/a", "-", ".", "null", "#N/A", "nan"])
def test_a_word_for_no_value_however_often(read: Any, word: str, caplog: Any) -> None:
    values = [word if i % 5 else f"{i % 13 / 4}" for i in range(ROWS)]
    with caplog.at_level(logging.WARNING):
        source = read(v=values)
    assert role_of(source, "v") == "numeric"
    assert np.isnan(feature(source, "v")).sum() == ROWS * 4 // 5
    assert f"'{word}' beside numbers: taken for missing values" in caplog.text


def test_a_word_that_says_something_is_asked_about(read: Any) -> None:
    with pytest.raises(DataError, match="'high' is not a number, but 50 cells of the column are"):
        read(v=["high" if i % 6 == 0 else f"{i % 13 / 4}" for i in range(ROWS)])
    # Fewer numbers than texts, but far too many of them to be categories.
    with pytest.raises(DataError, match="'high' is not a number, but 25 cells"):
        read(v=[f"{i / 4}" if i < 25 else "high" for i in range(ROWS)])


def test_a_few_numbers_beside_texts_are_categories(read: Any) -> None:
    source = read(v=[("1", "2", "many", "most", "all")[i % 5] for i in range(ROWS)])
    assert role_of(source, "v") == "categorical"


def test_units_that_differ_are_asked_about(read: Any) -> None:
    with pytest.raises(DataError, match="is not a number"):
        read(v=[f"{i} kg" if i % 2 else f"{i * 1000} g" for i in range(ROWS)])


def test_what_is_declared_missing_matches_by_value(read: Any, caplog: Any) -> None:
    values = ["-9999.0" if i % 6 == 0 else f"{i % 13}" for i in range(ROWS)]
    with caplog.at_level(logging.WARNING):
        source = read(v=values, options={"missing": [-9999, "none such", None]})
    assert np.isnan(feature(source, "v")).sum() == 10
    assert "no cell is 'none such'" in caplog.text
    assert "no cell is null" in caplog.text
    assert "-9999" not in caplog.text


def test_an_indicator_says_where_a_number_was_missing(read: Any) -> None:
    values = ["" if i % 6 == 0 else f"{i % 13}" for i in range(ROWS)]
    source = read(v=values, options={"missing_indicator": True})
    assert source.feature_names == ("v", "v missing", "noise")
    assert feature(source, "v missing")[:7] == [1, 0, 0, 0, 0, 0, 1]


# ── dates ─────────────────────────────────────────────────────────────────────────────────────


def test_dates_become_days(read: Any) -> None:
    source = read(day=[f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(ROWS)])
    assert source.feature_names == ("day days", "day week sin", "day week cos", "noise")
    assert feature(source, "day days")[:2] == [0, 32]
    left_out = read(
        day=[f"2024-{1 + i % 12:02}-01" for i in range(ROWS)], options={"dates": "drop"}
    )
    assert left_out.feature_names == ("noise",)


def test_digits_that_are_dates(read: Any) -> None:
    source = read(day=[f"2024{1 + i % 12:02}{1 + i % 28:02}" for i in range(ROWS)])
    assert role_of(source, "day") == "date"
    assert role_of(read(day=[20240199 + i % 7 for i in range(ROWS)]), "day") == "numeric"


def test_day_and_month_are_asked_about(read: Any) -> None:
    columns: Any = {"day": [f"{1 + i % 12}/{1 + i % 11}/2024" for i in range(ROWS)]}
    with pytest.raises(DataError, match=r"may begin with the day or with the month.*day_first"):
        read(**columns)
    assert feature(read(**columns, options={"day_first": False}), "day days")[1] == 32


def test_a_number_that_is_no_date_among_digits_that_are(read: Any) -> None:
    days = [f"2024{1 + i % 12:02}{1 + i % 28:02}" for i in range(ROWS)]
    with pytest.raises(DataError, match="'99991231' is no date, but"):
        read(day=["99991231", *days[1:]])
    with pytest.raises(DataError, match="'9999-12-31' is too far from other dates"):
        read(day=["9999-12-31", *(f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in days[1:])])


def test_dates_in_two_styles_are_asked_about(read: Any) -> None:
    days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(ROWS)]
    mixed = [f"{d[8:]}.{d[5:7]}.{d[:4]}" if i % 2 else d for i, d in enumerate(days)]
    with pytest.raises(DataError, match=r"'02.01.2024' and '2024-01-01' are dates in two styles"):
        read(day=mixed)


def test_a_text_among_dates_is_asked_about(read: Any) -> None:
    days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(ROWS)]
    with pytest.raises(DataError, match="'later' is no date, but 59 values of the column are"):
        read(day=["later", *days[1:]])


# ── rows that are named or counted ────────────────────────────────────────────────────────────


def test_a_column_that_counts_the_rows_in_whatever_order(read: Any, caplog: Any) -> None:
    places = list(range(ROWS))
    random.Random(0).shuffle(places)
    with caplog.at_level(logging.WARNING):
        source = read(place=places)
    assert role_of(source, "place") == "identifier"
    assert source.feature_names == ("noise",)
    assert "column 'place': it counts the rows; left out" in caplog.text
    kept = read(place=places, options={"columns": {"place": "numeric"}})
    assert kept.feature_names == ("place", "noise")


def test_whole_numbers_that_repeat_or_are_spread_are_numbers(read: Any) -> None:
    assert role_of(read(v=[i // 2 for i in range(ROWS)]), "v") == "numeric"
    assert role_of(read(v=[i * i for i in range(ROWS)]), "v") == "numeric"
    assert role_of(read(v=[i / 2 for i in range(ROWS)]), "v") == "numeric"


def test_years_and_indices_of_health_are_numbers(read: Any) -> None:
    assert role_of(read(year=[1950 + i for i in range(ROWS)]), "year") == "numeric"
    assert role_of(
        read(**{"Body Mass Index": [i * i for i in range(ROWS)]}), "Body Mass Index"
    ) == ("numeric")


def test_names_of_rows(read: Any) -> None:
    assert role_of(read(patient_id=[i * i for i in range(ROWS)]), "patient_id") == "identifier"
    assert role_of(read(who=[f"p{i * i}" for i in range(ROWS)]), "who") == "identifier"
    said = [f"said {i} words about it" for i in range(ROWS)]
    assert role_of(read(said=said), "said") == "text"
    assert role_of(read(town=[f"town {i % 12}" for i in range(ROWS)]), "town") == "categorical"


def test_a_counter_is_kept_where_there_is_nothing_else(read: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        source = read(noise=list(range(ROWS)))
    assert source.feature_names == ("noise",)
    assert "it counts the rows; kept, since no other column is left" in caplog.text


def test_one_value_says_nothing(read: Any) -> None:
    source = read(a=["1.5"] * ROWS, b=["same"] * ROWS)
    assert source.feature_names == ("noise",)
    assert (role_of(source, "a"), role_of(source, "b")) == ("constant", "constant")


# ── names and references ──────────────────────────────────────────────────────────────────────


def test_names_that_come_twice(read: Any, tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "twice.csv"
    path.write_text(
        "a,a,b,label\n" + "".join(f"{i / 4},{i / 8},2.{i % 7},{i % 2}\n" for i in range(8))
    )
    with caplog.at_level(logging.WARNING):
        dataset = load(TableConfig(path=str(path), target="label"))
    assert dataset.feature_names == ("a", "a.1", "b")
    assert "a second column 'a' is called 'a.1' here" in caplog.text


@pytest.mark.parametrize("target", [True, "True", "true", "TRUE"])
def test_references_match_by_value(tmp_path: Path, target: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,true\n" + "".join(f"{i / 4},{'xy'[i % 2]}\n" for i in range(8)))
    assert load_source(TableConfig(path=str(path), target=target)).class_names == ("x", "y")


def test_groups_stay_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    with path.open("w") as file:
        file.write("patient,a,label\n")
        for patient in range(50):
            for _ in range(int(draw.integers(1, 9))):
                file.write(f"p{patient},{draw.normal():.3f},{'xyz'[patient % 3]}\n")
    for seed in range(5):
        config = TableConfig(path=str(path), target="label", group="patient", split_seed=seed)
        source = load_source(config)
        assert source.feature_names == ("a",)
        assert source.groups is not None
        dataset = load(config)
        parts = [source.groups[rows.numpy()] for rows in (dataset.train, dataset.val, dataset.test)]
        assert sum(map(len, parts)) == len(source.y)
        assert sum(len(np.unique(part)) for part in parts) == 50
        assert set(dataset.y[dataset.train].tolist()) == {0, 1, 2}
        shares = np.array([len(part) for part in parts]) / len(source.y)
        np.testing.assert_allclose(shares, [0.65, 0.15, 0.2], atol=0.05)


def test_copies_across_the_split_are_told(read: Any, caplog: Any) -> None:
    draw = random.Random(0)
    copied = [f"{draw.random():.6f}" for _ in range(ROWS // 2)] * 2
    path_options = {"test_fraction": 0.4}
    with caplog.at_level(logging.WARNING):
        source = read(noise=copied)
        load(TableConfig(path=source.card.path, target="label", **path_options))
    assert "test rows are copies of training rows, label and all" in caplog.text


def test_coarse_rows_that_are_equal_by_chance_are_not(read: Any, caplog: Any) -> None:
    draw = random.Random(0)
    with caplog.at_level(logging.WARNING):
        source = read(noise=[draw.randrange(3) / 4 for _ in range(ROWS)])
        load(TableConfig(path=source.card.path, target="label", test_fraction=0.4))
    assert "copies" not in caplog.text


def test_numbers_that_float32_cannot_tell_apart(read: Any) -> None:
    stamps = [1_700_000_000 + 7 * (i * i % 97) for i in range(ROWS)]
    source = read(stamp=stamps)
    path = source.card.path
    with pytest.raises(DataError, match=r"column 'stamp' holds \d+ different numbers, of which 6"):
        load(TableConfig(path=path, target="label", scaling="none"))
    scaled = load(TableConfig(path=path, target="label")).x[:, 0]
    assert len(scaled.unique()) == len(set(stamps))


# ── one value in several spellings ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value"),
    [('"=""{}"""', 1), ("{}.50-", -1), ("{}.-", 1), ('"{},-"', 1)],
    ids=["a spreadsheet", "SAP", "no cents", "no cents, with a comma"],
)
def test_numbers_as_other_programs_write_them(read: Any, text: str, value: int) -> None:
    source = read(v=[text.format(10 + i % 29) for i in range(ROWS)])
    cents = 0.5 if ".50" in text else 0
    assert feature(source, "v")[:3] == [value * (10 + i + cents) for i in range(3)]


def test_codes_that_begin_with_zeros_are_told(read: Any, caplog: Any) -> None:
    source = read(
        place=["02139", "94103", "10001", "07030", "60601"] * (ROWS // 5),
        month=["01", "02", "11", "12"] * (ROWS // 4),
    )
    assert feature(source, "place")[0] == 2139
    (told,) = [text for text in caplog.messages if "begins with a zero" in text]
    assert told.endswith(
        "column 'place': '02139' begins with a zero: taken for a number; if it is a code, "
        "'dataset.columns={place:categorical}'"
    )


def test_two_units_are_both_named(read: Any) -> None:
    with pytest.raises(DataError, match="its unit is lb, other cells are in kg: convert them"):
        read(w=[f"{10 + i % 31} {'lb' if i == 7 else 'kg'}" for i in range(ROWS)])


def test_day_first_against_the_dates_of_a_column(read: Any, caplog: Any) -> None:
    days = [f"{13 + i % 15}/{1 + i % 12}/2024" for i in range(ROWS)]
    source = read(day=days, options={"day_first": False})
    assert feature(source, "day days")[0] == 0  # the 13th of January is the first
    assert (
        "column 'day': '13/1/2024' does not fit dataset.day_first=false: the dates of this column "
        "are read with the day first"
    ) in caplog.text
    caplog.clear()
    read(day=days, options={"day_first": True})
    assert "does not fit" not in caplog.text


def test_labels_that_are_one_number_are_one_class(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    labels = ["1", "1.0", "2", "02", "10"]
    path.write_text("a,label\n" + "".join(f"{i / 8},{labels[i % 5]}\n" for i in range(ROWS)))
    source = load_source(TableConfig(path=str(path), target="label"))
    assert source.class_names == ("1", "2", "10")
    assert source.y[:5].tolist() == [0, 0, 1, 1, 2]
    told = [text for level, text in source.notices if level == logging.WARNING]
    assert [text.partition(": ")[2] for text in told] == [
        "'1.0' and '1' are one number, and one class",
        "'02' and '2' are one number, and one class",
    ]


def test_a_group_that_looks_missing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    who = ["NA", "u", "v"]
    rows = "".join(f"{who[i % 3]},{i * 7 % 31 / 8},{i % 2}\n" for i in range(ROWS))
    path.write_text("who,a,label\n" + rows)
    source = load_source(TableConfig(path=str(path), target="label", group="who"))
    (told,) = [text for level, text in source.notices if level == logging.WARNING]
    assert "'NA' is taken for a group, kept together like the others" in told


def test_a_wide_table_says_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of columns that take 2 ms each, by the clock of this test, a thousand are seen already."""
    ticks = itertools.count()
    monkeypatch.setattr(roles.time, "perf_counter", lambda: 2.0 * next(ticks))
    names = tuple(f"c{n}" for n in range(3000))
    columns: list[Cells] = [np.array([0.5, 1.5, 2.5])] * 3000
    with caplog.at_level(logging.INFO):
        found = roles.find_roles(Table("t.csv", names, columns, 3), ["found"] * 3000, Options())
    assert [finding.role for finding in found] == ["numeric"] * 3000
    assert caplog.messages == ["t.csv: 3000 columns; what they hold is found out in about 5 s"]


# ── what a new reader found ───────────────────────────────────────────────────────────────────


def test_a_decimal_comma_elsewhere_takes_no_number_from_a_column(read: Any, caplog: Any) -> None:
    """Its own cells all fit a decimal point, and only that."""
    source = read(
        separator=";",
        share=[f"{i % 37 + 0.1:.1f}%" for i in range(ROWS)],
        price=[f"$ {i * 91 % 5000 + 1000:,}.67" for i in range(ROWS)],
        b=[f"{i % 29},{i % 7}8" for i in range(ROWS)],
    )
    assert feature(source, "share")[:2] == [0.1, 1.1]
    assert feature(source, "price")[:2] == [1000.67, 1091.67]
    assert feature(source, "b")[:2] == [0.08, 1.18]
    declared = read(
        separator=";",
        a=[f"1.{100 + 37 * i % 900}" for i in range(ROWS)],
        b=[f"-0.0{1 + i % 9}" for i in range(ROWS)],
        options={"thousands": "."},
    )
    assert feature(declared, "a")[0] == 1100
    assert feature(declared, "b")[0] == -0.01


@pytest.mark.parametrize("case", ["a repeat", "a gap", "steps"])
def test_counters_that_are_not_perfect(read: Any, caplog: Any, case: str) -> None:
    counts = {
        "a repeat": [str(i - (i > 30)) for i in range(ROWS)],
        "a gap": [str(i) if i != 7 else "" for i in range(ROWS)],
        "steps": [str(10 * i + 3) for i in range(ROWS)],
    }
    source = read(n=counts[case])
    assert role_of(source, "n") == "identifier"
    steps = " in steps of 10" if case == "steps" else ""
    assert f"column 'n': it counts the rows{steps}; left out" in caplog.text


def test_even_numbers_that_repeat_are_numbers(read: Any) -> None:
    source = read(n=[str(10 * (i % 20)) for i in range(ROWS)])
    assert role_of(source, "n") == "numeric"


def test_moments_of_digits_alone(read: Any) -> None:
    source = read(t=[f"202405{1 + i % 28:02}1330{i % 60:02}" for i in range(ROWS)])
    assert role_of(source, "t") == "date"
    assert feature(source, "t seconds")[:2] == [0, 86_401]


def test_a_date_in_a_style_that_is_not_read_is_no_category(read: Any) -> None:
    with pytest.raises(DataError) as caught:
        read(t=[f"{1 + i % 28} :: May :: {2000 + i % 9}" for i in range(ROWS)])
    assert "'1 :: May :: 2000' looks like a date in a style that is not read" in str(caught.value)


def test_groups_that_are_one_number_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    who = ["1", "1.0", "2", "3"]
    rows = "".join(f"{who[i % 4]},{i * 7 % 31 / 8},{i % 2}\n" for i in range(ROWS))
    path.write_text("who,a,label\n" + rows)
    groups = load_source(TableConfig(path=str(path), target="label", group="who")).groups
    assert groups is not None
    assert groups[:4].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("cells", "role"),
    [
        (["2d6", "1d20", "3d8", "1d4"], "categorical"),
        (["12E4", "34E7", "56E1", "7E2"], "categorical"),
        (["08:00-10:00", "10:00-12:00", "12:00-14:00"], "categorical"),
        (["2009-10", "2010-11", "2011-12"], "categorical"),  # seasons
        (["1/1000", "1/2000", "1/4000"], "categorical"),
        (["030 123 456", "040 987 654", "030 555 123"], "categorical"),  # telephones
        (["1E-3", "2E5", "1E5"], "numeric"),
        (["2009-10", "2010-11", "2011-03"], "date"),
    ],
    ids=str,
)
def test_what_only_resembles_numbers_and_dates(read: Any, cells: list[str], role: str) -> None:
    source = read(v=[cells[i % len(cells)] for i in range(ROWS)])
    assert role_of(source, "v") == role


def test_paces_are_durations(read: Any) -> None:
    source = read(v=[f"{3 + i % 5}:{i * 7 % 60:02}" for i in range(ROWS)])
    assert feature(source, "v seconds")[:2] == [0, 67]  # since the shortest


def test_grades_are_no_negative_numbers(read: Any) -> None:
    with pytest.raises(DataError, match="'1-' is not a number"):
        read(v=[["1-", "2-", "1", "2", "3"][i % 5] for i in range(ROWS)])


def test_a_comma_and_a_point_that_may_both_be_either(read: Any) -> None:
    with pytest.raises(DataError, match="contradict each other in what a comma and a point are"):
        read(separator=";", v=[f"{1 + i}{',.'[i % 2]}{100 + i}" for i in range(ROWS)])


def test_years_of_two_digits(read: Any, caplog: Any) -> None:
    read(born=[f"{13 + i % 15}/{1 + i % 12}/{(40 + i) % 100:02}" for i in range(ROWS)])
    assert "column 'born': years of two digits are read as 1969 to 2068" in caplog.text
    with pytest.raises(DataError, match="'24-05-01' may begin with the year; write years with"):
        read(day=[f"{24 - i % 3}-{5 + i % 6:02}-{1 + i % 28:02}" for i in range(ROWS)])


def test_classes_that_differ_in_case_are_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        "a,label\n" + "".join(f"{i / 8},{['Yes', 'yes', 'no'][i % 3]}\n" for i in range(60))
    )
    notices = [text for _, text in load_source(TableConfig(path=str(path), target="label")).notices]
    assert any(text.endswith("'Yes' and 'yes' are two classes") for text in notices)


@pytest.mark.parametrize("digits", ["%Y%m%d", "%Y%m%d%H%M%S"])
def test_dates_that_a_file_holds_as_numbers(tmp_path: Path, digits: str) -> None:
    """The features of text and of Parquet are the same, in training and for later files."""
    begin = datetime.datetime(2024, 5, 1, 13, 30)
    moments = [begin + datetime.timedelta(days=i * 7 % 31, seconds=i) for i in range(ROWS)]
    whole = [int(moment.strftime(digits)) for moment in moments]
    table = pa.table({"t": whole, "label": ["xy"[i % 2] for i in range(ROWS)]})
    pq.write_table(table, tmp_path / "t.parquet")
    csv.write_csv(table, tmp_path / "t.csv")
    parquet, text = (
        load_source(TableConfig(path=str(tmp_path / f"t.{suffix}"), target="label"))
        for suffix in ("parquet", "csv")
    )
    assert role_of(parquet, "t") == "date"
    assert parquet.feature_names == text.feature_names
    np.testing.assert_array_equal(parquet.x, text.x)


def test_codes_like_powers_of_ten_are_told(read: Any, caplog: Any) -> None:
    read(v=[["12E4", "34E7", "56E1", "7E2"][i % 4] for i in range(ROWS)])
    assert "column 'v': '12E4' is taken for a code; if a number: 'dataset.columns={v:numeric}'" in (
        caplog.text
    )
    source = read(
        v=[["12E4", "34E7", "56E1", "7E2"][i % 4] for i in range(ROWS)],
        options={"columns": {"v": "numeric"}},
    )
    assert feature(source, "v")[:2] == [12e4, 34e7]
