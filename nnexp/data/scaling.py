"""Missing values filled in and columns scaled, both fitted on the training rows alone.

Everything is computed in float64, and by numpy, whose sums do not depend on the number of threads;
the table becomes float32 at the very end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnexp.data.columns import quoted
from nnexp.data.types import Doubles, Indices, RawTable, Source
from nnexp.errors import ConfigError, DataError
from nnexp.registry import component
from nnexp.scalers import blocks

if TYPE_CHECKING:
    from nnexp.scalers import Fit


def fill_missing(source: Source, train: Indices) -> RawTable:
    """``source.x`` [M, D] with every NaN replaced by what the training rows say.

    A number becomes the mean or the median of its column, a category the most frequent one (the
    first of equals). A column without any training value becomes 0.
    """
    if source.x.dtype == np.uint8:
        return source.x
    gaps = np.isnan(source.x)
    if not gaps.any():
        return source.x
    x: Doubles = source.x.astype(np.float64)
    columns = set(np.flatnonzero(gaps.any(axis=0)).tolist())
    for start, stop in source.one_hot:
        if start in columns:
            columns -= set(range(start, stop))
            frequent = int(np.nansum(x[train, start:stop], axis=0).argmax())
            rows = gaps[:, start]
            x[rows, start:stop] = 0.0
            x[rows, start + frequent] = 1.0
    for column in sorted(columns):
        known = x[train, column]
        known = known[~np.isnan(known)]
        typical = np.median if source.fill == "median" else np.mean
        x[gaps[:, column], column] = typical(known) if len(known) else 0.0
    return x


def hangs_on_split(source: Source, scaling: str) -> bool:
    """Whether another choice of training rows may give another table."""
    gaps = source.x.dtype != np.uint8 and bool(np.isnan(source.x).any())
    return scaling != "none" or gaps or bool(source.one_hot)


def fit(x: RawTable, source: Source, train: Indices, scaling: str) -> tuple[Doubles, Doubles]:
    """Shift [D] and scale [D] such that ``(x - shift) * scale`` is scaled on the training rows.

    ``none`` multiplies by the source's unit, which brings pixels to [0, 1]; the others are in
    ``nnexp.scalers``.

    A numeric column that is constant on the training rows is shifted to 0 and scaled by the unit.
    A column that says whether a cell holds a category is not scaled; where no training row holds
    the category its scale is 0, so that an unseen category is all zeros.
    """
    num_features = x.shape[1]
    shift = np.zeros(num_features)
    scale = np.full(num_features, source.unit)
    numeric = np.ones(num_features, dtype=bool)
    for start, stop in source.one_hot:
        numeric[start:stop] = False
        scale[start:stop] = x[train, start:stop].any(axis=0)
    fit_columns = component("scaler", scaling).fit
    if fit_columns is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            trained = x[train]
            low, high = trained.min(axis=0), trained.max(axis=0)
            middle, spread = _fitted(fit_columns, trained, scaling)
        _require_finite(np.isfinite(spread), source, f"dataset.scaling={scaling}")
        constant = (low == high) | (spread == 0)
        shift[numeric] = np.where(constant, low, middle)[numeric]
        scale[numeric] = 1.0 / np.where(constant, 1.0 / source.unit, spread)[numeric]
    return shift, scale


def apply(x: RawTable, shift: Doubles, scale: Doubles) -> npt.NDArray[np.float32]:
    """``(x - shift) * scale`` in float32 [M, D]; infinite where a number is too large for it."""
    table = np.empty(x.shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        for rows in blocks(x):
            np.multiply(x[rows] - shift, scale, out=table[rows], casting="same_kind")
    return table


def require_float32(table: npt.NDArray[np.float32], source: Source) -> None:
    """Check what ``apply`` has made of a source.

    Raises:
        DataError: a number is too large for float32.
    """
    _require_finite(np.logical_and.reduce(np.isfinite(table)), source, "32-bit floats")


def _require_finite(finite: npt.NDArray[np.bool_], source: Source, purpose: str) -> None:
    for column in np.flatnonzero(~finite)[:1]:
        raise DataError(
            f"{source.name}: column {quoted(source.feature_names[column])} holds numbers too large "
            f"for {purpose}"
        )


def _fitted(fit_columns: Fit, trained: RawTable, scaling: str) -> tuple[Doubles, Doubles]:
    """What a scaler of whatever package says of the training rows."""
    found = tuple(np.asarray(part, dtype=np.float64) for part in fit_columns(trained))
    shape = (trained.shape[1],)
    if len(found) != 2 or any(part.shape != shape for part in found):
        raise ConfigError(
            f"dataset.scaling={scaling}: must return two arrays of shape {shape}, not "
            f"{', '.join(str(part.shape) for part in found)}"
        )
    return found[0], found[1]
