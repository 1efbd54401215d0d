"""The workers of a sweep, from their first look at the data to the last result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from nnexp.results.record import RunResult
from nnexp.sweep.findings import Findings
from nnexp.sweep.plan import Plan
from nnexp.sweep.processes import Crew
from nnexp.sweep.queue import Progress
from nnexp.sweep.server import start_server
from nnexp.sweep.survey import Outlook, survey
from nnexp.sweep.tasks import Entry
from nnexp.sweep.training import Training


class Pool:
    """Worker processes and the folder that they share; both end with the pool.

    Use it as a context.

    Args:
        num_workers: to begin with. They get ready while some of them look at the data.
        environment: variables to set in them.
    """

    def __init__(self, num_workers: int, environment: Mapping[str, str] | None = None) -> None:
        self._num_workers = num_workers
        self._environment = environment or {}

    def __enter__(self) -> Pool:
        self._folder = tempfile.TemporaryDirectory(prefix="nnexp-sweep-")
        self._crew = Crew(Path(self._folder.name), self._environment)
        start_server()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._crew.dismiss()
        finally:
            self._folder.cleanup()

    def survey(self, entries: Sequence[Entry], *, fetch: bool) -> Outlook:
        """Look at the data.

        Args:
            fetch: those that are absent.
        """
        self._crew.draws = any(entry.config.trainer.pictures for entry in entries)
        self._crew.grow(self._num_workers)
        return survey(self._crew, entries, fetch=fetch)

    def train(
        self, plan: Plan, ended: Callable[[Entry, RunResult], None]
    ) -> Generator[Progress, None, None]:
        """Train everything; see ``Training.run``.

        Args:
            ended: called for every run that has its ``result.json``. The folders of runs that are
                still to be trained have none.
        """
        self._crew.grow(plan.num_workers)
        findings = Findings(Path(self._folder.name))
        return Training(self._crew, plan, findings, ended).run()
