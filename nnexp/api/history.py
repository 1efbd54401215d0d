"""The epochs of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from nnexp.api.frames import frame_of

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""One epoch, with the keys of a line of ``metrics.jsonl``."""

# As in nnexp.results.record, which takes its time to import.
_KEYS = ("epoch", "step", "train/loss", "train/acc", "val/loss", "val/acc", "lr", "seconds")


class History(Sequence[Record]):
    """The records of a run's epochs, the first one first."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = [dict(record) for record in records]

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> History: ...

    def __getitem__(self, index: int | slice) -> Record | History:
        if isinstance(index, slice):
            return History(self._records[index])
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._records == other._records

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not self._records:
            return "History of no epochs"
        last = ", ".join(f"{k}: {v:g}" for k, v in self._records[-1].items() if v is not None)
        return f"History of {len(self)} epochs, the last: {last}"

    def to_pandas(self) -> pd.DataFrame:
        """Return a row an epoch, with the columns of ``metrics.jsonl``.

        Raises:
            NnexpError: pandas is not installed.
        """
        return frame_of(self._records, _KEYS)
