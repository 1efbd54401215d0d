"""Every error on the way to a trained network, told in one line that says what to change."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Node, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    InterpolationValidationError,
    OmegaConfBaseException,
)

from nnexp.config.schema import SCHEMAS, BaselinesConfig
from nnexp.config.wanted import (
    all_keys,
    example_of,
    keys_of_type,
    kinds_with,
    nearest_option,
    wanted,
)
from nnexp.errors import NnexpError, did_you_mean

_GLOBAL = ("experiment", "debug")  # groups whose files speak of the whole config
_GROUPS = (*SCHEMAS, "baseline", *_GLOBAL)


def told(error: Exception, arguments: Sequence[str] = ()) -> str:
    """The error in one line; one that nobody foresaw says how to see where it comes from.

    Args:
        arguments: the command line, for errors of Hydra's that do not name what they are about.
    """
    if isinstance(error, NnexpError):
        return _joined(str(error))
    line = (
        _bad_file(error)
        or _too_large(error)
        or _no_choice(error, arguments)
        or _no_baseline(error, arguments)
        or _no_steps(error, arguments)
    )
    if line:
        return line
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    line = one_line(error)
    foreseen = isinstance(error, HydraException | OmegaConfBaseException | OSError)
    if foreseen or (isinstance(error, ValueError) and _is_of_hydra(error)):
        return line
    return f"unexpected {type(error).__name__}: {line} (HYDRA_FULL_ERROR=1 shows the traceback)"


def one_line(error: BaseException) -> str:
    """What went wrong, in one line, for any error on the way to a composed config."""
    if isinstance(error, MissingConfigException):
        return _missing_choice(error)
    if isinstance(error, OverrideParseException):
        return _not_an_override(error)
    text = str(error)
    told_by_omegaconf = (e for e in _chain(error) if isinstance(e, OmegaConfBaseException))
    origin = next((e for e in told_by_omegaconf if e.full_key is not None), None)
    file = re.match(r"In '([^']+)': ", text)
    if file:
        path = file[1]
        name = path if path.startswith("schema/") else f"{path}.yaml"
        return f"{name}: " + (
            _wrong_header(path, origin)
            or (_wrong_option(origin) if origin else _wrong_override(text[file.end() :]))
        )
    if origin is None:
        return _plainer(_sentence(error))
    merged = re.match(r"Error merging override \+*(.*)", text, re.DOTALL)
    return _wrong_option(origin, merged[1] if merged else "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _joined(text: str) -> str:
    return " ".join(text.split())


def _sentence(error: BaseException) -> str:
    """The message without OmegaConf's ``full_key: ...`` lines and torch's frames of C++."""
    text, *_ = re.split(r"\n\s*(?:full_key|reference_type|object_type)[:=]", str(error))
    text, *_ = text.split("Exception raised from ")
    return _joined(text) or type(error).__name__


def _show(value: Any) -> str:
    """A value as it is typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    elif isinstance(value, Node):
        value = value._value()
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)


def _plainer(sentence: str) -> str:
    """What Hydra says in many words."""
    for pattern, words in (
        (
            r"Multiple values for (\w+)\. .*",
            r"\1: chosen twice; where it is chosen already, a defaults list says "
            r"'override /\1: <name>'",
        ),
        (
            r"Could not append to config\. An item is already at '(.*?)'.*",
            r"+\1: is there already; change it with \1=<value>",
        ),
        (
            r"Ambiguous value for argument '(.*?)'.*",
            r"\1: several values make a sweep, with -m; a list is written [a,b]",
        ),
        (r"Could not delete (?:from config\. )?'(.*?)'.*", r"~\1: there is nothing of that name"),
    ):
        sentence = re.sub(pattern, words, sentence)
    return sentence


# ── options ───────────────────────────────────────────────────────────────────────────────────


def _wrong_option(error: OmegaConfBaseException, override: str = "") -> str:
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
        key, shown = str(error.full_key), _show(error.value)
    sentence = _sentence(error)
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
    sentence = _sentence(error)
    if missing := re.search(r"Interpolation key '(.*)' not found", sentence):
        return sentence + did_you_mean(missing[1], all_keys())
    if "Recursive interpolation" in sentence:
        return "refers to itself"
    raised = re.match(r"\w+ raised while resolving interpolation: (.*)", sentence)
    return raised[1].strip("\"'") if raised else sentence


# ── the command line ──────────────────────────────────────────────────────────────────────────


def _not_an_override(error: OverrideParseException) -> str:
    key, equal, value = str(error.override).partition("=")
    if not equal or not key:
        return f"{error.override}: must be key=value"
    advice = "put the value in quotes if it is text"
    if value and not set(value) & set("\"'"):
        advice += f""": '{key}="{value}"'"""
    return f"{error.override}: cannot be read; {advice}"


def _no_choice(error: Exception, arguments: Sequence[str]) -> str | None:
    """``model=3``: Hydra says that something must be a string, not what."""
    if not _is_of_hydra(error):
        return None
    twice = "Multiple values" in str(error)
    if not twice and not isinstance(error, ValueError | TypeError):
        return None
    for override in _overrides(arguments):
        group, given = override.key_or_group, override.value()
        for value in given.list if isinstance(given, ChoiceSweep) else [given]:
            is_list = isinstance(value, list) and group in SCHEMAS
            no_name = value is None or isinstance(value, int | float | dict | RangeSweep)
            if group == "" or (group in _GROUPS and (is_list or (no_name and not twice))):
                return _choice_wanted(group, str(override.input_line), value)
    return None


def _no_steps(error: Exception, arguments: Sequence[str]) -> str | None:
    """``lr=interval(0.1,1)``: of all the numbers between, a grid cannot have each."""
    if not _is_of_hydra(error) or "INTERVAL_SWEEP" not in str(error):
        return None
    advice = (
        "an interval is for sweepers that choose the values themselves, such as Optuna's; "
        "a grid takes a list, a,b,c, or range(start,stop,step)"
    )
    for override in _overrides(arguments):
        if isinstance(override.value(), IntervalSweep):
            return f"{override.input_line}: {advice}"
    return advice


def _no_baseline(error: Exception, arguments: Sequence[str]) -> str | None:
    """``baseline.svm.C=3`` where no SVM is chosen: for OmegaConf an option of nothing."""
    if not isinstance(error, AssertionError) or "Unexpected type for root" not in str(error):
        return None
    overrides = list(_overrides(arguments))
    chosen = [str(o.value()) for o in overrides if o.key_or_group == "baseline"][-1:] or ["knn"]
    for override in overrides:
        group, _, option = override.key_or_group.partition(".")
        name = option.partition(".")[0]
        if group == "baseline" and name and name not in re.findall(r"\w+", chosen[0]):
            also = f"baseline={name}, or with others baseline=[knn,{name}]" * (name != "knn")
            return f"{override.input_line}: {name} is not chosen; {also or 'baseline=knn'} does so"
    return None


def _choice_wanted(group: str, given: str, value: Any) -> str:
    if not group:
        return f"{given}: must be key=value"
    line = f"{given}: {group} takes the name of a choice, --help lists them"
    if isinstance(value, list):
        return f"{line}; -m {group}=a,b trains with each"
    if value is None:
        none = {"baseline": "; for none: baseline=none"} | dict.fromkeys(
            _GLOBAL, f"; for none leave {group} out"
        )
        return line + none.get(group, "")
    return line


def _overrides(arguments: Sequence[str]) -> Iterator[Override]:
    parser = OverridesParser.create()
    for argument in arguments:
        try:
            yield parser.parse_override(argument)
        except HydraException:  # a flag, or what another message is about
            continue


def _missing_choice(error: MissingConfigException) -> str:
    wanted_file = (error.missing_cfg_file or "").removesuffix(".yaml")
    options = list(error.options or [])
    if not options and wanted_file.startswith("baseline/"):  # of a list Hydra tells no options
        options = [*(option.name for option in dataclasses.fields(BaselinesConfig)), "all", "none"]
    if not options or "/" not in wanted_file:
        return _sentence(error)
    group, _, name = wanted_file.rpartition("/")
    return (
        f"{group}={name}: no such choice{did_you_mean(name, options)}; "
        f"{group} is one of {', '.join(sorted(options))}"
    )


def _is_of_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, and no code of ours or torch's."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__")) if frames else ""
    return module.partition(".")[0] in ("hydra", "omegaconf")


# ── files of configs ──────────────────────────────────────────────────────────────────────────


def _wrong_header(path: str, error: OmegaConfBaseException | None) -> str | None:
    """What the head of a config file lacks, where that explains an option that is not there."""
    if not isinstance(error, ConfigAttributeError | ConfigKeyError):
        return None
    group = path.partition("/")[0]
    key = str(error.key)
    if error.full_key == group and group in _GLOBAL:
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


def _wrong_override(text: str) -> str:
    """``override /optimzer: sgd`` in a file's defaults list."""
    match = re.match(r"Could not override '(?:.*/)?(\w+)(?:@[\w.]*)?'", text)
    if not match:
        return _joined(text)
    group = match[1]
    if group in _GROUPS:
        return f"its defaults list must name the group from the root: 'override /{group}: <name>'"
    return f"override {group}: no such group{did_you_mean(group, _GROUPS)}"


def _bad_file(error: Exception) -> str | None:
    """A config file that is no YAML, by its line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "no YAML"
        if "'\\t'" in problem:
            problem = "a tab; YAML is indented with spaces"
        return f"{_near(mark.name)}:{mark.line + 1}: {problem}" if mark else _joined(problem)
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


def _near(path: str) -> str:
    """A path as seen from here, if it is below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


# ── the machine ───────────────────────────────────────────────────────────────────────────────


def _is_memory_error(error: Exception) -> bool:
    """Whether memory ran out. Allocators fail with errors of many classes; torch's are told by
    their words."""
    names = {kind.__name__ for kind in type(error).__mro__}
    words = "allocate memory|not enough memory|out of memory|bad_alloc|Storage size calculation"
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        "RuntimeError" in names and bool(re.search(words, _sentence(error)))
    )


def _too_large(error: Exception) -> str | None:
    text = _sentence(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if _is_memory_error(error):
        asked = re.search(r"tried to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
        return (
            "memory does not suffice for the network or the data"
            + (f" ({asked[1]} were asked for at once)" if asked else "")
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
