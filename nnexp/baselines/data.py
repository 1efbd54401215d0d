"""The rows that a baseline learns from, chooses by and is tested on: those of the network.

Axis legend: ``N`` rows of the whole table, ``M`` rows of one split, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnexp.data import Dataset
from nnexp.data.split import nested
from nnexp.data.types import Indices
from nnexp.randomness import random_bits

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one split: features ``x`` [M, D] float32 and classes ``y`` [M] int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Arrays:
    """The same in the memory of the CPU, for scikit-learn."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set with its splits."""

    x: Tensor  # the scaled table [N, D], float32, on the device that does the work
    y: Tensor  # its classes [N]
    rows: Mapping[str, Tensor]  # int64 indices into the table, by split: train, val, test
    num_classes: int
    seed: int  # what a baseline draws at random follows from it; conf/ has dataset.split_seed

    @classmethod
    def of(cls, dataset: Dataset, seed: int, device: torch.device) -> Data:
        """What a run sees whose ``dataset.split_seed`` is ``seed``."""
        rows = {name: getattr(dataset, name).to(device) for name in SPLITS}
        x, y = dataset.x.to(device), dataset.y.to(device)
        return cls(x, y, rows, dataset.num_classes, seed)

    def split(self, name: str) -> Rows:
        """The rows of ``train``, ``val`` or ``test``, on the device."""
        rows = self.rows[name]
        return Rows(self.x.index_select(0, rows), self.y.index_select(0, rows))

    def arrays(self, name: str) -> Arrays:
        """The same for scikit-learn."""
        return _arrays(self.split(name))

    def training(self, most: int | None) -> Arrays:
        """All training rows, or of more than ``most`` a subset of so many, a row a class at least.

        Subsets are nested and stratified: of the whole training rows they are those that
        ``dataset.num_train`` would take.
        """
        rows = self.rows["train"]
        if most is None or most >= len(rows):
            return self.arrays("train")
        chosen = torch.from_numpy(self._order()[: max(most, self.num_classes)]).sort().values
        chosen = chosen.to(rows.device)
        return _arrays(Rows(self.x.index_select(0, chosen), self.y.index_select(0, chosen)))

    def _order(self) -> Indices:
        """All training rows in an order of which every beginning is stratified."""
        rows = self.rows["train"].cpu().numpy()
        classes = self.y.index_select(0, self.rows["train"]).cpu().numpy()
        keys = random_bits(len(self.x), self.seed, "split")
        parts = [rows[classes == label] for label in range(self.num_classes)]
        return nested([part[np.argsort(keys[part], kind="stable")] for part in parts], keys)


def _arrays(rows: Rows) -> Arrays:
    return Arrays(rows.x.cpu().numpy(), rows.y.cpu().numpy())
