"""What ``nnexp list`` finds: runs and sweeps below a folder, and what their files say of each.

How it is printed is in ``nnexp.cli.list_runs``.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nnexp.errors import DataError
from nnexp.metrics import ACCURACY, metric_key
from nnexp.runs.folder import METRICS_FILE, RESULT_FILE, may_hold_runs
from nnexp.runs.folder_lock import LOCK_FILE, is_held
from nnexp.runs.record import read_metrics, read_result
from nnexp.runs.selection import badness, primary_of

# --------------------------------------------------------------------------------------------------
# Runs and sweeps below a folder, found by the names of their files; nothing is read.
# --------------------------------------------------------------------------------------------------

_SWEEP_FILE = "multirun.yaml"
_HYDRA = ".hydra"
_BY_THE_CLOCK = re.compile(r"(\d{4}-\d\d-\d\d)/(\d\d-\d\d-\d\d)(?:-\d+)?(?:/|$)")


@dataclass(frozen=True)
class Found:
    """The folder of a run or of a sweep, and when it began, as well as its files tell."""

    folder: Path
    is_sweep: bool
    when: datetime


def find(folders: Sequence[Path], *, open_sweeps: bool = True) -> list[Found]:
    """Return the runs and sweeps at and below ``folders``, the newest first.

    The runs of a sweep are not looked into, unless the sweep itself is one of ``folders``.

    Args:
        open_sweeps: whether a sweep among ``folders`` stands for its runs.

    Raises:
        DataError: a folder that is not there.
    """
    found: dict[Path, Found] = {}
    for folder in folders:
        if not folder.is_dir():
            problem = "is a file; give a folder" if folder.exists() else "no such folder"
            raise DataError(f"{folder}: {problem}")
        for one in _walk(folder, is_open=open_sweeps):
            found.setdefault(one.folder.absolute(), one)
    return sorted(found.values(), key=lambda one: (one.when, _natural(one.folder)), reverse=True)


def run_folders(sweep: Path) -> list[Path]:
    """Return the folders of the runs of a sweep that have begun, ``9`` before ``10``."""
    folders = [one.folder for one in _walk(sweep, is_open=True) if not one.is_sweep]
    return sorted(folders, key=_natural)


def _walk(folder: Path, *, is_open: bool = False) -> Iterator[Found]:
    names: set[str] = set()
    below: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            names.add(entry.name)
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
    if _SWEEP_FILE in names and not is_open:
        yield Found(folder, True, _began(folder))
        return
    if names & {RESULT_FILE, METRICS_FILE} or (_HYDRA in names and _SWEEP_FILE not in names):
        yield Found(folder, False, _began(folder))
    for name in below:
        if may_hold_runs(name, names):
            yield from _walk(folder / name)


def _began(folder: Path) -> datetime:
    """By the folder's name, as Hydra gives it, else by the file that is written first."""
    in_name = _BY_THE_CLOCK.search(folder.absolute().as_posix())
    if in_name:
        with contextlib.suppress(ValueError):
            return datetime.strptime(f"{in_name[1]} {in_name[2]}", "%Y-%m-%d %H-%M-%S")
    for name in (_SWEEP_FILE, f"{_HYDRA}/overrides.yaml", METRICS_FILE, RESULT_FILE, ""):
        with contextlib.suppress(OSError):
            return datetime.fromtimestamp((folder / name).stat().st_mtime)
    return datetime.fromtimestamp(0)


def _natural(folder: Path) -> list[tuple[int, str]]:
    """A key by which ``10`` comes after ``9``."""
    parts = re.split(r"(\d+)", str(folder))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


# --------------------------------------------------------------------------------------------------
# What ``nnexp list`` says of a run or of a sweep: a row each, read from its files.
# --------------------------------------------------------------------------------------------------

_SEPARATOR = " · "  # between the parts of an arm's name
_MOST_VALUES = 6  # of an option that are named
_MOST_COMPOSED = 20  # runs of a sweep whose config is read because none has ended
_IN_OTHER_COLUMNS = ("model", "optimizer", "dataset", "seed")
_ENDED = ("completed", "diverged", "failed", "interrupted")
_LEVELS = 4  # from a run's folder up to its sweep's, which is the one that is locked


@dataclass(frozen=True)
class Run:
    """A run as far as its files tell.

    Attributes:
        status: as in ``result.json``; ``running``, ``died`` or, where neither is known,
            ``unfinished`` without one; ``damaged`` if it cannot be read.
        note: an error, or how far it has come.
    """

    folder: Path
    status: str
    arm: str | None = None
    dataset: str | None = None
    seed: int | None = None
    val_score: float | None = None
    test_score: float | None = None
    note: str | None = None
    metric: str = ACCURACY
    """That the scores are values of: the primary one."""
    badness: float = math.inf
    """By the primary metric on the validation samples; the least is the best."""


@dataclass(frozen=True)
class Entry:
    """A row. For a sweep the scores are means of its best arm by the primary metric."""

    found: Found
    what: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    counts: dict[str, int]
    val_score: float | None
    test_score: float | None
    metric: str
    note: str | None

    @property
    def num_runs(self) -> int:
        """How many runs have begun."""
        return sum(self.counts.values())

    @property
    def status(self) -> str:
        """The one status of all runs; else ``running`` or ``mixed``."""
        if "running" in self.counts:
            return "running"
        return next(iter(self.counts)) if len(self.counts) == 1 else "mixed"


def read_entry(found: Found) -> Entry:
    """Read what is shown of a run or a sweep. A file that is damaged is part of what is said."""
    runs = _sweep(found.folder) if found.is_sweep else [_run(found.folder)]
    best = _best_arm(runs)
    counts = Counter(run.status for run in runs)
    if not runs:
        counts[_without_result(found.folder)] = 0
    notes = [run.note for run in runs if run.note]
    return Entry(
        found=found,
        what=_varied([run.arm for run in runs if run.arm]),
        datasets=tuple(dict.fromkeys(run.dataset for run in runs if run.dataset)),
        seeds=tuple(sorted({run.seed for run in runs if run.seed is not None})),
        counts=dict(sorted(counts.items())),
        val_score=_mean(run.val_score for run in best),
        test_score=_mean(map(_test_score, best)),
        metric=best[0].metric if best else ACCURACY,
        note=notes[0] if notes else None,
    )


# ── one run ───────────────────────────────────────────────────────────────────────────────────


def _run(folder: Path) -> Run:
    if not (folder / RESULT_FILE).exists():
        return _unfinished(folder)
    try:
        result = read_result(folder)
    except DataError as error:
        return Run(folder, "damaged", note=str(error).removeprefix(f"{folder}/"))
    metric = primary_of([result.config])
    return Run(
        folder,
        result.status,
        result.arm,
        result.dataset.name,
        result.seed,
        result.metrics.get(metric_key(metric, "val")),
        result.metrics.get(metric_key(metric, "test")),
        result.error,
        metric,
        badness(result.metrics, metric),
    )


def _unfinished(folder: Path, *, composed: bool = True) -> Run:
    """A run without a result.

    Args:
        composed: whether Hydra's files are read, which takes some milliseconds.
    """
    arm, dataset, seed = _as_composed(folder) if composed else (None, None, None)
    return Run(folder, _without_result(folder), arm, dataset, seed, note=_how_far(folder))


def _as_composed(folder: Path) -> tuple[str | None, str | None, int | None]:
    """Arm, data set and seed by the files that Hydra writes first; None where they are damaged."""
    import yaml  # type: ignore[import-untyped]

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        config, overrides = (
            yaml.load((folder / ".hydra" / f"{name}.yaml").read_bytes(), Loader=loader)
            for name in ("config", "overrides")
        )
        names = [str(config[group]["name"]) for group in ("model", "optimizer")]
        others = [text for text in overrides if text.partition("=")[0] not in _IN_OTHER_COLUMNS]
        seed = config["seed"]
        arm = _SEPARATOR.join([*names, *others])
        return arm, str(config["dataset"]["name"]), seed if isinstance(seed, int) else None
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return None, None, None


def _without_result(folder: Path) -> str:
    """Whether a program still writes to a folder, or to that of its sweep."""
    place = folder.absolute()
    for locked in [place, *place.parents][:_LEVELS]:
        if (locked / LOCK_FILE).exists():
            held = is_held(locked / LOCK_FILE)
            return {True: "running", False: "died", None: "unfinished"}[held]
    return "died"


def _how_far(folder: Path) -> str:
    if not (folder / METRICS_FILE).exists():
        return "no epoch recorded"
    try:
        epochs = read_metrics(folder)
        return f"epoch {epochs[-1]['epoch']:g}" if epochs else "no epoch recorded"
    except (DataError, LookupError, TypeError, ValueError):
        return f"{METRICS_FILE} is damaged"


# ── a sweep ───────────────────────────────────────────────────────────────────────────────────


def _sweep(folder: Path) -> list[Run]:
    """The runs of a sweep: from its report's table if that is of all runs that are there now."""
    folders = run_folders(folder)
    ended = {run: _written(run) for run in folders}
    table = folder / "report" / "runs.csv"
    with contextlib.suppress(OSError, ValueError, LookupError, csv.Error):
        newest = max((at for at in ended.values() if at is not None), default=0.0)
        if table.stat().st_mtime >= newest:
            runs = list(_rows(folder, table))
            if {run.folder for run in runs} == {run for run, at in ended.items() if at is not None}:
                return runs + [
                    _unfinished(run, composed=False) for run, at in ended.items() if at is None
                ]
    started = [run for run, at in ended.items() if at is None]
    # What they are is told by those that have ended, if any has.
    composed = started[:_MOST_COMPOSED] if len(started) == len(folders) else []
    return [
        _run(run) if at is not None else _unfinished(run, composed=run in composed)
        for run, at in ended.items()
    ]


def _written(folder: Path) -> float | None:
    try:
        return (folder / RESULT_FILE).stat().st_mtime
    except OSError:
        return None


def _rows(sweep: Path, table: Path) -> Iterator[Run]:
    """Raises LookupError, ValueError or csv.Error for another kind of table."""
    metric = ""
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["status"] not in _ENDED:
                raise ValueError(row["status"])
            metric = metric or _primary(sweep / row["folder"], row)
            key = metric_key(metric, "val")
            value = _number(row.get(f"metrics.{key}") or "")
            yield Run(
                sweep / row["folder"],
                row["status"],
                row["arm"],
                row["dataset.name"],
                int(row["seed"]),
                value,
                _number(row.get(f"metrics.{metric_key(metric, 'test')}") or ""),
                row["error"] or None,
                metric,
                badness({key: value}, metric),
            )


def _primary(folder: Path, row: Mapping[str, str]) -> str:
    """The primary metric of a sweep, of which a run's record tells, if its table has any metric
    beside accuracy."""
    of_all = {"metrics.val/acc", "metrics.val/loss"}
    if not any(name.startswith("metrics.val/") and name not in of_all for name in row):
        return ACCURACY
    with contextlib.suppress(DataError):
        return primary_of([read_result(folder).config])
    return ACCURACY


def _test_score(run: Run) -> float | None:
    """Of a run that is shown: the table of a sweep leaves it out."""
    if run.test_score is not None:
        return run.test_score
    with contextlib.suppress(DataError):
        return read_result(run.folder).metrics.get(metric_key(run.metric, "test"))
    return None


def _number(text: str) -> float | None:
    return float(text) if text else None


def _best_arm(runs: Sequence[Run]) -> list[Run]:
    """The completed runs of the arm that is the best in the mean, by validation accuracy or what
    ``report.metric`` says, of one data set."""
    arms: dict[Any, list[Run]] = {}
    for run in runs:
        if math.isfinite(run.badness) and (run.status == "completed" or len(runs) == 1):
            arms.setdefault((run.dataset, run.arm), []).append(run)
    if len({dataset for dataset, _ in arms}) > 1:
        return []  # accuracies on several data sets have no order
    return min(arms.values(), key=_mean_badness, default=[])


def _mean_badness(arm: Sequence[Run]) -> float:
    return statistics.fmean(run.badness for run in arm)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _varied(arms: Sequence[str]) -> str:
    """All arms in one text, each part with its values: ``deep · sgd,adam · lr=0.01,0.1``."""
    parts: dict[str, dict[str, None]] = {}
    for arm in dict.fromkeys(arms):
        for place, part in enumerate(arm.split(_SEPARATOR)):
            key, equal, value = part.partition("=")
            name = f"{key}=" if equal else f"#{min(place, 2)}"
            parts.setdefault(name, {})[value if equal else part] = None
    ordered = sorted(parts, key=lambda name: (not name.startswith("#"), name))
    return _SEPARATOR.join(_values(name, parts[name]) for name in ordered)


def _values(name: str, values: Collection[str]) -> str:
    shown = ",".join(values) if len(values) <= _MOST_VALUES else f"({len(values):,} values)"
    return shown if name.startswith("#") else f"{name}{shown}"
