"""The command lines that made the runs, from what Hydra left in their folders."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnexp.comparison.records import RunRecord

_LEVELS = 4  # between a run's folder and its sweep's: hydra.sweep.subdir may have slashes
_MOST = 12


def command_lines(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """A line for each sweep and for each run that was none's; at most a dozen.

    Empty where Hydra was told to write no files (``hydra.output_subdir=null``).
    """
    lines: dict[str, None] = {}
    sweeps: dict[Path, str | None] = {}
    for record in records:
        folder = record.folder.absolute()
        if folder.parent not in sweeps:
            sweeps[folder.parent] = _of_sweep(folder.parent)
        line = sweeps[folder.parent] or _of_run(folder)
        if line:
            lines[line] = None
    shown = list(lines)[:_MOST]
    more = len(lines) - len(shown)
    return (*shown, *([f"and {more:,} more"] if more else []))


def _of_sweep(folder: Path) -> str | None:
    """From ``multirun.yaml`` in the folder or one above it."""
    for place in [folder, *folder.parents][:_LEVELS]:
        path = place / "multirun.yaml"
        if path.is_file():
            config = _loaded(path)
            overrides = config.get("hydra", {}).get("overrides", {}) if config else {}
            hydra = [text for text in overrides.get("hydra", []) if _is_typed(text)]
            return _line("-m", *overrides.get("task", []), *hydra)
    return None


def _of_run(folder: Path) -> str | None:
    overrides = _loaded(folder / ".hydra" / "overrides.yaml")
    return None if overrides is None else _line(*overrides)


def _line(*arguments: Any) -> str:
    return " ".join(["python -m nnexp", *(shlex.quote(str(text)) for text in arguments)])


def _is_typed(override: str) -> bool:
    """Hydra adds the mode itself, for ``-m``."""
    return not str(override).startswith("hydra.mode=")


def _loaded(path: Path) -> Any:
    """None for what is not there or cannot be read: a report can do without its commands."""
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.load(path.read_bytes(), Loader=_loader())
    except (OSError, yaml.YAMLError):
        return None


@functools.cache
def _loader() -> Any:
    """The one in C, ten times faster, where PyYAML has it."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
