"""Config files: what is no YAML, and what their first lines lack."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from nnexp.config.messages.words import joined
from nnexp.config.schema import GLOBAL_GROUPS, GROUPS, SCHEMAS
from nnexp.config.wanted import example_of, kinds_with
from nnexp.errors import did_you_mean


def bad_file(error: Exception) -> str | None:
    """A config file that is no YAML, by its line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "no YAML"
        if "'\\t'" in problem:
            problem = "a tab; YAML is indented with spaces"
        return f"{_near(mark.name)}:{mark.line + 1}: {problem}" if mark else joined(problem)
    if isinstance(error, yaml.reader.ReaderError):
        return f"{_near(str(error.name))}: {error.reason}"
    if not isinstance(error, UnicodeDecodeError):
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):  # the error does not name the file
        path = frame.f_locals.get("full_path")
        if frame.f_globals.get("__name__", "").startswith("hydra.") and isinstance(path, str):
            before = Path(path).read_bytes().decode("utf-8", "surrogateescape")
            clean = re.split(r"[\udc80-\udcff]", before)[0]
            return f"{_near(path)}:{clean.count(chr(10)) + 1}: must be UTF-8 text"
    return None


def wrong_header(path: str, error: OmegaConfBaseException | None) -> str | None:
    """What the head of a config file lacks, where that explains an option that is not there."""
    if not isinstance(error, ConfigAttributeError | ConfigKeyError):
        return None
    group = path.partition("/")[0]
    key = str(error.key)
    if error.full_key == group and group in GLOBAL_GROUPS:
        return "its first line must be '# @package _global_', and it must set something"
    if group == "schema":
        kind = path.removeprefix("schema/")
        place, _, name = kind.rpartition("/")
        return f"a defaults list includes it as '- /schema/{place}@_here_: {name}'"
    schemas = SCHEMAS.get(group, {})
    if not schemas or error.full_key != f"{group}.{key}":
        return None
    if error.object_type in schemas.values():
        return None
    return f"{error.full_key}: {needs_a_kind(group, key)}"


def needs_a_kind(group: str, option: str | None = None) -> str:
    """What a file of a group must begin with for its options to be known."""
    files = [example_of(kind) for kind in kinds_with(group, option)]
    lists = " or ".join(f"'defaults: [{file}]'" for file in files)
    return f"the file does not say of which kind this {group} is; begin it with {lists}"


def wrong_override(text: str) -> str:
    """``override /optimzer: sgd`` in a file's defaults list."""
    match = re.match(r"Could not override '(?:.*/)?(\w+)(?:@[\w.]*)?'", text)
    if not match:
        return joined(text)
    group = match[1]
    if group in GROUPS:
        return f"its defaults list must name the group from the root: 'override /{group}: <name>'"
    return f"override {group}: no such group{did_you_mean(group, GROUPS)}"


def _near(path: str) -> str:
    """A path as seen from here, if it is below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
