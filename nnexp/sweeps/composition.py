"""Every job's config as Hydra composes it, in a hundredth of the time.

Hydra reads and merges some thirty files for each job of a sweep, 100 ms, though most jobs differ in
a few values only. Here Hydra composes one tree, a base, for each distinct choice of groups. A job's
tree is a copy of its base, onto which Hydra's own code puts the job's plain values.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import Container, DictConfig, ListConfig, OmegaConf, ValueNode, open_dict, read_write
from omegaconf._utils import split_key
from omegaconf.errors import OmegaConfBaseException

from nnexp.sweeps.config_trees import CachingLoader, copied, plain, selected

_BASES_KEPT = 256  # of about 0.3 MB each
_DIRS = ("dir", "subdir")


class Composer:
    """Composes the jobs of one sweep, each as Hydra alone would, errors included."""

    def __init__(self, config_loader: ConfigLoader, master_config: DictConfig) -> None:
        """Both are what Hydra hands to a launcher.

        Args:
            config_loader: that of the ``HydraContext``.
            master_config: the config of the sweep as a whole.
        """
        self._loader = config_loader
        self._master = master_config
        self._caching: CachingLoader | None = None
        self._bases: dict[tuple[str, ...], _Base | _Failure] = {}

    def compose(self, overrides: Sequence[str], num: int) -> DictConfig:
        """The tree that Hydra's basic launcher would run this job with; the caller owns it.

        Args:
            overrides: the job's own, as a sweeper gives them.
            num: the job's number in the sweep.

        Raises:
            HydraException: or whatever else Hydra raises where the overrides do not compose.
        """
        tree = self._composed(list(overrides))
        OmegaConf.copy_cache(from_config=self._master, to_config=tree)
        job = _part(tree, "job")
        _put(job, "id", num)
        _put(job, "num", num)
        _put_output_dir(tree)
        return tree

    def _composed(self, overrides: list[str]) -> DictConfig:
        """What ``load_sweep_config`` of Hydra's loader gives."""
        if type(self._loader) is not ConfigLoaderImpl:
            return self._loader.load_sweep_config(self._master, overrides)
        if self._caching is None:
            self._caching = CachingLoader(self._loader, self._master)
        parsed = self._caching.parsed(overrides)
        if any(override.key_or_group == "hydra.searchpath" for override in parsed):
            return self._loader.load_sweep_config(self._master, overrides)
        chosen, patches = _divided(parsed, self._caching)
        base = self._base(chosen)
        if base.is_patchable:
            tree = base.patched(patches, parsed)
            if tree is not None:
                return tree
        return copied(self._base(parsed).tree)

    def _base(self, overrides: list[Override]) -> _Base:
        """Composed by Hydra, once; those used last are kept."""
        lines = [str(override.input_line) for override in overrides]
        address = (os.getcwd(), *lines)  # noqa: PTH109
        base = self._bases.pop(address, None)
        if base is None:
            base = self._new_base(overrides, lines)
            if len(self._bases) >= _BASES_KEPT:
                del self._bases[next(iter(self._bases))]
        self._bases[address] = base
        if isinstance(base, _Failure):
            raise base.error.with_traceback(base.traceback)
        return base

    def _new_base(self, overrides: list[Override], lines: list[str]) -> _Base | _Failure:
        assert self._caching is not None
        try:
            tree = self._caching.load_sweep_config(self._master, lines)
        except Exception as error:  # a thousand jobs may share a misspelt choice
            return _Failure(error, error.__traceback__)
        return _Base(tree, overrides)


@dataclasses.dataclass
class _Failure:
    """What composing a base raised."""

    error: Exception
    traceback: TracebackType | None  # each raising would add to the error's own


class _Base:
    """A composed tree, and how a job's is made of it."""

    def __init__(self, tree: DictConfig, overrides: list[Override]) -> None:
        self.tree = tree
        self._line_nodes: dict[str, ValueNode] = {}
        self._line_count = sum(not override.is_hydra_override() for override in overrides)
        job = _part(tree, "job")
        self._dirname = plain(job._get_node("config"))
        # With interpolations here it would tell in which order Hydra does what it does.
        settings = [self._dirname, plain(job._get_node("env_copy"))]
        task = _part(tree, "overrides")._get_node("task")
        self.is_patchable = isinstance(task, ListConfig) and "${" not in repr([settings, task])

    def patched(self, patches: list[Override], overrides: list[Override]) -> DictConfig | None:
        """A copy with the patches applied; None where a patch is not as plain as it looks.

        Args:
            patches: those of the job's overrides that the base lacks, all after the base's.
            overrides: all of the job's, in order.
        """
        tree = copied(self.tree)
        try:
            for patch in patches:
                if not _is_direct(tree, patch):
                    return None
                ConfigLoaderImpl._apply_overrides_to_config([patch], tree)
            of_task = [override for override in overrides if not override.is_hydra_override()]
            self._put_lines(tree, [str(override.input_line) for override in of_task])
            name = get_overrides_dirname(overrides=of_task, **self._dirname["override_dirname"])
            _put(_part(tree, "job"), "override_dirname", name)
        except OmegaConfBaseException as error:  # as Hydra's load_configuration
            raise ConfigCompositionException().with_traceback(error.__traceback__) from error
        return tree

    def _put_lines(self, tree: DictConfig, lines: list[str]) -> None:
        """The task's overrides, as ``hydra.overrides.task`` lists them."""
        task = _part(tree, "overrides")._get_node("task")
        content = task.__dict__["_content"]
        del content[len(content) - self._line_count :]
        for line in lines:
            if line not in self._line_nodes:
                task.append(line)
                self._line_nodes[line] = copied(content[-1])
            else:
                node = copied(self._line_nodes[line], task)
                node._set_key(len(content))
                content.append(node)


def _divided(
    overrides: list[Override], loader: CachingLoader
) -> tuple[list[Override], list[Override]]:
    """Those that a base is composed of, and the plain values that follow on it.

    Overrides of values apply in the order given, and those that are not plain may depend on it:
    up to the last of them all belong to the base. Choices of groups come before any value.
    """
    is_choice = [loader.is_choice(override) for override in overrides]
    first = 0
    for index, override in enumerate(overrides):
        if not is_choice[index] and not _is_plain(override):
            first = index + 1
    is_patch = [index >= first and not choice for index, choice in enumerate(is_choice)]
    return (
        [override for override, patch in zip(overrides, is_patch, strict=True) if not patch],
        [override for override, patch in zip(overrides, is_patch, strict=True) if patch],
    )


def _is_plain(override: Override) -> bool:
    return not (
        override.is_hydra_override()
        or override.is_delete()
        or override.is_sweep_override()
        or override.package is not None
        or isinstance(override.value(), dict)
    )


def _is_direct(tree: DictConfig, patch: Override) -> bool:
    """Whether only the node at the patch's key is concerned, and no interpolation is followed."""
    node: Any = tree
    for name in split_key(patch.key_or_group):
        if not isinstance(node, Container):
            return True
        if node._is_interpolation():
            return False
        if node._is_none() or node._is_missing():
            return True
        try:
            node = node._get_node(int(name) if isinstance(node, ListConfig) else name, False)
        except Exception:  # a key that cannot be: for Hydra to tell
            return False
    if node is None:
        return True
    if isinstance(node, ValueNode) and not patch.is_add():
        return True
    value = patch.value()
    return not node._is_interpolation() and not (isinstance(value, str) and "${" in value)


def _put_output_dir(tree: DictConfig) -> None:
    """As ``run_job`` of Hydra's does: the job's folder is filled in, ``hydra`` is read-only."""
    singleton = HydraConfig.instance()
    before = singleton.cfg
    try:
        singleton.cfg = tree  # type: ignore[assignment]  # for ${hydra:...}
        try:
            folder, subfolder = (str(selected(tree, f"hydra.sweep.{key}")) for key in _DIRS)
        except Exception:  # told as where set_config, which takes its time, has made a copy
            singleton.set_config(tree)
            folder, subfolder = (str(OmegaConf.select(tree, f"hydra.sweep.{k}")) for k in _DIRS)
    finally:
        singleton.cfg = before
    path = os.path.abspath(os.path.join(folder, subfolder))  # noqa: PTH100, PTH118
    _put(_part(tree, "runtime"), "output_dir", path)
    OmegaConf.set_readonly(tree.hydra, True)


def _part(tree: DictConfig, name: str) -> Any:
    """``tree.hydra[name]``."""
    part = tree.__dict__["_content"]["hydra"]._get_node(name)
    if not isinstance(part, DictConfig) or part._is_interpolation():
        return tree.hydra[name]
    return part


def _put(container: DictConfig, key: str, value: Any) -> None:
    """``container[key] = value``, the container open and writable."""
    node = container._get_node(key, validate_access=False)
    if isinstance(node, ValueNode):
        try:
            node._set_value(value)
            return
        except OmegaConfBaseException:
            pass  # told in full below
    with read_write(container), open_dict(container):
        container[key] = value
