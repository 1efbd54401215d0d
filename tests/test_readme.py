"""The README and the pages in docs/ speak of files that are there and of commands that compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from nnexp.cli.train import arranged
from nnexp.config.compose import CONF, register, to_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/extend.md")
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}

_JOINED = (TEXTS["README.md"] + TEXTS["docs/guide.md"]).replace(
    "\\\n", " "
)  # lines that end in a backslash go on
COMMANDS = sorted(
    command
    for command in re.findall(r"^(?:\| `)?nnexp ([^`\n]*=[^`\n]*)", _JOINED, re.MULTILINE)
    if "--" not in command and not command.startswith("data ")
)


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command: str) -> None:
    register()
    overrides = [word for word in arranged(shlex.split(command)) if word != "-m"]
    if "-m" in shlex.split(command):
        overrides = [re.sub(r"=range\(.*", "=0", o).split(",")[0] for o in overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        to_config(compose("config", overrides))


@pytest.mark.parametrize(
    ("page", "path"),
    [(page, path) for page, text in TEXTS.items() for path in re.findall(r"\]\(([^)#:]+)\)", text)],
)
def test_links_lead_somewhere(page: str, path: str) -> None:
    assert ((ROOT / page).parent / path).exists()
