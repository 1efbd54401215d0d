"""The text of a file, and what a file is that holds none."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from nnexp.data.packed import unpack
from nnexp.errors import ConfigError, DataError, did_you_mean

_WORKBOOK = "an Excel workbook; save its sheet as CSV first"
# What files begin with that hold no text.
_FORMATS = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": _WORKBOOK,
    b"PAR1": "a Parquet file; write it as CSV first",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ\x00": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"SQLite format 3\x00": "an SQLite database; write the table as CSV first",
    b"\x93NUMPY": "a NumPy array; write it as CSV first",
    b"\x89HDF\r\n": "an HDF5 file; write the table as CSV first",
}
_OFFICE = b"[Content_Types].xml"  # the first member of an .xlsx, which is a zip archive
_MARKUP = {
    r"\s*<(?:!doctype html|html)\b": "an HTML page",
    r"\s*<\?xml\b": "XML",
    r'\s*(?:\[\s*)?\{\s*"': "JSON",
}
_BEGINNING = 1000  # characters that are looked at for NUL


def read_text(path: str, encoding: str, option: str) -> str:
    """The file's text, unpacked if it is gzip, without a byte order mark.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        ConfigError: no encoding has that name.
        DataError: the file is not there, or holds no text in that encoding.
    """
    content = _read(path, option)
    for beginning, kind in _FORMATS.items():
        if content.startswith(beginning):
            raise DataError(f"{path}: {_WORKBOOK if _OFFICE in content[:200] else kind}")
    content = unpack(content, path)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise ConfigError(f"dataset.encoding={encoding}: no such encoding") from error
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(
                f"{path}: UTF-16, not {encoding}; give dataset.encoding=utf-16"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte 0x{content[error.start]:02x} is not {encoding}; "
            "another encoding, such as latin-1 or utf-16, is given by dataset.encoding"
        ) from error
    _require_table(text, path, encoding)
    return text


def _read(path: str, option: str) -> bytes:
    file = Path(path).expanduser()
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        near = []
        with contextlib.suppress(OSError):
            near = [sibling.name for sibling in file.parent.iterdir()]
        place = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise DataError(
            f"dataset.{option}={path}: no such file{place}{did_you_mean(file.name, near)}"
        ) from error
    except IsADirectoryError as error:
        raise DataError(f"dataset.{option}={path}: a folder, not a file") from error
    except OSError as error:
        raise DataError(f"dataset.{option}={path}: cannot be read, {error.strerror}") from error


def _require_table(text: str, path: str, encoding: str) -> None:
    """No text of another kind, and no UTF-16 that was read as something else."""
    for pattern, kind in _MARKUP.items():
        if re.match(pattern, text, re.IGNORECASE):
            raise DataError(f"{path}: {kind}, not a table of separated cells")
    beginning = text[:_BEGINNING]
    if beginning.count("\0") * 3 > len(beginning):
        raise DataError(
            f"{path}: full of NUL characters; if it is text, its encoding is not {encoding} but "
            "perhaps dataset.encoding=utf-16-le"
        )
