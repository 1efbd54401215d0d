"""Failures for programs that run in processes of their own."""

from __future__ import annotations

import textwrap
from pathlib import Path

_SITE = """
import importlib.abc, importlib.machinery, sys

class Loader(importlib.abc.Loader):
    def __init__(self, usual):
        self.usual = usual
    def create_module(self, spec):
        return self.usual.create_module(spec)
    def exec_module(self, module):
        self.usual.exec_module(module)
CODE

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "NAME":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        spec.loader = Loader(spec.loader)
        return spec

sys.meta_path.insert(0, Finder())
"""


def injected(folder: Path, name: str, code: str) -> dict[str, str]:
    """Have ``code`` run in each process as soon as it has imported a module, which is ``module``
    there.

    Returns:
        What to add to the environment of the program.
    """
    text = _SITE.replace("NAME", name).replace("CODE", textwrap.indent(code, " " * 8))
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}
