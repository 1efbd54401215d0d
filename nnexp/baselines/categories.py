"""Columns of categories for learners that can split them as such.

Axes: ``M`` rows, ``D`` features, ``E`` features when each group of them has become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

MOST = 255
"""Categories of a column that scikit-learn's boosting takes as such; of more each is a feature."""


@dataclass(frozen=True)
class Categories:
    """Groups of features, from start to stop, of which at most one is set in a row."""

    groups: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, one_hot: Sequence[tuple[int, int]], most: int = MOST) -> Categories:
        """Those that are worth being one feature: of two categories and of ``most`` at most."""
        return cls(tuple((i, j) for i, j in one_hot if 2 <= j - i <= most))

    def places(self, num_columns: int) -> list[int]:
        """Where the groups are after ``coded``: the last of so many columns."""
        return list(range(num_columns - len(self.groups), num_columns))

    def coded(self, x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """[M, E]: the other features, then a group's category by number; NaN where none is set."""
        if not self.groups:
            return x
        others = np.ones(x.shape[1], dtype=bool)
        columns = []
        for start, stop in self.groups:
            others[start:stop] = False
            group = x[:, start:stop]
            code = group.argmax(1).astype(np.float32)
            code[~(group > 0).any(1)] = np.nan
            columns.append(code)
        return np.concatenate([x[:, others], np.stack(columns, 1)], axis=1)
