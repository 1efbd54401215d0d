"""Errors that a person can act on, each told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NnexpError(Exception):
    """Base of all errors whose message is one line for the person at the terminal.

    The entry point prints the message without a traceback and exits with code 1
    (``HYDRA_FULL_ERROR=1`` shows the traceback).
    """


class ConfigError(NnexpError):
    """A config value that is out of range or does not fit the rest of the config."""


class DataError(NnexpError):
    """A data file that is missing, damaged or not what the config says it is."""


class DivergedError(NnexpError):
    """Training reached a loss that is not a finite number."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the nearest of ``allowed``, or ``""`` if none is near."""
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
