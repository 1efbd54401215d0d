"""What an experiment sets for choices of its own, and what becomes of it beside another choice.

``conf/config.yaml`` reads ``experiment/optimizer/deep_adam-adam.yaml`` where ``deep_adam`` and
``adam`` are both chosen. What stands in an experiment's own file holds whatever is chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

_GROUPS = ("model", "optimizer", "scheduler", "loss", "dataset", "trainer")


def notes(hydra: DictConfig | HydraConf) -> list[str]:
    """For the log, a line for each value of the chosen experiment that a choice of the command line
    has made void, or that was meant for another choice and holds all the same.

    Args:
        hydra: the ``hydra`` node of a job's config.
    """
    choices: Any = OmegaConf.to_container(hydra.runtime.choices, resolve=False)
    name = choices.get("experiment")
    if not isinstance(name, str):
        return []
    places = tuple(
        Path(str(source.path)) for source in hydra.runtime.config_sources if source.schema == "file"
    )
    keys = [str(text).lstrip("+").partition("=")[0] for text in hydra.overrides.task]
    given = [key for key in keys if "." in key]  # values, not choices
    return [*_void(name, choices, _own_files(name, places)), *_kept(name, choices, given, places)]


def _void(name: str, choices: Mapping[str, Any], files: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Of values in files of their own."""
    for kind, stem in files:
        groups = kind.split("_")
        chosen = "-".join([name, *(str(choices.get(group)) for group in groups)])
        if (kind, chosen) not in files:
            beside = " ".join(f"{group}={choices.get(group)}" for group in groups)
            yield f"experiment/{kind}/{stem}.yaml does not apply to {beside}"


def _kept(
    name: str, choices: Mapping[str, Any], given: Sequence[str], places: tuple[Path, ...]
) -> Iterator[str]:
    """Of values in the experiment's own file."""
    for group, (meant, keys) in _own_values(name, places).items():
        chosen = choices.get(group)
        left = [key for key in keys if not any(key == g or key.startswith(f"{g}.") for g in given)]
        if left and meant != chosen:
            yield (
                f"experiment={name} sets {', '.join(left)} beside {group}={meant}; "
                f"these values also apply to {group}={chosen}"
            )


@functools.lru_cache
def _own_files(name: str, places: tuple[Path, ...]) -> list[tuple[str, str]]:
    """Group below ``experiment/`` and stem of each."""
    found = {
        (path.parent.name, path.stem)
        for place in places
        for path in (place / "experiment").glob(f"*/{name}-*.yaml")
    }
    return sorted(found)


@functools.lru_cache
def _own_values(name: str, places: tuple[Path, ...]) -> dict[str, tuple[str, list[str]]]:
    """By group the option that the experiment chooses, and the keys that it sets itself."""
    paths = (place / "experiment" / f"{name}.yaml" for place in places)
    path = next((path for path in paths if path.is_file()), None)
    content: Any = None if path is None else yaml.safe_load(path.read_bytes())
    if not isinstance(content, dict):
        return {}
    chosen = {}
    for item in content.get("defaults") or ():
        for key, value in item.items() if isinstance(item, dict) else ():
            chosen[str(key).rpartition(" ")[2].lstrip("/")] = value
    return {
        group: (str(chosen[group]), list(_keys(content[group], group)))
        for group in _GROUPS
        if group in chosen and isinstance(content.get(group), dict)
    }


def _keys(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}"
