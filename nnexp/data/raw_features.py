"""Features that a user passes to a trained network: checked, never guessed at.

Axes: ``B`` rows, ``D`` features.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nnexp.data.columns import printable, quoted
from nnexp.errors import DataError

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
