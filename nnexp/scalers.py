"""What the columns of a table are shifted and scaled by, fitted on the training rows.

Everything is computed in float64, and by NumPy, whose sums do not depend on the number of threads.

Axes: ``M`` training rows, ``D`` columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.lazy import np
from nnexp.registry import components, register

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Fit = Callable[[NDArray[Any]], tuple[Doubles, Doubles]]

_BLOCK = 1 << 18  # elements converted to float64 at a time, to stay in the cache


@dataclass(frozen=True)
class Scaler:
    """A way to scale the columns of numbers; None leaves them as they are."""

    fit: Fit | None
    origin: Any  # what it was made from


SCALERS = components("scaler")


def scaler(name: str) -> Callable[[Fit], Fit]:
    """Register a function as ``dataset.scaling=<name>``.

    The function takes the training rows [M, D], float64 or (of pixels) uint8, none of them missing,
    and returns two arrays [D]: what is subtracted from each column, and what it is divided by then.
    Columns that are constant on the training rows, and those that encode a category, are none of
    its concern: what it returns for them is not used.

    Raises:
        ConfigError: the name is taken.
    """

    def decorate(function: Fit) -> Fit:
        register("scaler", name, Scaler(function, function))
        return function

    return decorate


register("scaler", "none", Scaler(None, Scaler))


@scaler("standard")
def standard(rows: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Mean 0 and standard deviation 1 (of the population, as scikit-learn's), in two passes."""
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for block in blocks(rows):
        total += rows[block].sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for block in blocks(rows):
        squares += np.square(rows[block] - mean).sum(axis=0)
    return mean, np.sqrt(squares / len(rows))


@scaler("minmax")
def minmax(rows: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """From 0 to 1."""
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    return low, high - low


def blocks(rows: NDArray[Any]) -> Iterator[slice]:
    """Slices of some rows each, which stay in the cache as float64."""
    height = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), height):
        yield slice(start, start + height)
