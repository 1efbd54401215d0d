"""A data set ready to train on: a table of scaled features and the rows of its splits.

Axes: ``M`` rows of the whole table, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.data.scaling import apply
from nnexp.data.types import Doubles


class ScaledTable:
    """All rows of a source and their scaling. Data sets that are scaled alike share one.

    Args:
        x: [M, D]; float32 that is scaled already, or pixels in uint8, which are not.
        shift, scale: [D].
    """

    def __init__(self, x: Tensor, shift: Doubles, scale: Doubles) -> None:
        self.pixels = x if x.dtype == torch.uint8 else None
        self.shift, self.scale = torch.from_numpy(shift), torch.from_numpy(scale)
        self._x = None if self.pixels is not None else x

    @property
    def x(self) -> Tensor:
        """[M, D] float32: (raw - shift) * scale. Of pixels it is made when first asked for."""
        if self._x is None:
            assert self.pixels is not None
            x = apply(self.pixels.numpy(), self.shift.numpy(), self.scale.numpy())
            self._x = torch.from_numpy(x)
        return self._x


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table of scaled features, with the rows to train, validate and test on.

    A batch is an index into the table: ``x[train[positions]]``.
    """

    name: str
    table: ScaledTable
    y: Tensor  # [M] int64, from 0 to C - 1
    train: Tensor  # int64 indices of rows, ascending, as val and test
    val: Tensor
    test: Tensor
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    fingerprint: str  # of the source: the same for every split, subset and scaling
    image_shape: tuple[int, int] | None = None
    official_test: bool = False  # the test rows are the source's own; else they were drawn

    @property
    def x(self) -> Tensor:
        """The table [M, D] in float32, scaled."""
        return self.table.x

    @property
    def pixels(self) -> Tensor | None:
        """The table [M, D] in uint8 as it was read, if it was; all splits of a source share it."""
        return self.table.pixels

    @property
    def shift(self) -> Tensor:
        """[D] float64, fitted on the training rows."""
        return self.table.shift

    @property
    def scale(self) -> Tensor:
        """[D] float64, fitted on the training rows; 0 blanks a column."""
        return self.table.scale

    @property
    def num_train(self) -> int:
        """Number of training rows."""
        return len(self.train)

    @property
    def num_val(self) -> int:
        """Number of validation rows."""
        return len(self.val)

    @property
    def num_test(self) -> int:
        """Number of test rows."""
        return len(self.test)

    @property
    def num_features(self) -> int:
        """D."""
        return len(self.feature_names)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)
