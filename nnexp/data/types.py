"""A source: all rows of a data set as they were read.

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
    def pixels(self) -> torch.Tensor | None:
        """``x`` where it is uint8, in the same memory: one object for all splits of the source."""
        if self.x.dtype != np.uint8:
            return None
        return torch.from_numpy(np.require(self.x, requirements=["C", "W"]))

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
