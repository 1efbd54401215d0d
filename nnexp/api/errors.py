"""Errors of the API: what a user can act on is an ``NnexpError`` of one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from nnexp.config.errors import error_line
from nnexp.errors import ConfigError, NnexpError, is_out_of_memory
from nnexp.runs.output_folder import FolderInUse

_UNFORESEEN = "unexpected "  # how ``told`` begins where it does not know the error


@contextlib.contextmanager
def config_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Raise what goes wrong inside, where a config is composed, as a ConfigError of one line."""
    try:
        yield
    except NnexpError:
        raise
    except Exception as error:
        line = error_line(error, overrides)
        if line.startswith(_UNFORESEEN):
            raise
        raise ConfigError(line.replace("a sweep, with -m", "a nnexp.sweep")) from error


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise files that cannot be written, and memory that runs out, as an NnexpError."""
    try:
        yield
    except FolderInUse as refused:
        raise refused.error from None
    except OSError as error:
        raise NnexpError(error_line(error)) from error
    except Exception as error:
        if isinstance(error, NnexpError) or not is_out_of_memory(error):
            raise
        raise NnexpError(error_line(error)) from error
