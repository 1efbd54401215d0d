"""Which format a file is in, and what is said of files that are not read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import scipy.io
import torch
from PIL import Image
from table_cells import by_name, plain

from nnexp.data.readers.formats import format_of, read_table_file
from nnexp.errors import DataError


def test_formats_by_content_whatever_the_name(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    pq.write_table(table, tmp_path / "parquet.bin")
    feather.write_feather(table, str(tmp_path / "arrow.bin"))
    np.save(tmp_path / "npy.npy", np.eye(2))
    texts = {
        "json_lines": '{"a":1}\n{"a":2}\n',
        "arff": "% by me\n\n@RELATION r\n@attribute a numeric\n@data\n1\n",
        "svmlight": "1 1:2 5:3\n-1 2:3\n",
        "separated": "a,b\n1,2\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("parquet.bin", "arrow.bin", "npy.npy", *texts):
        assert format_of(str(tmp_path / name)) == name.partition(".")[0]
    rng = np.random.default_rng(0)
    long = texts["arff"].encode() + rng.integers(65, 90, 300_000, np.uint8).tobytes()
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        (tmp_path / "packed").write_bytes(pack(long))
        assert format_of(str(tmp_path / "packed")) == "arff"
    wide = " ".join(f"{number}:0.5" for number in range(1, 20_000))
    (tmp_path / "wide").write_text(f"1 {wide}\n", encoding="utf-8")
    assert format_of(str(tmp_path / "wide")) == "svmlight"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("t.csv", "1 12:30\n2 13:45\n", "svmlight"),
        ("t.csv", "label time\n1 12:30\n", "separated"),
        ("t.csv", "{a},{b}\n1,2\n", "separated"),
        ("t.txt", "1\n2\n", "separated"),
        ("a9a.svm", "1\n1 3:1\n", "svmlight"),
        ("t.jsonl", "\n{}\n", "json_lines"),
    ],
)
def test_close_calls(name: str, text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert format_of(str(tmp_path / name)) == found


def test_utf_16_is_left_to_the_reader_of_separated_text(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le"):
        (tmp_path / "t.csv").write_text("a,b\n1,2\n" * 9, encoding=encoding)
        assert format_of(str(tmp_path / "t.csv")) == "separated"


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def saved(write: object, *args: object) -> bytes:
    buffer = io.BytesIO()
    assert callable(write)
    write(buffer, *args)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("t.xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook; save its"),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "an Excel workbook; save its"),
        ("t.xls", b"\x09\x08\x10\x00\x00\x06\x05\x00", "an Excel workbook; save its sheet as CSV"),
        ("t.ods", zipped("mimetype", "content.xml"), "an OpenDocument sheet; save it as CSV first"),
        ("t.docx", zipped("[Content_Types].xml", "word/document.xml"), "a document of Office; "),
        ("t.zip", zipped("t.csv"), "a zip archive; unpack it first"),
        ("t.zip", zipped("t.csv")[:20], "a damaged zip archive"),
        ("t.npz", saved(np.savez, np.eye(2)), "arrays of NumPy; dataset=arrays dataset.path="),
        ("t.pt", saved(lambda f: torch.save(torch.ones(2), f)), "a file of torch.save; save its"),
        ("t.pkl", pickle.dumps([1]), "a pickle, which is not read since that could run code;"),
        ("t.pkl.gz", gzip.compress(pickle.dumps([1])), "a pickle, which is not read since that"),
        ("t.mat", saved(scipy.io.savemat, {"a": [1]}), "a Matlab file; write its table with"),
        ("t.tar", tar(), "a tar archive; unpack it first"),
        ("t.tar.gz", gzip.compress(tar()), "a tar archive; unpack it first"),
        ("t.rds", gzip.compress(b"X\n\x00\x00\x00\x03\x00\x04"), "data of R; write the table with"),
        ("t.RData", gzip.compress(b"RDX3\nX\n\x00\x00"), "data of R; write the table with"),
        ("t.sav", b"$FL2@(#) SPSS DATA FILE", "an SPSS file; write the table as CSV or Parquet"),
        ("t.dta", b"<stata_dta><header>", "a Stata file; write it with export delimited first"),
        ("t.dta", b"\x72\x02\x01\x00", "a Stata file; write it with export delimited first"),
        ("t.sas7bdat", b"\0" * 12 + b"\xc2\xea\x81\x60" + b"\0" * 9, "a SAS file; write it with"),
        ("t.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file; write the table as CSV or Parquet first"),
        ("t.orc", b"ORC" + b"\0" * 99, "an ORC file; write the table as CSV or Parquet first"),
        ("t.feather", b"FEA1" + b"\0" * 99, "a Feather file of version 1; write it anew with"),
        ("t.pdf", b"%PDF-1.7\n", "a PDF document; write the table as CSV or Parquet first"),
        ("t.png", picture("png"), "an image; folders of images are read by dataset=image_folder"),
        ("t.jpg", picture("jpeg"), "an image; folders of images are read by"),
        ("t.webp", picture("webp"), "an image; folders of images are read by"),
        ("t.bmp", picture("bmp"), "an image; folders of images are read by"),
        ("t", b"\0\0\x08\x03\0\0\0\1", "an IDX file; dataset=idx reads it"),
        ("t.7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
        ("t.csv", b"<!DOCTYPE html>\n<html>", "an HTML page; write the table as CSV or Parquet"),
        ("t.xml", b"\xef\xbb\xbf<?xml version='1.0'?>", "XML; write the table as CSV or Parquet"),
        ("t.json", b'[{"a": 1}]', "a JSON array; write JSON lines, an object a line, as pandas"),
        ("t.json", b'{\n  "a": 1\n}', "JSON over several lines; write JSON lines, an object a"),
        ("t.bin", bytes(range(256)), "begins with 0x00010203, which is none of the formats that"),
        ("t.csv", b"", "empty, no rows"),
        ("t.parquet", b"a,b\n1,2\n", "not a Parquet file, in spite of its name"),
        ("t.feather", b"a,b\n1,2\n", "not an Arrow or Feather file, in spite of its name"),
        ("t.parquet.gz", gzip.compress(b"PAR1"), "a Parquet file that is packed once more; unpack"),
        ("t.csv", b"a,b\n1,2\n", "separated text rather than one of .parquet, .pq, .feather"),
    ],
)
def test_other_files_are_named(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table_file(str(tmp_path / name))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: {kind}")
    assert "\n" not in message


def test_an_sqlite_database(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "t.db")
    connection.execute("create table t (a)")
    connection.close()
    with pytest.raises(DataError, match="an SQLite database; write the table as CSV or Parquet"):
        read_table_file(str(tmp_path / "t.db"))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "table.arff").touch()
    with pytest.raises(DataError) as caught:
        read_table_file(str(tmp_path / "tabel.arff"), option="test_path")
    assert str(caught.value) == (
        f"dataset.test_path={tmp_path}/tabel.arff: no such file (did you mean 'table.arff'?)"
    )
    with pytest.raises(DataError, match=f"^dataset.path={tmp_path}: a folder, not a file$"):
        read_table_file(str(tmp_path))


# ── .npy ──────────────────────────────────────────────────────────────────────────────────────


def test_npy_files(tmp_path: Path) -> None:
    path = str(tmp_path / "t.npy")
    np.save(path, np.arange(6, dtype=np.float32).reshape(3, 2))
    table = read_table_file(path)
    assert table.names is None
    assert [plain(column) for column in table.columns] == [[0, 2, 4], [1, 3, 5]]
    assert plain(read_table_file(path, drop=[-1]).columns[1]) == [None] * 3
    np.save(path, np.array([(1, "a"), (2, "b ")], [("n", "i4"), ("s", "U2")]))
    assert by_name(read_table_file(path)) == {"n": [1, 2], "s": ["a", "b"]}


def test_npy_files_that_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(DataError, match="holds Python objects, which are not read since that"):
        read_table_file(str(path))
    np.save(path, np.zeros(3))
    with pytest.raises(DataError, match=r"must be \[rows, columns\], got \[3\]; a single column"):
        read_table_file(str(path))
    np.save(path, np.zeros((30, 30)))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"damaged \.npy file, "):
        read_table_file(str(path))
