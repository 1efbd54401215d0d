"""Between Hydra and the rest: schemas go into Hydra's store, a composed tree comes out typed."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, AnyNode, DictConfig, ListConfig, Node, OmegaConf, ValueNode
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.fields import check
from nnexp.config.messages import needs_a_kind, one_line
from nnexp.config.schema import SCHEMAS, Config, baselines_config
from nnexp.config.wanted import nearest_option
from nnexp.errors import ConfigError
from nnexp.registry import components, import_components

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
    store.store(group=group, name=name, node=node, provider="nnexp")


def _offer_baseline(store: ConfigStore, name: str, baseline: type[Any]) -> None:
    """Make ``baseline=<name>`` a choice, with the defaults of its fields."""
    values = dataclasses.asdict(baseline())
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
        config = _value(composed, composed)
    except (_UnusualError, OmegaConfBaseException):
        return None
    return config if isinstance(config, Config) else None


def _value(node: Node, root: DictConfig) -> Any:
    """What ``OmegaConf.to_object`` makes of a node."""
    if isinstance(node, ValueNode):
        value = node._value()
        return _plain_value(value, node, root) if isinstance(value, str) else value
    content = node.__dict__["_content"]
    if content is None:
        return None
    if isinstance(node, ListConfig) and isinstance(content, list):
        return [_value(item, root) for item in content]
    kind: Any = node._metadata.object_type
    if not (isinstance(node, DictConfig) and isinstance(content, dict)):
        raise _UnusualError
    if content.keys() != _field_names(kind):
        raise _UnusualError
    return kind(**{key: _value(child, root) for key, child in content.items()})


@functools.cache
def _field_names(kind: Any) -> frozenset[str] | None:
    is_class = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return frozenset(field.name for field in dataclasses.fields(kind)) if is_class else None


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
