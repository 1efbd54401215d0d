"""``nnexp rerun``: the recorded config of a run is trained again, in a folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnexp.cli.exit_codes import Parser, errors_in_one_line, report_lines
from nnexp.cli.prediction_options import RUN_HELP
from nnexp.environment import prepare
from nnexp.errors import ConfigError, DataError
from nnexp.runs.folder import short

_FOLDER = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"  # as conf/ has it


def main(arguments: Sequence[str] | None = None) -> None:
    """Train; the exit codes are those of ``nnexp train``."""
    parser = Parser(
        prog="nnexp rerun",
        description="Trains the config of a run again, as it was recorded, with what is "
        "overridden. The new run has a folder of its own, as any run; nothing of the old one is "
        "changed. Without overrides the numbers are the same again, on the same machine.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="OPTION=VALUE",
        help="what is different, as for 'nnexp train': optimizer.lr=0.01, model=deep",
    )
    parsed = parser.parse_args(arguments)
    for override in parsed.overrides:
        if "=" not in override and not override.startswith("~"):
            parser.error(f"{override}: is no override, such as seed=1")
    with errors_in_one_line():
        prepare()  # before torch is loaded
        folder = _run_of(parsed.run)
        recorded = read_recorded(folder)
        again = _arguments(recorded, parsed.overrides)
        report_lines(*_dropped_lines(recorded, parsed.overrides))
        if recorded.cwd is not None and recorded.cwd != Path.cwd() and recorded.cwd.is_dir():
            # Paths in the config are relative to where the run was started.
            if not any(text.startswith("hydra.run.dir=") for text in again):
                again.append(f"hydra.run.dir='{Path.cwd()}/{_FOLDER}'")
            report_lines(f"paths are relative to {recorded.cwd}, where the run was started")
            folder = folder.absolute()
            os.chdir(recorded.cwd)
    _train(again, folder)


def _train(arguments: list[str], before: Path) -> None:
    from nnexp.cli import train

    train.train(arguments)
    for after in train.trained_folders:
        old, new = (shlex.quote(short(folder)) for folder in (before, after))
        print(f"compare      nnexp compare {old} {new}")
    sys.stdout.flush()


def _run_of(folder: Path) -> Path:
    """The run that a folder stands for; which it is of a sweep is reported."""
    from nnexp.prediction.predictors import run_of

    found, how = run_of(folder)
    if how is not None:
        report_lines(how)
    return found


# --------------------------------------------------------------------------------------------------
# The config of a recorded run, as overrides of today's defaults.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """How a run was configured.

    Attributes:
        overrides: of its own, as they were typed.
        pins: of what today's defaults say otherwise.
        cwd: what relative paths are relative to; None: not known.
        config_dir: a folder of configs that was given on the command line.
    """

    overrides: list[str]
    pins: list[str]
    cwd: Path | None
    config_dir: str | None


def read_recorded(folder: Path) -> Recorded:
    """Read the config of the run in ``folder``.

    Raises:
        DataError: its ``.hydra/`` is not there, or damaged.
        ConfigError: an option of its config does not exist any more.
    """
    overrides = _yaml(folder, "overrides.yaml")
    config, hydra = _yaml(folder, "config.yaml"), _yaml(folder, "hydra.yaml")
    if not isinstance(overrides, list) or not isinstance(config, dict):
        raise DataError(f"{folder / '.hydra'}: is not as Hydra writes it")
    runtime = ((hydra or {}).get("hydra") or {}).get("runtime") or {}
    sources = runtime.get("config_sources") or ()
    config_dir = next(
        (str(one["path"]) for one in sources if one.get("provider") == "command-line"), None
    )
    texts = [str(text) for text in overrides]
    pins = [] if config_dir is not None else list(_pins(texts, config))
    cwd = runtime.get("cwd")
    return Recorded(texts, pins, None if cwd is None else Path(str(cwd)), config_dir)


def _yaml(folder: Path, name: str) -> Any:
    import yaml  # type: ignore[import-untyped]

    path = folder / ".hydra" / name
    try:
        return yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; a run is trained again from what Hydra wrote there"
        ) from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: is no YAML ({str(error).partition(chr(10))[0]})") from error


def _pins(overrides: Sequence[str], config: Mapping[str, Any]) -> Iterator[str]:
    """Overrides of defaults that have changed since."""
    from omegaconf import OmegaConf

    from nnexp.api.composition import composed
    from nnexp.api.overrides import quoted
    from nnexp.runs.record import with_selection
    from nnexp.sweeps.config_trees import without_hydra

    tree: Any = OmegaConf.to_container(without_hydra(composed(overrides)), resolve=False)
    now = dict(_leaves(tree))
    for key, value in _leaves(with_selection(config)):
        if key not in now:
            raise ConfigError(f"{key}: the run has this option, which does not exist any more")
        if now[key] != value:
            yield f"{key}={quoted(value, key)}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _arguments(recorded: Recorded, overrides: Sequence[str]) -> list[str]:
    """For ``train``: what was recorded, without what is overridden now, and the overrides."""
    earlier = [
        text
        for text in (*recorded.overrides, *recorded.pins)
        if not _is_replaced(_key(text), overrides)
    ]
    place = [] if recorded.config_dir is None else ["--config-dir", recorded.config_dir]
    return [*place, *earlier, *overrides]


def _dropped_lines(recorded: Recorded, overrides: Sequence[str]) -> Iterator[str]:
    """The overrides of a choice that is replaced."""
    keys = {_key(text) for text in overrides}
    for text in recorded.overrides:
        key = _key(text)
        if key not in keys and _is_replaced(key, overrides):
            group = key.partition(".")[0]
            yield f"{text} is left out: it was meant for another {group}"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _is_replaced(key: str, overrides: Sequence[str]) -> bool:
    """Whether an override has the same key, or chooses another one of the group that it is in."""
    keys = {_key(text) for text in overrides if re.match(r"[+~]*[\w./@]+", text)}
    return key in keys or key.partition(".")[0] in keys
