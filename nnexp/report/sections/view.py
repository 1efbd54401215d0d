"""A comparison, looked up by task, and what all sections share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from nnexp.analysis.learners import best_first
from nnexp.analysis.types import Band, Comparison, LearnerOnTask, Task, VerdictKind
from nnexp.analysis.verdicts import GIVEN
from nnexp.report.blocks import Block, Cell, Column, Folded, Heading, Tone, counted, either
from nnexp.report.figures.palette import Looks

SHARED = " †"  # times of runs that trained together
DRAWN_TASKS = 6  # for how many tasks there are figures: a page that one can send
_UNFOLDED = 3
VERDICT_SIGNS: dict[VerdictKind, tuple[str, Tone]] = {
    "better": ("▲", "good"),
    "worse": ("▼", "bad"),
    "equivalent": ("≈", "same"),
    "undecided": ("?", "quiet"),
    "not significant after correction": ("○", "quiet"),
    "too few": ("…", "quiet"),
    "summary": ("•", ""),
    "chance": ("!", "warn"),
}
_SHORT: dict[VerdictKind, str] = {
    "undecided": "inconclusive",
    "not significant after correction": "not significant",
}
NOT_SIGNIFICANT = (
    "Not significant: the interval excludes zero, but p is not below 0.05 after Holm's correction "
    "for multiple comparisons."
)


def short_kind(kind: VerdictKind) -> str:
    """A verdict's kind in two words at most."""
    return _SHORT.get(kind, kind)


class View:
    """What the sections are made from."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.metric = comparison.metric
        self.looks = Looks(comparison)
        self._file_names: dict[tuple[str, ...], str] = {}
        self._by_task: dict[str, list[LearnerOnTask]] = {t.name: [] for t in comparison.tasks}
        for result in comparison.results:
            self._by_task.setdefault(result.task, []).append(result)
        for task in comparison.tasks:
            self._by_task[task.name] = best_first(self._by_task[task.name], task, self.metric)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those with as many training rows as any of their data set."""
        return tuple(task for task in self.comparison.tasks if task.is_whole)

    @property
    def smaller_tasks(self) -> tuple[Task, ...]:
        """Those with fewer, which make up the learning curves."""
        return tuple(task for task in self.comparison.tasks if not task.is_whole)

    @property
    def drawn_tasks(self) -> tuple[Task, ...]:
        """Those with figures."""
        return self.tasks[:DRAWN_TASKS]

    @property
    def unit(self) -> str:
        """What a mean is over: ``split``, ``seed``, or ``split or seed`` where tasks differ."""
        return either(task.unit for task in self.comparison.tasks)

    @property
    def units(self) -> str:
        """Several of them."""
        return either(f"{task.unit}s" for task in self.comparison.tasks)

    @property
    def reference(self) -> str:
        """The name of the learner that the others are compared with."""
        return self.comparison.reference or "the reference"

    def shared_note(self, *, tuned: bool) -> str:
        """What ``SHARED`` stands for; nothing where every run was trained solo.

        Args:
            tuned: there are times of tuning too.
        """
        shared = [result.cost for result in self.comparison.results if result.cost.shared]
        if not shared:
            return ""
        most = max(cost.largest_group for cost in shared)
        return (
            f"{SHARED} marks runs that were trained in a batch, of up to {most}: each counts an "
            f"equal fraction of its time{', in training as in tuning' if tuned else ''}; a solo "
            "run would take longer."
        )

    def given(self, task: Task) -> str:
        """What the intervals of a task hold for, behind a caption; "" for samples of the kind."""
        return f", {GIVEN}" if task.same_test_rows else ""

    def given_note(self) -> str:
        """The same in a sentence behind an introduction, where a task has such intervals."""
        if not any(task.same_test_rows for task in self.comparison.tasks):
            return ""
        return (
            f" Where the test set is fixed, intervals hold {GIVEN}: how results vary with other "
            "training samples is not covered."
        )

    def results(self, task: Task) -> list[LearnerOnTask]:
        """All learners on the task, as ``best_first`` orders them."""
        return self._by_task[task.name]

    def head(self, learner: str, note: str = "") -> Cell:
        """The first cell of a learner's row."""
        return Cell(learner, note, look=self.looks.of(learner))

    def each_task(
        self, make: Callable[[Task], Sequence[Block]], tasks: Sequence[Task] | None = None
    ) -> list[Block]:
        """What ``make`` has to say of each task, under its name where there are several.

        Beyond three, all but the first are folded.
        """
        made = [(task, blocks) for task in tasks or self.tasks if (blocks := make(task))]
        if len(made) > _UNFOLDED:
            return [
                Folded(summary=task.name, blocks=blocks, is_open=i == 0)
                for i, (task, blocks) in enumerate(made)
            ]
        several = len(self.comparison.tasks) > 1
        return [
            block
            for task, blocks in made
            for block in ([Heading(task.name)] if several else []) + list(blocks)
        ]

    def drawn(self, make: Callable[[Task], Sequence[Block]]) -> list[Block]:
        """The same for figures, of the first tasks alone."""
        return self.each_task(make, self.drawn_tasks)

    def drawn_note(self) -> str:
        """Says that some tasks have no figures; nothing where all have them."""
        if len(self.tasks) <= DRAWN_TASKS:
            return ""
        return f"Figures are drawn for the first {DRAWN_TASKS} of {len(self.tasks)} data sets."

    def titled(self, title: str, task: Task) -> str:
        """A figure's title, with the task's name where there are several."""
        title = title.replace(", %", ",\N{NO-BREAK SPACE}%")
        return f"{title} · {task.name}" if len(self.comparison.tasks) > 1 else title

    def file_name(self, *parts: str) -> str:
        """A figure's name without suffix, for any names of tasks: letters, digits, hyphens.

        Asked with the same parts it is the same; other parts never get it too.
        """
        if parts not in self._file_names:
            words = re.findall(r"[a-z0-9]+", " ".join(parts).lower())
            name = base = "-".join(words)[:60].strip("-")
            number = 1
            while name in self._file_names.values():
                number += 1
                name = f"{base}-{number}"
            self._file_names[parts] = name
        return self._file_names[parts]

    def grey_note(self, shown: Sequence[str], group: str = "networks") -> str:
        """Says which learners are in colour, where not all are."""
        mixed = group == "mixed"
        looks = [self.looks.of(n, "mixed" if mixed else "networks") for n in shown]
        grey = sum(look.is_grey for look in looks)
        if not grey:
            return ""
        return (
            f"{counted(len(looks) - grey, 'model')} with the best validation {self.metric.label} "
            "in colour; "
            f"{grey} more in grey."
        )

    def axis(self, split: str) -> str:
        """The head of a column or an axis: ``test accuracy, %``; ``validation RMSE``."""
        return f"{split} {self.metric.label}{self.metric.unit}"

    def on_axis(self, band: Band) -> Band:
        """A band of scores, in the units of the axis."""
        return times(band, self.metric.factor)


def times(band: Band, factor: float) -> Band:
    """A band in other units."""
    mean, low, high = (tuple(factor * v for v in vs) for vs in (band.mean, band.low, band.high))
    return Band(x=band.x, mean=mean, low=low, high=high)


def columns(*heads: str | tuple[str, str]) -> list[Column]:
    """Columns of numbers but for the first, each a text or a text and its note."""
    made = [Column(h) if isinstance(h, str) else Column(*h) for h in heads]
    return [Column(made[0].text, made[0].note, is_number=False), *made[1:]]
