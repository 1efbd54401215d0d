"""Files that may be gzip."""

from __future__ import annotations

import gzip
import zlib

from nnexp.errors import DataError


def unpack(content: bytes, file: str) -> bytes:
    """What a gzip file holds; the content of any other file as it is.

    Raises:
        DataError: the gzip stream is damaged or ends early, or the file is called .gz and is not
            gzip. ``file`` is named.
    """
    if not content.startswith(b"\x1f\x8b"):
        if file.endswith(".gz") and content:
            raise DataError(f"{file}: not a gzip file, in spite of its name")
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise DataError(f"{file}: truncated, the gzip stream has no end") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{file}: damaged gzip, {error}") from error
