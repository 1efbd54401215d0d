"""The typed config of a run that has been trained, from what stands in its folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.compose import to_config
from nnexp.config.messages import one_line
from nnexp.config.schema import SCHEMAS, Config, baselines_config
from nnexp.errors import ConfigError, DataError
from nnexp.registry import import_components


@dataclasses.dataclass(frozen=True)
class RecordedConfig:
    """What a run was told."""

    config: Config
    cwd: Path | None  # what paths in the config are relative to; None: not known


def recorded_config(folder: Path, trained_with: Mapping[str, Any]) -> RecordedConfig:
    """Of the run in ``folder``, from its ``.hydra/``.

    Args:
        trained_with: the config in the run's checkpoint, which serves where Hydra was told to write
            none.

    Raises:
        ConfigError: it does not compose any more.
        DataError: a file that cannot be read.
    """
    path = folder / ".hydra" / "config.yaml"
    values: Any = _loaded(path) if path.is_file() else OmegaConf.create(dict(trained_with))
    hydra = _loaded(path.with_name("hydra.yaml")) if path.is_file() else OmegaConf.create()
    choices = OmegaConf.select(hydra, "hydra.runtime.choices") or {}
    import_components(values.get("imports") or ())
    tree = OmegaConf.structured(Config)
    tree.baseline = OmegaConf.structured(baselines_config())
    try:
        for group in SCHEMAS:
            if group == "loss" and group not in values:  # of a run from before there were others
                values.loss = {"name": "cross_entropy"}
            options = values.get(group) or {}
            tree[group] = OmegaConf.structured(_kind(group, options, choices))
        composed = OmegaConf.merge(tree, values)
        assert isinstance(composed, DictConfig)
        with _resolving(hydra):
            config = to_config(composed)
    except (OmegaConfBaseException, ConfigError) as error:
        line = str(error) if isinstance(error, ConfigError) else one_line(error)
        raise ConfigError(f"{path if path.is_file() else folder}: {line}") from error
    chdir = OmegaConf.select(hydra, "hydra.job.chdir")
    cwd = folder if chdir else OmegaConf.select(hydra, "hydra.runtime.cwd")
    return RecordedConfig(config, None if cwd is None else Path(cwd))


def _kind(group: str, options: Mapping[str, Any], choices: Mapping[str, Any]) -> type[Any]:
    """The schema that the options of a group are of: the one that Hydra was told to choose, else
    the one that has just these options; the name decides between Adam and AdamW."""
    kinds = SCHEMAS[group]
    chosen = choices.get(f"schema/{group}@{group}")
    if isinstance(chosen, str) and chosen in kinds:
        return kinds[chosen]
    fitting = {
        name: kind
        for name, kind in kinds.items()
        if {field.name for field in dataclasses.fields(kind)} == set(options)
    }
    named = fitting.get(str(options.get("name")))
    if named is None and len(fitting) != 1:
        raise ConfigError(f"{group}: its options are those of none of {', '.join(kinds)}")
    return named or next(iter(fitting.values()))


def _loaded(path: Path) -> DictConfig:
    """Raises DataError; an error in the YAML is told by its line."""
    try:
        tree = OmegaConf.load(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if not isinstance(tree, DictConfig):
        raise DataError(f"{path}: no mapping of options to values")
    return tree


@contextlib.contextmanager
def _resolving(hydra: DictConfig) -> Iterator[None]:
    """``${hydra:...}`` means inside what it meant for the run."""
    setup_globals()
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.cfg = hydra  # type: ignore[assignment]
    try:
        yield
    finally:
        instance.cfg = before
