"""Between Hydra and the rest: schemas go into Hydra's store, a composed tree comes out typed."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.fields import check
from nnexp.config.messages import needs_a_kind, one_line
from nnexp.config.schema import SCHEMAS, Config
from nnexp.config.wanted import nearest_option
from nnexp.errors import ConfigError

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
    store.store(name="nnexp", node=Config, provider="nnexp")
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema, provider="nnexp")


def to_config(composed: DictConfig) -> Config:
    """The typed config of one run, checked.

    Raises:
        ConfigError: a key that no option has, a value that is missing, of the wrong type or out
            of range, or options that do not go together.
    """
    try:
        _refuse_unknown_keys(composed, Config, "")
        for group in SCHEMAS:
            if OmegaConf.is_missing(composed, group) or group not in composed:
                raise ConfigError(f"{group}: a run needs one, choose with {group}=<name>")
            if OmegaConf.get_type(composed, group) not in SCHEMAS[group].values():
                raise ConfigError(f"{group}: {needs_a_kind(group)}")
        if "seed" not in composed:
            raise ConfigError("seed: a run needs one, such as seed=0")
        for key in sorted(OmegaConf.missing_keys(composed)):
            hint = "; a config of your own has one, such as 'name: mine'" * key.endswith(".name")
            raise ConfigError(f"{key}: a value is needed here, and none is given{hint}")
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    assert isinstance(config, Config)
    check(config)
    return config


def _refuse_unknown_keys(node: DictConfig, schema: type[Any], path: str) -> None:
    """``++key=value`` adds to any node; a key that no field reads would silently do nothing."""
    names = [field.name for field in dataclasses.fields(schema)]
    types = typing.get_type_hints(schema)
    for name in map(str, node):
        key = f"{path}.{name}" if path else name
        if name not in names:
            raise ConfigError(
                f"{key}: no such option{nearest_option(name, names)}; "
                f"{path or 'the config'} has {', '.join(names)}"
            )
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            child_type = OmegaConf.get_type(child) or types[name]
            if dataclasses.is_dataclass(child_type):
                _refuse_unknown_keys(child, child_type, key)
