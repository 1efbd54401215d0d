"""A comparison on the terminal: verdicts, warnings, one table, and where the page is."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnexp.comparison.types import Comparison, LearnerOnTask, Task
from nnexp.paths import short
from nnexp.report import numbers

_MOST_VERDICTS = 8
_MOST_WARNINGS = 5
_MOST_ROWS = 40
_WIDE = 100  # columns from which on the less important numbers have room
_PIPED = 120


def print_report(comparison: Comparison) -> None:
    """Verdicts first, then what a reader must know of them, then the numbers."""
    width = _width()
    # Sentences are wrapped here, not by the console: names in them are no markup.
    for line in _bulleted([v.sentence for v in comparison.verdicts], _MOST_VERDICTS, width):
        print(line)
    if comparison.warnings:
        print("\nnote")
        for line in _bulleted(comparison.warnings, _MOST_WARNINGS, width):
            print(line)
    results = [result for result in comparison.results if result.test_acc is not None]
    if results:
        console = Console(width=width, highlight=False)
        print()
        console.print(_table(comparison, results, is_wide=width >= _WIDE))
        for line in textwrap.wrap(_legend(comparison), width):
            print(line)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error that something takes its time, where that is a terminal.

    Yields a function that says what it is now.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status(f"{what} ...") as status:
        yield lambda what: status.update(f"{what} ...")


def print_page(page: Path) -> None:
    """Where the page is: a line of its own, that a terminal can open."""
    print(f"report       {short(page)}")


def _width() -> int:
    """Of the terminal; of a pipe what ``COLUMNS`` says, else wide enough for all columns."""
    console = Console()
    if console.is_terminal or os.environ.get("COLUMNS", "").isdecimal():
        return max(40, console.width)
    return _PIPED


def _bulleted(sentences: Sequence[str], most: int, width: int) -> list[str]:
    lines = []
    for sentence in sentences[:most]:
        wrapped = textwrap.wrap(
            sentence, width - 1, initial_indent="  • ", subsequent_indent="    ",
            break_on_hyphens=False,
        )  # fmt: skip
        lines += wrapped
    if len(sentences) > most:
        lines.append(f"    and {len(sentences) - most} more, in the report")
    return lines


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def _table(comparison: Comparison, results: Sequence[LearnerOnTask], is_wide: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=is_wide)
    table.add_column("learner", min_width=16, overflow="fold")
    if is_wide:
        table.add_column("runs", justify="right", no_wrap=True)
        table.add_column("val acc", justify="right", no_wrap=True)
    table.add_column("test acc, %", justify="right", no_wrap=True)
    if comparison.reference is not None:
        table.add_column(f"− {comparison.reference}, points", justify="right", no_wrap=True)
        table.add_column("P(better)", justify="right", no_wrap=True)
    left = _MOST_ROWS
    hidden = 0
    for task in comparison.tasks:
        own = sorted((r for r in results if r.task == task.name), key=_rank)
        if len(comparison.tasks) > 1 and own and left:
            table.add_row(Text(_headed(task), style="bold"))
        for result in own[:left]:
            table.add_row(*_row(comparison, result, is_wide))
        hidden += len(own[left:])
        left -= len(own[:left])
    if hidden:
        table.add_row(f"and {hidden} more")
    return table


def _headed(task: Task) -> str:
    return f"{task.name}, {task.num_train:,} rows to train"


def _rank(result: LearnerOnTask) -> tuple[float, str]:
    assert result.test_acc is not None
    return (-result.test_acc.mean, result.learner)


def _row(comparison: Comparison, result: LearnerOnTask, is_wide: bool) -> list[Text | str]:
    cells: list[Text | str] = [Text(result.learner)]
    if is_wide:
        cells.append(_runs(result))
        mean = None if result.val_acc is None else result.val_acc.mean
        cells.append(numbers.percent(mean))
    assert result.test_acc is not None
    interval = numbers.percent_interval(result.test_acc.interval)
    cells.append(f"{numbers.percent(result.test_acc.mean)} {interval}".strip())
    if comparison.reference is not None:
        difference = result.difference
        if difference is None:
            cells += ["", ""]
        else:
            interval = numbers.points_interval(difference.interval)
            cells.append(f"{numbers.points(difference.mean)} {interval}".strip())
            cells.append(numbers.fixed(difference.p_better, 2))
    return cells


def _runs(result: LearnerOnTask) -> str:
    """``40, 3 diverged``; a baseline is computed once a split."""
    if not result.is_network:
        return ""
    failed = (f"{count} {status}" for status, count in sorted(result.num_failed.items()) if count)
    return ", ".join([str(result.num_runs), *failed])


def _legend(comparison: Comparison) -> str:
    tasks = comparison.tasks
    splits = sorted({len(task.splits) for task in tasks})
    counts = f"{splits[0]}" if len(splits) == 1 else f"{splits[0]} to {splits[-1]}"
    return (
        f"mean over {counts} split{'' if splits == [1] else 's'} [95 % interval] of the setting "
        "chosen on the validation rows; best first"
    )
