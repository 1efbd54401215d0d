"""The baselines of a sweep: which are wanted, who computes which, and which are there."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable

from nnexp.sweep.findings import Findings
from nnexp.sweep.keys import wanted_baselines
from nnexp.sweep.tasks import Entry, Wanted

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # of a baseline whose worker died


class Claims:
    """Every baseline is computed once, for all runs that want it.

    Args:
        entries: in the order in which their baselines will be needed.
        findings: where what was computed is found.
    """

    def __init__(self, entries: Iterable[Entry], findings: Findings) -> None:
        self._findings = findings
        self._open: dict[str, Wanted] = {}  # that nobody computes, in the order of need
        self._claimed: dict[str, Wanted] = {}
        self._wanted_by: defaultdict[str, set[int]] = defaultdict(set)  # runs without a result
        self._keys_of: dict[int, list[str]] = {}
        self._deaths: defaultdict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = {}  # by name, what the last one took
        self._left_out: dict[str, str] = {}  # why, by key
        for entry in entries:
            for wanted in wanted_baselines(entry.config):
                self._open.setdefault(wanted.key, wanted)
                self._wanted_by[wanted.key].add(entry.num)
                self._keys_of.setdefault(entry.num, []).append(wanted.key)
        self.total = len(self._open)
        self.done = 0

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those that are not there yet."""
        return [key for key in keys if key in self._open or key in self._claimed]

    def left_out(self, keys: Iterable[str]) -> dict[str, str]:
        """Why, of those that are settled without being there."""
        return {key: self._left_out[key] for key in keys if key in self._left_out}

    def claim(
        self, first: Collection[str] = (), *, left_alone: Collection[str] = ()
    ) -> Wanted | None:
        """One that nobody computes and some run waits for, which is then the caller's to compute.

        The dearest first, as far as is known, so that no long one is left for the end.

        Args:
            first: keys of those that come before all others.
            left_alone: names of those that others compute, unless they come first.
        """
        candidates = [self._open[key] for key in first if key in self._open]
        candidates = candidates or [
            wanted
            for wanted in self._open.values()
            if self._wanted_by[wanted.key] and wanted.name not in left_alone
        ]
        if not candidates:
            return None
        wanted = max(candidates, key=lambda wanted: self._seconds.get(wanted.name, 0.0))
        self._claimed[wanted.key] = self._open.pop(wanted.key)
        return wanted

    def settle(self, key: str, seconds: float | None = None, error: str | None = None) -> None:
        """It is there; or, for the reason that ``error`` is, never will be."""
        wanted = self._claimed.pop(key)
        self.done += 1
        if seconds is not None:
            self._seconds[wanted.name] = seconds
        if error is not None:
            self._left_out[key] = error
            log.warning("%s on %s is left out: %s", wanted.name, wanted.config.dataset.name, error)

    def lose(self, wanted: Wanted, how: str) -> None:
        """The worker that computed it has died. One that kills two workers is left out."""
        key = wanted.key
        self._deaths[key] += 1
        if key in self._findings:
            self.settle(key)
        elif self._deaths[key] < _ATTEMPTS:
            log.warning("a worker process %s while it computed %s", how, wanted.name)
            self._open = {key: self._claimed.pop(key), **self._open}
        else:
            self.settle(key, error=f"its worker process {how}, twice")

    def drop(self, num: int) -> None:
        """A run wants nothing any more."""
        for key in self._keys_of.pop(num, ()):
            self._wanted_by[key].discard(num)
