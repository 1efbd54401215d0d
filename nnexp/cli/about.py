"""``nnexp help`` and ``nnexp --version``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nnexp.cli.ending import MEANINGS

if TYPE_CHECKING:
    from nnexp.cli.verbs import Verb


def print_help(verbs: Mapping[str, Verb]) -> None:
    """Print the verbs and the exit codes."""
    width = max(len(f"{name} {verb.usage}") for name, verb in verbs.items())
    print("nnexp trains neural networks and compares them with K nearest neighbours.\n")
    for name, verb in verbs.items():
        print(f"  nnexp {f'{name} {verb.usage}':{width}}  {verb.summary}")
    print(f"  nnexp {'--version':{width}}  versions of nnexp, Python and torch")
    print(
        "\nWithout a verb it trains: 'nnexp model=shallow' is 'nnexp train model=shallow'.\n"
        "'nnexp VERB --help' shows the options of a verb, 'nnexp --help' those of a run.\n"
        "\nExit codes:"
    )
    for code, meaning in MEANINGS.items():
        print(f"  {code:3}  {meaning}")


def print_versions() -> None:
    """Print the versions of nnexp, Python and torch, a line each; torch is not imported."""
    from nnexp.results.record.versions import installed_versions

    versions = installed_versions()
    for name in ("nnexp", "python", "torch"):
        print(f"{name} {versions[name]}")
