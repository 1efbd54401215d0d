"""From the command line to a typed ``Config``: Hydra's store, experiments, names of arms."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, AnyNode, DictConfig, ListConfig, Node, OmegaConf, ValueNode
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.errors import needs_a_kind, one_line
from nnexp.config.fields import check
from nnexp.config.schema import SCHEMAS, Config, baselines_config
from nnexp.config.wording import nearest_option
from nnexp.errors import ConfigError
from nnexp.registry import components, import_components

# --------------------------------------------------------------------------------------------------
# What a run is called: its arm in a few words, the seed left out.
# --------------------------------------------------------------------------------------------------

# Overrides that say nothing about what is compared: where and how it is computed and shown.
_SILENT = (
    "seed",
    "imports",
    "task",
    "objective",
    "metrics",
    "model",
    "optimizer",
    # Which data a run sees is told by their name, beside the arm.
    "dataset",
    "dataset.name",
    "dataset.path",
    "dataset.paths",
    "dataset.test_path",
    "dataset.root",
    "dataset.download",
    "dataset.class_names",
    "dataset.fold",  # which rows are tested, as a seed says
    "trainer.device",
    "trainer.threads",
    "trainer.cuda_graphs",
    "trainer.checkpoint_seconds",
    "trainer.histograms",
    "trainer.pictures",
)
_SILENT_PREFIXES = (
    "~", "hydra", "report", "dataset.urls", "dataset.train_images", "dataset.train_labels",
    "dataset.test_images", "dataset.test_labels",
)  # fmt: skip


def arm_name(composed: DictConfig, overrides: Sequence[str]) -> str:
    """For example ``deep · adam · lr=0.01``: model, optimizer, and what was overridden, sorted.

    Args:
        overrides: the job's overrides as Hydra gives them; what the arm was told apart by.
    """
    parts = [_name_of(composed, group) for group in ("model", "optimizer")]
    pair = "_".join(parts)
    told = {}
    fold = OmegaConf.select(composed, "dataset.fold", throw_on_resolution_failure=False)
    silent = _SILENT if fold is None else (*_SILENT, "dataset.split_seed")
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        if key not in silent and not key.startswith(_SILENT_PREFIXES):
            told[key] = text
    for key, text in sorted(told.items()):
        if key == "experiment":
            parts += [text] if text not in (pair, "null") else []
        else:
            parts.append(f"{key.rpartition('.')[2]}={_value_text(composed, key, text)}")
    return " · ".join(parts)


def _value_text(composed: DictConfig, key: str, text: str) -> str:
    """The value as it was composed, so that 1e-2 and 0.01 are one arm; ``text`` for a choice."""
    value = OmegaConf.select(composed, key, throw_on_resolution_failure=False)
    if isinstance(value, float):
        return f"{value:g}"
    return text if value is None or isinstance(value, DictConfig) else str(value).replace(" ", "")


def identity(composed: DictConfig) -> dict[str, Any]:
    """Seed and names of a config that was refused, as far as they can be made out."""
    seed = OmegaConf.select(composed, "seed", throw_on_resolution_failure=False)
    names = {group: _name_of(composed, group) for group in ("model", "optimizer", "dataset")}
    return {"seed": seed if type(seed) is int else 0, **names}


def names_of(config: Config) -> dict[str, Any]:
    """The same of a sound config."""
    groups = ("model", "optimizer", "dataset")
    return {"seed": config.seed, **{group: getattr(config, group).name for group in groups}}


def _name_of(composed: DictConfig, group: str) -> str:
    if group not in composed or OmegaConf.is_missing(composed, group):
        return f"no {group}"
    return str(OmegaConf.select(composed[group], "name", throw_on_resolution_failure=False))


# --------------------------------------------------------------------------------------------------
# What an experiment sets for choices of its own, and what becomes of it beside another choice.
#
# ``conf/config.yaml`` reads ``experiment/optimizer/deep_adam-adam.yaml`` where ``deep_adam`` and
# ``adam`` are both chosen. What stands in an experiment's own file holds whatever is chosen.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# Between Hydra and the rest: schemas go into Hydra's store, a composed tree comes out typed.
# --------------------------------------------------------------------------------------------------

_HERE = Path(__file__).resolve().parent

# A wheel carries conf/ inside the package, a checkout beside it.
CONF = next(
    (path for path in (_HERE.parent / "conf", _HERE.parent.parent / "conf") if path.is_dir()),
    _HERE.parent / "conf",
)


def register() -> None:
    """Make the schemas known to Hydra: ``nnexp`` is the whole, ``schema/<group>`` the parts."""
    store = ConfigStore.instance()
    # Hydra copies its sources, and with them the whole store, for every list of choices and every
    # job of a sweep, 8 ms each. It need not: what a store hands out is a copy already.
    vars(store)["__deepcopy__"] = lambda memo: store
    whole = OmegaConf.structured(Config)
    whole.loss = MISSING
    whole.baseline = OmegaConf.structured(baselines_config())
    store.store(name="nnexp", node=whole, provider="nnexp")
    for name, baseline in components("baseline").items():
        if not baseline.__module__.startswith("nnexp."):
            _offer_baseline(store, name, baseline)
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema, provider="nnexp")
            if not schema.__module__.startswith("nnexp."):
                _offer(store, group, name)


def _offer(store: ConfigStore, group: str, name: str) -> None:
    """Make ``<group>=<name>`` a choice: a component of another package has no file in ``conf/``."""
    if (CONF / group / f"{name}.yaml").exists():
        raise ConfigError(
            f"{group} {name}: nnexp has {group}={name} already; register it by another name"
        )
    node: dict[str, Any] = {
        "defaults": [{f"/schema/{group}@_here_": name}, "_self_"],
        "name": name,
    }
    if group == "dataset":
        node["split_seed"] = "${seed}"
        if "task" in {field.name for field in dataclasses.fields(SCHEMAS[group][name])}:
            node["task"] = "${task}"
    store.store(group=group, name=name, node=node, provider="nnexp")


def _offer_baseline(store: ConfigStore, name: str, baseline: type[Any]) -> None:
    """Make ``baseline=<name>`` a choice, with the defaults of its fields."""
    values = dataclasses.asdict(baseline()) | {"budget": "${report.budget}"}
    store.store(
        group="baseline", name=name, node=values, package=f"baseline.{name}", provider="nnexp"
    )


def to_config(composed: DictConfig) -> Config:
    """The typed config of one run, checked.

    Raises:
        ConfigError: a key that no option has, a value that is missing, of the wrong type or out
            of range, or options that do not go together.
    """
    imports = OmegaConf.select(composed, "imports", throw_on_resolution_failure=False)
    if imports:
        import_components(imports)
    config = _converted(composed)
    if config is None:
        config = _converted_in_full(composed)
    config.resolve()
    check(config)
    return config


def _converted_in_full(composed: DictConfig) -> Config:
    """By OmegaConf's own means, once every key is known to be in its place."""
    try:
        _refuse_unknown_keys(composed, Config, "")
        for group in SCHEMAS:
            if OmegaConf.is_missing(composed, group) or group not in composed:
                raise ConfigError(f"{group} is required: choose one with {group}=<name>")
            if OmegaConf.get_type(composed, group) not in SCHEMAS[group].values():
                raise ConfigError(f"{group}: {needs_a_kind(group)}")
        if "seed" not in composed:
            raise ConfigError("seed is required, e.g. seed=0")
        for key in sorted(OmegaConf.missing_keys(composed)):
            raise ConfigError(f"{key} is required{_hint(key)}")
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    assert isinstance(config, Config)
    return config


def _hint(key: str) -> str:
    """How to set a required key, where that is not plain."""
    if key == "dataset.target":
        return ": name the label column, e.g. dataset.target=label"
    if key == "dataset.root":
        return ": name the folder of the data, e.g. dataset.root=pictures"
    return ": give your own config one, e.g. 'name: mine'" if key.endswith(".name") else ""


class _UnusualError(Exception):
    """Nothing wrong yet; OmegaConf's own conversion is to judge."""


_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}", re.ASCII)


def _converted(composed: DictConfig) -> Config | None:
    """The same for a tree with nothing out of the ordinary, in a tenth of the time; else None."""
    try:
        for group, schemas in SCHEMAS.items():
            node = composed._get_node(group)
            kind = node._metadata.object_type if isinstance(node, DictConfig) else None
            if kind not in schemas.values():
                return None
        config = _typed_value(composed, composed)
    except (_UnusualError, OmegaConfBaseException):
        return None
    return config if isinstance(config, Config) else None


def _typed_value(node: Node, root: DictConfig) -> Any:
    """What ``OmegaConf.to_object`` makes of a node."""
    if isinstance(node, ValueNode):
        value = node._value()
        return _plain_value(value, node, root) if isinstance(value, str) else value
    content = node.__dict__["_content"]
    if content is None:
        return None
    if isinstance(node, ListConfig) and isinstance(content, list):
        return [_typed_value(item, root) for item in content]
    kind: Any = node._metadata.object_type
    if not (isinstance(node, DictConfig) and isinstance(content, dict)):
        raise _UnusualError
    if content.keys() != _field_names(kind):
        raise _UnusualError
    return kind(**{key: _typed_value(child, root) for key, child in content.items()})


@functools.cache
def _field_names(kind: Any) -> frozenset[str]:
    is_class = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return frozenset(field.name for field in dataclasses.fields(kind)) if is_class else frozenset()


def _plain_value(text: str, node: ValueNode, root: DictConfig) -> Any:
    """The text, or the value that it refers to as a whole."""
    if text == MISSING:
        raise _UnusualError
    if "${" not in text:
        return text
    reference = _REFERENCE.fullmatch(text)
    if reference is None:
        found = node._dereference_node()
        if not isinstance(found, ValueNode):
            raise _UnusualError
        return found._value()
    target: Any = root
    for name in reference[1].split("."):
        target = target.__dict__["_content"].get(name) if isinstance(target, DictConfig) else None
    if not isinstance(target, ValueNode):
        raise _UnusualError
    value = target._value()
    if isinstance(value, str) and ("${" in value or value == MISSING):
        raise _UnusualError
    return value if isinstance(node, AnyNode) else node.validate_and_convert(value)


def _refuse_unknown_keys(node: DictConfig, schema: type[Any], path: str) -> None:
    """``++key=value`` adds to any node; a key that no field reads would silently do nothing."""
    names = [field.name for field in dataclasses.fields(schema)]
    types = typing.get_type_hints(schema)
    for name in map(str, node):
        key = f"{path}.{name}" if path else name
        if name not in names:
            raise ConfigError(
                f"{key}: no such option{nearest_option(key, names)}; "
                f"{path or 'the config'} has {', '.join(names)}"
            )
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            child_type = OmegaConf.get_type(child) or types[name]
            if dataclasses.is_dataclass(child_type):
                _refuse_unknown_keys(child, child_type, key)
