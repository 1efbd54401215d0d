"""What other libraries say, in fewer words."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from typing import Any

from omegaconf import Node, OmegaConf


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, what that was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_of_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, and no code of ours or torch's."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__")) if frames else ""
    return module.partition(".")[0] in ("hydra", "omegaconf")


def joined(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())


def sentence_of(error: BaseException) -> str:
    """The message without OmegaConf's ``full_key: ...`` lines and torch's frames of C++."""
    text, *_ = re.split(r"\n\s*(?:full_key|reference_type|object_type)[:=]", str(error))
    text, *_ = text.split("Exception raised from ")
    return joined(text) or type(error).__name__


def plainer(sentence: str) -> str:
    """What Hydra says in many words."""
    for pattern, words in (
        (
            r"Multiple values for (\w+)\. .*",
            r"\1: chosen twice; where it is chosen already, a defaults list says "
            r"'override /\1: <name>'",
        ),
        (
            r"Could not append to config\. An item is already at '(.*?)'.*",
            r"+\1: is there already; change it with \1=<value>",
        ),
        (
            r"Ambiguous value for argument '(.*?)=(.*?)'.*",
            r"\1=\2: several values make a sweep, with -m; a list is written \1=[\2], text with "
            r"""commas '\1="\2"'""",
        ),
        (r"Could not delete (?:from config\. )?'(.*?)'.*", r"~\1: there is nothing of that name"),
    ):
        sentence = re.sub(pattern, words, sentence)
    return sentence


def as_typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    elif isinstance(value, Node):
        value = value._value()
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str)
