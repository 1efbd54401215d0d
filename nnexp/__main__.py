"""``python -m nnexp``: see ``nnexp.cli``."""

from __future__ import annotations

from nnexp.cli.main import start

if __name__ == "__main__":
    start()
