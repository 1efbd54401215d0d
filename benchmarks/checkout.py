"""Imported before nnexp: that of this checkout is meant, whether or not one is installed.

Python looks for modules in a script's own folder, not in the one above. Processes that
multiprocessing starts have the same path; others are given ``environment()``.

MKL is asked for the mode that nnexp's own program asks for, before a peer multiplies: it cannot be
changed later, and nnexp chooses its threads by it. No peer is slower in it.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if str(ROOT) not in sys.path[:2]:
    sys.path.insert(1, str(ROOT))  # after the script's folder, before whatever is installed

prepare = importlib.import_module("nnexp.environment").prepare
prepare()


def environment() -> dict[str, str]:
    """In which another Python finds the same nnexp."""
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([known] if known else [])])}
