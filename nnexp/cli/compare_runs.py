"""``nnexp compare``: runs side by side, by the settings in which they differ."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nnexp.analysis.names import short_names, shown
from nnexp.baselines.base import labels
from nnexp.cli.compare_rows import SEEDS, Row, Spread, differing, read_rows, warnings
from nnexp.cli.exit_codes import Parser, errors_in_one_line
from nnexp.cli.table import Column, lines_of, terminal_width
from nnexp.metrics import metric_key, metric_keys
from nnexp.runs.folder import short
from nnexp.runs.selection import greater_is_better, primary_of
from nnexp.tasks import TASKS

_METRICS = ("val/loss", "val/acc", "test/loss", "test/acc")
_SORTS = ("val/loss", "val/acc", "train/loss", "epochs", "num_parameters", "seconds", "given")
_FURTHER = 9  # in a narrow terminal these columns are left out first
_JSON_KEYS = (
    "train/loss", *_METRICS, "test/clipped_loss", "test/brier", "epochs", "best_epoch",
    "num_parameters", "seconds",
)  # fmt: skip

_Cells = tuple[Column, Callable[[Row], str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare; the exit code is 1 for a folder without a run that can be read."""
    parser = Parser(
        prog="nnexp compare",
        description="Shows runs side by side: the settings in which they differ, metrics at the "
        "best epoch, epochs, parameters, seconds of training, and the test accuracy of their "
        "baselines. A folder stands for all runs in it; those that differ in no more than their "
        "seeds are one row, mean ± standard deviation over the n that completed. For intervals "
        "and tests of significance see 'nnexp report'.",
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="folder of a run or of a sweep"
    )
    parser.add_argument(
        "--sort",
        type=_sort_key,
        metavar="KEY",
        help=f"one of {', '.join(_SORTS)}, or a further metric that was recorded, such as "
        "val/macro_f1 (default val/acc, or what report.metric of the runs says). The best comes "
        "first. Not by test metrics: they are not to choose by",
    )
    parser.add_argument(
        "--all-settings",
        action="store_true",
        help="all settings that differ, also those that only some models or optimizers have, "
        "and those that say where and how a run was computed",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON object, for programs")
    parsed = parser.parse_args(arguments)
    with errors_in_one_line():
        _compare(parsed.folders, parsed.sort, parsed.all_settings, as_json=parsed.json)


def _sort_key(text: str) -> str:
    """Which further metrics there are is known when runs have been read."""
    if text in _SORTS or text.startswith("val/"):
        return text
    choices = ", ".join(map(repr, _SORTS))
    raise argparse.ArgumentTypeError(
        f"invalid choice: {text!r} (choose from {choices}, or val/ and a metric)"
    )


def _compare(
    folders: Sequence[Path], asked: str | None, all_settings: bool, *, as_json: bool
) -> None:
    rows, problems = read_rows(folders, all_settings=all_settings)
    primary = primary_of(run.config for row in rows for run in row.runs)
    sort = asked or metric_key(primary, "val")
    keys = differing(rows, all_settings=all_settings)
    notes = [*warnings(rows), *problems]
    if sort != "given":
        sign = -1 if _is_greatest_first(rows, sort) else 1
        # Of equals that of lower validation loss comes first, as where one run is chosen.
        rows = sorted(rows, key=lambda row: (_rank(row, sort, sign), _rank(row, "val/loss", 1)))
    if as_json:
        told = {"sort": sort, "settings": keys, "warnings": notes, "rows": list(map(_object, rows))}
        print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
        return
    width = terminal_width()
    cells = [
        *_settings_cells(rows, keys),
        *_metric_cells(rows),
        *_further_cells(rows, sort),
        *_baseline_cells(rows),
    ]
    if len({row.folder for row in rows}) > 1:
        cells.append((Column("folder", whole=True), lambda row: short(row.folder)))
    columns = [column for column, _ in cells]
    lines, hidden = lines_of(columns, [[cell(row) for _, cell in cells] for row in rows], width)
    print("\n".join(lines))
    for line in [*(f"warning: {note}" for note in notes), *_remarks(rows, hidden)]:
        print("\n".join(_wrapped(line, width)))


def _is_greatest_first(rows: Sequence[Row], sort: str) -> bool:
    """Whether more of it is better, as the registration of a further metric says."""
    if "/" not in sort:
        return False
    configs = [run.config for row in rows for run in row.runs]
    return greater_is_better(sort, configs, f"--sort {sort}")


def _rank(row: Row, sort: str, sign: int) -> float:
    """The least comes first; what is not known comes last."""
    value = row.value(sort)
    return math.inf if value is None else sign * value.mean


def _remarks(rows: Sequence[Row], hidden: Sequence[str]) -> list[str]:
    remarks = []
    if any(len(row.runs) > 1 for row in rows):
        remarks.append("mean ± standard deviation over the n runs of a row that completed")
    if any(run.group_size > 1 for row in rows for run in row.runs):
        remarks.append("seconds: of runs that were trained together each has the time of all")
    if hidden:
        remarks.append(f"no room for {', '.join(hidden)}: --json has all, as has a wider terminal")
    return remarks


def _wrapped(line: str, width: int | None) -> list[str]:
    if width is None:
        return [line]
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


# ── columns ───────────────────────────────────────────────────────────────────────────────────


def _settings_cells(rows: Sequence[Row], keys: Sequence[str]) -> list[_Cells]:
    cells: list[_Cells] = []
    if not keys or any(not run.config for row in rows for run in row.runs):
        cells.append((Column("arm", shrinks_to=16), lambda row: row.runs[0].arm))
    names = short_names([key for key in keys if not key.endswith(".name")])
    for key in keys:
        name = names.get(key, key.removesuffix(".name"))
        cells.append((Column(name, shrinks_to=8), _setting(key)))
    return cells + _seed_cells(rows)


def _seed_cells(rows: Sequence[Row]) -> list[_Cells]:
    """How many runs a row has; of single runs their seeds, where these differ."""
    if any(len(row.runs) > 1 for row in rows):
        return [(Column("n", right=True), _number_of_runs), *_status_cells(rows)]
    cells: list[_Cells] = []
    names = ("seed", "split seed", "fold")
    for key, name in zip(SEEDS, names, strict=True):
        own = [row.seeds(key) for row in rows]
        is_the_seed = key != "seed" and own == [row.seeds("seed") for row in rows]
        if any(seeds != own[0] for seeds in own) and not is_the_seed:
            cells.append((Column(name, right=True, goes=1), _seed(key)))
    return cells + _status_cells(rows)


def _status_cells(rows: Sequence[Row]) -> list[_Cells]:
    if all(row.counts.keys() == {"completed"} for row in rows):
        return []
    return [(Column("status", shrinks_to=10), _status)]


def _metric_cells(rows: Sequence[Row]) -> list[_Cells]:
    cells: list[_Cells] = []
    for key in _metrics_of(rows):
        goes = {"val/loss": 2, "test/loss": 4}.get(key, 0)
        cells.append((Column(key, right=True, goes=goes), _metric(key)))
    for key, name, digits, goes in (
        ("epochs", "epochs", 1, 5),
        ("best_epoch", "best epoch", 1, 6),
        ("num_parameters", "parameters", 0, 7),
        ("seconds", "seconds", 2, 8),
    ):
        cells.append((Column(name, right=True, goes=goes), _count(key, digits)))
    return cells


def _further_cells(rows: Sequence[Row], sort: str) -> list[_Cells]:
    """Of further metrics on validation rows, to choose by; the one that is sorted by stays where
    there is little room."""
    return [
        (Column(key, right=True, goes=0 if key == sort else _FURTHER + place), _metric(key))
        for place, key in enumerate(_further_keys(rows, "val"))
    ]


def _metrics_of(rows: Sequence[Row]) -> list[str]:
    """Loss, and accuracy or what takes its place in a regression, on both sets."""
    scores = dict.fromkeys(TASKS[run.task].key for row in rows for run in row.runs)
    return [f"{split}/{key}" for split in ("val", "test") for key in ("loss", *scores)]


def _further_keys(rows: Sequence[Row], *splits: str) -> list[str]:
    """The keys of all further metrics that were asked for, see ``metric_keys``."""
    return metric_keys((name for row in rows for run in row.runs for name in run.further), *splits)


def _baseline_cells(rows: Sequence[Row]) -> list[_Cells]:
    names = dict.fromkeys(name for row in rows for run in row.runs for name in run.baselines)
    known = labels()
    ordered = [*(name for name in known if name in names), *(n for n in names if n not in known)]
    keys = dict.fromkeys(f"test/{TASKS[run.task].key}" for row in rows for run in row.runs)
    key = " or ".join(keys)
    return [
        (Column(f"{known.get(name, name)} {key}", right=True, goes=3 + place), _baseline(name))
        for place, name in enumerate(ordered)
    ]


def _setting(key: str) -> Callable[[Row], str]:
    return lambda row: shown(row.settings[key]) if key in row.settings else "-"


def _seed(key: str) -> Callable[[Row], str]:
    return lambda row: ",".join(map(str, row.seeds(key))) or "-"


def _number_of_runs(row: Row) -> str:
    return str(len(row.counted))


def _status(row: Row) -> str:
    """The one status, or how many of the runs did not complete."""
    if len(row.counts) == 1:
        return next(iter(row.counts))
    return ", ".join(f"{n} {status}" for status, n in row.counts.items() if status != "completed")


def _metric(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.value(key)
        if value is None:
            return "-"
        spread = "" if value.sd is None else f" ± {_fixed(value.sd)}"
        return _fixed(value.mean) + spread

    return cell


def _fixed(value: float) -> str:
    """Four decimals, or as many digits of a number that is large."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def _count(key: str, digits: int) -> Callable[[Row], str]:
    """A number without decimals where it is whole."""

    def cell(row: Row) -> str:
        value = row.value(key)
        if value is None:
            return "-"
        return f"{value.mean:,.0f}" if value.mean.is_integer() else f"{value.mean:,.{digits}f}"

    return cell


def _baseline(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.baseline(name)
        return "-" if value is None else _fixed(value.mean)

    return cell


# ── for programs ──────────────────────────────────────────────────────────────────────────────


def _object(row: Row) -> dict[str, Any]:
    name, fingerprint = row.data
    key = f"test/{TASKS[row.runs[0].task].key}"
    baselines = dict.fromkeys(name for run in row.runs for name in run.baselines)
    return {
        "folder": str(row.folder),
        "arm": row.runs[0].arm,
        "dataset": {"name": name, "fingerprint": fingerprint},
        "settings": row.settings,
        "seeds": row.seeds("seed"),
        "split_seeds": row.seeds("dataset.split_seed"),
        "counts": row.counts,
        "errors": list(dict.fromkeys(run.error for run in row.runs if run.error)),
        **{
            key: _spread(row.value(key))
            for key in dict.fromkeys((*_JSON_KEYS, *_metrics_of([row]), *_further_keys([row])))
        },
        "baselines": {name: {key: _spread(row.baseline(name))} for name in baselines},
    }


def _spread(value: Spread | None) -> dict[str, Any] | None:
    return None if value is None else dataclasses.asdict(value)
