"""OmegaConf trees at a fraction of their price: copies, plain values, Hydra's files cached."""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from enum import Enum
from typing import Any, TypeVar, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, Node, OmegaConf, ValueNode
from omegaconf.base import Box
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse

# --------------------------------------------------------------------------------------------------
# Copies, plain values and resolved values of OmegaConf trees, for a fraction of its own price.
#
# ``copy.deepcopy`` of a composed config takes 4 ms, ``to_container`` 1 ms and each interpolation a
# parse of 0.1 to 0.3 ms; a sweep needs all of them for every job. These functions read the nodes'
# own state, which omegaconf 2.3 keeps in ``__dict__``.
# --------------------------------------------------------------------------------------------------

NodeT = TypeVar("NodeT", bound=Node)

_new = object.__new__


def copied(node: NodeT, parent: Box | None = None) -> NodeT:
    """A copy that shares no node with the original, as ``copy.deepcopy`` makes it.

    Args:
        parent: the node that the copy hangs below.
    """
    old = node.__dict__
    twin: Any = _new(node.__class__)
    state = twin.__dict__
    state.update(old)
    state["_parent"] = parent
    state["_flags_cache"] = None
    old_metadata = old["_metadata"]
    metadata = state["_metadata"] = _new(old_metadata.__class__)
    facts = metadata.__dict__
    facts.update(old_metadata.__dict__)
    facts["flags"] = facts["flags"].copy()
    cache = facts["resolver_cache"]
    facts["resolver_cache"] = copy.deepcopy(cache) if cache else defaultdict(dict)
    if "_content" in old:
        content = old["_content"]
        if isinstance(content, dict):
            state["_content"] = {key: copied(child, twin) for key, child in content.items()}
        elif isinstance(content, list):
            state["_content"] = [copied(child, twin) for child in content]
        elif isinstance(content, Node):  # a value whose type is a union
            state["_content"] = copied(content, twin)
    copy_of_node: NodeT = twin
    return copy_of_node


def without_hydra(tree: DictConfig) -> DictConfig:
    """A copy without the ``hydra`` node: what a job's task function is given."""
    children = tree.__dict__["_content"]
    tree.__dict__["_content"] = {}
    try:
        twin = copied(tree)
    finally:
        tree.__dict__["_content"] = children
    twin.__dict__["_content"] = {
        key: copied(child, twin) for key, child in children.items() if key != "hydra"
    }
    return twin


def plain(node: Node) -> Any:
    """What ``OmegaConf.to_container(node, resolve=False, enum_to_str=True)`` gives."""
    state = node.__dict__
    content = state["_val"] if "_val" in state else state["_content"]
    if isinstance(content, dict):
        return {
            key.name if isinstance(key, Enum) else key: plain(child)
            for key, child in content.items()
        }
    if isinstance(content, list):
        return [plain(child) for child in content]
    if isinstance(content, Node):
        return plain(content)
    return content.name if isinstance(content, Enum) else content


def selected(tree: DictConfig, key: str) -> Any:
    """What ``OmegaConf.select(tree, key)`` gives."""
    *path, last = key.split(".")
    container: Any = tree
    for name in path:
        content = container.__dict__["_content"] if isinstance(container, DictConfig) else None
        container = content.get(name) if isinstance(content, dict) else None
    node = container._get_node(last) if isinstance(container, DictConfig) else None
    if not isinstance(node, ValueNode) or node._is_missing():
        return OmegaConf.select(tree, key)
    if node._is_interpolation():
        try:
            node = container._resolve_interpolation_from_parse_tree(
                parent=container,
                value=node,
                key=last,
                parse_tree=_parse_tree(node._value()),
                throw_on_resolution_failure=True,
                memo=set(),
            )
        except OmegaConfBaseException:  # told in full by OmegaConf
            node = None
        if not isinstance(node, ValueNode):
            return OmegaConf.select(tree, key)
    return node._value()


@functools.lru_cache(maxsize=4096)
def _parse_tree(text: str) -> Any:
    """Of a text with interpolations; read only by those who resolve it."""
    return parse(text)


# --------------------------------------------------------------------------------------------------
# Hydra's own composition, with its files read and its overrides parsed once.
# --------------------------------------------------------------------------------------------------


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
