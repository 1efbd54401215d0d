"""Which lines of a stream are kept: of each label as many as are wanted, drawn by a hash."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

from nnexp.data.source import quoted
from nnexp.errors import DataError

MOST_LABELS = 10_000


class Selection:
    """Lines by label. Memory is that of what is kept, however many lines pass.

    A line is kept by the hash of (seed, line): which lines are does not depend on their order or on
    which files they are in. Equal lines of a label are kept once.

    Args:
        per_label: lines of a label at most; None keeps all.
    """

    def __init__(self, seed: int, per_label: int | None) -> None:
        self._key = seed.to_bytes(16, "little")
        self._per_label = per_label
        self._kept: dict[str, _Lines] = {}
        self.num_seen = 0

    def add(self, labelled: Iterable[tuple[str, str]], where: str) -> None:
        """Take in lines with their labels.

        Raises:
            DataError: ever more labels: what they were read from is none.
        """
        for label, line in labelled:
            self.num_seen += 1
            lines = self._kept.get(label)
            if lines is None:
                if len(self._kept) == MOST_LABELS:
                    raise DataError(
                        f"{where}: more than {MOST_LABELS} labels, {quoted(label)} is another; is "
                        "dataset.label right?"
                    )
                lines = self._kept[label] = _Lines(self._per_label)
            content = line.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(content, digest_size=8, key=self._key).digest()
            lines.offer(int.from_bytes(digest, "little"), line)

    def by_label(self) -> dict[str, list[str]]:
        """The lines that are kept, in the order of their hashes."""
        return {label: lines.ordered() for label, lines in self._kept.items()}


class _Lines:
    """The lines of a label with the smallest hashes."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._heap: list[tuple[int, str]] = []  # hashes below zero: the largest is on top
        self._known: set[int] = set()

    def offer(self, key: int, line: str) -> None:
        if key in self._known:
            return
        if self._most is None or len(self._heap) < self._most:
            heapq.heappush(self._heap, (-key, line))
            self._known.add(key)
        elif -key > self._heap[0][0]:
            dropped, _ = heapq.heapreplace(self._heap, (-key, line))
            self._known.remove(-dropped)
            self._known.add(key)

    def ordered(self) -> list[str]:
        return [line for _, line in sorted(self._heap, reverse=True)]
