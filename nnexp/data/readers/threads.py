"""How many threads read at once."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the number of cores that this process may use, at most 8."""
    allowed = getattr(os, "sched_getaffinity", None)
    return min(8, len(allowed(0)) if allowed is not None else os.cpu_count() or 1)
