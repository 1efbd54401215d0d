"""Configs as flat keys, and short names that tell runs apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

# --------------------------------------------------------------------------------------------------
# Configs as flat keys, and the few words that tell one from another.
# --------------------------------------------------------------------------------------------------

SEPARATOR = " · "


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optimizer": {"lr": 0.1}}`` as ``{"optimizer.lr": 0.1}``; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def is_under(key: str, parents: Iterable[str]) -> bool:
    """Whether ``key`` is one of ``parents`` or lies below one: ``optimizer.lr`` in optimizer."""
    return any(key == p or (key.startswith(p) and key[len(p)] == ".") for p in parents)


def canonical(values: Mapping[str, Any]) -> str:
    """One text for equal values, whatever their order."""
    return json.dumps(values, sort_keys=True, default=str)


def labels(keyed: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells flat configs apart, one text each: ``"dropout=0.5 · hidden=[64]"``, or "".

    Only keys of which not all have the same value are told, each by its last words as far as they
    are needed. A config that lacks a key does not tell it.
    """
    keys = sorted({key for config in keyed for key in config})
    differing = [key for key in keys if len({_canonical_at(config, key) for config in keyed}) > 1]
    names = short_names(differing)
    return [
        SEPARATOR.join(f"{names[k]}={shown(config[k])}" for k in differing if k in config)
        for config in keyed
    ]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last words of each key that no other key ends with: ``lr`` for ``optimizer.lr``."""
    keys = list(keys)
    names = {}
    for key in keys:
        words = key.split(".")
        for count in range(1, len(words) + 1):
            name = ".".join(words[-count:])
            if sum(other == name or other.endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def shown(value: Any) -> str:
    """A value in few letters: ``0.01``, ``[64,64]``, ``true``, ``null``."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    return str(value)


def order(values: Mapping[str, Any]) -> list[tuple[str, int, float, str]]:
    """A key to sort settings by: numbers by size, and before texts."""
    return [(key, *_order(values[key])) for key in sorted(values)]


def _order(value: Any) -> tuple[int, float, str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 1, 0.0, json.dumps(value, sort_keys=True, default=str)
    return 0, float(value), ""


def _canonical_at(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], sort_keys=True, default=str) if key in config else ""


# --------------------------------------------------------------------------------------------------
# Names that tell runs apart: model and optimizer, then what differs.
# --------------------------------------------------------------------------------------------------

NOT_THE_LEARNER = (
    "seed", "imports", "task", "objective", "metrics", "dataset", "report", "baseline",
    "trainer.device", "trainer.threads", "trainer.cuda_graphs", "trainer.checkpoint_seconds",
    "trainer.histograms", "trainer.pictures",
)  # fmt: skip
"""Where and how a run is computed and shown, not what is compared."""
NAMING = ("model.name", "optimizer.name")
_COMPONENT = ".name"
_DATA = "dataset."
_SPLIT, _FOLD = "dataset.split_seed", "dataset.fold"
PLACES = (
    "name", "path", "test_path", "root", "download", "urls", "class_names", "train_images",
    "train_labels", "test_images", "test_labels",
)  # fmt: skip
"""Of a data set, where it lies: what it is, its fingerprint and its name tell."""


def component_names(flat: Mapping[str, Any]) -> str:
    """``deep · adam``; "" where neither is there."""
    return SEPARATOR.join(str(flat[key]) for key in NAMING if key in flat)


def arm_names(configs: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> list[str]:
    """Names of runs, the seed left out: ``deep · adam · lr=0.01``, as a report names learners of
    which nothing is tuned.

    Of several data sets each name begins with its own. Runs that differ in the seed alone, or in
    the split that it draws, share a name.

    Args:
        configs: of each run, as ``result.json`` has it.
        datasets: of each run the data set's name.
    """
    several = len(set(datasets)) > 1
    flat = [flatten(config) for config in configs]
    held = {
        told.get(_SPLIT)
        for told in flat
        if told.get(_SPLIT) != told.get("seed") and told.get(_FOLD) is None
    }
    own: dict[int, dict[str, Any]] = {}
    bases: dict[int, str] = {}
    for i, (told, dataset) in enumerate(zip(flat, datasets, strict=True)):
        own[i] = {key: value for key, value in told.items() if _is_of_arm(key, value, held)}
        bases[i] = SEPARATOR.join(filter(None, [dataset if several else "", component_names(told)]))
    names = unique_names(
        {i: canonical({**own[i], "": datasets[i]}) for i in own},
        {i: base or "network" for i, base in bases.items()},
        {i: {k: v for k, v in of.items() if k not in NAMING} for i, of in own.items()},
    )
    return [names[i] for i in range(len(configs))]


def _is_of_arm(key: str, value: Any, held: Collection[Any]) -> bool:
    """Whether an option tells arms apart. ``held`` are splits that stay while seeds vary."""
    if key == _SPLIT:
        return value in held
    if key == _FOLD:
        return False
    if key.startswith(_DATA):
        return not is_under(key.removeprefix(_DATA), PLACES)
    return not is_under(key, NOT_THE_LEARNER)


def unique_names(
    keys: Mapping[int, str], bases: Mapping[int, str], configs: Mapping[int, Mapping[str, Any]]
) -> dict[int, str]:
    """A name for every distinct key: its base, and what tells it from others of that base."""
    firsts: dict[str, int] = {}
    for i, key in keys.items():
        firsts.setdefault(key, i)
    by_base: dict[str, list[str]] = {}
    for key, i in firsts.items():
        by_base.setdefault(bases[i], []).append(key)
    names: dict[str, str] = {}
    for base, members in by_base.items():
        told = labels(_telling([configs[firsts[key]] for key in members]))
        for key, text in zip(members, told, strict=True):
            name = SEPARATOR.join(filter(None, (base, text)))
            taken = set(names.values())
            number = 2
            unique = name
            while unique in taken:  # recorded without a config, beside others that have one
                unique = f"{name} ({number})"
                number += 1
            names[key] = unique
    return {i: names[key] for i, key in keys.items()}


def _telling(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Configs as names tell them: a component by its group, ``scheduler`` for ``scheduler.name``,
    and without the options that follow from it.

    An option follows that only some components have, with the same value wherever it is.
    """
    named = [key for config in configs for key in config if key.endswith(_COMPONENT)]
    groups = sorted({key.removesuffix(_COMPONENT) for key in named}, key=len, reverse=True)
    keys = {key for config in configs for key in config}
    implied = {key for key in keys if _is_implied(key, groups, configs)}
    return [
        {key.removesuffix(_COMPONENT): config[key] for key in config if key not in implied}
        for config in configs
    ]


def _is_implied(key: str, groups: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the component of the key's group says if there is the key, and nothing its value."""
    group = next((group for group in groups if is_under(key, (group,))), None)
    if group is None or key == group + _COMPONENT:
        return False
    having = [config for config in configs if key in config]
    lacking = [config for config in configs if key not in config]
    components = [{str(c.get(group + _COMPONENT)) for c in some} for some in (having, lacking)]
    values = {canonical({"": config[key]}) for config in having}
    return bool(lacking) and len(values) == 1 and components[0].isdisjoint(components[1])
