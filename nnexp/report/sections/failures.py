"""Runs that were not completed, and how the numbers came about."""

from __future__ import annotations

from nnexp.comparison.types import FailedRun
from nnexp.report.blocks import Block, Cell, Column, Folded, Lines, Section, Table, Text
from nnexp.report.numbers import count, counted
from nnexp.report.sections.view import View

_LISTED = 200
_SEEDS = 12


def failed_runs(view: View) -> Section | None:
    """Counted by arm, with every folder in a list that unfolds."""
    failed = view.comparison.failed
    if not failed:
        return None
    by_arm: dict[tuple[str, str, str], list[FailedRun]] = {}
    for run in failed:
        by_arm.setdefault((run.arm, run.task, run.status), []).append(run)
    ordered = sorted(by_arm.items(), key=lambda item: -len(item[1]))
    rows = [
        [
            Cell(arm),
            Cell(task),
            Cell(status),
            Cell(count(len(runs))),
            Cell(_seeds(runs)),
            Cell(runs[0].error),
        ]
        for (arm, task, status), runs in ordered[:_LISTED]
    ]
    heads = [_text("arm"), _text("task"), _text("status"), Column("runs"), _text("seeds"),
             _text("error")]  # fmt: skip
    every = Table(
        caption="Folders of runs that were not completed",
        columns=[_text("folder"), _text("arm"), _text("error")],
        rows=[[Cell(r.folder), Cell(r.arm), Cell(r.error)] for r in failed[:_LISTED]],
    )
    summary = "Their folders"
    if len(failed) > _LISTED:
        summary = f"The folders of the first {_LISTED}; all are in runs.csv"
    blocks: list[Block] = [
        Table(caption="Runs that were not completed, by arm", columns=heads, rows=rows),
        Folded(summary=summary, blocks=[every]),
    ]
    if len(ordered) > _LISTED:
        blocks.insert(1, Text(f"{len(ordered) - _LISTED} more arms are in runs.csv."))
    runs = counted(len(failed), "run")
    total = max(view.comparison.num_runs, len(failed))
    return Section(
        id="failed",
        title="Diverged and failed runs",
        intro=f"{runs} of {total:,} {'was' if len(failed) == 1 else 'were'} not completed. They "
        "count against their model: a configuration that fails on a split ranks below all others "
        "there.",
        blocks=blocks,
    )


def _text(head: str) -> Column:
    return Column(head, is_number=False)


def _seeds(runs: list[FailedRun]) -> str:
    seeds = sorted({run.seed for run in runs})
    return ", ".join(map(str, seeds[:_SEEDS])) + (", ..." if len(seeds) > _SEEDS else "")


def protocol(view: View) -> Section | None:
    """Rows, splits, budgets, seeds, versions, hardware, the commands."""
    lines = view.comparison.protocol.lines
    if not lines:
        return None
    return Section(id="protocol", title="Protocol", blocks=[Lines(lines)])
