"""Options that are not there, and values that do not fit them."""

from __future__ import annotations

import dataclasses
import re

from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    InterpolationValidationError,
    OmegaConfBaseException,
)

from nnexp.config.messages.words import as_typed, sentence_of
from nnexp.config.wanted import all_keys, keys_of_type, nearest_option, wanted
from nnexp.errors import did_you_mean


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
