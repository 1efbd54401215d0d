"""What the other rooms see of data: a source as it was read, and a data set ready to train on.

Axes: ``M`` rows of the whole table, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
RawTable = Doubles | npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Source:
    """All rows of a data set as they were read, before anything is split, filled in or scaled.

    A source depends on none of the options of the split, so one source serves many splits.
    """

    name: str
    x: RawTable  # [M, D]; uint8 for pixels, else float64 with NaN where a value is missing
    y: Indices  # [M], from 0 to C - 1
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    unit: float = 1.0  # what scaling=none multiplies by: 1/255 brings pixels to [0, 1]
    one_hot: tuple[tuple[int, int], ...] = ()  # columns from start to stop that encode one cell
    fill: str = "mean"  # what missing numbers become: mean or median of the training rows
    test: Indices | None = None  # official test rows
    val: Indices | None = None  # official validation rows; only beside official test rows
    image_shape: tuple[int, int] | None = None  # height and width, if a row is a picture

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, labels, names and official split: 64 hexadecimal digits."""
        header = {
            "version": 1,
            "shape": self.x.shape,
            "dtype": self.x.dtype.name,
            "class_names": self.class_names,
            "feature_names": self.feature_names,
            "official": [None if rows is None else len(rows) for rows in (self.val, self.test)],
        }
        digest = hashlib.sha256(json.dumps(header).encode())
        parts = [self.x, self.y, *(rows for rows in (self.val, self.test) if rows is not None)]
        for part in parts:
            little_endian = part.dtype.newbyteorder("<")
            digest.update(np.ascontiguousarray(part, dtype=little_endian).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table of scaled features, with the rows to train, validate and test on.

    A batch is an index into the table: ``x[train[positions]]``.
    """

    name: str
    x: torch.Tensor  # [M, D] float32: (raw - shift) * scale
    y: torch.Tensor  # [M] int64, from 0 to C - 1
    train: torch.Tensor  # int64 indices of rows, ascending, as val and test
    val: torch.Tensor
    test: torch.Tensor
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    fingerprint: str  # of the source: the same for every split, subset and scaling
    shift: torch.Tensor  # [D] float64, fitted on the training rows
    scale: torch.Tensor  # [D] float64, fitted on the training rows; 0 blanks a column
    image_shape: tuple[int, int] | None = None
    official_test: bool = False  # the test rows are the source's own; else they were drawn

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
