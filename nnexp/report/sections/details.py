"""Details: probabilities and calibration, ensembles, costs, failed runs, the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.analysis.curves import TARGET_SHARE
from nnexp.analysis.types import FailedRun, LearnerOnTask, TargetStatus, Task
from nnexp.report.blocks import (
    NOTHING,
    Block,
    Cell,
    Column,
    Folded,
    Gallery,
    Lines,
    Section,
    Table,
    Text,
    count,
    counted,
    either,
    fixed,
    percent,
    score,
    score_interval,
    seconds,
)
from nnexp.report.figures.lines import draw_reliability
from nnexp.report.sections.view import SHARED, View, columns
from nnexp.scoring_rules import CLIP

# --------------------------------------------------------------------------------------------------
# Predicted probabilities: log-loss, Brier score, reliability; and ensembles of runs.
# --------------------------------------------------------------------------------------------------


def probabilities(view: View) -> Section | None:
    """A table of scores, and the reliability diagram."""
    blocks = view.each_task(lambda task: _scores(view, task))
    if not blocks:
        return None
    blocks += _reliability(view)
    fixed = ""
    if any(task.same_test_rows for task in view.tasks):
        fixed = (
            " Where the test set is fixed, scores have an interval only if the error on each "
            "sample is known: not those of baselines, for which only classes are recorded."
        )
    return Section(
        id="probabilities",
        title="Predicted probabilities",
        intro="On the test set. Log-loss with the natural logarithm, of probabilities clipped to "
        f"[{CLIP:.1e}, 1 − {CLIP:.1e}]; Brier score summed "
        "over the classes, 0 to 2; lower is better in both. One rule holds for all: no model has "
        "validation samples for its probabilities, and votes are smoothed. Those of k neighbours, "
        "or of the trees of a random forest, count as if each class had one more, (n + 1) / "
        "(k + classes); the SVM has a softmax of its decision values with a temperature from "
        "cross-validation on the training set; others have their own. (Results of versions before "
        "this rule have votes as they are, and a temperature from the validation set.) "
        "Expected calibration error: the mean difference of confidence and accuracy over ten bins, "
        "in pp. In the diagram a perfectly calibrated model lies on the diagonal, an overconfident "
        "one below it; larger marks stand for more predictions." + fixed,
        blocks=blocks,
    )


def _scores(view: View, task: Task) -> Sequence[Block]:
    results = [
        r for r in view.results(task) if r.test_clipped_loss or r.test_brier or r.reliability
    ]
    if not results:
        return []
    results.sort(key=lambda r: r.test_clipped_loss.mean if r.test_clipped_loss else float("inf"))
    rows = [
        [
            view.head(r.learner),
            Cell(score(r.test_clipped_loss), score_interval(r.test_clipped_loss)),
            Cell(score(r.test_brier), score_interval(r.test_brier)),
            Cell(percent(r.reliability.expected_calibration_error) if r.reliability else "–"),
        ]
        for r in results
    ]
    heads = columns("model", ("clipped log-loss", "[95 % CI]"), ("Brier score", "[95 % CI]"),
                    ("calibration error", "pp"))  # fmt: skip
    return [
        Table(
            caption=f"Scores of probabilities on {task.name}{view.given(task)}",
            columns=heads,
            rows=rows,
        )
    ]


def _reliability(view: View) -> list[Block]:
    drawings, names = [], dict[str, None]()
    for task in view.drawn_tasks:
        diagrams = {
            r.learner: (r.reliability.confidence, r.reliability.accuracy, r.reliability.count)
            for r in view.results(task)
            if r.reliability and r.reliability.count
        }
        if not diagrams:
            continue
        names |= dict.fromkeys(diagrams)
        drawing = draw_reliability(
            view.file_name("reliability", task.name),
            view.titled("Accuracy by confidence, %", task),
            diagrams,
            view.looks,
            label=f"Reliability diagram of {counted(len(diagrams), 'model')} on {task.name}. "
            "Calibration errors are in the table.",
        )
        drawings.append(drawing)
    if not drawings:
        return []
    legend = view.looks.legend(names, "mixed")
    hidden = len(names) - len(legend)
    note = f"{hidden} more models are in the table." if hidden else ""
    return [Gallery(drawings=drawings, legend=legend, note=note)]


def ensembles(view: View) -> Section | None:
    """The mean of the probabilities of a learner's runs, against its best member."""
    blocks = view.each_task(lambda task: _ensembles(view, task))
    if not blocks:
        return None
    return Section(
        id="ensembles",
        title="Ensembles",
        intro="The mean of the probabilities of a model's selected runs, which all have the same "
        "test set. The best member is the one with the best validation "
        f"{view.metric.label}. These differences are not tested.",
        blocks=blocks,
    )


def _ensembles(view: View, task: Task) -> Sequence[Block]:
    rows = [
        [
            view.head(r.learner),
            Cell(count(e.num_members)),
            Cell(view.metric.cell(e.test_score)[0]),
            *(
                Cell(view.metric.cell(of)[0], view.metric.lead_cell(e.test_score - of)[0])
                for of in (e.best_member_score, e.mean_member_score)
            ),
            Cell(NOTHING if e.test_clipped_loss is None else fixed(e.test_clipped_loss, 4)),
        ]
        for r in view.results(task)
        if (e := r.ensemble) is not None
    ]
    if not rows:
        return []
    lead = f"ensemble minus it, {view.metric.unit_of_differences}"
    lead = "ensemble's lead, pp" if view.metric.is_accuracy else lead
    heads = columns("model", "members", ("ensemble", view.axis("test")),
                    ("best member", lead), ("mean member", lead),
                    ("clipped log-loss", "ensemble"))  # fmt: skip
    return [Table(caption=f"Ensembles on {task.name}", columns=heads, rows=rows)]


# --------------------------------------------------------------------------------------------------
# What a learner costs.
# --------------------------------------------------------------------------------------------------


def cost(view: View) -> Section | None:
    """Parameters and seconds, for networks and baselines."""
    blocks = view.each_task(lambda task: _table(view, task))
    if not blocks:
        return None
    intro = (
        "Medians over the selected runs, in seconds; tuning is the time of all configurations of "
        f"a {view.unit}."
    )
    intro += _target_note(view) + view.shared_note(tuned=True)
    return Section(id="cost", title="Cost", intro=intro, blocks=blocks)


def _table(view: View, task: Task) -> Sequence[Block]:
    results = [r for r in view.results(task) if _is_known(r)]
    if not results:
        return []
    heads = ["model", "parameters", "train", "predict", "tune"]
    target = ""
    if task.target_score is not None and _has_target(results):
        target = f"to {view.metric.value(task.target_score)}"
        heads.insert(3, target)
    rows = []
    for result in results:
        spent, mark = result.cost, SHARED if result.cost.shared else ""
        times = {
            "train": spent.train_seconds,
            "predict": spent.predict_seconds,
            "tune": spent.tune_seconds,
        }
        row = [view.head(result.learner), Cell(count(spent.num_parameters))]
        for head in heads[2:]:
            value = times.get(head, spent.target_seconds)
            marked = mark if value is not None and head != "predict" else ""
            text = _UNREACHED.get(spent.target) if head == target else None
            text = text or seconds(value) + marked
            row.append(Cell(text, tone="" if value is not None else "quiet"))
        rows.append(row)
    whose = f"validation {view.metric.label}" + (f" of {task.target_of}" if task.target_of else "")
    named = [(h, whose) if h == target else h for h in heads]
    return [Table(caption=f"Cost on {task.name}", columns=columns(*named), rows=rows)]


_UNREACHED: dict[TargetStatus, str] = {"not reached": "not reached", "no epochs": "n/a"}


def _has_target(results: Sequence[LearnerOnTask]) -> bool:
    """Whether it is known of a network when it reaches the target, or that it does not."""
    return any(r.cost.target in ("reached", "not reached") for r in results)


def _target_note(view: View) -> str:
    """Which target the times are to, and what stands in place of a time."""
    tasks = [t for t in view.tasks if t.target_score is not None and _has_target(view.results(t))]
    if not tasks:
        return ""
    names = dict.fromkeys(
        f"the mean validation {view.metric.label} of {task.target_of}, the reference"
        if task.target_of
        else f"{_part(view)} the best mean validation {view.metric.label} of any model"
        for task in tasks
    )
    return (
        f" The target is {either(names)}. Not reached: in no epoch of at least half of the runs; "
        "n/a: not trained in epochs, so that no time to a target exists."
    )


def _part(view: View) -> str:
    """What the target is of the best, so that it is a little worse."""
    if view.metric.greater_is_better:
        return f"{100 * TARGET_SHARE:g} % of"
    return f"{100 / TARGET_SHARE:.3g} % of"


def _is_known(result: LearnerOnTask) -> bool:
    c = result.cost
    known = (c.num_parameters, c.train_seconds, c.target_seconds, c.predict_seconds, c.tune_seconds)
    return any(value is not None for value in known)


# --------------------------------------------------------------------------------------------------
# Runs that were not completed, and how the numbers came about.
# --------------------------------------------------------------------------------------------------

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
