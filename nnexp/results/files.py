"""Writing files so that neither a kill nor a full disk leaves half of something behind."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

HELD_BACK_LIMIT = 4 * 2**20
"""Bytes that one journal keeps in memory while its file cannot be written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is afterwards either the old one or the new one, never a mixture.

    The content goes to ``<name>.tmp`` in the same folder, which is made if absent, is forced to the
    disk, and takes the place of ``path`` by a rename, which is forced to the disk as well.

    Raises OSError (disk full, no permission) that names ``path``; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # of a full disk, write() says no name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Journal:
    """A file of whole entries that only grows, and that a full disk cannot stop.

    An entry is handed to the operating system before :meth:`append` returns, so that it survives a
    kill of the process. If the file cannot be written, this is told once, a partly written entry is
    cut off again, and the entries wait in memory for the next call. No handle stays open: a group
    of a thousand runs has two thousand journals, more than the usual limit on open files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = path.stat().st_size if path.exists() else 0  # bytes of whole entries
        self._held_back = bytearray()
        self._dropped = 0
        self._told = False

    def append(self, entries: bytes) -> None:
        """Write what was held back, then ``entries``; what cannot be written is held back."""
        if len(self._held_back) + len(entries) <= HELD_BACK_LIMIT:
            self._held_back += entries
        else:
            self._dropped += len(entries)
        try:
            self._cut_torn_end()
            with self.path.open("ab", buffering=0) as file:
                rest = bytes(self._held_back)
                while rest:
                    rest = rest[file.write(rest) :]
                end = file.tell()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut_torn_end()
            if not self._told:
                self._told = True
                log.warning(
                    "%s cannot be written (%s); the run goes on and tries again",
                    self.path,
                    error.strerror,
                )
        else:
            self._whole = end
            self._held_back.clear()

    def close(self) -> None:
        """Try once more to write what was held back, and tell how much is lost for good."""
        if self._held_back:
            self.append(b"")
        lost = len(self._held_back) + self._dropped
        if lost:
            log.warning("%s lacks %d bytes that could not be written", self.path, lost)

    def _cut_torn_end(self) -> None:
        if self.path.exists() and self.path.stat().st_size > self._whole:
            os.truncate(self.path, self._whole)
