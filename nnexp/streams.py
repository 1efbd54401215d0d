"""Text on streams and in logs of any encoding: nothing that is printed may end a program.

Files that nnexp writes are UTF-8. Standard output and standard error are what the terminal, the
locale or ``PYTHONIOENCODING`` says, which may have no ``·`` and no minus sign.
"""

from __future__ import annotations

import codecs
import io
import logging
import sys

_HANDLER = "nnexp.stand_in"

# Of one letter where there is one, so that columns stay aligned.
_STAND_INS = {
    "·": "-", "•": "*", "−": "-", "–": "-", "—": "-", "─": "-", "━": "-", "…": ".", "×": "x",
    "±": "~", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
_BRAILLE = range(0x2800, 0x2900)  # what spinners are made of


def allow_any_text() -> None:
    """Let standard output and standard error write a stand-in for what they cannot encode.

    What the user asks for, as ``PYTHONIOENCODING=ascii:replace``, stays. Standard error is set in
    any case: Python's own ``\\xb7`` is not what the user asked for.
    """
    codecs.register_error(_HANDLER, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):  # none, or what a test or a notebook has
            continue
        if stream is sys.stderr or stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_HANDLER)


def make_logs_utf8() -> None:
    """Have log files that are open hold UTF-8, as all other files, whatever the locale says.

    Hydra opens them as ``hydra.job_logging`` has it, and few configs name an encoding.
    """
    named = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(one for one in named if isinstance(one, logging.Logger))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if isinstance(handler, logging.FileHandler):
            handler.encoding, handler.errors = "utf-8", "backslashreplace"
            if isinstance(handler.stream, io.TextIOWrapper):
                handler.stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """As ``codecs.register_error`` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # of a file's name that is no text: as it is on disk
        return bytes([ord(character) - 0xDC00]), error.start + 1
    escaped = character.encode("ascii", "backslashreplace").decode("ascii")
    stand_in = "*" if ord(character) in _BRAILLE else _STAND_INS.get(character, escaped)
    return stand_in, error.start + 1
