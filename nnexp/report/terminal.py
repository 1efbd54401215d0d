"""A report in the terminal: verdicts in few lines, notes, tables."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnexp.analysis.learners import best_first, splits_in_order
from nnexp.analysis.measure import Measure
from nnexp.analysis.types import Comparison, Difference, LearnerOnTask, Task, Verdict, VerdictKind
from nnexp.analysis.verdicts import GIVEN
from nnexp.report import blocks as blocks_module
from nnexp.runs.folder import short

# --------------------------------------------------------------------------------------------------
# Verdicts in few lines: many of one kind on a task become one sentence.
# --------------------------------------------------------------------------------------------------

_FOLDED_FROM = 5  # verdicts on learners of one task
_NAMED = 6  # learners in a folded sentence
_ANSWERS = ("summary", "chance")
_HEADS: dict[VerdictKind, str] = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "undecided": "inconclusive against",
    "not significant after correction": "not significant after correction against",
    "too few": "too few pairs to compare with",
}


def bullets(comparison: Comparison, most: int) -> tuple[list[str], int]:
    """Sentences, the answers of all tasks among them, and how many verdicts they leave out.

    Args:
        most: how many sentences, unless there are more tasks.
    """
    by_task: dict[str | None, list[Verdict]] = {}
    for verdict in comparison.verdicts:
        by_task.setdefault(verdict.task, []).append(verdict)
    found = {(d.learner, d.task): d for r in comparison.results if (d := r.difference) is not None}
    told: list[tuple[bool, str, int]] = []  # is it the first of its task; how many verdicts
    for verdicts in by_task.values():
        told += [
            (i == 0, sentence, count)
            for i, (sentence, count) in enumerate(_of_task(verdicts, found, comparison.metric))
        ]
    room = most - sum(first for first, _, _ in told)
    kept = []
    hidden = 0
    for first, sentence, count in told:
        if first or room > 0:
            kept.append(sentence)
        else:
            hidden += count
        room -= not first
    return kept, hidden


def _of_task(
    verdicts: Sequence[Verdict], found: dict[tuple[str, str], Difference], measure: Measure
) -> list[tuple[str, int]]:
    """Sentences with the number of verdicts in each, in order of the first of each kind."""
    answers = [(v.sentence, 1) for v in verdicts if v.kind in _ANSWERS]
    rest = [v for v in verdicts if v.kind not in _ANSWERS]
    pairs = [(v, found.get((v.learner or "", v.task or ""))) for v in rest]
    if len(rest) < _FOLDED_FROM or any(difference is None for _, difference in pairs):
        return [*answers, *((v.sentence, 1) for v in rest)]
    by_kind: dict[VerdictKind, list[tuple[Verdict, Difference]]] = {}
    for verdict, difference in pairs:
        if difference is not None:
            by_kind.setdefault(verdict.kind, []).append((verdict, difference))
    folded = [
        (
            _folded(kind, [d for _, d in mine], measure) if len(mine) > 1 else mine[0][0].sentence,
            len(mine),
        )
        for kind, mine in by_kind.items()
    ]
    return [*answers, *folded]


def _folded(kind: VerdictKind, differences: Sequence[Difference], measure: Measure) -> str:
    """``worse than KNN on digits, in pp [95 % CI]: a −1.20 [−2.00, −0.40], b ...``."""
    first = differences[0]
    named = ", ".join(
        " ".join([d.learner, *measure.lead_cell(d.mean, d.interval)]).strip()
        for d in differences[:_NAMED]
    )
    more = len(differences) - _NAMED
    rest = f" and {more} more" if more > 0 else ""
    unit = f"{measure.lead}in pp" if measure.is_share else measure.label
    return f"{_HEADS[kind]} {first.other} on {first.task}, {unit} [95 % CI]: {named}{rest}"


# --------------------------------------------------------------------------------------------------
# A comparison on the terminal: verdicts, notes, a table for each task, and where the page is.
# --------------------------------------------------------------------------------------------------

_MOST_VERDICTS = 8
_MOST_WARNINGS = 5
_MOST_ROWS = 40  # of all tables together
_FEWEST_ROWS = 5  # of a table
_ENOUGH = 30  # characters of a learner's name; where there is no room for them, fewer columns:
_COLUMNS = ((0, 1, 2, 3, 4, 5), (0, 1, 3, 4, 5), (0, 3, 4, 5), (0, 3, 4))
_PIPED = 120
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def print_report(comparison: Comparison, problems: Collection[str] = ()) -> None:
    """Verdicts first, then what a reader must know of them, then the numbers.

    Args:
        problems: those of the warnings that are shown however many there are.
    """
    width = _width()
    told, hidden = bullets(comparison, _MOST_VERDICTS)
    first = [warning for warning in comparison.warnings if warning in problems]
    rest = [warning for warning in comparison.warnings if warning not in problems]
    nothing = _nothing(comparison)
    if nothing:
        rest = [warning for warning in rest if not warning.startswith("no run was completed")]
    most = max(0, _MOST_WARNINGS - len(first))
    first += rest[:most]
    # Sentences are wrapped here, not by the console: names in them are no markup.
    blocks = [
        _wrapped(nothing, width) if nothing else [],
        _bulleted(told, hidden, width),
        _bulleted(first, len(rest[most:]), width, head="warnings"),
    ]
    print("\n\n".join("\n".join(block) for block in blocks if block))
    shown = [result for result in comparison.results if result.test_score is not None]
    if shown:
        _print_tables(comparison, shown, width)
        print("\n".join(_wrapped(_legend(comparison, shown), width)))


def _nothing(comparison: Comparison) -> str:
    """That no run was completed, and why, if so."""
    if not comparison.num_runs or len(comparison.failed) < comparison.num_runs:
        return ""
    counts = Counter(run.status for run in comparison.failed)
    kinds = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
    return f"No run was completed ({kinds}): there are no results to compare."


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


def _bulleted(sentences: Sequence[str], hidden: int, width: int, head: str = "") -> list[str]:
    lines = [head] if head and sentences else []
    for sentence in sentences:
        wrapped = _wrapped(sentence, width - 5)
        lines += [f"  • {wrapped[0]}", *(f"    {line}" for line in wrapped[1:])]
    if hidden:
        lines.append(f"    and {hidden} more, in the report")
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of so many cells at most: some characters take two."""
    lines = Text(_clean(text)).wrap(Console(width=width), width)
    return [line.plain.rstrip() for line in lines] or [""]


def _clean(text: str) -> str:
    """Names may hold what a terminal would take for a command."""
    return _CONTROL.sub(" ", text)


# ── tables ────────────────────────────────────────────────────────────────────────────────────


def _print_tables(comparison: Comparison, shown: Sequence[LearnerOnTask], width: int) -> None:
    """A table for each task, all with columns of the same widths, the best model first."""
    measure = comparison.metric
    name, unit = measure.short, measure.unit
    head = ["model", "runs", f"val {name}{unit}", f"test {name}{unit}"]
    if comparison.reference is not None:
        of_lead = ", pp" if measure.is_share else ""
        head += [f"− {_clean(comparison.reference)}{of_lead}", "better in"]
    tasks = [task for task in comparison.tasks if any(r.task == task.name for r in shown)]
    most = max(_FEWEST_ROWS, _MOST_ROWS // max(1, len(tasks)))
    rows = {}
    hidden = {}
    for task in tasks:
        own = best_first((r for r in shown if r.task == task.name), task, measure)
        best = _best(own, most, comparison.reference)
        rows[task.name] = [_cells(r, task, comparison.reference is not None, measure) for r in best]
        hidden[task.name] = len(own) - len(best)
    every = [head, *(row for block in rows.values() for row in block)]
    widths = [max(cell_len(row[i]) for row in every) for i in range(len(head))]
    choices = [[i for i in choice if i < len(head)] for choice in _COLUMNS]
    enough = min(widths[0], _ENOUGH)
    fitting = (choice for choice in choices if enough + _beside(widths, choice) <= width)
    kept = next(fitting, choices[-1])
    console = Console(width=width, highlight=False)
    for task in tasks:
        print()
        if len(tasks) > 1:
            console.print(Text(f"{_clean(task.name)}: {task.num_train:,} training samples"))
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for i in kept:
            if i == 0:
                room = max(8, min(widths[0], width - _beside(widths, kept)))
                table.add_column(head[i], min_width=room, max_width=room, overflow="fold")
            else:
                table.add_column(head[i], justify="right", no_wrap=True, min_width=widths[i])
        for row in rows[task.name]:
            table.add_row(*(Text(row[i]) for i in kept))
        if hidden[task.name]:
            table.add_row(f"and {hidden[task.name]} more")
        console.print(table)


def _beside(widths: Sequence[int], kept: Sequence[int]) -> int:
    """What the columns but the first take, with all that separates and surrounds them."""
    return 2 + sum(widths[i] + 3 for i in kept if i)


def _best(ordered: Sequence[LearnerOnTask], most: int, name: str | None) -> list[LearnerOnTask]:
    """As many of them, and the one of that name in any case."""
    best = list(ordered[:most])
    if not any(result.learner == name for result in best):
        best += [result for result in ordered[most:] if result.learner == name]
    return best


def _cells(result: LearnerOnTask, task: Task, compared: bool, measure: Measure) -> list[str]:
    assert result.test_score is not None
    some = splits_in_order(result, task)
    val, test = result.val_score, result.test_score
    cells = [
        _clean(f"{result.learner} ({some})" if some else result.learner),
        _runs(result),
        blocks_module.NOTHING if val is None else measure.cell(val.mean)[0],
        " ".join(measure.cell(test.mean, test.interval)).strip(),
    ]
    difference = result.difference
    if compared and difference is not None:
        cells.append(" ".join(measure.lead_cell(difference.mean, difference.interval)).strip())
        cells.append(blocks_module.better_in(difference) or blocks_module.NOTHING)
    elif compared:
        cells += ["", ""]
    return cells


def _runs(result: LearnerOnTask) -> str:
    """``40, 3 diverged``; a baseline is computed once a split."""
    if not result.is_network:
        return ""
    failed = (f"{count} {status}" for status, count in sorted(result.num_failed.items()) if count)
    return ", ".join([str(result.num_runs), *failed])


def _legend(comparison: Comparison, shown: Sequence[LearnerOnTask]) -> str:
    tasks = {task.name: task for task in comparison.tasks}
    counts = sorted({len(tasks[result.task].splits) for result in shown})
    number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    units = blocks_module.either(f"{tasks[result.task].unit}s" for result in shown)
    has_interval = any(
        r.test_score is not None and r.test_score.interval is not None for r in shown
    )
    fixed = {tasks[result.task].same_test_rows for result in shown}
    given = f", {GIVEN}" if fixed == {True} else f", {GIVEN} where the test set is fixed"
    interval = f" [95 % CI{given if any(fixed) else ''}]" if has_interval else ""
    some = any(splits_in_order(result, tasks[result.task]) for result in shown)
    compared = any(r.difference is not None for r in shown)
    selects = any(tasks[result.task].num_val for result in shown)
    return (
        f"{'one split' if counts == [1] else f'mean over {number} {units}'}"
        f"{', or as many as the row says, which then is ranked below the others' if some else ''}"
        f"{interval}{', hyperparameters selected on the validation set' if selects else ''}"
        f"{'; better in: ties count half' if compared else ''}"
    )
