"""The workers of a sweep, seen from the main process: who does what, and what becomes of it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from nnexp.config.arm import names_of
from nnexp.errors import DataError, NnexpError
from nnexp.results.failure import record_failure
from nnexp.results.record import RunResult, read_result
from nnexp.sweep.plan import Plan, PlannedTask
from nnexp.sweep.server import start_server, worker_context
from nnexp.sweep.tasks import (
    Advanced,
    Answer,
    Baselined,
    Broken,
    Computed,
    Ended,
    Entry,
    Stop,
    Survey,
    Surveyed,
    Train,
    Trained,
    Want,
    Warned,
)

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # of a run whose worker died
_SECONDS_TO_STOP = 30.0


@dataclass(eq=False)
class _Task:
    planned: PlannedTask
    attempt: int = 1
    left: dict[int, Entry] = field(default_factory=dict)  # by number, those without a result

    def __post_init__(self) -> None:
        self.left = {entry.num: entry for entry in self.planned.entries}


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    device: str | None = None  # for CUDA: the one GPU that it serves
    task: _Task | None = None
    wants: tuple[str, ...] = ()  # baselines that it waits for


@dataclass
class Progress:
    """What a display shows. Costs are in microseconds of a core, as the plan has them."""

    runs: int = 0
    runs_done: int = 0
    failed: int = 0
    groups_in_flight: int = 0
    run_epochs: int = 0
    cost: float = 0.0
    cost_done: float = 0.0


class Pool:
    """Worker processes, started when they are needed and ended with the pool.

    Use it as a context. Workers that die are replaced.

    Args:
        num_workers: to begin with. They get ready while one of them looks at the data.
        environment: variables to set in them.
    """

    def __init__(self, num_workers: int, environment: dict[str, str] | None = None) -> None:
        self._num_workers = num_workers
        self._environment = environment or {}
        self._workers: list[_Worker] = []
        self._baselines: dict[str, Baselined] = {}
        self._claims: dict[str, _Worker] = {}

    def __enter__(self) -> Pool:
        self._folder = tempfile.TemporaryDirectory(prefix="nnexp-sweep-")
        start_server()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(Stop())
            worker.pipe.close()
        try:
            deadline = time.monotonic() + _SECONDS_TO_STOP
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # somebody may be too impatient to wait
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
            self._folder.cleanup()

    def survey(self, entries: Sequence[Entry]) -> Surveyed:
        """Look at the data.

        Raises:
            NnexpError: the worker died twice over it.
        """
        self._add_worker()
        for _ in range(_ATTEMPTS):
            worker = self._workers[0]
            try:
                worker.pipe.send(Survey(tuple(entries)))
                while len(self._workers) < self._num_workers:
                    self._add_worker()
                while True:
                    message = worker.pipe.recv()
                    if isinstance(message, Surveyed):
                        return message
                    _tell(message)
            except (EOFError, OSError):
                how = _how_it_ended(worker)
                self._replace(worker)
            except BaseException:
                worker.process.kill()  # it would read its data to the end, and nothing is lost
                raise
        raise NnexpError(f"a worker process that looked at the data {how}, twice")

    def train(
        self, plan: Plan, num_gpus: int, ended: Callable[[Entry, RunResult], None]
    ) -> Generator[Progress, None, None]:
        """Train everything; yields what has been done, several times a second.

        Args:
            num_gpus: for work on ``cuda``: a worker serves one of them.
            ended: called for every run that has its ``result.json``. The folders of runs that are
                still to be trained have none.

        Raises:
            KeyboardInterrupt: came from outside; all runs without a result have been marked
                interrupted by then.
        """
        self._queue = deque(_Task(planned) for planned in plan.tasks)
        self._ended = ended
        self.progress = Progress(runs=sum(len(task.entries) for task in plan.tasks), cost=plan.cost)
        for number in range(plan.num_workers):
            if number == len(self._workers):
                self._add_worker()
            self._workers[number].device = f"cuda:{number % num_gpus}" if num_gpus else None
        self._num_trainers = plan.num_workers  # there may be more, who got ready before the plan
        with _signals_held() as let_signals_through:
            try:
                while self._queue or any(worker.task for worker in self._workers):
                    self._hand_out()
                    yield self.progress
                    for pipe in wait([worker.pipe for worker in self._workers], timeout=0.2):
                        worker = next(w for w in self._workers if w.pipe is pipe)
                        self._listen(worker)
                    let_signals_through()
                yield self.progress
            except BaseException:
                self._interrupt()
                raise

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────

    def _hand_out(self) -> None:
        for worker in self._workers[: self._num_trainers]:
            if worker.task is None and self._queue:
                task = self._queue.popleft()
                kind = task.planned.kind
                device = worker.device if kind.device == "cuda" and worker.device else kind.device
                worker.task = task
                try:
                    worker.pipe.send(Train(tuple(task.left.values()), kind, device))
                except OSError:
                    self._bury(worker)
        self.progress.groups_in_flight = sum(worker.task is not None for worker in self._workers)

    def _listen(self, worker: _Worker) -> None:
        """Take in all that a worker has to say."""
        try:
            while worker.pipe.poll():
                self._take(worker, worker.pipe.recv())
        except (EOFError, OSError):
            self._bury(worker)

    def _take(self, worker: _Worker, message: object) -> None:
        match message:
            case Advanced(run_epochs):
                assert worker.task is not None
                self.progress.run_epochs += run_epochs
                self.progress.cost_done += run_epochs * worker.task.planned.cost_of_an_epoch
            case Ended(num, result):
                assert worker.task is not None
                self._end(worker.task.left.pop(num), result)
            case Want(keys):
                worker.wants = keys
                self._answer(worker)
            case Computed(key, found):
                self._baselines[key] = found
                self._claims.pop(key, None)
                for waiting in self._workers:
                    self._answer(waiting)
            case Trained():
                worker.task = None
            case Broken(error):
                assert worker.task is not None
                log.info("%d runs are trained as two groups: %s", len(worker.task.left), error)
                self._put_back(worker.task)
                worker.task = None
            case _:
                _tell(message)

    def _end(self, entry: Entry, result: RunResult) -> None:
        self.progress.runs_done += 1
        self.progress.failed += result.status != "completed"
        self._ended(entry, result)

    def _put_back(self, task: _Task) -> None:
        """What is left of a group that broke as a whole, in halves."""
        rest = tuple(task.left.values())
        left = task.planned.part(rest)
        halves = left.halves() if len(rest) > 1 else [left]
        self._queue.extendleft(_Task(half, task.attempt) for half in halves)

    # ── baselines: each is computed by the first worker that needs it ─────────────────────────

    def _answer(self, worker: _Worker) -> None:
        """Tell a waiting worker what is known, or what to compute; else it waits on."""
        if not worker.wants:
            return
        known = {key: self._baselines[key] for key in worker.wants if key in self._baselines}
        free = [key for key in worker.wants if key not in known and key not in self._claims]
        compute = free[0] if free else None
        if not known and compute is None:
            return
        if compute is not None:
            self._claims[compute] = worker
        worker.wants = ()
        with contextlib.suppress(OSError):  # it has died, which the next poll shows
            worker.pipe.send(Answer(known, compute))

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    def _add_worker(self) -> None:
        self._workers.append(self._started())

    def _started(self) -> _Worker:
        start_server()  # it may have died as well
        mine, its = worker_context().Pipe()
        process = worker_context().Process(
            target=_serve, args=(its, Path(self._folder.name), self._environment), daemon=True
        )
        process.start()
        its.close()
        return _Worker(process, mine)

    def _replace(self, worker: _Worker) -> None:
        worker.pipe.close()
        place = self._workers.index(worker)
        self._workers[place] = self._started()
        self._workers[place].device = worker.device

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its runs are tried once more, by another."""
        how = _how_it_ended(worker)
        task = worker.task
        self._replace(worker)
        self._claims = {key: w for key, w in self._claims.items() if w is not worker}
        for waiting in self._workers:
            self._answer(waiting)
        if task is None:
            return
        self._take_written(task)
        if not task.left:
            return
        if task.attempt < _ATTEMPTS:
            log.warning("a worker process %s; its %d runs start anew", how, len(task.left))
            rest = tuple(task.left.values())
            self._queue.append(_Task(task.planned.part(rest), task.attempt + 1))
        else:
            self._give_up(task, "failed", f"its worker process {how}, twice")

    def _take_written(self, task: _Task) -> None:
        """Runs that have their result, though the worker has not come to say so."""
        for num, entry in list(task.left.items()):
            with contextlib.suppress(DataError):
                result = read_result(entry.folder)
                del task.left[num]
                self._end(entry, result)

    def _give_up(self, task: _Task, status: str, error: str) -> None:
        for entry in task.left.values():
            self._end(entry, unfinished(entry, status, error))
        task.left.clear()

    def _interrupt(self) -> None:
        """Stop the workers, each after the epoch that it is in, and mark what is left."""
        busy = [worker for worker in self._workers if worker.task is not None]
        for worker in busy:
            with contextlib.suppress(OSError):
                worker.pipe.send(Stop())
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while busy and time.monotonic() < deadline:
            for pipe in wait([worker.pipe for worker in busy], timeout=0.5):
                worker = next(w for w in busy if w.pipe is pipe)
                try:
                    while worker.pipe.poll():
                        message = worker.pipe.recv()
                        if isinstance(message, Ended | Advanced):
                            self._take(worker, message)
                except (EOFError, OSError):
                    busy.remove(worker)
        for worker in busy:  # it must not write beside what is written below
            worker.process.kill()
            worker.process.join()
        for task in [*self._queue, *(w.task for w in self._workers if w.task is not None)]:
            self._take_written(task)
            self._give_up(task, "interrupted", "interrupted")
        self._queue.clear()


@contextlib.contextmanager
def _signals_held() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM wait until the function that this gives is called.

    An exception out of the middle of a message would leave the rest of it in the pipe.
    """
    came: list[int] = []
    handlers: dict[int, Callable[..., object]] = {}

    def hold(number: int, _: object) -> None:
        came.append(number)

    def let_through() -> None:
        if came:
            handlers[came[0]](came[0], None)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, hold)
    try:
        yield let_through
    finally:
        for held in handlers:
            if signal.getsignal(held) is hold:
                signal.signal(held, handlers[held])


def _serve(pipe: Connection, folder: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server of the workers is older than the config
    from nnexp.sweep.worker import work  # imports torch, which the main process goes without

    work(pipe, folder)


def unfinished(entry: Entry, status: str, error: str) -> RunResult:
    """Leave a ``result.json`` for a run that no worker will end."""
    who = names_of(entry.config)
    return record_failure(entry.folder, error, status=status, keep=True, arm=entry.arm, **who)


def _how_it_ended(worker: _Worker) -> str:
    worker.process.join(5)
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _tell(message: object) -> None:
    match message:
        case Warned(level, name, text):
            logging.getLogger(name).log(level, "%s", text)
        case _:
            raise RuntimeError(f"a worker said {message!r}")
