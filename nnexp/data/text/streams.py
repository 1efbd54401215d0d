"""Files of text as streams of bytes, whatever compresses them, and which files a path names."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nnexp.errors import DataError

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"


def files_of(paths: Sequence[str]) -> list[Path]:
    """The files that paths name: files, folders of files, and patterns such as ``wiki/*.xml.bz2``.

    Raises:
        DataError: a path that names none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        place = Path(path)
        if place.is_dir():
            own = [file for file in place.iterdir() if not file.name.startswith(".")]
            own = [file for file in own if file.is_file()]
        else:
            own = [place] if place.exists() else _matching(path)
        if not own:
            raise DataError(f"{path}: no such file, and no folder or pattern of files")
        found.update(dict.fromkeys(sorted(own)))
    return list(found)


def _matching(pattern: str) -> list[Path]:
    return [Path(found) for found in glob.glob(pattern)]  # noqa: PTH207  # it may be absolute


def label_of(file: Path) -> str:
    """A file's name up to its first dot."""
    return file.name.partition(".")[0]


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked as it is read if it is gzip or bzip2.

    Raises:
        DataError: it cannot be read, or is damaged or cut short; also while it is being read.
    """
    try:
        with file.open("rb") as raw:
            packed = io.BufferedReader(raw)
            start = packed.peek(4)
            if start.startswith(_GZIP):
                with gzip.GzipFile(fileobj=packed) as stream:
                    yield stream  # type: ignore[misc]
            elif start.startswith(_BZIP2):
                with bz2.BZ2File(packed) as stream:
                    yield stream
            else:
                yield packed
    except EOFError as error:
        raise DataError(f"{file}: truncated, its compressed stream has no end") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: damaged, {error}") from error
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from error


def decoded(line: bytes, where: str) -> str:
    """Text from UTF-8.

    Raises:
        DataError: it is none; ``where`` says of which file and line.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = line[error.start : error.end].hex()
        raise DataError(f"{where}: byte 0x{bad} is not UTF-8") from error
