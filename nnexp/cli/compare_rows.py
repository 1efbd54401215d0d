"""The rows of ``nnexp compare``, and what makes them comparable."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnexp.analysis.names import NOT_THE_LEARNER, PLACES, canonical, flatten, is_under
from nnexp.analysis.records import RunRecord
from nnexp.errors import DataError
from nnexp.report.inputs import read_runs
from nnexp.runs.record import RunResult
from nnexp.tasks import TASKS

# --------------------------------------------------------------------------------------------------
# The rows of ``nnexp compare``: runs of one configuration in one place, averaged.
# --------------------------------------------------------------------------------------------------

FOLD = "dataset.fold"
SEEDS = ("seed", "dataset.split_seed", FOLD)
"""What the runs of a row may differ in."""

# What says where and how a run was computed and shown, or stands in the data's name.
_SILENT = (
    *(key for key in NOT_THE_LEARNER if key != "dataset"),
    "dataset.source",
    *(f"dataset.{place}" for place in PLACES if place != "name"),
)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (None for one value) over the runs of a row."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None if no value is known."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        sd = statistics.stdev(known) if len(known) > 1 else None
        return cls(statistics.fmean(known), sd, len(known))


@dataclass(frozen=True)
class Row:
    """Runs of one folder that differ in no more than their seeds.

    Attributes:
        folder: of the run; of several runs the one that was given for them.
        settings: the options by dotted key, without the seeds.
    """

    folder: Path
    settings: dict[str, Any]
    runs: tuple[RunResult, ...]

    @property
    def counted(self) -> list[RunResult]:
        """The runs whose numbers are shown: the completed ones; the only one in any case."""
        if len(self.runs) == 1:
            return list(self.runs)
        return [run for run in self.runs if run.status == "completed"]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each status."""
        return dict(sorted(Counter(run.status for run in self.runs).items()))

    @property
    def data(self) -> tuple[str, str | None]:
        """Name and fingerprint of the data."""
        dataset = self.runs[0].dataset
        return dataset.name, dataset.fingerprint

    def seeds(self, key: str) -> list[int]:
        """The values of one of ``SEEDS``, those of all runs."""
        found = {
            flatten(run.config).get(key, None if key == FOLD else run.seed) for run in self.runs
        }
        return sorted(seed for seed in found if isinstance(seed, int))

    def value(self, key: str) -> Spread | None:
        """A metric such as ``val/loss``, ``seconds``, or a number of ``result.json``."""
        return Spread.of(_value(run, key) for run in self.counted)

    def baseline(self, name: str) -> Spread | None:
        """The test accuracy of a baseline on the same splits; of a regression its RMSE."""
        return Spread.of(
            run.baselines.get(name, {}).get(f"test/{TASKS[run.task].key}") for run in self.counted
        )


def read_rows(folders: Sequence[Path], *, all_settings: bool) -> tuple[list[Row], list[str]]:
    """Return the rows in the order of the folders, and what is wrong there.

    A folder stands for all runs at and below it, averaged over seeds.

    Args:
        all_settings: whether options that say how and where a run was computed count as settings.

    Raises:
        DataError: a folder that is not there, or that holds no run that can be read.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for folder in {folder.resolve(): folder for folder in folders}.values():
        found = read_runs([folder])
        if not found.records:
            raise DataError("; ".join(found.problems))
        problems += found.problems
        rows += _rows_of(folder, found.records, all_settings=all_settings)
    return rows, problems


def differing(rows: Sequence[Row], *, all_settings: bool) -> list[str]:
    """Return the options in which rows differ, names of models and optimizers first.

    Args:
        all_settings: also those that only some rows have, such as SGD's momentum beside Adam.
    """
    keys = dict.fromkeys(key for row in rows for key in row.settings)
    found = []
    for key in keys:
        values = {json.dumps(r.settings[key], default=str) for r in rows if key in r.settings}
        some_lack_it = any(key not in row.settings for row in rows)
        if len(values) > 1 or (all_settings and some_lack_it):
            found.append(key)
    return sorted(found, key=lambda key: not key.endswith(".name"))


def _rows_of(folder: Path, records: Sequence[RunRecord], *, all_settings: bool) -> list[Row]:
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        result = record.result
        settings = _settings(result, all_settings=all_settings)
        which = [result.dataset.fingerprint, settings, None if result.config else result.arm]
        groups.setdefault(canonical({"run": which}), []).append(record)
    return [
        Row(
            folder=group[0].folder if len(group) == 1 else folder,
            settings=_settings(group[0].result, all_settings=all_settings),
            runs=tuple(record.result for record in group),
        )
        for group in groups.values()
    ]


def _settings(result: RunResult, *, all_settings: bool) -> dict[str, Any]:
    names = {
        "model.name": result.model,
        "optimizer.name": result.optimizer,
        "dataset.name": result.dataset.name,
    }
    hidden = ("report",) if all_settings else _SILENT
    told = names | flatten(result.config)
    return {
        key: value
        for key, value in told.items()
        if key not in SEEDS and not is_under(key, hidden)
    }  # fmt: skip


def _value(run: RunResult, key: str) -> float | None:
    if key == "seconds":
        return run.seconds["train"]
    value = run.metrics.get(key) if "/" in key else getattr(run, key)
    assert value is None or isinstance(value, int | float)
    return value


# --------------------------------------------------------------------------------------------------
# What keeps the rows of ``nnexp compare`` from being compared: other data, other splits.
# --------------------------------------------------------------------------------------------------

_SHOWN = 8  # letters of a fingerprint
_MOST = 4  # kinds of splits that are named


def warnings(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line if the data differ between rows, and one for each data set whose splits do."""
    data = Counter(row.data for row in rows)
    if len(data) > 1:
        named = ", ".join(
            f"{name} {(fingerprint or 'not read')[:_SHOWN]} ({_rows(count)})"
            for (name, fingerprint), count in data.items()
        )
        yield f"different data: {named}; their metrics are not comparable"
    for name, fingerprint in data:
        yield from _of_splits(name, [row for row in rows if row.data == (name, fingerprint)])


def _of_splits(name: str, rows: Sequence[Row]) -> Iterator[str]:
    splits = Counter(_splits(row) for row in rows if row.counted)
    if len(splits) < 2:
        return
    named = [f"{kind} ({_rows(count)})" for kind, count in splits.most_common(_MOST)]
    if len(splits) > _MOST:
        named.append(f"and {len(splits) - _MOST} more")
    is_official = all(run.dataset.official_test for row in rows for run in row.runs)
    metrics = "validation metrics" if is_official else "metrics"
    yield f"different splits of {name}: {', '.join(named)}; their {metrics} are not comparable"


def _splits(row: Row) -> str:
    """The split seeds of the runs that are averaged, and how many samples they hold out."""
    done = Row(row.folder, row.settings, tuple(row.counted))
    seeds = done.seeds("dataset.split_seed")
    sizes = {(run.dataset.num_val, run.dataset.num_test) for run in done.runs}
    held_out = " or ".join(f"{val}+{test}" for val, test in sorted(sizes, key=str))
    folds = done.seeds(FOLD)
    told = f", fold{'s' * (len(folds) > 1)} {','.join(map(str, folds))}" if folds else ""
    return f"{_seeds(seeds)}{told} with {held_out} held out"


def _seeds(seeds: Sequence[int]) -> str:
    """Return split seeds in few letters: ``split seeds 0-9``."""
    if len(seeds) == 1:
        return f"split seed {seeds[0]}"
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"split seeds {seeds[0]}-{seeds[-1]}"
    return f"split seeds {','.join(map(str, seeds))}"


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
