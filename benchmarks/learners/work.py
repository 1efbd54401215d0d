"""What is trained: the same for every learner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEARNING_RATE = 1e-3  # of Adam, everywhere


@dataclass(frozen=True)
class Work:
    """A network, its batches, and as many epochs as take a fair time."""

    name: str
    widths: tuple[int, ...]  # from the features over the hidden layers to the classes
    batch_size: int
    rows: int
    epochs: int
    dropout: float = 0.0  # after every hidden layer
    precision: str = "float32"  # of the matrix products, as trainer.precision names it

    @property
    def steps(self) -> int:
        """Training steps of one run; every batch is whole."""
        return self.epochs * (self.rows // self.batch_size)


@dataclass(frozen=True, eq=False)
class Data:
    """A table [M, D] and its classes [M]: first the training rows, then those to validate on."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    num_train: int


def random_data(work: Work) -> Data:
    """Rows that can be learned: classes around centres of their own; 256 more to validate on."""
    stream = np.random.default_rng(0)
    y = stream.integers(work.widths[-1], size=work.rows + 256)
    centres = stream.random((work.widths[-1], work.widths[0]), np.float32)
    noise = stream.standard_normal((len(y), work.widths[0]), np.float32)
    return Data(centres[y] + np.float32(0.3) * noise, y, work.rows)


@dataclass(frozen=True, eq=False)
class Task:
    """The part of a sweep that one process trains, and how."""

    work: Work
    data: Data
    seeds: tuple[int, ...]  # a run each
    threads: int = 1
    together: int = 1  # runs in one computation, where the learner can do that
    eval_every: int | None = None  # epochs between evaluations; None evaluates at the end alone
