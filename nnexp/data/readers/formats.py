"""Recognise the format of a file of rows, by its content and then by its name, and read it.

A file that is of no such format is named for what it is, with the way out.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from nnexp.data.readers import (
    arff,
    arrow,
    content,
    json_lines,
    numpy_files,
    parquet,
    svmlight,
)
from nnexp.data.table import Table
from nnexp.errors import DataError

SEPARATED = "separated"
"""The format of CSV, TSV and other files of a row a line, which ``read_table_file`` leaves to the
reader of separated text."""

_BY_PATH = {
    "parquet": parquet.read_parquet,
    "arrow": arrow.read_arrow,
    "npy": numpy_files.read_npy,
}
_BY_CONTENT = {
    "json_lines": json_lines.read_json_lines,
    "arff": arff.read_arff,
    "svmlight": svmlight.read_svmlight,
}
FORMATS = (SEPARATED, *_BY_PATH, *_BY_CONTENT)
"""The names that ``format_of`` returns."""

# --------------------------------------------------------------------------------------------------
# What is readable, by how it begins and by its suffix.
# --------------------------------------------------------------------------------------------------

_MAGIC = {b"PAR1": "parquet", arrow.FILE_MAGIC: "arrow", numpy_files.MAGIC: "npy"}
_ARROW_STREAM = b"\xff\xff\xff\xff"
_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet",
    ".feather": "arrow", ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow",
    ".npy": "npy",
    ".jsonl": "json_lines", ".ndjson": "json_lines",
    ".arff": "arff",
    ".svm": "svmlight", ".libsvm": "svmlight", ".svmlight": "svmlight",
}  # fmt: skip
_TITLES = {
    "parquet": "a Parquet file", "arrow": "an Arrow or Feather file", "npy": "a NumPy array",
    "json_lines": "JSON lines", "arff": "an ARFF file", "svmlight": "an SVMlight file",
}  # fmt: skip

# --------------------------------------------------------------------------------------------------
# What is not readable, and what to do about it.
# --------------------------------------------------------------------------------------------------

_WORKBOOK = "an Excel workbook; save its sheet as CSV first"
_R = "data of R; write the table with write.csv(x, 'table.csv', row.names = FALSE) first"
_MATLAB = "a Matlab file; write its table with writetable(t, 'table.csv') first"
_IMAGE = "an image; folders of images are read by dataset=image_folder"
_STATA = "a Stata file; write it with export delimited first"
_PICKLE = "a pickle, which is not read since that could run code; write the table as Parquet first"
_AS_PARQUET = "write the table as CSV or Parquet first"
_OTHERS = {
    b"PARE": "an encrypted Parquet file; write it without encryption first",
    b"FEA1": "a Feather file of version 1; write it anew with pyarrow.feather.write_feather first",
    b"ORC": f"an ORC file; {_AS_PARQUET}",
    b"Obj\x01": f"an Avro file; {_AS_PARQUET}",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": _WORKBOOK,
    b"SQLite format 3\x00": f"an SQLite database; {_AS_PARQUET}",
    b"\x89HDF\r\n": f"an HDF5 file; {_AS_PARQUET}",
    b"CDF\x01": f"a NetCDF file; {_AS_PARQUET}",
    b"CDF\x02": f"a NetCDF file; {_AS_PARQUET}",
    b"$FL2": f"an SPSS file; {_AS_PARQUET}",
    b"$FL3": f"an SPSS file; {_AS_PARQUET}",
    b"<stata_dta>": _STATA,
    b"\x00" * 12 + b"\xc2\xea\x81\x60": "a SAS file; write it with PROC EXPORT as CSV first",
    b"HEADER RECORD*******LIB": "a SAS file; write it with PROC EXPORT as CSV first",
    b"RDX2\n": _R, b"RDX3\n": _R, b"RDA2\n": _R, b"RDA3\n": _R, b"X\n\x00\x00\x00": _R,
    b"A\n2\n": _R, b"A\n3\n": _R,
    b"MATLAB 5.0 MAT-file": _MATLAB, b"MATLAB 7.3 MAT-file": _MATLAB,
    b"%PDF-": f"a PDF document; {_AS_PARQUET}",
    b"{\\rtf": f"a document of text (RTF); {_AS_PARQUET}",
    b"\x89PNG\r\n": _IMAGE, b"\xff\xd8\xff": _IMAGE, b"GIF87a": _IMAGE, b"GIF89a": _IMAGE,
    b"II*\x00": _IMAGE, b"MM\x00*": _IMAGE,
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x04\x22\x4d\x18": "packed with lz4; unpack it, or pack it with gzip or zstd",
    b"\x1f\x9d": "packed with compress; unpack it, or pack it with gzip or zstd",
}  # fmt: skip
# Later than at the beginning of a file.
_LATER = {
    (8, b"DUCK"): f"a DuckDB database; {_AS_PARQUET}",
    (8, b"WEBP"): _IMAGE,
    (257, b"ustar"): "a tar archive; unpack it first",
    (512, b"\x89HDF\r\n"): _MATLAB,
}
# Binary files whose beginning alone does not say enough.
_NAMED = {
    (
        ".dta",
        b"[\x69\x6c-\x73][\x01\x02]\x01",
    ): _STATA,
    (".bmp", b"BM"): _IMAGE,
    (".xls", b"\x09[\x00\x02\x04\x08]"): _WORKBOOK,
    (".mat", b"\x00|\x01"): _MATLAB,
}
_PICKLED = re.compile(rb"\x80[\x02-\x05]")
_IDX = re.compile(rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x08]")
_MARKUP = (
    (re.compile(r"\s*<(?:!doctype html|html)\b", re.IGNORECASE), "an HTML page"),
    (re.compile(r"\s*<\?xml\b"), "XML"),
)
_ARFF = re.compile(r"(?:\s*(?:%[^\n]*)?\n)*\s*@relation\b", re.IGNORECASE)
_JSON = re.compile(r'\s*(?:\{\s*(?:"|\}|\n|$)|\[\s*\{)')
_PEEK = 1 << 16  # bytes that are looked at
_ROWS = 20  # lines that have to look like SVMlight, unless the file is called so


def format_of(path: str, *, option: str = "path") -> str:
    """Return which of ``FORMATS`` a file is in, packed or not.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        DataError: it is not there, empty, of a kind that is not read, or not what its name says.
    """
    file = content.existing_file(path, option)
    packed = content.beginning_of(file, path, _PEEK)
    if not packed:
        raise DataError(f"{path}: empty, no rows")
    if packed.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: {_archive(file, path)}")
    start = content.unpacked_beginning(file, packed, _PEEK)
    suffix = _suffix(file)
    found = _by_magic(start, suffix)
    if found in _BY_PATH and start is not packed:
        raise DataError(f"{path}: {_TITLES[found]} that is packed once more; unpack it first")
    kind = None if found else _other_kind(start, suffix)
    if kind is not None:
        if start is not packed:
            content.content_of(path, option)  # says so where the packed data are damaged
        raise DataError(f"{path}: {kind}")
    found = found or _by_text(start, suffix, path)
    named = _SUFFIXES.get(suffix)
    if named in _BY_PATH and found != named:
        raise DataError(f"{path}: not {_TITLES[named]}, in spite of its name")
    if found == SEPARATED:
        return named or SEPARATED
    return found


def read_table_file(path: str, *, option: str = "path", drop: Collection[Any] = ()) -> Table:
    """Read a file of any of ``FORMATS`` but separated text.

    Args:
        path: as the config gives it.
        option: of ``dataset``, that names the file.
        drop: columns, by name or number, that keep their places in the table but are not read,
            whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: the file is not there, of another kind, damaged, or has a column that cannot be
            read; the message names file, line or row, column and value, as far as there are any.
    """
    found = format_of(path, option=option)
    if found in _BY_PATH:
        return _BY_PATH[found](Path(path).expanduser(), path, drop)
    if found in _BY_CONTENT:
        return _BY_CONTENT[found](content.content_of(path, option), path, drop)
    known = ", ".join(dict.fromkeys(_SUFFIXES))
    raise DataError(f"{path}: separated text rather than one of {known}")


def _suffix(file: Path) -> str:
    """The last suffix in lower case, but for that of a packer."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in content.PACKED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _by_magic(start: bytes, suffix: str) -> str | None:
    for beginning, name in _MAGIC.items():
        if start.startswith(beginning):
            return name
    return "arrow" if start.startswith(_ARROW_STREAM) else None


def _other_kind(start: bytes, suffix: str) -> str | None:
    """What a file is that is not read, and what to do; None where it may be text."""
    for beginning, kind in _OTHERS.items():
        if start.startswith(beginning):
            return kind
    for (place, part), kind in _LATER.items():
        if start[place:].startswith(part):
            return kind
    for (named, part_pattern), kind in _NAMED.items():
        if suffix == named and re.match(part_pattern, start, re.DOTALL):
            return kind
    if _PICKLED.match(start):
        return _PICKLE
    if _IDX.match(start):
        return "an IDX file; dataset=idx reads it"
    has_mark = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in start and not has_mark and _is_binary(start):
        return (
            f"begins with 0x{start[:4].hex()}, which is none of the formats that are read: CSV and "
            "other separated text, Parquet, Feather, JSON lines, ARFF, SVMlight, .npy"
        )
    return None


def _is_binary(start: bytes) -> bool:
    """Whether bytes are no text; UTF-16 has a NUL in every other place, and few else."""
    halves = (start[0::2], start[1::2])
    counts = [half.count(b"\0") for half in halves]
    is_wide = max(counts) > 0.6 * len(halves[0]) and min(counts) < 0.1 * len(halves[0])
    return not is_wide


def _archive(file: Path, path: str) -> str:
    """What a zip archive is: many formats are one."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged zip archive"
    if any(name.startswith("xl/") for name in names):
        return _WORKBOOK
    if "content.xml" in names and "mimetype" in names:
        return "an OpenDocument sheet; save it as CSV first"
    if any(name.startswith(("word/", "ppt/")) for name in names):
        return f"a document of Office; {_AS_PARQUET}"
    if names and all(name.endswith(".npy") for name in names):
        return f"arrays of NumPy; dataset=arrays dataset.path={path} reads its x and y"
    if any(name.endswith("/data.pkl") for name in names):
        return "a file of torch.save; save its tensors with numpy.savez first"
    return "a zip archive; unpack it first"


def _by_text(start: bytes, suffix: str, path: str) -> str:
    """The format of a text, by how it begins."""
    text = start.decode("utf-8", errors="replace").removeprefix("\ufeff")
    for pattern, kind in _MARKUP:
        if pattern.match(text):
            raise DataError(f"{path}: {kind}; {_AS_PARQUET}")
    if _ARFF.match(text):
        return "arff"
    if _JSON.match(text):
        if text.lstrip().startswith("["):
            raise DataError(
                f"{path}: a JSON array; write JSON lines, an object a line, as pandas does with "
                "to_json(path, orient='records', lines=True)"
            )
        first = text.lstrip().partition("\n")[0].strip()
        if not first.endswith("}") and "\n" in text.strip():
            raise DataError(
                f"{path}: JSON over several lines; write JSON lines, an object a line, as pandas "
                "does with to_json(path, orient='records', lines=True)"
            )
        return "json_lines"
    whole = start.split(b"\n")[:-1] or [start.rpartition(b" ")[0] or start]
    lines = [line for line in whole if line.strip()][:_ROWS]
    if lines and all(b":" in line and svmlight.is_row(line) for line in lines):
        return "svmlight"
    return SEPARATED
