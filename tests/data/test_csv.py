"""Tables: what is found out, what is declared, what comes out."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnexp.config.schema import CSVConfig
from nnexp.data import Source, load, load_source
from nnexp.errors import DataError


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write a file (``test``: another one) and load it as a source."""

    def write_and_read(
        content: str | bytes, target: str = "label", test: str | None = None, **options: Any
    ) -> Source:
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if test is not None:
            (tmp_path / "test.csv").write_text(test)
            options["test_path"] = str(tmp_path / "test.csv")
        return load_source(CSVConfig(path=str(path), target=target, **options))

    return write_and_read


PLAIN = "a,b,label\n1,2.5,x\n3,-4e-1,y\n5,6,x\n"


def test_a_plain_table(read: Any) -> None:
    source = read(PLAIN)
    assert source.x.tolist() == [[1, 2.5], [3, -0.4], [5, 6]]
    assert source.y.tolist() == [0, 1, 0]
    assert source.class_names == ("x", "y")
    assert source.feature_names == ("a", "b")
    assert source.name == "table"
    assert (source.test, source.val, source.one_hot) == (None, None, ())
    assert read(PLAIN, name="mine").name == "mine"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.removesuffix("\n"),
        "\n\n" + PLAIN.replace("\n", "\n\n") + "  \n",
        "\ufeff" + PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", " "),
        "  " + PLAIN.replace(",", "   ").replace("\n", "  \n   "),
        PLAIN.replace(",", ", "),
        '"a","b","label"\n1,"2.5","x"\n3,-4e-1, "y"\n5,6,x\n',
        gzip.compress(PLAIN.encode(), mtime=0),
        PLAIN.encode("utf-8-sig"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("x\n", "x,\n").replace("y\n", "y,\n"),
    ],
)
def test_ways_to_write_the_same_table(read: Any, content: str | bytes) -> None:
    assert read(content).fingerprint == read(PLAIN).fingerprint


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (PLAIN.encode("utf-16"), {"encoding": "utf-16"}),
        (PLAIN.replace(",", "~"), {"separator": "~"}),
        (PLAIN.replace(",", "\t"), {"separator": "tab"}),
        (PLAIN.replace(",", "\t"), {"separator": "\\t"}),
        (PLAIN.replace("x", "'x'"), {"quote": "'"}),
        ("# one\n" + PLAIN.replace("3,", "#, two\n3,"), {"comment": "#"}),
        (PLAIN.replace("x", "(x)").replace("y", "y)"), {"target_strip": "()"}),
    ],
)
def test_declared_ways_to_write_it(read: Any, content: Any, options: dict[str, str]) -> None:
    assert read(content, **options).fingerprint == read(PLAIN).fingerprint


def test_quoted_cells_hold_separators_quotes_and_line_ends(read: Any) -> None:
    content = 'a,text,label\n1,"x, ""y""\nz",p\n2,"x, ""y""\nz",q\n3,w,p\n'
    source = read(content)
    assert source.feature_names == ("a", "text=w", 'text=x, "y"\nz')
    assert source.x.tolist() == [[1, 0, 1], [2, 0, 1], [3, 1, 0]]


def test_quotes_that_mean_nothing(read: Any) -> None:
    source = read('n\ttext\tlabel\n1\t5" pipe\tx\n2\t"open\ty\n3\t"open\tx\n', quote=None)
    assert source.feature_names == ("n", 'text="open', 'text=5" pipe')


def test_latin_1(read: Any) -> None:
    source = read("city,n,label\nKöln,1,x\nKöln,2,y\n".encode("latin-1"), encoding="latin-1")
    assert source.feature_names == ("city=Köln", "n")


# ── separator and header ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1;p,q;x\n2;r,s;y\n3;p,q;y\n", 3),  # commas at equal places inside cells
        ("a b,c d,x\ne f,g h,y\na b,c d,y\n", 3),
        ("1,a|b,x\n2,c,y\n3,c,x\n", 3),
    ],
)
def test_separators_inside_cells(read: Any, content: str, expected: int) -> None:
    source = read(content, target="-1", header=False)
    names = {name.split("=")[0] for name in source.feature_names}
    assert len(names) == expected - 1


HEADERS = {
    "names above numbers": ("a,b,label\n1,2,0\n3,4,1\n", True),
    "names above texts and numbers": ("name,size,label\nfoo,1,x\nbar,2,y\n", True),
    "names above texts": ("colour,shape,label\nred,round,yes\nblue,square,no\n", True),
    "a name above a column with gaps": ("a,b,label\n1,?,x\n?,2,y\n", True),
    "numbers as names": ("0,1,2,label\n0.5,3,7,x\n0.25,1,4,y\n", True),
    "numbers as names of a numeric label": ("0,1,2,label\n0.5,3,7,1\n0.25,1,4,0\n", True),
    "an unnamed column": (",b,label\n7,2,x\n8,4,y\n", True),
    "numbers": ("1,2,0\n3,4,1\n", False),
    "numbers and labels": ("1,2,x\n3,4,y\n5,6,x\n", False),
    "texts that come again": ("red,round,yes\nblue,square,no\nred,round,yes\n", False),
    "equal texts": ("t,f,t,x\nf,f,g,y\n", False),
    "a gap in the first row": ("?,2,x\n3,4,y\n", False),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header_found_out(read: Any, case: str) -> None:
    content, has_header = HEADERS[case]
    source = read(
        content,
        target="-1",
        drop=["0"],
        impute_numeric="mean",
        impute_categorical="category",
    )
    assert len(source.y) == content.count("\n") - has_header
    if not has_header:
        assert source.feature_names[0].split("=")[0] == "column 1"


def test_header_declared(read: Any) -> None:
    assert len(read("1,2,x\n3,4,y\n5,6,x\n", target="x", header=True).y) == 2
    content = "a,b,label\nc,d,x\n"
    assert len(read(content, target="2", header=False).y) == 2


def test_the_target_by_number(read: Any) -> None:
    by_name = read(PLAIN)
    for target in ("2", "-1"):
        assert read(PLAIN, target=target).fingerprint == by_name.fingerprint
    first = read("x,1,2\ny,3,4\nx,5,6\n", target="0")
    assert first.x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert first.feature_names == ("column 1", "column 2")


def test_a_name_goes_before_a_number(read: Any) -> None:
    """spambase's columns are called 0, 1, 2, ..."""
    source = read("1,0,label\n5,6,x\n7,8,y\n", header=True, drop=["0"])
    assert source.feature_names == ("1",)
    assert source.x.tolist() == [[5], [7]]


# ── labels ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "B"], ("B", "a", "b")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["NA", "yes", "null"], ("NA", "null", "yes")),
        (["nan", "1", "2"], ("1", "2", "nan")),
        (["0.5", "1e1", "2"], ("0.5", "2", "1e1")),
    ],
)
def test_labels_keep_their_names(read: Any, labels: list[str], expected: tuple[str, ...]) -> None:
    source = read("a,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    assert source.class_names == expected
    assert [source.class_names[label] for label in source.y] == labels


# ── kinds of columns ──────────────────────────────────────────────────────────────────────────

MIXED = "size,colour,code,label\n1,red,7,x\n2,blue,10,y\n3,red,7,x\n4,green,9,y\n"


def test_texts_are_one_hot_encoded_in_their_place(read: Any) -> None:
    source = read(MIXED)
    assert source.feature_names == ("size", "colour=blue", "colour=green", "colour=red", "code")
    assert source.x.tolist() == [
        [1, 0, 0, 1, 7],
        [2, 1, 0, 0, 10],
        [3, 0, 0, 1, 7],
        [4, 0, 1, 0, 9],
    ]
    assert source.one_hot == ((1, 4),)


def test_numbers_declared_categorical(read: Any) -> None:
    source = read(MIXED, categorical=["code"])
    assert source.feature_names[4:] == ("code=7", "code=9", "code=10")
    assert source.one_hot == ((1, 4), (4, 7))
    assert source.x[:, 4:].tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_columns_left_out(read: Any) -> None:
    assert read(MIXED, drop=["colour", "-2"]).feature_names == ("size",)


def test_a_row_number_is_left_out_by_its_place(read: Any) -> None:
    source = read(",b,label\n0,5,x\n1,6,y\n", drop=["0"])
    assert source.feature_names == ("b",)


# ── missing values ────────────────────────────────────────────────────────────────────────────

GAPS = "n,t,label\n1,red,x\n?,blue,y\n3,,x\n5,red,y\n"


def test_missing_numbers_stay_open_until_the_split(read: Any) -> None:
    source = read(GAPS, impute_numeric="median", impute_categorical="category")
    np.testing.assert_array_equal(source.x[:, 0], [1, np.nan, 3, 5])
    assert source.fill == "median"


def test_missing_categories_as_a_category(read: Any) -> None:
    source = read(GAPS, impute_numeric="mean", impute_categorical="category")
    assert source.feature_names == ("n", "t=blue", "t=red", "t missing")
    assert source.x[:, 1:].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_missing_categories_stay_open_until_the_split(read: Any) -> None:
    source = read(GAPS, impute_numeric="mean", impute_categorical="most_frequent")
    assert source.feature_names == ("n", "t=blue", "t=red")
    assert np.isnan(source.x[2, 1:]).all()
    assert not np.isnan(source.x[[0, 1, 3], 1:]).any()


def test_what_counts_as_missing_is_declared(read: Any) -> None:
    content = "n,t,label\n1,NA,NA\n-999,b,x\n3,NA,NA\n"
    source = read(content, missing=["-999"], impute_numeric="mean")
    assert source.feature_names == ("n", "t=NA", "t=b")
    assert source.class_names == ("NA", "x")
    assert np.isnan(source.x[1, 0])


# ── official rows ─────────────────────────────────────────────────────────────────────────────


def test_a_file_of_test_rows(read: Any) -> None:
    source = read(PLAIN, test="a,b,label\n7,8,y\n")
    assert source.test.tolist() == [3]
    assert source.x[3].tolist() == [7, 8]
    assert source.y.tolist() == [0, 1, 0, 1]


def test_its_columns_are_matched_by_name(read: Any) -> None:
    assert read(PLAIN, test="label,a,b\ny,7,8\n").x[3].tolist() == [7, 8]


def test_without_header_neither_has_one(read: Any) -> None:
    source = read("1,x\n2,y\n3,x\n", target="1", test="7,y\n")
    assert source.test.tolist() == [3]


def test_categories_and_kinds_come_from_both_files(read: Any) -> None:
    source = read("t,label\na,x\nb,y\n", test="t,label\nc,x\n")
    assert source.feature_names == ("t=a", "t=b", "t=c")
    assert source.x[2].tolist() == [0, 0, 1]


def test_a_column_that_gives_the_split(read: Any) -> None:
    content = "a,fold,label\n1,train,x\n2,TEST,y\n3,Training,y\n4,dev,x\n5,valid,y\n6,test,x\n"
    source = read(content, split_column="fold")
    assert source.test.tolist() == [1, 5]
    assert source.val.tolist() == [3, 4]
    assert source.feature_names == ("a",)
    without_val = read("a,fold,label\n1,train,x\n2,test,y\n3,train,y\n", split_column="1")
    assert without_val.val is None


def test_from_file_to_data_set(tmp_path: Path) -> None:
    """The whole way, with gaps, categories, a test file and scaling."""
    draw = np.random.default_rng(0)

    def table(rows: int) -> str:
        lines = ["n,t,label"]
        for row in range(rows):
            number = "?" if row % 10 == 3 else f"{draw.normal(5, 2):.3f}"
            lines.append(f"{number},{'red' if row % 3 else 'blue'},{'yes' if row % 2 else 'no'}")
        return "\n".join(lines)

    (tmp_path / "train.csv").write_text(table(200))
    (tmp_path / "test.csv").write_text(table(50))
    config = CSVConfig(
        path=str(tmp_path / "train.csv"),
        test_path=str(tmp_path / "test.csv"),
        target="label",
        impute_numeric="mean",
        num_train=100,
        val_fraction=0.25,
    )
    dataset = load(config)
    assert (dataset.num_train, dataset.num_val, dataset.num_test) == (100, 50, 50)
    assert dataset.name == "train"
    assert dataset.class_names == ("no", "yes")
    assert dataset.feature_names == ("n", "t=blue", "t=red")
    trained = dataset.x[dataset.train].double()
    assert abs(trained[:, 0].mean()) < 1e-6
    assert abs(trained[:, 0].std(correction=0) - 1) < 1e-6
    assert torch.equal(dataset.x[:, 1] + dataset.x[:, 2], torch.ones(250))


@pytest.mark.parametrize("options", [{}, {"quote": None}, {"separator": ","}])
def test_a_cell_of_any_length(read: Any, options: dict[str, Any]) -> None:
    """The csv module's own limit of 131072 characters is lifted, and put back."""
    text = "word " * 100_000 + "end"
    before = csv.field_size_limit()
    source = read(f"a,text,label\n1,{text},x\n2,short,y\n", drop=["text"], **options)
    assert source.x.tolist() == [[1], [2]]
    assert csv.field_size_limit() == before
    source = read(f"text,label\n{text},x\nshort,y\n", **options)
    assert source.feature_names == ("text=short", f"text={text}")


def test_the_limit_of_cells_is_put_back_after_an_error(read: Any) -> None:
    before = csv.field_size_limit()
    with pytest.raises(DataError, match="line 2 has 3 cells"):
        read("a,label\n1,2,x\n")
    assert csv.field_size_limit() == before
