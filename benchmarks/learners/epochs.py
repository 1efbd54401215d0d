"""Learners that train an epoch at a time, and the clock that all of them are held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

_SECONDS = 15.0  # after so many no training is repeated once more


@dataclass(frozen=True)
class Progress:
    """What an epoch made of the runs that train together."""

    losses: list[float]  # each run's mean over the epoch's batches as they were trained on
    accuracies: list[float] | None  # on held-out rows, where they were looked at


class Learner(Protocol):
    """Somebody who trains. What can be kept from one training to the next has been kept."""

    def train(self, seeds: Sequence[int], eval_every: int) -> Iterator[Progress]:
        """Train runs, one a seed, together and from new weights.

        An epoch is yielded when its numbers are on the host: the device has done it. Every
        ``eval_every``-th and the last one are looked at on the held-out rows.
        """


@dataclass(frozen=True)
class Training:
    """One training as the clock saw it."""

    epochs: list[float]  # seconds of each; the first with all that comes before it
    losses: list[float]
    accuracies: list[float]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self.epochs)


def time_training(
    learner: Learner, seeds: Sequence[int], eval_every: int, target: float | None = None
) -> Training:
    """Train until the end, or until an evaluation finds an accuracy of ``target``."""
    epochs: list[float] = []
    progress = Progress([], None)
    began = time.perf_counter()
    for progress in learner.train(seeds, eval_every):
        now = time.perf_counter()
        epochs.append(now - began)
        began = now
        found = progress.accuracies
        if target is not None and found is not None and statistics.mean(found) >= target:
            break
    return Training(epochs, progress.losses, progress.accuracies or [])


@dataclass(frozen=True)
class Contender:
    """A learner, and how it comes to train as many runs as a row of the table wants."""

    name: str
    make: Callable[[], Learner]
    together: int  # runs that it trains at once; the others would follow one after the other
    remark: Callable[[], str | None] = lambda: None  # on what it did, asked for in the end


@dataclass(frozen=True)
class Measured:
    """What a contender was measured to do. Seconds are of all runs of the row."""

    name: str
    warm_up: float  # seconds of the first epoch and evaluation ever: compiling, libraries
    seconds: list[float]  # of each training
    epoch: float  # seconds, the median of those that neither begin a training nor end it
    num_epochs: list[int]
    losses: list[float]  # of every run of every training, in its last epoch
    accuracies: list[float]
    remark: str | None

    @property
    def median(self) -> float:
        """Seconds of a training."""
        return statistics.median(self.seconds)


def measure(
    contender: Contender,
    runs: int,
    eval_every: int,
    repetitions: int,
    target: float | None = None,
) -> Measured:
    """Train an epoch and evaluate it to warm up, then train again and again, with other seeds.

    A contender that trains fewer runs than ``runs`` together is charged for all of them: one after
    the other, each costs the same.
    """
    learner = contender.make()
    together = contender.together
    warm_up = time.perf_counter()
    training = learner.train(range(together), 1)
    next(training)
    warm_up = time.perf_counter() - warm_up
    del training
    trainings: list[Training] = []
    began = time.perf_counter()
    for turn in range(repetitions):
        if turn > 1 and time.perf_counter() - began > _SECONDS:
            break  # two at least, for the losses have to be compared
        seeds = range(turn * together, (turn + 1) * together)
        trainings.append(time_training(learner, seeds, eval_every, target))
    share = runs / together
    inner = [e for t in trainings for e in (t.epochs[1:-1] or t.epochs)]
    return Measured(
        name=contender.name,
        warm_up=warm_up,
        seconds=[share * t.seconds for t in trainings],
        epoch=share * statistics.median(inner),
        num_epochs=[len(t.epochs) for t in trainings],
        losses=[loss for t in trainings for loss in t.losses],
        accuracies=[accuracy for t in trainings for accuracy in t.accuracies],
        remark=contender.remark(),
    )
