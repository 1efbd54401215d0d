"""The folders of jobs, and the files of ``.hydra/`` in them."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper

from nnexp.errors import ConfigError
from nnexp.runs.folder import set_aside_earlier
from nnexp.runs.output_folder import runs_before
from nnexp.runs.run_log import LogFile, LogStyle
from nnexp.sweeps.config_trees import plain, selected

# --------------------------------------------------------------------------------------------------
# Which job of a sweep has which folder. No two share one, in whatever batch they come.
# --------------------------------------------------------------------------------------------------


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


# --------------------------------------------------------------------------------------------------
# The texts of ``.hydra/``, byte for byte as Hydra writes them.
#
# PyYAML takes 8 ms for a job's three files, nearly all of it for lines that the jobs of a sweep
# share. Here it writes each line, or block that is no mapping, once; the files are put together.
# --------------------------------------------------------------------------------------------------

# Names that YAML takes for nothing but a text, and that are short enough to be a key.
_NAME = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf|infinity)$)[a-z_]\w{0,99}", re.I | re.A
)
# A path or an override: with the second sign it can be no number either. Without a blank in it, it
# is never broken into lines.
_WORD = re.compile(r"[a-z/]\w*[/.=][\w/.,=[\]-]*", re.I | re.A)
_CONSTANTS = {None: "null", True: "true", False: "false"}

_BLOCKS_KEPT = 100_000


def hydra_files(config: DictConfig) -> dict[str, str]:
    """The text of each file that ``run_job`` of Hydra's writes, by its name.

    Args:
        config: a job's, with its ``hydra`` node, as ``Composer.compose`` gives it.
    """
    nodes = config.__dict__["_content"]
    task = {key: plain(node) for key, node in nodes.items() if key != "hydra"}
    hydra = plain(nodes["hydra"])
    return {
        "config.yaml": as_yaml(task),
        "hydra.yaml": as_yaml({"hydra": hydra}),
        "overrides.yaml": as_yaml(hydra["overrides"]["task"]),
    }


class LogFiles:
    """Where and how a run's log is written: what Hydra's job logging says of a file.

    Args:
        config: of the sweep, with its ``hydra`` node.
    """

    def __init__(self, config: DictConfig) -> None:
        told = config.hydra.job_logging
        conf: Any = {} if told is None else OmegaConf.to_container(told, resolve=False)
        root = conf.get("root") or {}
        handlers = conf.get("handlers") or {}
        files = [name for name in root.get("handlers") or [] if handlers[name].get("filename")]
        self._key = f"hydra.job_logging.handlers.{files[0]}.filename" if files else None
        if not files:
            return
        handler = handlers[files[0]]
        form = (conf.get("formatters") or {}).get(handler.get("formatter")) or {}
        levels = {"": _level(root.get("level", "WARNING"))}
        for name, logger in (conf.get("loggers") or {}).items():
            levels[name] = _level(logger.get("level", "NOTSET"))
        verbose = config.hydra.verbose
        if isinstance(verbose, bool):
            verbose = [""] if verbose else []
        for name in [verbose] if isinstance(verbose, str) else verbose:
            levels[name] = logging.DEBUG
        self._style = LogStyle(
            form.get("format"),
            form.get("datefmt"),
            form.get("style", "%"),
            _level(handler.get("level", "NOTSET")),
            tuple(levels.items()),
        )

    def of(self, tree: DictConfig) -> LogFile | None:
        """The log of a job, composed with its ``hydra`` node; None where it shall have none."""
        if self._key is None:
            return None
        singleton = HydraConfig.instance()
        before = singleton.cfg
        try:
            singleton.cfg = tree  # type: ignore[assignment]  # for ${hydra:...}
            return LogFile(Path(str(selected(tree, self._key))), self._style)
        finally:
            singleton.cfg = before


def _level(level: str | int) -> int:
    return level if isinstance(level, int) else logging.getLevelNamesMapping()[level.upper()]


def as_yaml(value: Any) -> str:
    """What ``OmegaConf.to_yaml`` gives for a config of this plain value."""
    if isinstance(value, dict) and value:
        return "".join(_lines(value, 0))
    if isinstance(value, list) and value and all(map(_is_word, value)):
        return "".join([f"- {item}\n" for item in value])
    return _dumped(value)


def _lines(mapping: dict[Any, Any], depth: int) -> Iterator[str]:
    """The text of a mapping that stands in ``depth`` others."""
    indent = "  " * depth
    for key, value in mapping.items():
        if type(key) is str and _NAME.fullmatch(key):
            if isinstance(value, dict) and value:
                yield f"{indent}{key}:\n"
                yield from _lines(value, depth + 1)
                continue
            if value is None or type(value) is bool:
                yield f"{indent}{key}: {_CONSTANTS[value]}\n"
                continue
            if type(value) is int or _is_word(value):
                yield f"{indent}{key}: {value}\n"
                continue
        yield _block(key, value, depth)


def _is_word(value: Any) -> bool:
    return type(value) is str and bool(_WORD.fullmatch(value) or _NAME.fullmatch(value))


# What PyYAML wrote, by depth, key and value. The value's text stands for it, as 1, 1.0 and True are
# equal; its type does where it is no plain value.
_blocks: dict[tuple[int, Any, type, type, str], str] = {}


def _block(key: Any, value: Any, depth: int) -> str:
    address = (depth, key, type(key), type(value), repr(value))
    block = _blocks.get(address)
    if block is None:
        # Where PyYAML breaks lines depends on how far they are indented.
        tree: Any = {key: value}
        for _ in range(depth):
            tree = {"_": tree}
        block = _dumped(tree).split("\n", depth)[depth]
        if len(_blocks) < _BLOCKS_KEPT:
            _blocks[address] = block
    return block


def _dumped(value: Any) -> str:
    text: str = yaml.dump(
        value,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        Dumper=get_omega_conf_dumper(),
    )
    return text
