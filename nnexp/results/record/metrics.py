"""``metrics.jsonl``: a line an epoch, while the run trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnexp.errors import DataError
from nnexp.results.files import Journal
from nnexp.results.record.folder import read_bytes
from nnexp.results.record.ownership import METRICS_FILE
from nnexp.results.strict_json import to_json, to_object

EPOCH_KEYS = (
    "epoch",
    "step",
    "train/loss",
    "train/acc",
    "val/loss",
    "val/acc",
    "lr",
    "seconds",
)
"""What one line of ``metrics.jsonl`` holds.

``epoch`` counts from 1; ``step`` is the number of optimizer steps taken so far; ``train/*`` are
means over the epoch's batches; ``val/*`` are null in an epoch without evaluation; ``lr`` is the
learning rate of the epoch's last step; ``seconds`` is the time since training began.
"""


class MetricsLog:
    """Appends one line an epoch to ``metrics.jsonl``; see :class:`~nnexp.results.files.Journal`.

    Lines are collected for a moment before they are written, and then survive a kill of the
    process; a full disk delays them and stops nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / METRICS_FILE)

    def append(self, epoch: Mapping[str, float | None]) -> None:
        """Record one epoch, given by exactly the keys of :data:`EPOCH_KEYS`."""
        if set(epoch) != set(EPOCH_KEYS):
            raise ValueError(f"an epoch has the keys {EPOCH_KEYS}, got {tuple(epoch)}")
        self._journal.append(to_json({key: epoch[key] for key in EPOCH_KEYS}) + b"\n")

    def flush(self) -> None:
        """Write the lines that are still being collected."""
        self._journal.flush()

    def close(self) -> None:
        """Write what is not written yet, or tell that it is lost."""
        self._journal.close()


def read_metrics(folder: Path) -> list[dict[str, float | None]]:
    """The epochs of ``metrics.jsonl`` in ``folder``; a torn last line is left out.

    Raises DataError if the file is missing or a line is no JSON object.
    """
    path = folder / METRICS_FILE
    epochs = []
    for number, line in enumerate(read_bytes(path).split(b"\n")[:-1], start=1):
        try:
            epochs.append(to_object(line))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return epochs
