"""What a group reads features from where the table holds codes.

Axes: R runs, M rows of a batch's buffer, N rows of the table, W codes of a row, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nnexp.data.coded import Generator, expand
from nnexp.data.on_device import Resident
from nnexp.data.source import Indices


class Coded(Resident):
    """A table of codes, expanded to features as it is read, the same for all runs.

    Args:
        x: [N, W] codes.
        offsets: [W] int64, on the same device; see ``nnexp.data.text_encoders``.
        num_features: D.
    """

    def __init__(self, x: Tensor, offsets: Tensor, num_features: int) -> None:
        self.x = x
        self._offsets = offsets
        self._num_features = num_features

    @property
    def num_features(self) -> int:
        """D."""
        return self._num_features

    def rows(self, index: Tensor, out: Tensor) -> None:
        """As in ``Features``."""
        codes = self.x.index_select(0, index).to(torch.int64)
        expand(codes, self._offsets, out.view(-1, self._num_features))

    def lookup(self, index: Tensor) -> Tensor:
        """As in ``Features``."""
        out = torch.empty(*index.shape, self._num_features, device=self.device)
        self.rows(index.reshape(-1), out)
        return out

    def over(self, x: Tensor) -> Coded:
        """As in ``Resident``."""
        return Coded(x, self._offsets.to(x.device), self._num_features)

    def of(self, members: Sequence[int]) -> Coded:
        """As in ``Features``."""
        return self


class Computed(Coded):
    """A table of codes that are computed when they are brought to where they are read.

    Args:
        generator: of the rows.
        x: [0, W], for the type and the number of the codes.
    """

    def __init__(self, generator: Generator, x: Tensor, offsets: Tensor, num_features: int) -> None:
        super().__init__(x, offsets, num_features)
        self._generator = generator

    def read(self, rows: Indices, into: np.ndarray) -> None:
        """As in ``Resident``."""
        self._generator.write(rows, into)
