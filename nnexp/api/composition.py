"""Hydra's compose API, within a program that may use Hydra itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, open_dict, read_write

from nnexp.api.errors import config_errors
from nnexp.config.compose import CONF, register
from nnexp.errors import ConfigError
from nnexp.registry import import_components


def composed(overrides: Sequence[str]) -> DictConfig:
    """Return the config of one run as the command line composes it, with its ``hydra`` node.

    Raises:
        ConfigError: an override that cannot be read, or that does not fit.
    """
    from nnexp.cli.train import arranged, imports_of

    arguments = arranged(overrides)
    import_components(imports_of(arguments))
    register()
    with (
        _hydra_kept(),
        config_errors(arguments),
        initialize_config_dir(str(CONF), job_name="nnexp", version_base="1.3"),
    ):
        tree = compose("config", arguments, return_hydra_config=True)
    if tree.hydra.mode == RunMode.MULTIRUN:
        raise ConfigError("hydra.mode=MULTIRUN: this is a sweep, for nnexp.sweep")
    with read_write(tree.hydra), open_dict(tree.hydra):  # as the command line has it
        tree.hydra.mode = RunMode.RUN
        tree.hydra.overrides.hydra.append("hydra.mode=RUN")
    return tree


def enter(tree: DictConfig, folder: str) -> None:
    """Note in a config the folder, an absolute path, that its run writes to."""
    with read_write(tree.hydra.runtime), open_dict(tree.hydra.runtime):
        tree.hydra.runtime.output_dir = folder


@contextlib.contextmanager
def hydra_config(tree: DictConfig) -> Iterator[None]:
    """Let ``${hydra:...}`` mean this config inside."""
    singleton = HydraConfig.instance()
    before = singleton.cfg
    singleton.cfg = tree  # type: ignore[assignment]
    try:
        yield
    finally:
        singleton.cfg = before


@contextlib.contextmanager
def _hydra_kept() -> Iterator[None]:
    """Hydra keeps what it composes in singletons, which may be another application's."""
    hydra, version, runtime = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    before = hydra.hydra, version.version_base, runtime.get("name")
    hydra.clear()
    try:
        yield
    finally:
        # Leaving ``initialize_config_dir`` puts a copy in its place.
        GlobalHydra.set_instance(hydra)
        hydra.hydra, version.version_base = before[:2]
        runtime.set("name", before[2])
