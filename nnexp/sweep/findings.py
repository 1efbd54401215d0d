"""What the baselines of a sweep have come to, in the folder that its workers share.

The main process knows which are there and never reads one: an array in it would cost an import.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

from nnexp.results.files import write_atomically

Finding = dict[str, dict[str, Any]] | str
"""A baseline's results by its name; or in one line what is wrong with the config of all that want
it."""


class Findings:
    """A file for each baseline of a split, by key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "baselines"

    def put(self, key: str, finding: Finding) -> None:
        """Let the others have it. Raises OSError."""
        write_atomically(self._place(key), pickle.dumps(finding))

    def get(self, key: str) -> Finding:
        """What was put there."""
        found: Finding = pickle.loads(self._place(key).read_bytes())
        return found

    def __contains__(self, key: str) -> bool:
        """Whether it was, as far as can be seen."""
        try:
            return self._place(key).exists()
        except OSError:
            return False

    def _place(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]
