"""The verbs of the command line, their help and their completion."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnexp.cli.exit_codes import MEANINGS, errors_in_one_line, usage_error
from nnexp.errors import did_you_mean

# --------------------------------------------------------------------------------------------------
# The verbs of the command line, and which of them an argument list asks for.
# --------------------------------------------------------------------------------------------------

Handler = Callable[[list[str]], None]
"""Takes the arguments behind the verb."""


@dataclass(frozen=True)
class Verb:
    """One verb: what ``nnexp help`` says of it, and what runs it.

    ``handler`` imports what it needs, so that no verb waits for the libraries of another.
    """

    usage: str
    summary: str
    handler: Handler


def _train(arguments: list[str]) -> None:
    from nnexp.cli.train import train

    train(arguments)


def _predict(arguments: list[str]) -> None:
    from nnexp.cli.predict_file import main

    main(arguments)


def _evaluate(arguments: list[str]) -> None:
    from nnexp.cli.evaluate_file import main

    main(arguments)


def _rerun(arguments: list[str]) -> None:
    from nnexp.cli.rerun import main

    main(arguments)


def _export(arguments: list[str]) -> None:
    from nnexp.cli.export_network import main

    main(arguments)


def _data(arguments: list[str]) -> None:
    from nnexp.cli.data_card import main

    main(arguments)


def _list(arguments: list[str]) -> None:
    from nnexp.cli.list_runs import main

    main(arguments)


def _compare(arguments: list[str]) -> None:
    from nnexp.cli.compare_runs import main

    main(arguments)


def _report(arguments: list[str]) -> None:
    from nnexp.report.__main__ import main

    main(arguments)


def _verify(arguments: list[str]) -> None:
    from nnexp.verify import main

    main(arguments)


def _tensorboard(arguments: list[str]) -> None:
    from nnexp.tensorboard import main

    main(arguments)


def _help(arguments: list[str]) -> None:
    verb = arguments[0] if arguments else "help"
    if verb == "help" or verb.startswith("-"):
        with errors_in_one_line():
            print_help(VERBS)
    elif verb in VERBS:
        VERBS[verb].handler(["--help"])
    else:
        usage_error(f"{verb}: no such verb{did_you_mean(verb, VERBS)}")


def _version(arguments: list[str]) -> None:
    with errors_in_one_line():
        print_versions()


VERBS = {
    "train": Verb("[OPTION=VALUE ...]", "train a run, or a sweep with -m", _train),
    "data": Verb("FILE [OPTION=VALUE ...]", "what the columns of a table are taken for", _data),
    "predict": Verb("RUN DATA [-o FILE]", "predictions for the rows of a file", _predict),
    "evaluate": Verb("RUN DATA", "metrics on the rows of a file", _evaluate),
    "rerun": Verb("RUN [OPTION=VALUE]", "train a recorded run anew", _rerun),
    "export": Verb("RUN FILE", "the network as an ONNX or .pt2 file", _export),
    "list": Verb("[DIR ...]", "the latest runs and sweeps: how they ended", _list),
    "compare": Verb("DIR [DIR ...]", "runs side by side: settings and metrics", _compare),
    "report": Verb("DIR [DIR ...]", "statistics, verdicts and a page on runs", _report),
    "verify": Verb("SWEEP", "train runs of a sweep again, solo", _verify),
    "tensorboard": Verb("DIR [DIR ...]", "TensorBoard, runs named by what varies", _tensorboard),
    "help": Verb("[VERB]", "this text, or the options of a verb", _help),
}


def choose(arguments: Sequence[str]) -> tuple[Handler, list[str]]:
    """Return what is to run, and its arguments. Without a verb that is training.

    Exits with a usage error for a first word that is neither a verb nor an override of Hydra's.
    """
    if not arguments:
        return _train, []
    first, *rest = arguments
    if first in VERBS:
        return VERBS[first].handler, rest
    if first == "--version":
        return _version, rest
    if not is_override(first):
        usage_error(_not_a_verb(first))
    return _train, list(arguments)


def is_override(word: str) -> bool:
    """Return whether Hydra is to read a word: ``key=value``, ``+key``, ``~key``, a flag."""
    return not word or "=" in word or word[0] in "+~-"


def _not_a_verb(word: str) -> str:
    if Path(word).is_dir():
        place = shlex.quote(word)
        return f"{word}: is a folder, not a verb; try: nnexp report {place}, nnexp compare {place}"
    near = did_you_mean(word, VERBS)
    return f"{word}: no such verb{near}; 'nnexp help' lists them, and options are key=value"


# --------------------------------------------------------------------------------------------------
# ``nnexp help`` and ``nnexp --version``.
# --------------------------------------------------------------------------------------------------


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
    from nnexp.runs.record import installed_versions

    versions = installed_versions()
    for name in ("nnexp", "python", "torch"):
        print(f"{name} {versions[name]}")


# --------------------------------------------------------------------------------------------------
# Completion of verbs in bash, before Hydra's own completion of options.
# --------------------------------------------------------------------------------------------------


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
