"""Settings chosen by the validation rows of each split; test numbers of the chosen runs alone.

The choice is nested: on every split the setting with the best mean validation accuracy on that
very split is taken, then lower validation loss, then the smaller setting. A setting with a run that
failed on the split ranks below all without. Only then are test numbers read (Cawley and Talbot
2010 on what happens otherwise). What failed altogether has the accuracy of guessing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from nnexp.comparison.config_keys import canonical, order
from nnexp.comparison.entries import Entry, Outcome, Tried
from nnexp.comparison.records import RunRecord
from nnexp.comparison.tasks import TaskFacts
from nnexp.comparison.types import Choice, Setting
from nnexp.results.record import RunResult

NOT_RUN = "interrupted"  # says nothing against the learner: the setting counts as not tried


@dataclass(frozen=True)
class PlacedRun:
    """A run of one learner on one task."""

    record: RunRecord
    split: str
    draw: str  # the draw of rows; the same for many splits where seeds stand for splits
    setting: Setting

    @property
    def completed(self) -> bool:
        """Whether there is an accuracy to choose by and one to report."""
        metrics = self.record.result.metrics
        has_both = metrics.get("val/acc") is not None and metrics.get("test/acc") is not None
        return self.record.result.status == "completed" and has_both

    @property
    def status(self) -> str:
        """``completed``, or why it does not count as such."""
        status = self.record.result.status
        return "failed" if status == "completed" and not self.completed else status


def network_entry(learner: str, facts: TaskFacts, runs: Sequence[PlacedRun]) -> Entry:
    """What a learner's runs on a task amount to; ``runs`` is not empty."""
    outcomes: dict[str, Outcome] = {}
    for draw in dict.fromkeys(run.draw for run in runs):
        peers = [run for run in runs if run.draw == draw and run.status != NOT_RUN]
        chosen = choose(peers)
        for split in dict.fromkeys(run.split for run in peers):
            mine = [run for run in peers if run.split == split]
            outcome = _outcome(split, mine, chosen, facts)
            if outcome is not None:
                outcomes[split] = outcome
    return Entry(
        learner=learner,
        task=facts.task.name,
        baseline=None,
        outcomes=tuple(outcomes[split] for split in facts.task.splits if split in outcomes),
        num_runs=len(runs),
        num_failed=dict(Counter(run.status for run in runs if run.status != "completed")),
    )


def choose(runs: Iterable[PlacedRun]) -> Setting | None:
    """The setting that the validation rows choose among runs on one draw; None: all failed."""
    ranked = []
    for setting, members in _by_setting(runs):
        completed = [run.record.result.metrics for run in members if run.completed]
        if completed:
            accs = [m["val/acc"] for m in completed if m["val/acc"] is not None]
            losses = [m.get("val/loss") for m in completed]
            loss = fmean(math.inf if value is None else value for value in losses)
            failed = len(completed) < len(members)
            ranked.append((failed, -fmean(accs), loss, order(setting), setting))
    return min(ranked, key=lambda r: r[:4])[4] if ranked else None


def _by_setting(runs: Iterable[PlacedRun]) -> list[tuple[Setting, list[PlacedRun]]]:
    groups: dict[str, list[PlacedRun]] = {}
    for run in runs:
        groups.setdefault(canonical(run.setting), []).append(run)
    return [(members[0].setting, members) for members in groups.values()]


def _outcome(
    split: str, runs: Sequence[PlacedRun], chosen: Setting | None, facts: TaskFacts
) -> Outcome | None:
    """Of one split; None if the chosen setting was not run on it."""
    tried = tuple(sorted(map(_tried, _by_setting(runs)), key=lambda t: order(t.setting)))
    members = [run for run in runs if chosen is not None and run.setting == chosen]
    if chosen is not None and not members:
        return None
    results = [run.record.result for run in members if run.completed]
    num_failed = len(members) - len(results) if chosen is not None else 1
    uniform = {
        "val/acc": facts.guess,
        "test/acc": facts.guess,
        "test/clipped_loss": math.log(facts.task.num_classes),
        "test/brier": 1 - facts.guess,
    }

    def mean(key: str, of: Sequence[Mapping[str, float | None]]) -> float | None:
        values = [metrics.get(key) for metrics in of] + [uniform.get(key)] * num_failed
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    metrics = [result.metrics for result in results]
    further = dict.fromkeys(name for result in results for name in result.further)
    return Outcome(
        choice=Choice(
            split=split,
            setting=dict(chosen or {}),
            val_acc=mean("val/acc", metrics) if results else None,
            test_acc=mean("test/acc", metrics) or 0.0,
            folders=tuple(str(run.record.folder) for run in members if run.completed),
            failed=not results,
        ),
        records=tuple(run.record for run in members if run.completed),
        tried=tried,
        test_clipped_loss=mean("test/clipped_loss", metrics),
        test_brier=mean("test/brier", metrics),
        test_metrics={name: mean(f"test/{name}", metrics) for name in further},
        calibrations=tuple(r.calibration for r in results if r.calibration is not None),
        train_seconds=_mean_known(map(_train_seconds, results)),
        predict_seconds=_mean_known(result.seconds.get("predict") for result in results),
        tune_seconds=_tune_seconds(runs),
    )


def _tried(group: tuple[Setting, Sequence[PlacedRun]]) -> Tried:
    setting, runs = group
    accs = [run.record.result.metrics["val/acc"] for run in runs if run.completed]
    return Tried(
        setting=setting,
        num_runs=len(runs),
        num_failed=len(runs) - len(accs),
        val_acc=_mean_known(accs),
    )


def _tune_seconds(runs: Iterable[PlacedRun]) -> float | None:
    """Of all settings."""
    shares = [_train_seconds(run.record.result) for run in runs]
    known = [share for share in shares if share is not None]
    return sum(known) if known else None


def _train_seconds(result: RunResult) -> float | None:
    """Runs that trained together each tell the time of all: an equal share counts."""
    seconds = result.seconds.get("train")
    return None if seconds is None else seconds / result.group_size


def _mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
