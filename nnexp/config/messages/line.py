"""Any error in one line: what it is about decides which of the other files tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.messages.command_line import (
    missing_choice,
    no_baseline,
    no_choice,
    no_steps,
    not_an_override,
)
from nnexp.config.messages.files import bad_file, wrong_header, wrong_override
from nnexp.config.messages.machine import too_large
from nnexp.config.messages.options import wrong_option
from nnexp.config.messages.words import chain, is_of_hydra, joined, plainer, sentence_of
from nnexp.errors import NnexpError


def told(error: Exception, arguments: Sequence[str] = ()) -> str:
    """The error in one line; one that nobody foresaw says how to see where it comes from.

    Args:
        arguments: the command line, for errors of Hydra's that do not name what they are about.
    """
    if isinstance(error, NnexpError):
        return joined(str(error))
    line = (
        bad_file(error)
        or too_large(error)
        or no_choice(error, arguments)
        or no_baseline(error, arguments)
        or no_steps(error, arguments)
    )
    if line:
        return line
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    line = one_line(error)
    foreseen = isinstance(error, HydraException | OmegaConfBaseException | OSError)
    if foreseen or (isinstance(error, ValueError) and is_of_hydra(error)):
        return line
    return f"unexpected {type(error).__name__}: {line} (HYDRA_FULL_ERROR=1 shows the traceback)"


def one_line(error: BaseException) -> str:
    """What went wrong, in one line, for any error on the way to a composed config."""
    if isinstance(error, MissingConfigException):
        return missing_choice(error)
    if isinstance(error, OverrideParseException):
        return not_an_override(error)
    text = str(error)
    told_by_omegaconf = (e for e in chain(error) if isinstance(e, OmegaConfBaseException))
    origin = next((e for e in told_by_omegaconf if e.full_key is not None), None)
    file = re.match(r"In '([^']+)': ", text)
    if file:
        path = file[1]
        name = path if path.startswith("schema/") else f"{path}.yaml"
        return f"{name}: " + (
            wrong_header(path, origin)
            or (wrong_option(origin) if origin else wrong_override(text[file.end() :]))
        )
    if origin is None:
        return plainer(sentence_of(error))
    merged = re.match(r"Error merging override \+*(.*)", text, re.DOTALL)
    return wrong_option(origin, merged[1] if merged else "")
