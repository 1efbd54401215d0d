"""Runs as the analysis sees them: records, their tasks and splits, entries of learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from nnexp.analysis.names import PLACES, SEPARATOR, canonical, flatten, is_under, labels
from nnexp.analysis.types import Choice, Setting, Task
from nnexp.runs.record import RunResult

# --------------------------------------------------------------------------------------------------
# A run as the comparison sees it: its folder and what ``result.json`` said.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunRecord:
    """One run that has ended.

    ``metrics.jsonl`` and ``predictions.npz`` are looked for in ``folder``, for chosen runs alone.
    """

    folder: Path
    result: RunResult

    @property
    def has_validation(self) -> bool:
        """Whether there were validation rows to choose by."""
        return self.result.dataset.num_val != 0


# --------------------------------------------------------------------------------------------------
# Which data a run saw: its task, and its split.
# --------------------------------------------------------------------------------------------------

# Told otherwise: by the splits, and by the number of rows that were trained on.
_TOLD = ("split_seed", "fold", "num_train", "train_fraction", "fraction")
_SUBSETS = ("num_train", "train_fraction", "fraction")

Draw = tuple[int, ...]
"""What says which rows are tested: ``split_seed``, and the fold if there are folds."""


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """A task, and what its statistics need to know."""

    task: Task
    source: str  # one for all tasks of one data set: its name and fingerprint
    series: str  # one for all tasks that differ in the number of training rows alone
    series_name: str  # "digits", "digits · scaling=none"
    splits: Mapping[int, str]  # of every run by its place in the records
    draws: Mapping[int, str]  # the draw of rows behind it: more than one split where seeds are
    overlap: float
    """Test rows / all other rows, where splits are drawn anew: see ``estimates``; else 0."""
    only_draw: str | None = None
    """The one draw of rows where seeds stand for splits: a baseline is one fit there."""
    are_folds: bool = False
    """Splits are the folds of K-fold cross-validation, perhaps repeated."""


def find_tasks(records: Sequence[RunRecord]) -> list[TaskFacts]:
    """The tasks of all runs, ordered by data set and number of training rows.

    A run whose data were not loaded belongs to the task whose config says the same, if there is
    one, else to none. Splits are draws of rows. Where a task has one draw but several seeds, the
    seeds take the place of splits: there is one set of test rows, and what varies is training.
    """
    members: dict[str, list[int]] = {}
    asked: dict[str, str] = {}
    for i, record in enumerate(records):
        if record.result.dataset.fingerprint is not None:
            key = _key(record)
            members.setdefault(key, []).append(i)
            asked[_asked(record)] = key
    for i, record in enumerate(records):
        if record.result.dataset.fingerprint is None and _asked(record) in asked:
            members[asked[_asked(record)]].append(i)
    names = _names([records[group[0]] for group in members.values()])
    facts = [
        _facts(records, indices, name, series)
        for indices, (name, series) in zip(members.values(), names, strict=True)
    ]
    most: dict[str, int] = {}
    for fact in facts:
        most[fact.source] = max(most.get(fact.source, 0), fact.task.num_train)
    facts = [_whole(fact, most[fact.source]) for fact in facts]
    return sorted(facts, key=lambda f: (f.task.dataset, f.series_name, f.task.num_train))


def _facts(
    records: Sequence[RunRecord], indices: Sequence[int], name: str, series_name: str
) -> TaskFacts:
    first = records[indices[0]]
    data = first.result.dataset
    draws = {i: _draw(records[i]) for i in indices}
    seeds = {records[i].result.seed for i in indices}
    has_configs = all(records[i].result.config for i in indices)
    one_draw = len(set(draws.values())) == 1 and has_configs
    by_seed = one_draw and len(seeds) > 1
    texts = {i: _draw_text(records[i]) for i in indices}
    splits = {i: f"seed {records[i].result.seed}" if by_seed else texts[i] for i in indices}
    same_test_rows = one_draw or _has_official_test(first)
    num_test = data.num_test or 0
    places = {splits[i]: (records[i].result.seed,) if by_seed else draws[i] for i in indices}
    seen = sorted(places, key=lambda split: places[split])
    return TaskFacts(
        task=Task(
            name=name,
            dataset=data.name,
            num_train=data.num_train or 0,
            num_val=data.num_val or 0,
            num_test=num_test,
            num_features=data.num_features or 0,
            num_classes=data.num_classes or 1,
            splits=tuple(seen),
            unit="seed" if by_seed else "split",
            same_test_rows=same_test_rows,
            is_whole=True,
            target_score=None,
        ),
        source=canonical({"name": data.name, "fingerprint": data.fingerprint}),
        series=canonical(_identity(first)),
        series_name=series_name,
        splits=splits,
        draws=texts,
        overlap=0.0 if same_test_rows else _overlap(first),
        only_draw=f"split {texts[indices[0]]}" if by_seed else None,
        are_folds=_fold(first) is not None,
    )


def _overlap(record: RunRecord) -> float:
    """Test rows / all other rows. A learner on a subset learns from few of the others.

    Of K folds that is 1 / (K - 1), as Bouckaert and Frank (2004) have it.
    """
    folds = _dataset(record).get("folds")
    if isinstance(folds, int) and folds > 1:
        return 1 / (folds - 1)
    share = _dataset(record).get("test_fraction")
    if isinstance(share, float) and 0 < share < 1 and _fold(record) is None:
        return share / (1 - share)
    data = record.result.dataset
    others = (data.num_train or 0) + (data.num_val or 0)
    return (data.num_test or 0) / others if others else 0.0


def _whole(fact: TaskFacts, most: int) -> TaskFacts:
    return replace(fact, task=replace(fact.task, is_whole=fact.task.num_train == most))


def _names(firsts: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Of one run of each task: the task's name, and its name without the number of rows."""
    names: list[tuple[str, str]] = [("", "")] * len(firsts)
    by_name: dict[str, list[int]] = {}
    for i, record in enumerate(firsts):
        by_name.setdefault(record.result.dataset.name, []).append(i)
    for name, group in by_name.items():
        options = labels([_options(firsts[i]) for i in group])
        series = [SEPARATOR.join(filter(None, (name, told))) for told in options]
        prints = [str(firsts[i].result.dataset.fingerprint) for i in group]
        if len(set(zip(series, prints, strict=True))) > len(set(series)):
            series = [f"{told} ({p[:8]})" for told, p in zip(series, prints, strict=True)]
        for i, told in zip(group, series, strict=True):
            peers = [firsts[j] for j, other in zip(group, series, strict=True) if other == told]
            rows = {peer.result.dataset.num_train for peer in peers}
            size = firsts[i].result.dataset.num_train
            suffix = f"{SEPARATOR}{size:,} rows"
            alike = [p for p in peers if p.result.dataset.num_train == size]
            if len({_has_few_to_validate(peer) for peer in alike}) > 1:
                suffix += f", {firsts[i].result.dataset.num_val:,} to validate"
            names[i] = (told + (suffix if len(rows) > 1 else ""), told)
    return names


def _key(record: RunRecord) -> str:
    rows: dict[str, Any] = {"rows": record.result.dataset.num_train}
    data = _dataset(record)
    if _fold(record) is not None or data.get("group") is not None:  # of which parts differ in size
        rows = {key: data.get(key) for key in _SUBSETS}
    elif _has_few_to_validate(record):
        rows["val rows"] = record.result.dataset.num_val
    return canonical({**_identity(record), **rows})


def _has_few_to_validate(record: RunRecord) -> bool:
    """Whether ``fraction`` took some of the validation rows, as of the training rows."""
    return bool(_dataset(record).get("fraction", 1) != 1)


def _identity(record: RunRecord) -> dict[str, Any]:
    data = record.result.dataset
    return {"name": data.name, "fingerprint": data.fingerprint, "options": _options(record)}


def _asked(record: RunRecord) -> str:
    """What the config said of the data, the split left out."""
    data = _dataset(record)
    told = {key: value for key, value in data.items() if key not in ("split_seed", "fold")}
    return canonical({"name": record.result.dataset.name, **told})


def _options(record: RunRecord) -> dict[str, Any]:
    return {
        key: value for key, value in _dataset(record).items() if not is_under(key, PLACES + _TOLD)
    }


def _dataset(record: RunRecord) -> dict[str, Any]:
    section = record.result.config.get("dataset")
    return flatten(section) if isinstance(section, Mapping) else {}


def _draw(record: RunRecord) -> Draw:
    """A split by time has one, whatever the seed; folds that are given do not follow it either."""
    data, fold = _dataset(record), _fold(record)
    if data.get("time") is not None:
        return (0,)
    if fold is not None and (data.get("fold_file") or data.get("fold_column")) is not None:
        return (fold,)
    split_seed = data.get("split_seed")
    seed = split_seed if isinstance(split_seed, int) else record.result.seed
    return (seed,) if fold is None else (seed, fold)


def _draw_text(record: RunRecord) -> str:
    """``3``, ``3 fold 0``, or ``fold 0``."""
    *seed, last = _draw(record)
    if _fold(record) is None:
        return str(last)
    return " ".join([*map(str, seed), f"fold {last}"])


def _fold(record: RunRecord) -> int | None:
    fold = _dataset(record).get("fold")
    return fold if isinstance(fold, int) else None


def _has_official_test(record: RunRecord) -> bool:
    """As recorded; of older results as the config implies."""
    recorded = record.result.dataset.official_test
    if recorded is not None:
        return recorded
    data = _dataset(record)
    given = data.get("test_path") is not None or data.get("split_column") is not None
    return bool(data) and (given or "test_fraction" not in data)


# --------------------------------------------------------------------------------------------------
# A learner on a task: what it chose on every split, and what came of it.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A setting on one split."""

    setting: Setting
    num_runs: int
    num_failed: int
    val_score: float | None
    """Mean of the runs that were completed. None: none was, or, where none failed, a baseline
    recorded other metrics of it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One split: what was chosen, and the numbers that were read for it alone."""

    choice: Choice
    records: tuple[RunRecord, ...]
    """The chosen runs; of a baseline, all runs that tell of it."""
    tried: tuple[Tried, ...]
    test_clipped_loss: float | None
    test_brier: float | None
    test_metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Metrics beside the primary one by name."""
    calibrations: tuple[Mapping[str, Sequence[Any]], ...] = ()
    train_seconds: float | None = None
    predict_seconds: float | None = None
    tune_seconds: float | None = None
    val_loss: float | None = None  # None too for a baseline
    num_failed: int = 0  # of the selected runs; each counts as ``majority`` says
    failed_val_score: float = 0.0
    """What a setting that failed counts as, on the validation samples."""
    counted_as: Literal["majority", "equally frequent", "worst"] = "majority"
    """What failed scores: what the majority class does; what it would if classes were as frequent,
    where no run records their frequencies; or, in a metric that cannot be computed of frequencies,
    the worst of what was completed."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A learner on a task. A split on which it was not run is not there."""

    learner: str
    task: str
    baseline: str | None  # its name in result.json; None: a network
    outcomes: tuple[Outcome, ...]  # in the order of the task's splits
    num_runs: int
    num_failed: dict[str, int] = field(default_factory=dict)  # by status
    notes: tuple[str, ...] = ()
    one_fit: bool = False
    """A baseline on a split that stays: one outcome, whatever the number of seeds."""
    is_selection: bool = False
    """Another network on each split: see ``selected_network``."""

    @property
    def is_network(self) -> bool:
        """Whether it was trained by gradient."""
        return self.baseline is None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """One a split."""
        return tuple(outcome.choice for outcome in self.outcomes)

    @property
    def by_split(self) -> dict[str, Outcome]:
        """The outcomes by the split's name."""
        return {outcome.choice.split: outcome for outcome in self.outcomes}
