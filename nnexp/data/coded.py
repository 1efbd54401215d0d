"""Tables of codes, which become features when a batch is read: stored ones, and computed ones.

Axes: M rows of the table, W codes of a row, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnexp.data.permutation import Permutation
from nnexp.data.source import Indices
from nnexp.data.text_encoders import Codes, TextEncoder

_DENSE_ROWS = 4096  # made at once


class CodedTable(ABC):
    """Rows as codes, and what they stand for."""

    pixels = None  # the table is none of pixels

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        num_features = len(encoder.feature_names)
        self.shift = torch.zeros(num_features, dtype=torch.float64)
        self.scale = torch.ones(num_features, dtype=torch.float64)
        self._x: Tensor | None = None

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Of the codes that are stored."""

    @abstractmethod
    def codes_of(self, rows: Indices) -> Codes:
        """Codes [n, W] of rows [n]."""

    @property
    def x(self) -> Tensor:
        """[M, D] float32, made when first asked for. Too much of a table that is computed."""
        if self._x is None:
            self._x = self.dense(np.arange(len(self))).float()
        return self._x

    @abstractmethod
    def __len__(self) -> int:
        """M."""

    def dense(self, rows: Indices) -> Tensor:
        """Features [n, D] of rows [n]: uint8, or float32 where a count may be above 255."""
        offsets = torch.from_numpy(self.encoder.offsets)
        dtype = torch.uint8 if self.encoder.most < 256 else torch.float32
        found = torch.zeros(len(rows), len(self.scale), dtype=dtype)
        for at in range(0, len(rows), _DENSE_ROWS):
            codes = torch.from_numpy(self.codes_of(rows[at : at + _DENSE_ROWS]).astype(np.int64))
            expand(codes, offsets, found[at : at + _DENSE_ROWS])
        return found


class StoredTable(CodedTable):
    """Codes that lie in memory.

    Args:
        codes: [M, W].
    """

    def __init__(self, codes: Codes, encoder: TextEncoder) -> None:
        super().__init__(encoder)
        self.codes = torch.from_numpy(codes)

    @property
    def nbytes(self) -> int:
        """See ``CodedTable``."""
        return self.codes.nbytes

    def codes_of(self, rows: Indices) -> Codes:
        """See ``CodedTable``."""
        codes: Codes = self.codes.numpy()[rows]
        return codes

    def __len__(self) -> int:
        return len(self.codes)


class Generator(ABC):
    """Rows that are computed from their numbers, and are the same whenever they are asked for."""

    @abstractmethod
    def __len__(self) -> int:
        """M."""

    @abstractmethod
    def write(self, rows: Indices, codes: Codes) -> None:
        """Write the codes of rows [n] into ``codes`` [n, W]."""

    @abstractmethod
    def classes(self, rows: Indices) -> Indices:
        """The classes [n] of rows [n]."""


class ComputedTable(CodedTable):
    """Codes that are computed when they are read: the number of rows takes no memory."""

    nbytes = 0

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        super().__init__(encoder)
        self.generator = generator

    def codes_of(self, rows: Indices) -> Codes:
        """See ``CodedTable``."""
        codes = np.empty((len(rows), len(self.encoder.offsets)), dtype=self.encoder.dtype)
        self.generator.write(rows, codes)
        return codes

    def __len__(self) -> int:
        return len(self.generator)


def expand(codes: Tensor, offsets: Tensor, out: Tensor) -> None:
    """Add up the features of codes [n, W], int64, in ``out`` [n, D], which is overwritten.

    Sums of ones are exact, in whatever order they are added.
    """
    places = (codes + (offsets - 1)).clamp_(min=0)
    out.zero_().scatter_add_(1, places, (codes > 0).to(out.dtype))


# --------------------------------------------------------------------------------------------------
# Classes and training rows of a table that is computed, in place of tensors as long as the table.
# --------------------------------------------------------------------------------------------------


class ComputedClasses:
    """The classes of all rows [M], of which those asked for are computed."""

    def __init__(self, generator: Generator, device: torch.device | None = None) -> None:
        self._generator = generator
        self.device = device or torch.device("cpu")

    @property
    def is_cuda(self) -> bool:
        """Whether classes are asked for on a GPU."""
        return self.device.type == "cuda"

    def __len__(self) -> int:
        return len(self._generator)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Classes of rows of any shape, int64, on their device."""
        numbers = rows.cpu().numpy()
        found = self._generator.classes(numbers.reshape(-1)).reshape(numbers.shape)
        return torch.from_numpy(found).to(rows.device)

    def to(self, device: torch.device) -> ComputedClasses:
        """The same, asked for on another device."""
        return ComputedClasses(self._generator, device)


@dataclass(frozen=True)
class EpochRows:
    """Training rows in an order that is computed: each epoch takes the next so many of them.

    When all have been taken a pass is over, and the next has another order.

    Args:
        pool: the rows they are drawn from.
        first: place in the pool where they begin.
        count: how many there are.
        per_epoch: how many an epoch takes.
    """

    pool: Permutation
    first: int
    count: int
    per_epoch: int

    def __len__(self) -> int:
        return self.count

    def of_epoch(self, seed: int, epoch: int) -> Tensor:
        """The rows [per_epoch], int64, of an epoch, counted from 1, in its order."""
        places = np.arange((epoch - 1) * self.per_epoch, epoch * self.per_epoch)
        passes = places // self.count
        drawn = np.empty_like(places)
        for number in range(int(passes[0]), int(passes[-1]) + 1):
            own = passes == number
            order = Permutation(self.count, seed, "order", number)
            drawn[own] = order.at(places[own] % self.count)
        return torch.from_numpy(self.pool.at(self.first + drawn))

    def some(self, most: int) -> Indices:
        """The first ``most`` of the rows: those that ``dataset.num_train`` would take."""
        return self.pool.at(self.first + np.arange(min(most, self.count)))


def num_rows_of_epoch(train: Tensor | EpochRows) -> int:
    """How many training rows an epoch has."""
    return train.per_epoch if isinstance(train, EpochRows) else len(train)


Classes = Tensor | ComputedClasses
TrainRows = Tensor | EpochRows
