"""``nnexp list``: the latest runs and sweeps, a line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nnexp.cli.exit_codes import Parser, at_least_one, errors_in_one_line
from nnexp.cli.list_entries import Entry, find, read_entry
from nnexp.cli.table import Column, lines_of, terminal_width
from nnexp.metrics import ACCURACY, metric_key, metric_label
from nnexp.runs.folder import short

_ROOTS = ("outputs", "multirun")
_MOST_NAMED = 3  # data sets or seeds that are named, not counted
_COLUMNS = (
    Column("when", goes=1),
    Column("kind", goes=2),
    Column("what", shrinks_to=16),
    Column("dataset", shrinks_to=8, goes=4),
    Column("seed", goes=5),
    Column("status", shrinks_to=12),
    Column("val", right=True, goes=3),
    Column("test", right=True),
    Column("folder", whole=True),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """List; the exit code is 1 for a folder that is not there."""
    parser = Parser(
        prog="nnexp list",
        description="Lists runs and sweeps, the newest first: when each began, what it trained, "
        "how it ended. Its scores are accuracies, or what report.metric says; of a sweep "
        "they are means over the runs of its best arm on the validation samples. A run without a "
        "result is 'running' while its program lives, else 'died'; 'unfinished' where that cannot "
        "be known from this machine.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        metavar="DIR",
        help="where to look (default: outputs and multirun, here); a sweep's own folder stands "
        "for its runs",
    )
    parser.add_argument(
        "-n", type=at_least_one, default=20, dest="most", metavar="N", help="how many (default 20)"
    )
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--json", action="store_true", help="as a JSON list, for programs")
    parsed = parser.parse_args(arguments)
    with errors_in_one_line():
        _list(parsed.folders, None if parsed.all else parsed.most, as_json=parsed.json)


def _list(folders: Sequence[Path], most: int | None, *, as_json: bool) -> None:
    looked_in = folders or [Path(name) for name in _ROOTS if Path(name).is_dir()]
    found = find(looked_in)
    entries = [read_entry(one) for one in found[:most]]
    if as_json:
        rows = [_object(entry) for entry in entries]
        print(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
        return
    if not entries:
        names = " or ".join(map(str, looked_in or _ROOTS))
        print(f"no runs in {names}")
        return
    now = datetime.now()
    lines, _ = lines_of(_COLUMNS, [_cells(entry, now) for entry in entries], terminal_width())
    print("\n".join(lines))
    hidden = len(found) - len(entries)
    if hidden:
        print(f"and {hidden:,} more: --all shows them")


def _cells(entry: Entry, now: datetime) -> list[str]:
    when = entry.found.when
    return [
        f"{when:%m-%d %H:%M}" if when.year == now.year else f"{when:%Y-%m-%d}",
        f"sweep of {entry.num_runs:,}" if entry.found.is_sweep else "run",
        entry.what or "-",
        _few(entry.datasets, "data sets"),
        _seeds(entry.seeds),
        _status(entry),
        _score(entry.val_score, entry.metric),
        _score(entry.test_score, entry.metric),
        short(entry.found.folder),
    ]


def _status(entry: Entry) -> str:
    """``completed``; for a sweep the counts of what did not complete; a note of one run."""
    if not entry.found.is_sweep:
        shown = entry.status in ("running", "died", "unfinished", "damaged")
        return f"{entry.status}: {entry.note}" if shown and entry.note else entry.status
    others = [
        f"{count:,} {status}"
        for status, count in entry.counts.items()
        if count and status not in ("completed", "running")
    ]
    if "running" in entry.counts:
        done = entry.counts.get("completed", 0)
        others.insert(0, f"running, {done:,} completed")
    return ", ".join(others) or entry.status


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]}-{seeds[-1]}"
    return _few([str(seed) for seed in seeds], "seeds")


def _few(names: Sequence[str], what: str) -> str:
    return f"{len(names):,} {what}" if len(names) > _MOST_NAMED else ",".join(names) or "-"


def _score(value: float | None, metric: str) -> str:
    """``0.9815``, or ``RMSE 57.71``; accuracy goes without saying."""
    if value is None:
        return "-"
    if metric == ACCURACY:
        return f"{value:.4f}"
    number = f"{value:.4f}" if abs(value) < 10 else f"{value:,.5g}"
    return f"{metric_label(metric)} {number}"


def _object(entry: Entry) -> dict[str, Any]:
    """An entry for programs; keys are as in ``result.json`` where that has them."""
    return {
        "when": entry.found.when.isoformat(sep=" ", timespec="seconds"),
        "kind": "sweep" if entry.found.is_sweep else "run",
        "what": entry.what or None,
        "datasets": list(entry.datasets),
        "seeds": list(entry.seeds),
        "runs": entry.num_runs,
        "status": entry.status,
        "counts": entry.counts,
        "metric": entry.metric,
        metric_key(entry.metric, "val"): entry.val_score,
        metric_key(entry.metric, "test"): entry.test_score,
        "note": entry.note,
        "folder": str(entry.found.folder),
    }
