"""What is wrong on the command line, found by reading it again: Hydra often names no override."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException

from nnexp.config.messages.words import is_of_hydra, sentence_of
from nnexp.config.schema import GLOBAL_GROUPS, GROUPS, SCHEMAS, baselines_config
from nnexp.errors import did_you_mean


def not_an_override(error: OverrideParseException) -> str:
    """An argument that is no ``key=value``, or whose value cannot be read."""
    key, equal, value = str(error.override).partition("=")
    if not equal or not key:
        return f"{error.override}: must be key=value"
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
