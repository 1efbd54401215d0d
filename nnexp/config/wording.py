"""What is expected on the command line, in words: option types, and mistakes in overrides."""

from __future__ import annotations

import dataclasses
import json
import re
import traceback
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import Node, OmegaConf

from nnexp.config.fields import options_of, without_none
from nnexp.config.schema import GLOBAL_GROUPS, GROUPS, SCHEMAS, Config, baselines_config
from nnexp.errors import did_you_mean

# --------------------------------------------------------------------------------------------------
# What an option takes, in words, read from the type of its field.
# --------------------------------------------------------------------------------------------------

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
# Kinds that no file of conf/ is named after.
_EXAMPLES = {
    "bundled": "digits", "generated": "moons", "idx": "mnist", "mlp": "deep", "trainer": "default",
}  # fmt: skip
_COUNT = "must be a whole number of at least 1, or null"
_OF_SWEEPS = {
    "hydra.launcher.workers": f"{_COUNT} for one a core, or one a GPU",
    "hydra.launcher.group_size": f"{_COUNT} for what suits the work",
    "hydra.launcher.dry_run": "must be true or false",
    "hydra.sweeper.max_batch_size": f"{_COUNT} for all jobs at once",
}
_PLURALS = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}


def wanted(key: str) -> str | None:
    """For example ``must be a number or null`` for ``trainer.grad_clip``; None for no option.

    ``model.hidden[0]`` is an item of the list ``model.hidden``.
    """
    if key in _OF_SWEEPS:
        return _OF_SWEEPS[key]
    if key in SCHEMAS:
        return (
            f"is chosen by its name: {key}=<name> on the command line, "
            f"'override /{key}: <name>' in the defaults list of an experiment"
        )
    option, bracket, _ = key.partition("[")
    kind = dict(_options()).get(option)
    if kind is None:
        return None
    if bracket:
        (kind,) = typing.get_args(without_none(kind)[0])
    inner, optional = without_none(kind)
    or_null = " or null" if optional else ""
    if dataclasses.is_dataclass(inner):
        options = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(inner))
        return f"has options of its own: {options}" + (", or is null" if optional else "")
    if typing.get_origin(inner) is list:
        return f"must be a list of {_PLURALS[typing.get_args(inner)[0]]}: [...]{or_null}"
    if inner not in _WORDS:
        return None
    return f"must be {_WORDS[inner]}{or_null}"


def all_keys() -> list[str]:
    """Every option of every component, as ``trainer.epochs``."""
    return sorted({key for key, _ in _options()})


def nearest_option(key: str, siblings: Sequence[str]) -> str:
    """What may have been meant by a key that is none, in brackets; ``""`` if nothing is near.

    Other kinds of the same group that have the option, else the nearest of the siblings, else
    options elsewhere of the same name.
    """
    group, _, name = key.rpartition(".")
    kinds = [kind for kind in sorted(SCHEMAS.get(group, {})) if name in option_names(group, kind)]
    if kinds:
        choices = [f"{group}={example_of(kind)}" for kind in kinds]
        return f" ({' and '.join(choices)} {'have' if len(kinds) > 1 else 'has'} it)"
    hint = did_you_mean(name, siblings)
    namesakes = [other for other in all_keys() if other.rpartition(".")[2] == name != other]
    if not hint and namesakes:
        hint = f" (did you mean {' or '.join(map(repr, namesakes))}?)"
    return hint


def example_of(kind: str) -> str:
    """A file of conf/ of this kind."""
    return _EXAMPLES.get(kind, kind)


def option_names(group: str, kind: str) -> list[str]:
    """The options of one kind of a group."""
    return [field.name for field in dataclasses.fields(SCHEMAS[group][kind])]


def keys_of_type(name: str) -> list[str]:
    """The keys that take options of the dataclass of this name."""
    for group, schemas in SCHEMAS.items():
        if any(name in (c.__name__ for c in schema.__mro__) for schema in schemas.values()):
            return [group]
    return sorted(
        key for key, kind in dict(_options()).items() if without_none(kind)[0].__name__ == name
    )


def kinds_with(group: str, option: str | None = None) -> list[str]:
    """The kinds of a group, if any those that have the option."""
    having = [kind for kind in SCHEMAS[group] if option in option_names(group, kind)]
    return having or list(SCHEMAS[group])


def _options() -> Iterator[tuple[str, Any]]:
    yield from options_of(Config)
    for group, schemas in SCHEMAS.items():
        for schema in schemas.values():
            yield from options_of(schema, f"{group}.")


# --------------------------------------------------------------------------------------------------
# What other libraries say, in fewer words.
# --------------------------------------------------------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, what that was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_of_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, and no code of ours or torch's."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__")) if frames else ""
    return module.partition(".")[0] in ("hydra", "omegaconf")


def joined(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())


def sentence_of(error: BaseException) -> str:
    """The message without OmegaConf's ``full_key: ...`` lines and torch's frames of C++."""
    text, *_ = re.split(r"\n\s*(?:full_key|reference_type|object_type)[:=]", str(error))
    text, *_ = text.split("Exception raised from ")
    return joined(text) or type(error).__name__


def plainer(sentence: str) -> str:
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
            r"Ambiguous value for argument '(.*?)=(.*?)'.*",
            r"\1=\2: several values make a sweep, with -m; a list is written \1=[\2], text with "
            r"""commas '\1="\2"'""",
        ),
        (r"Could not delete (?:from config\. )?'(.*?)'.*", r"~\1: there is nothing of that name"),
    ):
        sentence = re.sub(pattern, words, sentence)
    return sentence


def as_typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    elif isinstance(value, Node):
        value = value._value()
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)


# --------------------------------------------------------------------------------------------------
# What is wrong on the command line, found by reading it again: Hydra often names no override.
# --------------------------------------------------------------------------------------------------


def not_an_override(error: OverrideParseException) -> str:
    """An argument that is no ``key=value``, or whose value cannot be read."""
    key, equal, value = str(error.override).partition("=")
    if not equal or not key:
        return f"{error.override}: must be key=value"
    if value.startswith("{"):
        return (
            f"{error.override}: cannot be read; a key within braces holds letters of ASCII, "
            "digits, dots and blanks, without quotes"
        )
    advice = "put the value in quotes if it is text"
    if value and not set(value) & set("\"'"):
        advice += f""": '{key}="{value}"'"""
    return f"{error.override}: cannot be read; {advice}"


def missing_choice(error: MissingConfigException) -> str:
    """``model=depe``: a choice that is none of its group."""
    wanted_file = (error.missing_cfg_file or "").removesuffix(".yaml")
    options = list(error.options or [])
    if not options and wanted_file.startswith("baseline/"):  # of a list Hydra tells no options
        options = [
            *(option.name for option in dataclasses.fields(baselines_config())),
            "all",
            "none",
        ]
    if not options or "/" not in wanted_file:
        return sentence_of(error)
    group, _, name = wanted_file.rpartition("/")
    return (
        f"{group}={name}: no such choice{did_you_mean(name, options)}; "
        f"{group} is one of {', '.join(sorted(options))}"
    )


def no_choice(error: Exception, arguments: Sequence[str]) -> str | None:
    """``model=3``: Hydra says that something must be a string, not what."""
    if not is_of_hydra(error):
        return None
    twice = "Multiple values" in str(error)
    if not twice and not isinstance(error, ValueError | TypeError):
        return None
    for override in _overrides(arguments):
        group, given = override.key_or_group, override.value()
        for value in given.list if isinstance(given, ChoiceSweep) else [given]:
            is_list = isinstance(value, list) and group in SCHEMAS
            no_name = value is None or isinstance(value, int | float | dict | RangeSweep)
            if group == "" or (group in GROUPS and (is_list or (no_name and not twice))):
                return _choice_wanted(group, str(override.input_line), value)
    return None


def no_steps(error: Exception, arguments: Sequence[str]) -> str | None:
    """``lr=interval(0.1,1)``: of all the numbers between, a grid cannot have each."""
    if not is_of_hydra(error) or "INTERVAL_SWEEP" not in str(error):
        return None
    advice = (
        "an interval is for sweepers that choose the values themselves, such as Optuna's; "
        "a grid takes a list, a,b,c, or range(start,stop,step)"
    )
    for override in _overrides(arguments):
        if isinstance(override.value(), IntervalSweep):
            return f"{override.input_line}: {advice}"
    return advice


def no_baseline(error: Exception, arguments: Sequence[str]) -> str | None:
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
            GLOBAL_GROUPS, f"; for none leave {group} out"
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
