"""How a file of rows to predict is written: as the run's own data, where nothing else is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from nnexp.data.text_blocks import TextOptions
from nnexp.errors import ConfigError, did_you_mean

_NAMES = tuple(field.name for field in dataclasses.fields(TextOptions))
_WHOLE = ("skip_footer",)
_TEXTS = ("separator", "quote", "escape", "comment", "encoding", "index_column")


def text_options(config: Mapping[str, Any], overrides: Sequence[str]) -> TextOptions:
    """Return the options of a text.

    Args:
        config: of the run. A run whose data were no text leaves all to be found out.
        overrides: ``dataset.separator=;`` and the like, as on the command line.

    Raises:
        ConfigError: an override that is no such option, or a value that it does not take.
    """
    recorded = config.get("dataset") or {}
    values = {name: recorded[name] for name in _NAMES if name in recorded}
    for override in overrides:
        key, equals, text = override.partition("=")
        name = key.removeprefix("dataset.")
        if not equals or name not in _NAMES:
            near = did_you_mean(name, _NAMES)
            known = ", ".join(f"dataset.{known}" for known in _NAMES)
            raise ConfigError(f"{override}: no option of a file to predict{near}; they are {known}")
        values[name] = _value(name, text)
    return TextOptions(**values)


def _value(name: str, text: str) -> Any:
    """What an option is given, as YAML has it; a single sign such as ; or # needs no quotes."""
    if name in _TEXTS:
        if text in ("null", ""):
            if name == "encoding":
                raise ConfigError("dataset.encoding: needs a name, such as utf-8 or latin-1")
            return None
        if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1]
        if name in ("quote", "escape") and len(text) != 1:
            raise ConfigError(f"dataset.{name}={text}: must be one character, or null")
        if name == "separator" and len(text) != 1 and text not in ("tab", "\\t"):
            raise ConfigError(f"dataset.separator={text}: must be one character, or tab")
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "header" and not (value is None or isinstance(value, bool)):
        raise ConfigError(f"dataset.header={text}: must be true, false or null")
    if name in _WHOLE and not is_whole:
        raise ConfigError(f"dataset.{name}={text}: must be a whole number of at least 0")
    if name == "skip_rows" and not is_whole:
        numbers = value if isinstance(value, list) else [0]
        if not all(type(number) is int and number >= 1 for number in numbers):
            raise ConfigError(
                f"dataset.skip_rows={text}: must be how many lines at the beginning, or a list of "
                "numbers of lines, from 1"
            )
    return value
