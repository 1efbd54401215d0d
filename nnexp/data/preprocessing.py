"""Preprocessing fitted on the training rows, and the check of features that users pass."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nnexp.data.source import Doubles, Indices, RawTable, Source, printable, quoted
from nnexp.errors import ConfigError, DataError
from nnexp.registry import component
from nnexp.scalers import blocks

if TYPE_CHECKING:
    from nnexp.scalers import Fit

log = logging.getLogger(__name__)

# --------------------------------------------------------------------------------------------------
# Missing values filled in and columns scaled, both fitted on the training rows alone.
#
# Everything is computed in float64, and by numpy, whose sums do not depend on the number of
# threads; the table becomes float32 at the very end.
# --------------------------------------------------------------------------------------------------


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
    columns = np.flatnonzero(gaps.any(axis=0)).tolist()
    typical = fit_fill(source, train, columns)
    for column in columns:
        x[gaps[:, column], column] = typical[column]
    return x


def fit_fill(source: Source, train: Indices, columns: Iterable[int]) -> Doubles:
    """Return [D] what a missing value of some columns becomes; 0 for the others.

    A categorical column is given by all of its features, which are missing together.
    """
    wanted = set(columns)
    fill = np.zeros(source.x.shape[1])
    for start, stop in source.one_hot:
        if start in wanted:
            wanted -= set(range(start, stop))
            fill[start + int(np.nansum(source.x[train, start:stop], axis=0).argmax())] = 1.0
    average = np.median if source.fill == "median" else np.mean
    for column in wanted:
        known = source.x[train, column]
        known = known[~np.isnan(known)]
        fill[column] = average(known) if len(known) else 0.0
    return fill


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
        _require_spread(spread, (low != high) & numeric, source, scaling)
        constant = (low == high) | (spread == 0)
        shift[numeric] = np.where(constant, low, middle)[numeric]
        scale[numeric] = 1.0 / np.where(constant, 1.0 / source.unit, spread)[numeric]
    return shift, scale


def _require_spread(
    spread: Doubles, varying: npt.NDArray[np.bool_], source: Source, scaling: str
) -> None:
    """Warn of columns that vary and that a scaler leaves as they are, which may be far apart.

    Raises:
        DataError: a scaler divides by a negative number.
    """
    for column in np.flatnonzero(varying & (spread < 0))[:1]:
        raise DataError(
            f"{source.name}: dataset.scaling={scaling} divides column "
            f"{quoted(source.feature_names[column])} by {spread[column]:g}; it must be above 0"
        )
    flat = [quoted(source.feature_names[c]) for c in np.flatnonzero(varying & (spread == 0))]
    if flat:
        log.warning(
            "%s: dataset.scaling=%s finds no spread in %s, which is shifted and not scaled",
            source.name, scaling, ", ".join(flat[:5]) + (", ..." if len(flat) > 5 else ""),
        )  # fmt: skip


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


_SAMPLE = 10_000  # rows that are compared
_FEW_LEVELS = 1000  # of float32 within the range of a column
_LOST = 0.01  # of the distinct values of a column


def require_told_apart(raw: RawTable, table: npt.NDArray[np.float32], source: Source) -> None:
    """Check that what ``apply`` has made of a source keeps different numbers apart.

    Times in seconds since 1970 are equal in float32 where they are less than a minute apart, unless
    they are shifted first. Categories are left out: one that no training row has is blanked.

    Raises:
        DataError: of the distinct values of a column more than one in a hundred are lost.
    """
    if not len(table):
        return
    step = max(1, len(table) // _SAMPLE)
    sample, values = table[::step], raw[::step]
    low, high = sample.min(axis=0), sample.max(axis=0)
    spacing = np.spacing(np.maximum(np.abs(low), np.abs(high)))
    close = high - low < _FEW_LEVELS * spacing
    for start, stop in source.one_hot:
        close[start:stop] = False
    for column in np.flatnonzero(close):
        before, after = len(np.unique(values[:, column])), len(np.unique(sample[:, column]))
        if after < (1 - _LOST) * before:
            raise DataError(
                f"{source.name}: column {quoted(source.feature_names[column])} holds {before} "
                f"different numbers, of which {after} are left in 32-bit floats; "
                "dataset.scaling=standard shifts them first"
            )


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


# --------------------------------------------------------------------------------------------------
# Features that a user passes to a trained network: checked, never guessed at.
#
# Axes: ``B`` rows, ``D`` features.
# --------------------------------------------------------------------------------------------------

_NUMERIC = "biuf"  # numpy's kinds of booleans, integers and floats
_WHITE = 255  # the largest pixel


def raw_features(raw: ArrayLike | Tensor, names: Sequence[str], *, pixels: bool) -> Tensor:
    """Return features [B, D] as float64 on the CPU; zero rows are fine.

    Args:
        raw: a tensor on any device, an array, a table of pandas or a list of rows.
        names: of the features, D of them. Columns of a table that have names must have these;
            pandas numbers those that have none from 0.
        pixels: whether the data set's features are bytes. Pixels scaled to [0, 1] would otherwise
            pass for an image that is all black.

    Raises:
        DataError: anything else: what is wrong, at which row and column.
    """
    _check_names(raw, names)
    table = _table(raw)
    if not table.ndim:
        raise DataError(f"features must be a tensor, an array or a list of rows, got {_kind(raw)}")
    if table.ndim != 2 or table.shape[1] != len(names):
        hint = "; a single row is [row]" if table.shape == (len(names),) else ""
        raise DataError(
            f"features must be [B, {len(names)}], a row of {len(names)} numbers for each example, "
            f"got {list(table.shape)}{hint}"
        )
    values = torch.from_numpy(_float64(table, raw, names))
    require(values.isfinite(), values, names, "is not a finite number")
    if pixels:
        are_bytes = (values >= 0) & (values <= _WHITE) & (values == values.floor())
        require(are_bytes, values, names, "is not a valid pixel value (integers 0 to 255)")
    return values


def require(good: Tensor, values: Tensor, names: Sequence[str], problem: str) -> None:
    """Check that all features are good, [B, D].

    Raises:
        DataError: naming the first that is not, by row, column and value.
    """
    if not good.all():
        row, column = (~good).nonzero()[0].tolist()
        _refuse(row, names[column], values[row, column].item(), problem)


def _refuse(row: int, name: str, value: object, problem: str) -> NoReturn:
    shown = f"{value:g}" if isinstance(value, float) else printable(repr(value))
    raise DataError(f"row {row}, column {quoted(name)}: {shown} {problem}")


def _kind(raw: object) -> str:
    return type(raw).__name__


def _check_names(raw: Any, names: Sequence[str]) -> None:
    columns = getattr(raw, "columns", None)
    if columns is None:
        return
    given = [str(column) for column in columns]
    numbered = all(type(column) is int for column in columns) and set(given).isdisjoint(names)
    if given == list(names) or (numbered and list(columns) == list(range(len(given)))):
        return  # the second is a table whose columns have no names
    if sorted(given) == sorted(names):
        problem = "its columns are in another order"
    else:
        lacking = [name for name in names if name not in given]
        problem = f"it lacks column {quoted(lacking[0])}" if lacking else "it has other columns too"
    raise DataError(
        f"the table's columns are not the network's features: {problem}; network.feature_names "
        "lists them in order"
    )


def _table(raw: Any) -> NDArray[Any]:
    """An array of any shape and type."""
    if isinstance(raw, Tensor):
        return _of_tensor(raw)
    if np.ma.isMaskedArray(raw) and np.ma.getmaskarray(raw).any():
        place = np.argwhere(np.ma.getmaskarray(raw))[0].tolist()
        raise DataError(f"features must be numbers: the value at {place} is masked")
    try:
        return np.asarray(raw)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"features must be a table of numbers: {reason}") from error


def _of_tensor(raw: Tensor) -> NDArray[Any]:
    if raw.layout != torch.strided or raw.is_quantized or raw.is_meta:
        raise DataError("features must be a dense tensor, an array or a list of rows")
    if raw.is_complex():
        raise DataError(f"features must be real numbers, got {raw.dtype}")
    table: NDArray[Any] = raw.detach().to("cpu").to(torch.float64).numpy()
    return table


def _float64(table: NDArray[Any], raw: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """A table [B, D] of any type as numbers; what is too large for float64 becomes infinite."""
    if table.dtype.kind not in _NUMERIC:
        # Numbers beside a text are texts in an array: only the objects tell which one is wrong.
        table = np.array(raw, dtype=object)
        for (row, column), value in np.ndenumerate(table):
            if not isinstance(value, Real | np.bool_):
                _refuse(row, names[column], value, "is no real number")
            try:
                table[row, column] = float(value)
            except OverflowError:
                _refuse(row, names[column], value, "is too large")
    with np.errstate(over="ignore"):
        # pandas gives views that cannot be written to, of which torch warns.
        return np.require(table, np.float64, ["C", "W"])
