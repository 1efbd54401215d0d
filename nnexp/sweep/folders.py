"""Which job of a sweep has which folder. No two share one, in whatever batch they come."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from nnexp.errors import ConfigError
from nnexp.output_folder import runs_before
from nnexp.results.record.earlier import set_aside_earlier
from nnexp.sweep.trees import plain, selected


class Folders:
    """The folders of a sweep's jobs.

    Args:
        config: of the sweep, with its ``hydra`` node.
    """

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self.sweep = Path(str(config.hydra.sweep.dir))
        self._claimed: dict[Path, int] = {}
        self._before = list(runs_before(self.sweep))

    def claim(self, folder: Path, num: int) -> None:
        """This folder is the job's.

        Raises:
            ConfigError: it is another's.
        """
        other = self._claimed.setdefault(folder, num)
        if other != num:
            subdir = self._subdir()
            raise ConfigError(
                f"hydra.sweep.subdir={subdir}: jobs {other} and {num} would both write to {folder}"
            )

    def claim_for_uncomposed(self, num: int, overrides: Sequence[str]) -> Path:
        """The folder of a job whose config cannot be composed: as near as can be to the one that
        it would have had, and nobody else's. All others must have theirs."""
        likely = self.sweep.absolute() / self._likely(num, overrides)
        numbered = self.sweep.absolute() / str(num)
        others = (self.sweep.absolute() / f"{num}_{n}" for n in itertools.count(1))
        for folder in itertools.chain([likely, numbered], others):
            if self._claimed.setdefault(folder, num) == num:
                return folder
        raise AssertionError

    def earlier(self) -> list[Path]:
        """Folders with runs that were there before and are none of this sweep's."""
        return [folder for folder in self._before if folder.absolute() not in self._claimed]

    def set_aside_earlier(self) -> list[Path]:
        """Move the records of those that would be taken for jobs of this sweep; which they were."""
        moved = set_aside_earlier(self.sweep, self._subdir(), self.earlier())
        self._before = [folder for folder in self._before if folder not in moved]
        return moved

    def _subdir(self) -> object:
        return plain(self._config.hydra.sweep._get_node("subdir"))

    def _likely(self, num: int, overrides: Sequence[str]) -> str:
        """``hydra.sweep.subdir`` by what the overrides say themselves; the number if that is too
        little."""
        tree = OmegaConf.create(plain(self._config))  # without types, which a name alone lacks
        singleton = HydraConfig.instance()
        before = singleton.cfg
        try:
            parsed = OverridesParser.create().parse_overrides(list(overrides))
            of_task = [override for override in parsed if not override.is_hydra_override()]
            dirname = plain(tree.hydra.job.config.override_dirname)
            tree.hydra.job.num = tree.hydra.job.id = num
            tree.hydra.job.override_dirname = get_overrides_dirname(of_task, **dirname)
            for override in of_task:
                key, value = override.key_or_group, override.value()
                if OmegaConf.is_config(tree.get(key)) and isinstance(value, str):
                    tree.hydra.runtime.choices[key] = value
                    tree[key] = {"name": value}  # all that is known of it
                else:
                    OmegaConf.update(tree, key, value)
            singleton.cfg = tree  # for ${hydra:...}
            return str(selected(tree, "hydra.sweep.subdir"))
        except Exception:  # what is wrong with the job is told already
            return str(num)
        finally:
            singleton.cfg = before
