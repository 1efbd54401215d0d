"""Tables that are wrong: each is one line that names file, line, column and value."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nnexp.config.fields import check
from nnexp.config.schema import CSVConfig
from nnexp.data import load, load_source
from nnexp.errors import ConfigError, DataError

QUANTITY = "classes or a quantity? task=regression predicts a quantity, task=classification classes"
PLAIN = "a,b,label\n1,2,x\n3,4,y\n5,6,x\n"


def refusal(kind: type[Exception], path: Path, **options: Any) -> str:
    """The message of the error, the folder left out."""
    with pytest.raises(kind) as caught:
        load_source(CSVConfig(path=str(path), **{"target": "label", **options}))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "")


def case(content: str | bytes, message: str, **options: Any) -> Any:
    return pytest.param(content, message, options, id=message[:60])


@pytest.mark.parametrize(
    ("content", "message", "options"),
    [
        case("", "t.csv: empty, no rows"),
        case("\n  \n\n", "t.csv: empty, no rows"),
        case("# a\n# b\n", "t.csv: empty, no rows", comment="#"),
        case("", "t.csv: empty, no rows", separator=","),
        case("a,b,label\n", "t.csv: no rows below the header", header=True),
        case("a,b,label\n", "t.csv: no rows below the header"),
        case(",b,label\n", "t.csv: no rows below the header"),
        case("a,b,a\n", "t.csv: target 'column 2' has one class only, 'a'", target="2"),
        case("1,2,a\n", "t.csv: target 'column 2' has one class only, 'a'", target="2"),
        case(
            "word\nother\n",
            "t.csv: one column only, or a separator that is none of tab ; | , and space; give it "
            "with dataset.separator",
        ),
        case("a,b,label\n1,2,x\n3,4\n", "t.csv: line 3 has 2 cells, but line 1 has 3"),
        case("a,b,label\n1,2,x\n\n3,4,y,5\n", "t.csv: line 4 has 4 cells, but line 1 has 3"),
        case(
            "b,label\n1,2,x\n3,4,y\n",
            "t.csv: line 1 has 2 cells, but every line below has 3; if the first cell of a row is "
            "its name: dataset.index_column=0; if a cell holds the separator, as 5,9 for 5.9, put "
            "such cells in quotes",
        ),
        case(
            "Results of May\n\na,label\n1,x\n2,y\n",
            "t.csv: line 1 has 1 cell, but every line below has 2; if it is a title, delete it or "
            "say with dataset.comment how it begins, or leave it out with "
            "dataset.skip_rows=2",
        ),
        case("a,label\n1\n2,y\n", "t.csv: line 2 has 1 cell, but line 1 has 2"),
        case(
            'a,b,label\n1,"2\n\n",x\n3,4\n', "t.csv: line 5 has 2 cells, but line 1 has 3"
        ),  # a cell of three lines before it
        case(
            "#c\na,b,label\n1,2,x\n3,4\n",
            "t.csv: line 4 has 2 cells, but line 2 has 3",
            comment="#",
        ),
        case(
            'a,b,label\n1,2,x\n3,"4,y\n5,6,x\n',
            "t.csv: line 3: a quoted cell that begins here is never closed "
            "(dataset.quote=null takes quotes as they are)",
        ),
        case(
            'a,b,label\n1,"2,x\n' + "3,4,y\n" * 30_000,  # beyond the limit of the csv module
            "t.csv: line 2: a quoted cell that begins here is never closed "
            "(dataset.quote=null takes quotes as they are)",
        ),
        case(
            'a,b,label\n1,2,x\n3,"4"5,y\n',
            "t.csv: line 3: a cell goes on after its quote "
            "(dataset.quote=null takes quotes as they are)",
        ),
        case(
            ",b,label\n0,2,x\n1,4,y\n",
            "t.csv: column 0 (from 0) has no name, a row number perhaps; leave it out with "
            "dataset.drop=[0]",
        ),
        case(
            "39,77516,NA\n50,83311,1\n38,215646,0\n",
            "t.csv: cannot tell whether the first row names the columns; say so with "
            "dataset.header=true or dataset.header=false",
            target="2",
        ),
        case(
            b"a,b,label\n1,2,x\n3,4,M\xfcller\n",
            "t.csv: line 3: byte 0xfc is not utf-8; another encoding, such as latin-1 or utf-16, "
            "is given by dataset.encoding",
        ),
        case(PLAIN.encode("utf-16"), "t.csv: UTF-16, not utf-8; give dataset.encoding=utf-16"),
        case(
            PLAIN.encode("utf-16-le"),
            "t.csv: full of NUL characters; if it is text, its encoding is not utf-8 but perhaps "
            "dataset.encoding=utf-16-le",
        ),
        case(
            bz2.compress(PLAIN.encode())[:-9],
            "t.csv: truncated, the bzip2 stream has no end",
        ),
        case(
            gzip.compress(PLAIN.encode(), mtime=0)[:-9],
            "t.csv: truncated, the gzip stream has no end",
        ),
        case(
            "a,b,label\n1,2,x\n3,?,y\n5,,x\n",
            "t.csv: line 3, column 'b': no value ('?'), as in 2 cells of the column; fill with "
            "dataset.impute_numeric=mean or median, or leave the column out with "
            "'dataset.columns={b:drop}'",
            impute_numeric="error",
        ),
        case(
            "a,b,label\n1,p,x\n3,?,y\n5,q,x\n",
            "t.csv: line 3, column 'b': no value ('?'); fill with "
            "dataset.impute_categorical=most_frequent or category, or leave the column out with "
            "'dataset.columns={b:drop}'",
            impute_categorical="error",
        ),
        case(
            "a,b,label\n1,?,x\n3,,y\n",
            "t.csv: no column is left to learn from: 'b' left out: no values",
            drop=["a"],
        ),
        case(
            "a,b,label\n1,2,x\n3,4,\n5,6,y\n",
            "t.csv: line 3, column 'label': the label is missing (''); if it is no row: "
            "'dataset.skip_rows=[3]'",
        ),
        case(
            "1,2,x\n3,4,?\n5,6,x\n",
            "t.csv: line 2, column 2 (from 0): the label is missing ('?'); if it is no row: "
            "'dataset.skip_rows=[2]'",
            target="-1",
        ),
        case(
            "a,b,label\n1,2,x\n3,4,.\n",
            "t.csv: line 3, column 'label': the label is missing ('.'); if it is no row: "
            "'dataset.skip_rows=[3]'",
            target_strip=".",
        ),
        case(
            "a,b,label\n1,2,x\n3,four,y\n5,6,x\n",
            "t.csv: line 3, column 'b': 'four' is not a number",
            numeric=["b"],
        ),
        case(
            "a,b,label\n1,2,x\n3,inf,y\n5,6,x\n",
            "t.csv: line 3, column 'b': 'inf' is not a number",
            numeric=["b"],
        ),
        case(
            "a,b,label\n1,2,x\n3,1_000,y\n5,6,x\n",
            "t.csv: line 3, column 'b': '1_000' is not a number",
            numeric=["b"],
        ),
        case(
            "a,b,label\n1,2,x\n3,two,y\n5,6,x\n",
            "t.csv: line 3, column 'b': 'two' is not a number, but 2 cells of the column are; if "
            """it means no value: 'dataset.missing=["","?",two]'; if the column holds """
            "categories: 'dataset.columns={b:categorical}'; or leave it out: "
            "'dataset.columns={b:drop}'",
        ),
        case(
            "a,b,label\n1,2,x\n3,\0\x1b[31m\x9b\u202e Größe,y\n5,6,x\n",
            "t.csv: line 3, column 'b': '\\x00\\x1b[31m\\x9b\\u202e Größe' is not a number",
            numeric=["b"],
        ),
        case(
            'a,"b\n\x07",label\n1,2,x\n3,"4\n\n5",y\n5,6,x\n',
            "t.csv: line 4, column 'b\\n\\x07': '4\\n\\n5' is not a number",
            numeric=["1"],
        ),
        case(
            f"a,b,label\n1,2,x\n3,{'ab' * 200_000},y\n5,6,x\n",
            f"t.csv: line 3, column 'b': '{'ab' * 40}...' is not a number",
            numeric=["b"],
        ),
        case(
            "a,b,label\n---,---,---\n1,2,x\n3,4,y\n",
            "t.csv: line 2 is a line between header and rows, no row: 'dataset.skip_rows=[2]' "
            "leaves it out",
        ),
        case("a,label\n1,\0\n2,\0\n", "t.csv: target 'label' has one class only, '\\x00'"),
        case("a,label\n1,x\n2,x\n", "t.csv: target 'label' has one class only, 'x'"),
        case("a,label\n1,1\n2,1.0\n", "t.csv: target 'label' has one class only, '1'"),
        case(  # as a program for tables writes sums below them
            "a,label\n1,x\n2,y\nTotal,\n,\n",
            "t.csv: line 4, column 'label': the label is missing (''); if these 2 lines are no "
            "rows: 'dataset.skip_rows=[4,5]'",
        ),
        case(
            "| a | label |\n|---|:-:|\n| 1 | x |\n| 2 | y |\n",
            "t.csv: a table of Markdown: save it as CSV, without the line of dashes and the | at "
            "both ends",
        ),
        case(
            "a,label\n" + "1,x\n2,y\n" * 5 + "1,2,x\n" + "1,x\n2,y\n" * 5,
            "t.csv: line 12 has 3 cells, but line 1 has 2; if this line is no row: "
            "'dataset.skip_rows=[12]'",
        ),
        case(
            "a,label\n" + "".join(f"{i},{i % 25 / 10}\n" for i in range(60)),
            f"t.csv: target 'label' has 25 different numbers in 60 rows: {QUANTITY}",
        ),
        case(
            "a,label\n" + "".join(f"{i},{i // 3}\n" for i in range(200)),
            f"t.csv: target 'label' has 67 different numbers in 200 rows: {QUANTITY}",
        ),
        case(
            "a,label\n" + "".join(f"{i},${i % 12}.50\n" for i in range(60)),
            "t.csv: target 'label' has 12 different labels, most of them numbers, in 60 rows: "
            f"{QUANTITY}",
        ),
        case(
            "a,label\n" + "".join(f"{i},2024-01-{i % 28 + 1:02}\n" for i in range(60)),
            "t.csv: target 'label' has 28 different dates in 60 rows: classes or a "
            "quantity? task=classification takes them for classes",
        ),
        case(  # joined files, each with its header
            "a,b,label\n1,2,x\n3,4,y\na,b,label\n5,6,x\n\na,b,label\n7,8,y\n",
            "t.csv: line 4 repeats the header (in all 2 lines do); 'dataset.skip_rows=[4,7]' "
            "leaves them out; if it is a row like the others, the file has no header: "
            "dataset.header=false",
        ),
        case(
            "hue,size,label\n" + "red,s,x\nblue,m,y\n" * 10 + "hue,size,label\nred,m,x\n",
            "t.csv: line 22 repeats the header; 'dataset.skip_rows=[22]' leaves it out; if it is a "
            "row like the others, the file has no header: dataset.header=false",
        ),
        case(
            "who,a,label\nu,1,x\n?,2,y\n",
            "t.csv: line 3, column 'who': no value ('?'), where dataset.group needs one",
            group="who",
        ),
        case(
            "a,label\n" + "".join(f"{i},{i / 8}\n" for i in range(200)),
            f"t.csv: target 'label' has 200 different numbers in 200 rows: {QUANTITY}",
        ),
        case(
            "a,label\n" + "".join(f"{i},{i * 10}\n" for i in range(200)),
            f"t.csv: target 'label' has 200 different numbers in 200 rows: {QUANTITY}",
        ),
        case(  # as many rows as would be enough for classes that are numbered
            "a,label\n" + "".join(f"{i},{i % 101 / 2}\n" for i in range(3000)),
            f"t.csv: target 'label' has 101 different numbers in 3000 rows: {QUANTITY}",
        ),
        case(  # "1" and "1.0" are one
            "a,label\n1,1\n2,1.0\n" + "".join(f"{i},{i / 8}\n" for i in range(40)),
            f"t.csv: target 'label' has 40 different numbers in 42 rows: {QUANTITY}",
        ),
        case(
            "a,label\n1,NA\n" + "".join(f"{i},{i / 8}\n" for i in range(40)),
            "t.csv: target 'label' has 41 different labels, most of them numbers, in 41 rows: "
            f"{QUANTITY}",
        ),
        case(
            "a;label\n" + "".join(f"{i};{i},25\n" for i in range(40)),
            "t.csv: target 'label' has 40 different labels, most of them numbers, in 40 rows: "
            f"{QUANTITY}",
        ),
        case(
            "a;label\n" + "".join(f"{i};${i},000.50\n" for i in range(40)),
            "t.csv: target 'label' has 40 different labels, most of them numbers, in 40 rows: "
            f"{QUANTITY}",
        ),
        case(
            "a;label\n1;x\n0,5;y\n0,25;x\n1,234,567;y\n",
            "t.csv: line 3, column 'a': '0,5' and other cells of the column contradict each other "
            "in what a comma and a point are; mend the file, or say "
            "'dataset.columns={a:categorical}' or 'dataset.columns={a:drop}'",
        ),
        case(
            "a,label\n" + "".join(f"{i},name {i}\n" for i in range(200)),
            "t.csv: target 'label' has 200 different values in 200 rows: a name, not a class",
        ),
        case(
            "text,label\n" + "".join(f"text {i % 1001},{'xy'[i % 2]}\n" for i in range(3003)),
            "t.csv: column 'text' has 1001 different texts; leave it out with "
            "'dataset.columns={text:drop}', or take each for a category with "
            "'dataset.columns={text:categorical}'",
        ),
        case("a,label\n1,x\n2,y\n", "t.csv: no column is left to learn from", drop=["a"]),
        case(
            "a,fold,label\n1,train,x\n2,later,y\n",
            "t.csv: line 3, column 'fold': 'later' is none of train, val and test",
            split_column="fold",
        ),
        case(
            "a,fold,label\n1,train,x\n2,train,y\n3,val,x\n",
            "t.csv: column 'fold' sets no test row apart",
            split_column="fold",
        ),
        case(
            "a,fold,label\n1,train,x\n2,train,y\n3,test,z\n",
            "t.csv: line 4, column 'label': no training row has the class 'z'",
            split_column="fold",
        ),
    ],
)
def test_wrong_tables(
    tmp_path: Path, content: str | bytes, message: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(DataError, path, **options) == message


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (
            "dataset.target=lable: t.csv has no such column (did you mean 'label'?); it has label, "
            "a, b",
            {"target": "lable"},
        ),
        (
            "dataset.target=LABEL: t.csv has no such column (did you mean 'label'?); it has label,",
            {"target": "LABEL"},
        ),
        ("dataset.separator=;: none in line 1 of t.csv (did you mean ','?)", {"separator": ";"}),
        ("dataset.separator=tab: none in line 1 of t.csv (did", {"separator": "tab"}),
        ("dataset.target=3: t.csv has columns 0 to 2", {"target": "3"}),
        ("dataset.target=-4: t.csv has columns 0 to 2", {"target": "-4"}),
        ("dataset.drop=c: t.csv has no such column; it has a, b, label", {"drop": ["c"]}),
        ("dataset.numeric=A: t.csv has no such column", {"numeric": ["A"]}),
        ("dataset.categorical=9: t.csv has columns 0 to 2", {"categorical": ["9"]}),
        ("dataset.split_column=fold: t.csv has no such column", {"split_column": "fold"}),
        ("dataset.drop=label: this column is dataset.target already", {"drop": ["label"]}),
        (
            "dataset.categorical=1: this column is dataset.numeric already",
            {"numeric": ["b"], "categorical": ["1"]},
        ),
        ("dataset.encoding=utf-9: no such encoding", {"encoding": "utf-9"}),
    ],
)
def test_options_that_do_not_fit_the_table(
    tmp_path: Path, message: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN)
    assert refusal(ConfigError, path, **options).startswith(message)


def test_of_many_columns_the_nearest_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    names = [f"feature_{i}" for i in range(10)] + ["class", "klass"]
    path.write_text(",".join(names) + "\n" + ",".join("1" * 12) + "\n")
    features = ", ".join(names[:8])
    assert refusal(ConfigError, path, target="klasse") == (
        "dataset.target=klasse: t.csv has no such column (did you mean 'klass'?); it has klass, "
        f"class, {features} and 2 more"
    )
    path.write_text(",".join(["", *names[2:]]) + "\n" + ",".join("1" * 11) + "\n")
    found = refusal(ConfigError, path, target="klasse", header=True)
    assert found.endswith("feature_8, feature_9")  # ten with a name: all of them
    path.write_text(",".join(names[1:]) + "\n" + ",".join("1" * 11) + "\n")
    assert refusal(ConfigError, path, target="klasse").endswith("feature_8 and 1 more")


@pytest.mark.parametrize("content", ["a\tlabel\n1\tx\n2\ty\n", "a\tlabel\n1,5\tx\n2\ty\n"])
def test_a_separator_that_is_tab_is_named_as_it_is_typed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert refusal(ConfigError, path, separator=";") == (
        "dataset.separator=;: none in line 1 of t.csv (did you mean 'tab'?)"
    )


def test_thirty_ratings_with_halves_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + "".join(f"{i / 2},{i % 30 / 2}\n" for i in range(300)))
    source = load_source(CSVConfig(path=str(path), target="label"))
    assert source.class_names[:3] == ("0.0", "0.5", "1.0")
    assert len(source.class_names) == 30


def test_names_of_columns_that_cannot_be_printed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\x1b[2J,c\n1,2,x\n3,4,y\n")
    assert refusal(ConfigError, path) == (
        "dataset.target=label: t.csv has no such column; it has a, b\\x1b[2J, c"
    )


def test_a_name_where_the_file_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1,2,x\n3,4,y\n5,6,x\n")
    assert refusal(ConfigError, path) == (
        "dataset.target=label: t.csv has no header, so its columns go by number, 0 to 2; "
        "dataset.header=true takes its first row for one"
    )


def test_a_number_that_may_be_a_name_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("2019,2020,2021\n1.5,2,0\n2.5,3,1\n")
    assert refusal(ConfigError, path, target="2021") == (
        "dataset.target=2021: t.csv has no header, so its columns go by number, 0 to 2; "
        "dataset.header=true takes its first row for one"
    )
    assert refusal(ConfigError, path, target="3") == "dataset.target=3: t.csv has columns 0 to 2"


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.csv").write_text(PLAIN)
    assert refusal(DataError, tmp_path / "tabel.csv") == (
        "dataset.path=tabel.csv: no such file (did you mean 'table.csv'?)"
    )
    assert refusal(DataError, tmp_path / "no" / "t.csv") == "dataset.path=t.csv: no such file"
    assert refusal(DataError, tmp_path) == f"dataset.path={tmp_path.name}: a folder, not a file"
    below = tmp_path / "table.csv" / "x"
    assert refusal(DataError, below) == "dataset.path=x: no such file"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load_source(CSVConfig(path="x.csv", target="0"))
    assert str(caught.value) == f"dataset.path=x.csv: no such file in {tmp_path}"


def test_unreadable_gzip(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_text(PLAIN)
    assert refusal(DataError, path) == "t.csv.gz: not a gzip file, in spite of its name"
    content = bytearray(gzip.compress(PLAIN.encode(), mtime=0))
    content[-6] ^= 1
    path.write_bytes(content)
    assert refusal(DataError, path).startswith("t.csv.gz: damaged gzip, CRC check failed")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("t.csv", PLAIN)
    path.write_bytes(buffer.getvalue())
    assert refusal(DataError, path) == "t.csv.gz: a zip archive; unpack it first"


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("", "test.csv: empty, no rows"),
        ("a,b,label\n", "test.csv: no rows below the header"),
        ("a,b,c,label\n1,2,3,x\n", "test.csv: line 1 has 4 cells, but t.csv has 3 columns"),
        (
            "a,c,label\n1,2,x\n",
            "test.csv: line 1 is not the header of t.csv: it has no column 'c'",
        ),
        ("7,8,x\n", "test.csv: line 1 is not the header of t.csv: it has no column '7'"),
        ("a,b,label\n1,2,x\n3,4\n", "test.csv: line 3 has 2 cells, but line 1 has 3"),
        ("a,b,label\n1,?,x\n", "test.csv: line 2, column 'b': no value ('?'); fill with"),
        ("a,b,label\n1,2,z\n", "test.csv: line 2, column 'label': no training row has the class"),
    ],
)
def test_files_of_test_rows(tmp_path: Path, test: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN)
    (tmp_path / "test.csv").write_text(test)
    found = refusal(DataError, path, test_path=str(tmp_path / "test.csv"), impute_numeric="error")
    assert found.startswith(message)


def test_fewer_rows_than_classes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,p\n2,q\n3,r\n4,s\n")
    with pytest.raises(DataError) as caught:
        load(CSVConfig(path=str(path), target="label"))
    assert str(caught.value) == (
        "t: 4 rows are too few for 4 classes, each of which needs a training row, beside 2 rows "
        "that are held out"
    )


def test_too_many_columns_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnexp.data.tabular._MOST_NUMBERS", 8)
    path = tmp_path / "t.csv"
    path.write_text("t,label\np,x\nq,y\nr,x\n")
    assert refusal(DataError, path) == (
        "t.csv: 3 columns after one-hot encoding, times 3 rows, are too many; leave columns out "
        "with dataset.drop"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ",,"}, "dataset.separator=,,: must be one character, or tab"),
        ({"separator": '"'}, 'dataset.separator=": must be one character, or tab'),
        ({"quote": "''"}, "dataset.quote='': must be one character and not the separator, or null"),
        ({"quote": ",", "separator": ","}, "dataset.quote=,: must be one character and not the"),
        ({"comment": ""}, "dataset.comment=: must be the text that a comment starts with"),
        (
            {"split_column": "fold", "test_path": "t.csv"},
            "dataset.split_column=fold: the split is given by dataset.test_path=t.csv",
        ),
        ({"impute_numeric": "mode"}, "dataset.impute_numeric=mode: must be one of error, mean"),
        (
            {"test_fraction": 0.9},
            "dataset.val_fraction=0.15: leaves no training samples beside "
            "dataset.test_fraction=0.9",
        ),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(CSVConfig(path="t.csv", target="0", **options), "dataset")
    assert str(caught.value).startswith(message)


def test_official_test_rows_leave_any_fraction_to_validation() -> None:
    check(CSVConfig(path="a.csv", target="0", test_path="b.csv", val_fraction=0.85), "dataset")


def test_a_name_that_cannot_be_typed_goes_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{i % 7 / 8},{'?!' if i == 9 else i % 31},{'xy'[i % 2]}\n" for i in range(60))
    path.write_text('b,"a\nb",label\n' + rows)
    message = refusal(DataError, path)
    assert "leave it out: 'dataset.drop=[\"1\"]'" in message
    assert load_source(CSVConfig(path=str(path), target="label", drop=["1"])).feature_names == (
        "b",
    )
