"""Features scaled anew for KNN, whose distances hang on the units of each.

Axes: ``M`` rows, ``D`` features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnexp.baselines.knn import AS_THE_DATASET
from nnexp.baselines.selection import Data, Rows
from nnexp.data.preprocessing import apply
from nnexp.errors import ConfigError
from nnexp.registry import component

Doubles = npt.NDArray[np.float64]

_BITS = 20
_SAME = 1e-5  # relative: what rounding to float32 does to a fitted scale is less


@dataclass(frozen=True, eq=False)
class Scaling:
    """What the features [D] are shifted and multiplied by; None leaves them as they are."""

    shift: Doubles | None = None
    factor: Doubles | None = None
    largest: float = 0.0  # of the scaled training rows, without its sign

    @classmethod
    def of(cls, name: str, train: Rows, data: Data) -> Scaling:
        """That of a scaler, fitted on training rows.

        Features that encode a category stay as they are, as do those that a scaler finds no spread
        in. ``none`` undoes what the data set was multiplied by.

        Raises:
            ConfigError: the scaler returns no shifts and spreads.
        """
        if name == AS_THE_DATASET:
            return cls()
        fit = component("scaler", name).fit
        if fit is None:
            return cls._undone(data, train)
        rows = train.x.cpu().numpy()
        rows = rows if rows.dtype == np.uint8 else rows.astype(np.float64)
        shift, spread = (np.array(part, dtype=np.float64) for part in fit(rows))
        if shift.shape != (rows.shape[1],) or spread.shape != shift.shape or (spread < 0).any():
            raise ConfigError(
                f"scaler {name}: must return shifts and spreads of {rows.shape[1]} features"
            )
        for start, stop in data.one_hot:
            shift[start:stop], spread[start:stop] = 0.0, 1.0
        return cls._with_largest(shift, 1.0 / np.where(spread > 0, spread, 1.0), train)

    @classmethod
    def _undone(cls, data: Data, train: Rows) -> Scaling:
        if data.scale is None:
            return cls()
        blank = data.scale == 0
        factor = np.where(blank, 0.0, 1.0 / np.where(blank, 1.0, data.scale))
        return cls._with_largest(np.zeros(len(blank)), factor, train)

    @classmethod
    def _with_largest(cls, shift: Doubles, factor: Doubles, train: Rows) -> Scaling:
        extremes = (end.double().cpu().numpy() for end in train.x.aminmax(dim=0))
        largest = max(float(np.abs((end - shift) * factor).max()) for end in extremes)
        return cls(shift, factor, largest if math.isfinite(largest) else 0.0)

    def of_rows(self, rows: Rows) -> Rows:
        """The same rows, scaled."""
        if self.shift is None or self.factor is None:
            return rows
        x = self._rounded(apply(rows.x.cpu().numpy(), self.shift, self.factor))
        return Rows(torch.from_numpy(x).to(rows.x.device), rows.y)

    def _rounded(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """To a millionth of what is large, in binary: distances then are exact in float64.

        Scaled whole numbers otherwise are equally far, but for rounding, from very many rows, which
        only fractions could tell apart.
        """
        if self.largest == 0:
            return x
        unit = np.float32(2.0 ** max(-100, math.frexp(self.largest)[1] - _BITS))
        return np.round(x / unit) * unit

    def is_like(
        self, other: Scaling, varying: npt.NDArray[np.bool_], metrics: Sequence[str]
    ) -> bool:
        """Whether both give the same neighbours: all distances are in one proportion."""
        ones, zeros = np.ones(len(varying)), np.zeros(len(varying))
        mine, theirs = (ones if s.factor is None else s.factor for s in (self, other))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (mine / theirs)[varying]
        if len(ratios) and not np.allclose(ratios, ratios[0], rtol=_SAME, atol=0):
            return False
        if "cosine" not in metrics:  # the others do not see a shift
            return True
        my_shift, their_shift = (zeros if s.shift is None else s.shift for s in (self, other))
        return np.allclose(my_shift[varying], their_shift[varying], rtol=0, atol=_SAME)


def distinct(names: Sequence[str], metrics: Sequence[str], train: Rows, data: Data) -> list[str]:
    """The scalers that give other neighbours than those before them."""
    if len(names) == 1:
        return list(names)
    varying = _varying(train.x)
    found: dict[str, Scaling] = {}
    for name in names:
        scaling = Scaling.of(name, train, data)
        if not any(scaling.is_like(one, varying, metrics) for one in found.values()):
            found[name] = scaling
    return list(found)


def _varying(x: Tensor) -> npt.NDArray[np.bool_]:
    low, high = x.aminmax(dim=0)
    varying: npt.NDArray[np.bool_] = (low != high).cpu().numpy()
    return varying
