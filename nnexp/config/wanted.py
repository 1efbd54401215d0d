"""What an option takes, in words, read from the type of its field."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from nnexp.config.keys import options_of, without_none
from nnexp.config.schema import SCHEMAS, Config
from nnexp.errors import did_you_mean

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
