"""Completion of verbs in bash, before Hydra's own completion of options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from nnexp.cli.verbs import VERBS


def is_query(arguments: Sequence[str]) -> bool:
    """Return whether the shell asks what may follow, as Hydra's completion script does."""
    return "query=bash" in arguments and "COMP_LINE" in os.environ


def answer() -> bool:
    """Print the verbs that fit the line being typed. Return whether Hydra is to add options.

    ``train`` is taken out of the line, for Hydra knows of no verbs.
    """
    line = os.environ["COMP_LINE"]
    program, *words = line.split()
    if line.endswith(" "):
        words.append("")
    if len(words) <= 1:
        _print(name for name in VERBS if name.startswith("".join(words)))
        return True
    verb, *rest = words
    if verb == "train":
        os.environ["COMP_LINE"] = " ".join([program, *rest])
    elif verb == "help":
        _print(name for name in VERBS if name.startswith(rest[-1]))
    return verb == "train" or verb not in VERBS


def _print(names: Iterable[str]) -> None:
    if line := " ".join(names):
        print(line)
