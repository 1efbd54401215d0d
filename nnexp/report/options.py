"""What a report is asked for: on the command line, else by the configs of its runs."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nnexp.baselines.labels import labels
from nnexp.comparison.records import RunRecord
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line said; None: what the runs' own configs say."""

    tuned: tuple[str, ...] | None = None
    reference: str | None = None
    equivalence: float | None = None  # points of per cent
    tensorboard: bool | None = None
    title: str | None = None


def listed(words: Sequence[str] | None) -> tuple[str, ...] | None:
    """The keys of ``--tuned``, each with commas or given again; ``none`` and "" are no key."""
    if words is None:
        return None
    keys = [key.strip() for word in words for key in word.split(",")]
    return tuple(dict.fromkeys(key for key in keys if key not in ("", "none")))


def named_reference(name: str | None) -> str | None:
    """A baseline's name in a config for its name in the tables or a config, in any case."""
    if name is None:
        return None
    known = {label.casefold(): key for key, label in labels().items()} | {
        key: key for key in labels()
    }
    return known.get(name.strip().casefold(), name.strip())


def nearest(name: str, learners: Iterable[str]) -> str:
    """`` (did you mean 'KNN'?)``, whatever the case of either."""
    folded = {learner.casefold(): learner for learner in learners}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean '{folded[near[0]]}'?)" if near else ""


def settled(asked: Asked, records: Sequence[RunRecord]) -> tuple[ReportConfig, list[str]]:
    """What holds, and a line for each option on which the runs' configs do not agree.

    Keys that one of the configs tunes are tuned; of the rest, what most configs say.

    Raises:
        ConfigError: an option of the command line that cannot be.
    """
    given = {name: getattr(asked, name) for name in ("reference", "equivalence", "tensorboard")}
    if asked.tuned is not None:
        given["tuned"] = list(asked.tuned)
    given = {name: value for name, value in given.items() if value is not None}
    _check(given)
    recorded = [_recorded(record) for record in records]
    values = {}
    disagreements = []
    for option in fields(ReportConfig):
        said = [config[option.name] for config in recorded if option.name in config]
        if option.name in given:
            values[option.name] = given[option.name]
        elif option.name == "tuned" and said:
            values[option.name] = list(dict.fromkeys(key for keys in said for key in keys))
        elif said:
            counts = Counter(json.dumps(value) for value in said)
            values[option.name] = json.loads(counts.most_common(1)[0][0])
            if len(counts) > 1 and option.name != "enabled":
                kinds = ", ".join(sorted(counts))
                shown = json.dumps(values[option.name])
                disagreements.append(
                    f"the runs' configs differ in report.{option.name} ({kinds}): {shown} holds, "
                    f"as most say; --{option.name} sets another"
                )
    return ReportConfig(**values), disagreements


def default_title(records: Sequence[RunRecord], commands: Iterable[str]) -> str:
    """For example ``compare_all on digits``: the data sets that have results."""
    names = list(
        dict.fromkeys(
            record.result.dataset.name
            for record in records
            if record.result.dataset.num_train is not None and record.result.status != "interrupted"
        )
    )
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    experiments = {
        word.partition("=")[2]
        for command in commands
        for word in command.split()
        if word.lstrip("+").startswith("experiment=")
    }
    plain = len(experiments) == 1 and "," not in next(iter(experiments))
    title = experiments.pop() if plain else "Networks and baselines"
    return f"{title} on {shown}" if shown else title


def _check(given: dict[str, Any]) -> None:
    config = ReportConfig(**given)
    if not 0 <= config.equivalence <= 100:
        raise ConfigError(f"--equivalence {config.equivalence:g}: must be from 0 to 100 pp")
    for name, problem in config.check_rules():
        if name == "reference":
            continue  # whoever compares knows which learners there are
        value = getattr(config, name)
        shown = ",".join(value) if isinstance(value, list) else value
        raise ConfigError(f"--{name} {shown}: {_with_group(config.tuned) or problem}")


def _with_group(tuned: Sequence[str]) -> str:
    """What to say of a key that lacks its group: ``lr`` for ``optimizer.lr``."""
    from nnexp.config.schema import tunable_keys

    for key in tuned:
        full = sorted(known for known in tunable_keys() if known.endswith(f".{key}"))
        if key not in tunable_keys() and full:
            meant = " or ".join(f"'{known}'" for known in full[:3])
            return f"{key} is no option that can be tuned (did you mean {meant}?)"
    return ""


def _recorded(record: RunRecord) -> dict[str, Any]:
    said = record.result.config.get("report")
    return said if isinstance(said, dict) else {}
