"""What a report is made of and asked for: the runs below folders, and its options."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nnexp.analysis.records import RunRecord
from nnexp.baselines.base import labels
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError, DataError, did_you_mean
from nnexp.metrics import ACCURACY, METRICS, is_known, metric_bounds, metric_label
from nnexp.runs.folder import METRICS_FILE, RESULT_FILE, may_hold_runs, short
from nnexp.runs.record import precedence, read_result
from nnexp.tasks import TASKS

# --------------------------------------------------------------------------------------------------
# The runs at or below some folders, whatever launcher made them, and what is wrong there.
# --------------------------------------------------------------------------------------------------

_MOST_NAMED = 5


@dataclass(frozen=True)
class Runs:
    """What was found: the runs in the order of their folders, and a line for each problem."""

    records: tuple[RunRecord, ...]
    problems: tuple[str, ...] = ()


@dataclass
class _Found:
    """Run folders by what they hold, as they are met."""

    ended: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)


def read_runs(folders: Sequence[Path], only: Collection[Path] | None = None) -> Runs:
    """The runs in ``folders``, each a run's folder, a sweep's or one above several.

    What a later run has set aside (``previous/``) and reports are not looked into. A run that is
    found twice counts once: by its folder, as a copy of the same file, or as the repetition of a
    run of the same config and seed on the same data. Of these the newest counts that came to the
    end of its training; a failure only where none did, and what was stopped last of all.

    Args:
        only: the runs that are asked for, if not all.

    Raises:
        DataError: a folder that is not there, or none that holds a run.
    """
    found = _Found()
    for folder in folders:
        if not folder.is_dir():
            problem = "is a file; give a folder" if folder.exists() else "no such folder"
            raise DataError(f"{folder}: {problem}")
        _walk(folder, found)
    others = [] if only is None else _leave_out_others(found, only)
    problems: list[str] = []
    records = []
    for folder in _each_once(found.ended):
        try:
            records.append(RunRecord(folder, read_result(folder)))
        except DataError as error:
            problems.append(_shortened(str(error), folder))
    if records:
        problems = [f"{problem}; left out" for problem in problems]
    unfinished = list(_each_once(found.unfinished))
    if not (records or problems or unfinished):
        where = ", ".join(str(folder) for folder in folders)
        holds = "holds" if len(folders) == 1 else "hold"
        advice = "give a run's folder, a sweep's or the output root"
        raise DataError(f"{where}: {holds} no {RESULT_FILE}; {advice}")
    if unfinished:
        problems.append(
            f"{_counted(unfinished)} without a {RESULT_FILE}, killed or still training, left out: "
            f"{_named(unfinished)}"
        )
    kept, repeated = _without_repetitions(records)
    if repeated:
        problems.append(
            f"{_counted(repeated)} {'repeats another' if len(repeated) == 1 else 'repeat others'} "
            "(same config, seed and data), of which the newest that was trained to its end "
            f"counts: {_named(repeated)}"
        )
    if others:
        problems.append(
            f"{_counted(others)} of earlier sweeps in this folder left out: {_named(others)}"
        )
    return Runs(tuple(kept), tuple(problems))


# ── finding ───────────────────────────────────────────────────────────────────────────────────


def _walk(folder: Path, found: _Found) -> None:
    """Note the run folders at and below ``folder``, numbers by their size, before other names."""
    with os.scandir(folder) as entries:
        listed = list(entries)
    names = {entry.name for entry in listed}
    if RESULT_FILE in names:
        found.ended.append(folder)
    elif METRICS_FILE in names:
        found.unfinished.append(folder)
    below = [
        entry.name
        for entry in listed
        if may_hold_runs(entry.name, names) and entry.is_dir(follow_symlinks=False)
    ]
    for name in sorted(below, key=_order):
        _walk(folder / name, found)


def _leave_out_others(found: _Found, only: Collection[Path]) -> list[Path]:
    """Those found that are not asked for."""
    every = [*found.ended, *found.unfinished]
    for folders in (found.ended, found.unfinished):
        folders[:] = [folder for folder in folders if folder in only]
    return [folder for folder in every if folder not in only]


def _order(name: str) -> tuple[bool, int, str]:
    is_number = name.isdecimal()
    return (not is_number, int(name) if is_number else 0, name)


def _each_once(folders: Iterable[Path]) -> Iterator[Path]:
    """The folders as they were given, the same place once."""
    seen = set()
    for folder in folders:
        place = folder.resolve()
        if place not in seen:
            seen.add(place)
            yield folder


# ── repetitions ───────────────────────────────────────────────────────────────────────────────


def _without_repetitions(records: Sequence[RunRecord]) -> tuple[list[RunRecord], list[Path]]:
    """One of the runs that say the same (see ``precedence``), and the folders of the others.

    A seed that was trained twice is no second draw: counted as one it makes intervals too short.
    One that was trained again for further metrics counts with these.
    """
    alike: dict[str, list[RunRecord]] = {}
    for record in records:
        alike.setdefault(_sameness(record), []).append(record)
    kept = set()
    for members in alike.values():
        on_data: dict[str | None, list[RunRecord]] = {}
        for record in members:
            on_data.setdefault(record.result.dataset.fingerprint, []).append(record)
        unread = on_data.pop(None, [])
        if unread:  # on what data is not known, but the options say the same
            on_data.setdefault(next(iter(on_data), None), []).extend(unread)
        for repeated in on_data.values():
            repeated.sort(
                key=lambda r: (-precedence(r.result), len(r.result.further), _written(r.folder))
            )
            kept.add(id(repeated[-1]))
    return (
        [record for record in records if id(record) in kept],
        [record.folder for record in records if id(record) not in kept],
    )


def _sameness(record: RunRecord) -> str:
    """What two records of one run share beside their data. Without a config (an older file, or one
    that was refused) it is all that the file says, if the run was trained at all."""
    result = record.result
    if result.config:
        told = {
            key: value for key, value in result.config.items() if key not in ("report", "metrics")
        }
        return json.dumps(told, sort_keys=True, default=str)
    if result.seconds.get("train") is None:
        return str(record.folder)
    content = (record.folder / RESULT_FILE).read_bytes()
    return hashlib.sha256(content).hexdigest()


def _written(folder: Path) -> float:
    return (folder / RESULT_FILE).stat().st_mtime


# ── words ─────────────────────────────────────────────────────────────────────────────────────


def _counted(folders: Sequence[Path]) -> str:
    return f"{len(folders):,} run{'' if len(folders) == 1 else 's'}"


def _named(folders: Sequence[Path]) -> str:
    names = [short(folder) for folder in folders[:_MOST_NAMED]]
    more = len(folders) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _shortened(message: str, folder: Path) -> str:
    return message.replace(str(folder), short(folder), 1)


# --------------------------------------------------------------------------------------------------
# What a report is asked for: on the command line, else by the configs of its runs.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line said; None: what the runs' own configs say."""

    tuned: tuple[str, ...] | None = None
    metric: str | None = None  # accuracy, or a registered one
    reference: str | None = None
    equivalence: float | None = None  # points of per cent
    relative_equivalence: float | None = None  # a share; without it, ``equivalence`` alone holds
    tensorboard: bool | None = None
    test_metrics: bool | None = None
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
    names = (
        "metric", "reference", "equivalence", "relative_equivalence", "tensorboard", "test_metrics",
    )  # fmt: skip
    given = {name: getattr(asked, name) for name in names}
    if asked.tuned is not None:
        given["tuned"] = list(asked.tuned)
    given = {name: value for name, value in given.items() if value is not None}
    if "equivalence" in given:
        given.setdefault("relative_equivalence", None)
    _check(given)
    _check_recorded(asked.metric, records)
    recorded = [_recorded(record) for record in records]
    values = {}
    disagreements = []
    for option in fields(ReportConfig):
        said = [config[option.name] for config in recorded if option.name in config]
        if option.name == "metric":  # results of earlier versions are of accuracy
            said = [_not_accuracy(config.get("metric")) for config in recorded if config]
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
                    f"as most say; --{option.name.replace('_', '-')} sets another"
                )
    if not is_known(values.get("metric") or ACCURACY):
        disagreements.append(
            f"no module registers the metric {values['metric']} any more, by which the runs were "
            "to be compared: accuracy takes its place"
        )
        values["metric"] = None
    metric = values.get("metric") or ACCURACY
    if "equivalence" in given and not all(map(math.isfinite, metric_bounds(metric))):
        raise ConfigError(
            f"--equivalence is in points of per cent, which {metric_label(metric)} is not told in; "
            "--relative-equivalence is a share of the reference's value"
        )
    return ReportConfig(**values), disagreements


def _check_recorded(metric: str | None, records: Sequence[RunRecord]) -> None:
    """Somebody who types a metric wants that one."""
    of_tasks = [TASKS[record.result.task].metric for record in records] or [ACCURACY]
    known = dict.fromkeys([*of_tasks, *(name for r in records for name in r.result.further)])
    if metric is not None and metric not in known:
        raise ConfigError(
            f"--metric {metric}: no run recorded it{did_you_mean(metric, known)}; recorded are "
            f"{', '.join(known)}"
        )


def _not_accuracy(metric: str | None) -> str | None:
    return None if metric == ACCURACY else metric


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
    share = config.relative_equivalence
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"--relative-equivalence {share:g}: must be from 0 to 1")
    if config.metric is not None and not is_known(config.metric):
        known = [ACCURACY, *METRICS]
        raise ConfigError(
            f"--metric {config.metric}: is no registered metric"
            f"{did_you_mean(config.metric, known)}; registered are {', '.join(known)}"
        )
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
