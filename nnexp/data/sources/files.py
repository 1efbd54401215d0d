"""Files of data sets: compressed with gzip or not, and downloaded with a checksum."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from nnexp.errors import DataError

# --------------------------------------------------------------------------------------------------
# Files that may be gzip.
# --------------------------------------------------------------------------------------------------


_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def packing_of(beginning: bytes) -> str | None:
    """Return how a file is packed that begins so: gzip, bz2, zstd, or not at all."""
    return next((kind for magic, kind in _PACKED.items() if beginning.startswith(magic)), None)


def unpack(content: bytes, file: str) -> bytes:
    """What a file packed with gzip, bzip2 or zstd holds; the content of any other as it is.

    Raises:
        DataError: the stream is damaged or ends early, or the file is called .gz and is not gzip.
            ``file`` is named.
    """
    kind = packing_of(content)
    if kind is None:
        named = _SUFFIXES.get(Path(file).suffix)
        if named and content:
            raise DataError(f"{file}: not a {named} file, in spite of its name")
        return content
    try:
        if kind == "gzip":
            return gzip.decompress(content)
        if kind == "bz2":
            return bz2.decompress(content)
        return _unpack_zstd(content)
    except EOFError as error:
        raise DataError(f"{file}: truncated, the {kind} stream has no end") from error
    except (OSError, ValueError, zlib.error) as error:
        if "ended before" in str(error) or "truncated" in str(error).casefold():
            raise DataError(f"{file}: truncated, the {kind} stream has no end") from error
        raise DataError(f"{file}: damaged {kind}, {error}") from error


def _unpack_zstd(content: bytes) -> bytes:
    import pyarrow

    with pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd") as stream:
        unpacked: bytes = stream.read()
    return unpacked


# --------------------------------------------------------------------------------------------------
# A published file from the first mirror that has it, checked before anyone sees it.
# --------------------------------------------------------------------------------------------------

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without an answer or a byte


def fetch(file: str, folders: Sequence[str], sha256: str, target: Path) -> None:
    """Download ``file`` from the first of ``folders`` (URLs) that delivers it whole to ``target``.

    The bytes go to a temporary file beside the target, which takes the target's name once their
    SHA-256 is right: a download that is cut short or killed leaves no file under that name.

    Raises:
        DataError: no mirror delivered the file, with every URL and its reason; or the folder of the
            target cannot be written.
    """
    reasons = []
    for folder in folders:
        url = f"{folder.rstrip('/')}/{file}"
        try:
            with _beside(target) as part:
                found = _copy(url, part, f"{target.parent.name}/{file}")
                if found != sha256:
                    raise _Refused(f"sha256 {found}, expected {sha256}")
        except _Refused as refused:
            reasons.append(f"{url} ({refused})")
        else:
            return
    raise DataError(f"{target}: absent, and not downloaded: {'; '.join(reasons)}")


class _Refused(Exception):
    """Why one mirror did not deliver."""


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """A new file in the target's folder, moved to the target unless an exception passes."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
        part.replace(target)
    except OSError as error:  # the mirror's are _Refused by now
        raise DataError(f"{target.parent}: cannot be written, {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(url: str, part: IO[bytes], label: str) -> str:
    """Write what the URL delivers to ``part``; its SHA-256."""
    digest = hashlib.sha256()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "nnexp"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            received = 0
            with _progress(label, total) as advance:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    _write(part, chunk)
                    received += len(chunk)
                    advance(len(chunk))
    except urllib.error.HTTPError as error:
        error.close()
        raise _Refused(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Refused(str(error.reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Refused(str(error) or type(error).__name__) from error
    if total is not None and received != total:
        raise _Refused(f"cut short after {received} of {total} bytes")
    return digest.hexdigest()


def _write(part: IO[bytes], chunk: bytes) -> None:
    """A full disk is no fault of the mirror, so the next one is not tried."""
    try:
        part.write(chunk)
    except OSError as error:
        raise DataError(f"{Path(part.name).parent}: cannot be written, {error.strerror}") from error


@contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, or nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda received: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda received: progress.advance(task, received)
