"""How paths are shown."""

from __future__ import annotations

from pathlib import Path


def short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
