"""Files written atomically, and strict JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# --------------------------------------------------------------------------------------------------
# Writing files so that neither a kill nor a full disk leaves half of something behind.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

HELD_BACK_LIMIT = 4 * 2**20
"""Bytes that one journal keeps in memory while its file cannot be written."""
WRITE_EVERY = 0.5
"""Seconds from one writing of a journal to the next."""


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is afterwards either the old one or the new one, never a mixture.

    The content goes to ``<name>.tmp`` in the same folder, which is made if absent, and takes the
    place of ``path`` by a rename. So a kill of the process leaves one or the other.

    A loss of power does so too where there was an old one: the new one is then forced to the disk
    before and after the rename. A first file is not, which would cost a sweep of small runs more
    than all else that they write; a loss of power in the seconds until the system writes it by
    itself can leave it absent or empty, as if the process had been killed before.

    Raises OSError (disk full, no permission) that names ``path``; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replaces = path.exists()
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb", buffering=0) as file:
            _write_all(file.write, content)
            if replaces:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # of a full disk, write() says no name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if replaces:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class Journal:
    """A file of whole entries that only grows, and that a full disk cannot stop.

    An entry is written at once if the last writing is ``WRITE_EVERY`` seconds ago. Else it waits
    for the first entry after that time, for :meth:`flush` or for :meth:`close`: so a slow run's
    entries are on disk as they come, and a fast one's are not an opening of the file each. What has
    been written has been handed to the operating system, and survives a kill of the process.

    If the file cannot be written, this is told once, a partly written entry is cut off again, and
    the entries wait in memory for the next writing. No handle stays open: a group of a thousand
    runs has two thousand journals, more than the usual limit on open files.

    Args:
        path: of the file; it may exist.
        frame: makes entries the bytes of the file.
        clock: in seconds, from any start.
    """

    def __init__(
        self,
        path: Path,
        frame: Callable[[Sequence[bytes]], bytes] = b"".join,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._frame = frame
        self._clock = clock
        self._tried = -math.inf  # when the file was last written, or could not be
        self._waiting: list[bytes] = []
        self._held_back = bytearray()  # framed, and refused by the disk
        self._whole = path.stat().st_size if path.exists() else 0  # bytes of whole entries
        self._torn = False
        self._dropped = 0
        self._told = False

    def append(self, entry: bytes) -> None:
        """Add an entry, and write it with all that waits if it is time to."""
        self._waiting.append(entry)
        if self._clock() - self._tried >= WRITE_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write all entries now; what cannot be written is held back."""
        if not (self._waiting or self._held_back):
            return
        new = self._frame(self._waiting)
        self._held_back += new
        self._waiting.clear()
        try:
            if self._torn:
                self._cut_torn_end()
            with self.path.open("ab", buffering=0) as file:
                self._torn = True  # also if Ctrl-C comes now
                _write_all(file.write, bytes(self._held_back))
                self._whole = file.tell()
                self._torn = False
            self._held_back.clear()
        except OSError as error:
            if len(self._held_back) > HELD_BACK_LIMIT:
                del self._held_back[len(self._held_back) - len(new) :]
                self._dropped += len(new)
            with contextlib.suppress(OSError):
                self._cut_torn_end()
            if not self._told:
                self._told = True
                log.warning(
                    "%s cannot be written (%s); the run goes on and tries again",
                    self.path,
                    error.strerror,
                )
        self._tried = self._clock()

    def close(self) -> None:
        """Write what waits or was held back, and tell how much is lost for good."""
        self.flush()
        lost = len(self._held_back) + self._dropped
        if lost:
            log.warning("%s lacks %d bytes that could not be written", self.path, lost)

    def _cut_torn_end(self) -> None:
        if self.path.exists() and self.path.stat().st_size > self._whole:
            os.truncate(self.path, self._whole)
        self._torn = False


def _write_all(write: Callable[[memoryview], int], content: bytes | memoryview) -> None:
    """Call ``write``, which may take only a part at a time, until all is written."""
    rest = memoryview(content)
    while rest:
        rest = rest[write(rest) :]


# --------------------------------------------------------------------------------------------------
# JSON as RFC 8259 has it: a number that is not finite is written as ``null``, and never read.
# --------------------------------------------------------------------------------------------------


def to_json(value: object) -> bytes:
    """``value`` in one line, without a newline at its end."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:  # a number that is not finite
        text = _ENCODER.encode(_finite(value))
    # A lone surrogate (from a file name that is no UTF-8) becomes its JSON escape, \\udcXX.
    return text.encode("utf-8", errors="backslashreplace")


def to_readable_json(fields: Mapping[str, object], indent: bytes = b"") -> bytes:
    """An object with a line for each key, and so the objects in it but for short ones.

    The standard library's own indentation also breaks lists, and takes several times as long.
    """
    inner = indent + b"  "
    lines = []
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            text = to_json(value)
            if not indent or len(text) > _SHORT:
                text = to_readable_json(value, inner)
        else:
            text = to_json(value)
        lines.append(b"%b%b: %b" % (inner, to_json(key), text))
    return b"{\n" + b",\n".join(lines) + b"\n" + indent + b"}"


def to_object(text: bytes) -> dict[str, Any]:
    """The one strict JSON object in ``text``. Raises ValueError in one line."""
    value = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


_SHORT = 100  # bytes of an object on one line
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(value: Any) -> Any:
    """``value`` with every number that is not finite replaced by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
