"""The runs at or below some folders, whatever launcher made them, and what is wrong there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnexp.comparison.records import RunRecord
from nnexp.errors import DataError
from nnexp.paths import short
from nnexp.results.record import METRICS_FILE, RESULT_FILE, precedence, read_result
from nnexp.results.record.earlier import may_hold_runs

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
