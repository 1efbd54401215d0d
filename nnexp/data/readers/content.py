"""The bytes of a file, unpacked if they are packed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
from pathlib import Path

from nnexp.data.readers.origin import first_line
from nnexp.data.sources.files import unpack
from nnexp.errors import DataError, did_you_mean

_BZIP2, _XZ, _ZSTD = b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
PACKED = (b"\x1f\x8b", _BZIP2, _XZ, _ZSTD)
"""How files begin that ``unpacked`` unpacks: gzip, bzip2, xz, zstd."""

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def existing_file(path: str, option: str) -> Path:
    """Return the file of that path, ``~`` expanded.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        DataError: it is not there, or a folder.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"dataset.{option}={path}: a folder, not a file")
    if not file.exists():
        near = []
        with contextlib.suppress(OSError):
            near = [sibling.name for sibling in file.parent.iterdir()]
        place = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise DataError(
            f"dataset.{option}={path}: no such file{place}{did_you_mean(file.name, near)}"
        )
    return file


def content_of(path: str, option: str) -> bytes:
    """Return what a file holds, unpacked if it is gzip, bzip2, xz or zstd.

    Args:
        option: of ``dataset``, that names the file.

    Raises:
        DataError: it is not there, cannot be read, or is damaged.
    """
    file = existing_file(path, option)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"dataset.{option}={path}: cannot be read, {error.strerror}") from error
    return unpacked(content, path)


def unpacked(content: bytes, path: str) -> bytes:
    """Return what a packed file holds; the content of any other file as it is.

    Raises:
        DataError: the packed data are damaged or end early.
    """
    if content.startswith(_BZIP2):
        return _bzip2_or_xz(content, path, "bzip2")
    if content.startswith(_XZ):
        return _bzip2_or_xz(content, path, "xz")
    if content.startswith(_ZSTD):
        return _zstd(content, path)
    return unpack(content, path)


def _bzip2_or_xz(content: bytes, path: str, kind: str) -> bytes:
    try:
        return bz2.decompress(content) if kind == "bzip2" else lzma.decompress(content)
    except (EOFError, ValueError) as error:
        raise DataError(f"{path}: truncated, the {kind} stream has no end") from error
    except (OSError, lzma.LZMAError) as error:
        if "end-of-stream" in str(error):
            raise DataError(f"{path}: truncated, the {kind} stream has no end") from error
        raise DataError(f"{path}: damaged {kind}, {first_line(error)}") from error


def _zstd(content: bytes, path: str) -> bytes:
    import pyarrow as pa

    try:
        with pa.input_stream(pa.py_buffer(content), compression="zstd") as stream:
            return bytes(stream.read())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged or truncated zstd, {first_line(error)}") from error


def beginning_of(file: Path, path: str, length: int = 1 << 16) -> bytes:
    """Return the first bytes of a file, as it is, packed or not.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(length)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror}") from error


def unpacked_beginning(file: Path, start: bytes, length: int = 1 << 16) -> bytes:
    """Return the first bytes of what a packed file holds, ``start`` of any other file.

    A damaged file gives what could be unpacked: reading it as a whole says what is wrong.
    """
    openers = ((PACKED[0], gzip.open), (_BZIP2, bz2.open), (_XZ, lzma.open))
    try:
        for beginning, opener in openers:
            if start.startswith(beginning):
                with opener(file) as stream:
                    return bytes(stream.read(length))
        if start.startswith(_ZSTD):
            import pyarrow as pa

            with pa.input_stream(str(file), compression="zstd") as stream:
                return bytes(stream.read(length))
    except (EOFError, OSError, ValueError, lzma.LZMAError):
        return b""
    return start
