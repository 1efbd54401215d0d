"""The errors of Hydra and OmegaConf, told in one line that names the key or the choice."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from nnexp.errors import did_you_mean

# OmegaConf speaks of its own classes; a person at the terminal wants to know what to type.
_PLAIN_WORDS = (
    (r"Value '(.*)' of type '\w+' could not be converted to Float", "must be a number"),
    (r"Value '(.*)' of type '\w+' could not be converted to Integer", "must be a whole number"),
    (r"Value '(.*)' is not a valid bool \(type \w+\)", "must be true or false"),
    (r"Invalid value assigned: \w+ is not a ListConfig, list or tuple\.", "must be a list: [...]"),
)


def one_line(error: BaseException) -> str:
    """What went wrong, in one line, for any error on the way to a composed config."""
    if isinstance(error, MissingConfigException):
        return _missing_choice(error)
    for cause in _chain(error):
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            unknown = _unknown_key(cause)
            if unknown:
                return unknown
    texts = [_first_sentence(cause) for cause in _chain(error)]
    if isinstance(error, ConfigCompositionException) and len(texts) > 1:
        # Hydra names the override, the OmegaConf error behind it names the reason.
        head = texts[0].removeprefix("Error merging override ")
        return f"{head}: {texts[1]}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {texts[0]}"
    return texts[0]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _first_sentence(error: BaseException) -> str:
    """The message without OmegaConf's ``full_key: ...`` lines, on one line."""
    lines = []
    for line in str(error).splitlines():
        if re.match(r"\s*(full_key|reference_type|object_type)[:=]", line):
            break
        if line.strip() and not line.startswith("To append to your config"):
            lines.append(line.strip())
    text = re.sub(r"\s+", " ", " ".join(lines))
    for pattern, words in _PLAIN_WORDS:
        text = re.sub(pattern, words, text)
    return text or type(error).__name__


def _missing_choice(error: MissingConfigException) -> str:
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    options = list(error.options or [])
    if not options or "/" not in wanted:
        return _first_sentence(error)
    group, _, name = wanted.rpartition("/")
    return (
        f"{group}={name}: no such choice{did_you_mean(name, options)}; "
        f"{group} is one of {', '.join(sorted(options))}"
    )


def _unknown_key(error: OmegaConfBaseException) -> str | None:
    schema = error.object_type
    if not (isinstance(schema, type) and dataclasses.is_dataclass(schema)) or not error.full_key:
        return None
    names = [field.name for field in dataclasses.fields(schema)]
    key = str(error.key)
    parent = str(error.full_key).removesuffix(key).rstrip(".")
    return (
        f"{error.full_key}: no such option{did_you_mean(key, names)}; "
        f"{parent or 'the config'} has {', '.join(names)}"
    )
