"""Config errors as one line that says what to change: ``one_line`` explains any exception."""

from __future__ import annotations

import dataclasses
import os
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    InterpolationValidationError,
    OmegaConfBaseException,
)

from nnexp.config.schema import GLOBAL_GROUPS, GROUPS, SCHEMAS
from nnexp.config.wording import (
    all_keys,
    as_typed,
    chain,
    example_of,
    is_of_hydra,
    joined,
    keys_of_type,
    kinds_with,
    missing_choice,
    nearest_option,
    no_baseline,
    no_choice,
    no_steps,
    not_an_override,
    plainer,
    sentence_of,
    wanted,
)
from nnexp.errors import NnexpError, did_you_mean, is_out_of_memory

# --------------------------------------------------------------------------------------------------
# What the machine cannot do: memory that runs out, numbers too large.
# --------------------------------------------------------------------------------------------------


def too_large(error: Exception) -> str | None:
    """Too little memory, or a number that overflows; None for other errors."""
    text = sentence_of(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if is_out_of_memory(error):
        asked = re.search(r"tried to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
        return (
            "out of memory: the network or the data do not fit"
            + (f" (tried to allocate {asked[1]})" if asked else "")
            + "; try smaller model.hidden, trainer.batch_size or dataset.num_train"
        )
    if "OverflowError" in names or re.search(
        "Overflow when unpacking|multiplication overflow", text
    ):
        return (
            "a number is too large to compute with; look at model.hidden, trainer.batch_size and "
            "trainer.threads (HYDRA_FULL_ERROR=1 shows where)"
        )
    return None


# --------------------------------------------------------------------------------------------------
# Options that are not there, and values that do not fit them.
# --------------------------------------------------------------------------------------------------


def wrong_option(error: OmegaConfBaseException, override: str = "") -> str:
    """An option that is not there, or that a value does not fit.

    Args:
        override: what of the command line gave it, if known.
    """
    key = re.sub(r"\[\d+\]", "", str(error.full_key))
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        unknown = _unknown_key(error)
        if unknown:
            return unknown
    if isinstance(error, InterpolationResolutionError) and not isinstance(
        error, InterpolationValidationError
    ):
        return f"{key}: {_unresolved(error)}"
    name, _, value = override.partition("=")
    if name.startswith("~"):
        return f"{override}: an option can be set to another value, not taken away"
    if name.startswith(f"{key}."):
        return f"{name}: no such option; {key} {wanted(key) or 'has none of its own'}"
    shown = value
    if name != key:
        key, shown = str(error.full_key), as_typed(error.value)
    sentence = sentence_of(error)
    if reference := re.search(r"While dereferencing interpolation '(.*?)'", sentence):
        shown = reference[1]
    if not key:  # in a merge OmegaConf knows no key, but sometimes the class that it stands for
        unfit = re.search(r"is not a subclass of (\w+)\. value: (.*)", sentence)
        keys = keys_of_type(unfit[1]) if unfit else []
        if unfit and len(keys) == 1:
            key, shown = keys[0], unfit[2]
    if "Cannot merge DictConfig with ListConfig" in sentence:
        if not key:
            return "has a list where 'option: value' lines belong, or such lines for a list"
        shown = value or "..."
    words = wanted(key)
    if words is None and "is not Optional" in sentence:
        words = "must not be null"
    return f"{key}={shown}: {words or sentence}" if key else sentence


def _unknown_key(error: OmegaConfBaseException) -> str | None:
    schema = error.object_type
    if not (isinstance(schema, type) and dataclasses.is_dataclass(schema)) or not error.full_key:
        return None
    if error.full_key == "hydra.sweeper.grids":
        return f"{error.full_key}: need nnexp's own sweeper; leave out hydra/sweeper=..."
    names = [f.name for f in dataclasses.fields(schema) if not f.name.startswith("_")]
    parent = str(error.full_key).removesuffix(str(error.key)).rstrip(".")
    return (
        f"{error.full_key}: no such option{nearest_option(str(error.full_key), names)}; "
        f"{parent or 'the config'} has {', '.join(names)}"
    )


def _unresolved(error: InterpolationResolutionError) -> str:
    """A ``${...}`` that leads nowhere."""
    sentence = sentence_of(error)
    if missing := re.search(r"Interpolation key '(.*)' not found", sentence):
        return sentence + did_you_mean(missing[1], all_keys())
    if "Recursive interpolation" in sentence:
        return "refers to itself"
    raised = re.match(r"\w+ raised while resolving interpolation: (.*)", sentence)
    return raised[1].strip("\"'") if raised else sentence


# --------------------------------------------------------------------------------------------------
# Config files: what is no YAML, and what their first lines lack.
# --------------------------------------------------------------------------------------------------


def bad_file(error: Exception) -> str | None:
    """A config file that is no YAML, by its line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "no YAML"
        if "'\\t'" in problem:
            problem = "a tab; YAML is indented with spaces"
        return f"{_near(mark.name)}:{mark.line + 1}: {problem}" if mark else joined(problem)
    if isinstance(error, yaml.reader.ReaderError):
        return f"{_near(str(error.name))}: {error.reason}"
    if not isinstance(error, UnicodeDecodeError):
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):  # the error does not name the file
        path = frame.f_locals.get("full_path")
        if frame.f_globals.get("__name__", "").startswith("hydra.") and isinstance(path, str):
            before = Path(path).read_bytes().decode("utf-8", "surrogateescape")
            clean = re.split(r"[\udc80-\udcff]", before)[0]
            return f"{_near(path)}:{clean.count(chr(10)) + 1}: must be UTF-8 text"
    return None


def wrong_header(path: str, error: OmegaConfBaseException | None) -> str | None:
    """What the head of a config file lacks, where that explains an option that is not there."""
    if not isinstance(error, ConfigAttributeError | ConfigKeyError):
        return None
    group = path.partition("/")[0]
    key = str(error.key)
    if error.full_key == group and group in GLOBAL_GROUPS:
        return "its first line must be '# @package _global_', and it must set something"
    if group == "schema":
        kind = path.removeprefix("schema/")
        place, _, name = kind.rpartition("/")
        return f"a defaults list includes it as '- /schema/{place}@_here_: {name}'"
    schemas = SCHEMAS.get(group, {})
    if not schemas or error.full_key != f"{group}.{key}":
        return None
    if error.object_type in schemas.values():
        return None
    return f"{error.full_key}: {needs_a_kind(group, key)}"


def needs_a_kind(group: str, option: str | None = None) -> str:
    """What a file of a group must begin with for its options to be known."""
    files = [example_of(kind) for kind in kinds_with(group, option)]
    lists = " or ".join(f"'defaults: [{file}]'" for file in files)
    return f"the file does not say of which kind this {group} is; begin it with {lists}"


def wrong_override(text: str) -> str:
    """``override /optimzer: sgd`` in a file's defaults list."""
    match = re.match(r"Could not override '(?:.*/)?(\w+)(?:@[\w.]*)?'", text)
    if not match:
        return joined(text)
    group = match[1]
    if group in GROUPS:
        return f"its defaults list must name the group from the root: 'override /{group}: <name>'"
    return f"override {group}: no such group{did_you_mean(group, GROUPS)}"


def _near(path: str) -> str:
    """A path as seen from here, if it is below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


# --------------------------------------------------------------------------------------------------
# Any error in one line: what it is about decides which of the other files tells it.
# --------------------------------------------------------------------------------------------------


def error_line(error: Exception, arguments: Sequence[str] = ()) -> str:
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
