"""What a group reads features from: a table on the device that trains, in the type it has.

Axes: R runs, M rows of a batch's buffer, N rows of the table, D features, S steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnexp import kernels


class Features(ABC):
    """Rows of a table, as the float32 numbers that R runs compute with."""

    @property
    @abstractmethod
    def num_features(self) -> int:
        """D."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where ``rows`` and ``lookup`` put what they read."""

    def windows(self, order: Tensor) -> Generator[tuple[slice, Tensor], None, None]:
        """An epoch's steps in stretches, and what ``rows`` is to be given during each of them.

        What is yielded holds until the next stretch is asked for. All stretches but the last have
        the same number of steps, and what they yield keeps its address from epoch to epoch if
        ``order`` keeps its own.

        Args:
            order: rows of the table [S, R * M], int64, those of a step in the order of its runs.

        Yields:
            Steps, and their indices [s, R * M], int64, on the device.
        """
        yield slice(0, len(order)), order

    @abstractmethod
    def rows(self, index: Tensor, out: Tensor) -> None:
        """Bring a batch into ``out``.

        It can be captured in a CUDA graph: nothing waits for the device, nothing that outlives the
        call is allocated, and what is read next time is at the same addresses.

        Args:
            index: [R * M], one of the rows that ``windows`` yields.
            out: [R, M, D] float32, contiguous.
        """

    @abstractmethod
    def lookup(self, index: Tensor) -> Tensor:
        """Any rows [R, M] of the table, int64, as [R, M, D]. Not for captured steps: it may wait
        for the device."""

    @abstractmethod
    def of(self, members: Sequence[int]) -> Features:
        """The same table for some of the runs, by their places among the R."""


class Resident(Features):
    """A table that lies in memory as a whole, where it is read."""

    x: Tensor  # [N, D]

    @property
    def num_features(self) -> int:
        """D."""
        return self.x.shape[1]

    @property
    def device(self) -> torch.device:
        """Of the table."""
        return self.x.device

    @property
    def nbytes(self) -> int:
        """Bytes of the table and what belongs to it."""
        return self.x.nbytes

    @property
    def row_bytes(self) -> int:
        """Bytes of a row as it lies in the table."""
        return self.x.shape[1] * self.x.element_size()

    def read(self, rows: npt.NDArray[np.int64], into: npt.NDArray[Any]) -> None:
        """Bring rows [n] of a table on the CPU into ``into`` [n, ...], in the table's own type."""
        # Other threads run meanwhile. With mode="raise" numpy would go through a copy.
        self.x.numpy().take(rows, 0, into, "clip")

    @abstractmethod
    def over(self, x: Tensor) -> Resident:
        """Another table of the same type that is read in the same way, on its device."""

    @abstractmethod
    def of(self, members: Sequence[int]) -> Resident:
        """As in ``Features``."""


class Floats(Resident):
    """A table that is ready to be trained on, the same for all runs.

    Args:
        x: [N, D] float32.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def rows(self, index: Tensor, out: Tensor) -> None:
        """As in ``Features``."""
        torch.index_select(self.x, 0, index, out=out.view(-1, out.shape[2]))

    def lookup(self, index: Tensor) -> Tensor:
        """As in ``Features``."""
        return self.x[index]

    def over(self, x: Tensor) -> Floats:
        """As in ``Resident``."""
        return Floats(x)

    def of(self, members: Sequence[int]) -> Floats:
        """As in ``Features``."""
        return self


class Pixels(Resident):
    """A table of bytes, scaled for each run as it is read: ``(x - shift) * scale``.

    Computed in float64 and rounded to float32 at the very end, like the CPU's tables
    (nnexp/data/preprocessing.py), so that the numbers are the same bits.

    Args:
        x: [N, D] uint8.
        shift, scale: [R, D] float64, on the same device.
    """

    def __init__(self, x: Tensor, shift: Tensor, scale: Tensor) -> None:
        self.x, self.shift, self.scale = x, shift, scale

    @property
    def nbytes(self) -> int:
        """Bytes of the table and of its scaling."""
        return self.x.nbytes + self.shift.nbytes + self.scale.nbytes

    def rows(self, index: Tensor, out: Tensor) -> None:
        """As in ``Features``."""
        if kernels.available(self.device):
            from nnexp.kernels.gather import gather_pixels  # imports triton

            gather_pixels(self.x, index, self.shift, self.scale, out)
        else:
            raw = self.x.index_select(0, index).view(out.shape)
            out.copy_((raw - self.shift.unsqueeze(1)).mul_(self.scale.unsqueeze(1)))

    def lookup(self, index: Tensor) -> Tensor:
        """As in ``Features``."""
        out = torch.empty(*index.shape, self.num_features, device=self.device)
        self.rows(index.reshape(-1), out)
        return out

    def over(self, x: Tensor) -> Pixels:
        """As in ``Resident``."""
        return Pixels(x, self.shift.to(x.device), self.scale.to(x.device))

    def of(self, members: Sequence[int]) -> Pixels:
        """As in ``Features``."""
        chosen = torch.tensor(members, device=self.device)
        return Pixels(self.x, self.shift[chosen], self.scale[chosen])
