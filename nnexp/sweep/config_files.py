"""Hydra's own composition, with its files read and its overrides parsed once."""

from __future__ import annotations

import copy
from typing import cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, Node, OmegaConf

from nnexp.sweep.trees import copied


class CachingLoader(ConfigLoaderImpl):
    """Composes as the loader that it is made from, as long as no file changes.

    ``hydra.searchpath`` must not differ from the master's.
    """

    def __init__(self, loader: ConfigLoaderImpl, master_config: DictConfig) -> None:
        """Take over the places of the loader, and those that the sweep's own overrides add."""
        self.config_search_path = loader.config_search_path
        self.repository = loader.repository
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        overrides = OmegaConf.to_container(master_config.hydra.overrides.hydra)
        _, repository = super()._parse_overrides_and_create_caching_repo(
            master_config.hydra.job.config_name, cast(list[str], overrides)
        )
        self._files = _Files(repository)

    def parsed(self, overrides: list[str]) -> list[Override]:
        """The overrides, read.

        Raises:
            OverrideParseException: the first that is none.
        """
        for line in overrides:
            if line not in self._parsed:
                (self._parsed[line],) = self._parser.parse_overrides([line])
        return [self._parsed[line] for line in overrides]

    def is_choice(self, override: Override) -> bool:
        """Whether the override chooses the option of a group rather than sets a value."""
        return self._files.group_exists(override.key_or_group) and not isinstance(
            override.value(), dict
        )

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        return self.parsed(overrides), self._files


class _Files(CachingConfigRepository):
    """Hands out copies of what it has read, as composing takes them apart."""

    def __init__(self, read: CachingConfigRepository) -> None:
        self.delegate = read.delegate
        self.cache = read.cache
        self._groups: dict[str, bool] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        read = super().load_config(config_path)
        if read is None:
            return None
        handed = copy.copy(read)
        if isinstance(read.config, Node):
            handed.config = copied(read.config)
        return handed

    def group_exists(self, config_path: str) -> bool:
        exists = self._groups.get(config_path)
        if exists is None:
            exists = self._groups[config_path] = super().group_exists(config_path)
        return exists
