"""Precision, recall and F1 of each class, and what the most frequent class alone would reach.

Axes: n runs of one learner, N test rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis.records import Entry, TaskFacts
from nnexp.analysis.types import ByClass, ClassScores, MajorityClass
from nnexp.errors import DataError
from nnexp.metrics import METRICS, measured
from nnexp.runs.predictions import Predictions, read_predictions

Read = Callable[[Path], Predictions | None]
Labelled = tuple[NDArray[np.int32], NDArray[np.int32]]  # predicted and right classes [N]
_RUNS_ASKED = 3  # of those that tell of a baseline, before it counts as not recorded


def by_class(
    facts: TaskFacts, shown: Sequence[Entry], metrics: Iterable[str], read: Read
) -> ByClass | None:
    """Scores by class on the test rows of one task, pooled over a learner's splits.

    Args:
        shown: learners; one of which the predictions of a run cannot be read is left out.
        metrics: names of further metrics that are wanted of the majority class.
        read: predictions in the folder of a run, None where they cannot be read.

    None where no learner is left.
    """
    runs = _Runs(read)
    networks_first = sorted(shown, key=lambda entry: not entry.is_network)
    predicted = {entry.learner: _predicted(entry, runs) for entry in networks_first}
    known = {learner: told for learner, told in predicted.items() if told}
    if not known:
        return None
    labels = [right for _, right in next(iter(known.values()))]
    size = max(facts.task.num_classes, *(int(right.max()) + 1 for right in labels))
    names = _names(shown, size)
    return ByClass(
        task=facts.task.name,
        names=names,
        support=tuple(float(n) for n in _counts(np.concatenate(labels), size) / len(labels)),
        learners=tuple(_scores(learner, told, size) for learner, told in known.items()),
        left_out=tuple(learner for learner, told in predicted.items() if not told),
        majority=_majority(_distinct(labels), names, metrics),
    )


def read_quietly(folder: Path) -> Predictions | None:
    """Return what a run predicted, None where it cannot be read."""
    try:
        return read_predictions(folder)
    except DataError:
        return None


@dataclass(frozen=True, eq=False)
class _Run:
    """Classes [N] alone: the probabilities of many runs are large."""

    network: NDArray[np.int32]
    labels: NDArray[np.int32]
    baselines: Mapping[str, NDArray[np.int32]]


class _Runs:
    """What runs predicted, each read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[Path, _Run | None] = {}

    def of(self, folder: Path) -> _Run | None:
        """Of one run; None if it cannot be read, or had no test rows."""
        if folder not in self._known:
            told = self._read(folder)
            self._known[folder] = (
                _Run(told.predicted, told.labels, told.baselines)
                if told is not None and len(told.labels) and told.labels.dtype.kind in "iu"
                else None
            )
        return self._known[folder]

    def with_baseline(self, folders: Sequence[Path], baseline: str) -> Labelled | None:
        """A baseline's, from one of the runs that tell of it: those that have been read first."""
        for folder in sorted(folders, key=lambda folder: folder not in self._known)[:_RUNS_ASKED]:
            told = self.of(folder)
            if told is not None and baseline in told.baselines:
                return told.baselines[baseline], told.labels
        return None


def _predicted(entry: Entry, runs: _Runs) -> list[Labelled]:
    """Of each selected run, or of each split a baseline's; nothing where one cannot be read."""
    found: list[Labelled | None] = []
    for outcome in entry.outcomes:
        folders = [record.folder for record in outcome.records]
        if entry.baseline is not None:
            found.append(runs.with_baseline(folders, entry.baseline))
            continue
        told = [runs.of(folder) for folder in folders]
        found += [None if run is None else (run.network, run.labels) for run in told] or [None]
    known = [pair for pair in found if pair is not None]
    return known if len(known) == len(found) else []


def _names(shown: Sequence[Entry], size: int) -> tuple[str, ...]:
    """As a run recorded them; numbers where none did."""
    for entry in shown:
        for record in (record for outcome in entry.outcomes for record in outcome.records):
            names = record.result.dataset.class_names
            if names is not None and len(names) == size:
                return tuple(names)
    return tuple(map(str, range(size)))


def _scores(learner: str, runs: Sequence[Labelled], size: int) -> ClassScores:
    """From counts that are summed over the runs."""
    predicted, labels = (np.concatenate(column) for column in zip(*runs, strict=True))
    right = _counts(labels[predicted == labels], size)
    there, told = _counts(labels, size), _counts(predicted, size)
    return ClassScores(
        learner=learner,
        precision=_shares(right, told),
        recall=_shares(right, there),
        f1=_shares(2 * right, told + there),
    )


def _counts(classes: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    return np.bincount(classes, minlength=size)


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> tuple[float | None, ...]:
    """None of nothing."""
    return tuple(int(p) / int(n) if n else None for p, n in zip(part, whole, strict=True))


def _distinct(labels: Sequence[NDArray[np.int32]]) -> list[NDArray[np.int32]]:
    """Test rows that stay have the same labels in every run."""
    return list({right.tobytes(): right for right in labels}.values())


def _majority(
    labels: Sequence[NDArray[np.int32]], names: Sequence[str], metrics: Iterable[str]
) -> MajorityClass:
    """Means over the labels [N] of several splits."""
    counts = np.stack([_counts(right, len(names)) for right in labels])  # [n, C]
    shares = counts / counts.sum(1, keepdims=True)
    accs = shares.max(1)
    present = (counts > 0).sum(1)
    entropies = [-float((share[share > 0] * np.log(share[share > 0])).sum()) for share in shares]
    wanted = [name for name in dict.fromkeys(metrics) if name in METRICS]
    found = [
        measured(wanted, np.tile(share, (len(right), 1)), right, "the most frequent class")
        for share, right in zip(shares, labels, strict=True)
        if wanted
    ]
    return MajorityClass(
        name=names[int(counts.sum(0).argmax())],
        test_acc=fmean(accs),
        balanced_accuracy=fmean(1 / present),
        macro_f1=fmean(2 * accs / (1 + accs) / present),
        log_loss=fmean(entropies),
        test_metrics={name: _mean([values[name] for values in found]) for name in wanted},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
