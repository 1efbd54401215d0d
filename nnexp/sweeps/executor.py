"""The executor of a plan: data sets are inspected, groups and baselines handed to workers."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnexp.runs.record import RunResult
from nnexp.sweeps import connection as say
from nnexp.sweeps.plan import Plan
from nnexp.sweeps.processes import (
    SECONDS_TO_STOP,
    Gone,
    HeldSignals,
    Worker,
    WorkerPool,
    signals_held,
    start_server,
)
from nnexp.sweeps.task_queue import BaselineCache, BaselineScheduler, Group, Progress, Queue
from nnexp.sweeps.tasks import Absent, Entry, Inspection, Kind, Machine, Refused, Wanted, source_key

# --------------------------------------------------------------------------------------------------
# The main process has the data of a sweep looked at, a source at a time and by all workers.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_ATTEMPTS = 2  # at a source whose worker died


@dataclass(frozen=True)
class DataInspection:
    """For each entry what was found, and the GPUs."""

    found: tuple[Inspection | Refused | Absent, ...]
    machine: Machine


@dataclass(eq=False)
class _Source:
    places: list[int] = field(default_factory=list)  # of its entries
    attempt: int = 1


def inspect_data(
    worker_pool: WorkerPool, entries: Sequence[Entry], *, fetch: bool
) -> DataInspection:
    """Look at the data of all entries; a source that costs two workers their life is refused."""
    by_key: dict[str, _Source] = {}
    for place, entry in enumerate(entries):
        by_key.setdefault(source_key(entry.config.dataset), _Source()).places.append(place)
    waiting = deque(by_key.values())
    busy: dict[Worker, _Source] = {}
    found: dict[int, Inspection | Refused | Absent] = {}
    machine = Machine()
    try:
        while waiting or busy:
            if not worker_pool.workers:
                found |= {n: Refused(worker_pool.problem) for s in waiting for n in s.places}
                break
            for worker in worker_pool.workers:
                if waiting and worker.ready and worker not in busy:
                    busy[worker] = waiting.popleft()
                    its = tuple(entries[place] for place in busy[worker].places)
                    worker.send(say.Inspect(its, fetch))
            for worker, message in worker_pool.listen(1.0, busy):
                match message:
                    case say.Inspected(answers, seen):
                        found |= zip(busy.pop(worker).places, answers, strict=True)
                        machine = machine.joined(seen)
                    case Gone(how) if worker in busy:
                        source = busy.pop(worker)
                        if source.attempt < _ATTEMPTS:
                            source.attempt += 1
                            waiting.append(source)
                        else:
                            why = f"a worker process that looked at the data {how}, twice"
                            found |= dict.fromkeys(source.places, Refused(why))
                    case Gone():
                        pass
                    case _:
                        raise RuntimeError(f"a worker said {message!r}")
    except BaseException:
        for worker in busy:
            worker.kill()  # it would read its data to the end, and nothing is lost
        raise
    return DataInspection(tuple(found[place] for place in range(len(entries))), machine)


# --------------------------------------------------------------------------------------------------
# The main process has a plan carried out: who trains what, who computes which baseline.
# --------------------------------------------------------------------------------------------------

_SECONDS_TO_TELL = 1.0  # of stopping, after which somebody may wonder
# Baselines that a GPU computes hundreds of times as fast as the CPU: those of runs on a GPU are
# left to the workers that have one, which the runs keep from their work less than waiting would.
_FOR_GPUS = frozenset({"knn"})


class Training:
    """A plan on its way.

    Groups come first, the longest before the others. A worker that finds none left computes a
    baseline that some run wants; so does one whose own run waits for a baseline that another worker
    computes.

    Args:
        ended: called for every run that has its ``result.json``. The folders of runs that are
            still to be trained have none.
    """

    def __init__(
        self,
        worker_pool: WorkerPool,
        plan: Plan,
        baseline_cache: BaselineCache,
        ended: Callable[[Entry, RunResult], None],
    ) -> None:
        self._worker_pool = worker_pool
        self._plan = plan
        self._ended = ended
        self._queue = Queue(plan, self._end)
        self._baseline_scheduler = BaselineScheduler(
            (e for task in plan.tasks for e in task.entries), baseline_cache
        )
        self._progress = self._queue.progress
        self._progress.baselines = self._baseline_scheduler.total
        self._training: dict[Worker, Group] = {}
        self._computing: dict[Worker, Wanted] = {}
        self._waiting: dict[Worker, tuple[str, ...]] = {}  # keys that a run waits for
        self._gpus: dict[Worker, list[str]] = {}  # that a worker has trained on
        self._devices: dict[Worker, str] = {}  # of those that train

    def run(self) -> Generator[Progress, None, None]:
        """Train everything; yields what has been done, several times a second.

        Raises:
            KeyboardInterrupt: came from outside; all runs without a result have been marked
                interrupted by then.
        """
        with signals_held() as signals:
            try:
                while self._queue or self._training:
                    if not self._worker_pool.workers:
                        self._queue.give_up_all("failed", self._worker_pool.problem, [])
                        break
                    self._hand_out()
                    yield self._progress
                    for worker, message in self._worker_pool.listen(0.2, self._busy()):
                        self._take(worker, message)
                    signals.let_through()
                yield self._progress
            except BaseException:
                self._interrupt(signals)
                raise
            for worker in self._computing:
                worker.kill()  # nobody wants it any more

    def _busy(self) -> dict[Worker, object]:
        return {**self._training, **self._computing}

    # ── who does what ─────────────────────────────────────────────────────────────────────────

    def _hand_out(self) -> None:
        for worker in self._worker_pool.workers:
            if not worker.ready or worker in self._training or worker in self._computing:
                continue
            if self._train(worker):
                continue
            if len(self._busy()) < self._plan.num_processes:
                self._compute(worker)
        self._progress.groups_in_flight = len(self._training)

    def _train(self, worker: Worker) -> bool:
        """Give out a group, if there is one for which there is room where this worker can be."""
        if len(self._training) >= self._plan.num_workers:
            return False
        group = None
        if worker in self._gpus:  # others can do the rest
            group = self._queue.next(
                lambda kind: kind.device != "cpu" and self._device_for(worker, kind) is not None
            )
        group = group or self._queue.next(lambda kind: self._device_for(worker, kind) is not None)
        if group is None:
            return False
        kind = group.planned.kind
        device = self._device_for(worker, kind)
        assert device is not None
        self._training[worker], self._devices[worker] = group, device
        if device != "cpu" and device not in self._gpus.setdefault(worker, []):
            self._gpus[worker].append(device)
        worker.send(say.Train(tuple(group.left.values()), kind, device))
        return True

    def _device_for(self, worker: Worker, kind: Kind) -> str | None:
        """Where the worker may train a group now: on the CPU, or on a GPU that it has been on or
        that has too few workers. What a worker has once allocated on a GPU it keeps in part, so
        that no more workers come to a GPU than train there at once."""
        at_work = Counter(self._devices[other] for other in self._training)
        if kind.device == "cpu":
            return "cpu" if at_work["cpu"] < self._plan.on_cpu else None
        own = self._gpus.get(worker, [])
        staff = Counter(gpu for gpus in self._gpus.values() for gpu in gpus)
        most = self._plan.on_a_gpu
        gpus = [
            gpu
            for gpu in (self._plan.gpus if kind.device == "cuda" else [kind.device])
            if at_work[gpu] < most and (gpu in own or staff[gpu] < most)
        ]
        return min(gpus, key=lambda gpu: (gpu not in own, staff[gpu]), default=None)

    def _compute(self, worker: Worker, first: list[str] | None = None) -> bool:
        """Give out a baseline, if there is one to compute. Workers without a GPU use the CPU."""
        gpu = self._gpus[worker][-1] if worker in self._gpus else None
        left_alone = _FOR_GPUS if self._plan.gpus and gpu is None else ()
        wanted = self._baseline_scheduler.claim(first or (), left_alone=left_alone)
        if wanted is None:
            return False
        self._computing[worker] = wanted
        worker.send(say.Compute(wanted, gpu or "cpu"))
        return True

    def _answer(self, worker: Worker) -> None:
        """Tell a waiting worker that all is there, or what to compute; else it waits on."""
        wanted = self._waiting[worker]
        missing = self._baseline_scheduler.missing(wanted)
        if not missing:
            worker.send(say.Found(self._baseline_scheduler.left_out(wanted)))
            del self._waiting[worker]
        elif self._compute(worker, missing):
            del self._waiting[worker]

    # ── what comes of it ──────────────────────────────────────────────────────────────────────

    def _take(self, worker: Worker, message: object) -> None:
        match message:
            case say.Advanced(run_epochs):
                self._queue.advance(self._training[worker], run_epochs)
            case say.Ended(num, result):
                self._queue.end(self._training[worker], num, result)
            case say.Want(keys):
                self._waiting[worker] = keys
                self._answer(worker)
            case say.Computed(key, seconds, error):
                del self._computing[worker]
                self._baseline_scheduler.settle(key, seconds, error)
                self._answer_all()
            case say.Trained():
                del self._training[worker]
            case say.Broken(error, out_of_memory):
                group = self._training.pop(worker)
                put_back = self._queue.put_back_smaller if out_of_memory else self._queue.put_back
                put_back(group, error)
            case Gone(how):
                self._bury(worker, how)
            case _:
                raise RuntimeError(f"a worker said {message!r}")

    def _end(self, entry: Entry, result: RunResult) -> None:
        self._baseline_scheduler.drop(entry.num)
        self._ended(entry, result)

    def _bury(self, worker: Worker, how: str) -> None:
        wanted = self._computing.pop(worker, None)
        group = self._training.pop(worker, None)
        self._waiting.pop(worker, None)
        self._gpus.pop(worker, None)
        if wanted is not None:
            self._baseline_scheduler.lose(wanted, how)
        if group is not None:
            self._queue.lose(group, how, innocent=wanted is not None)
        self._answer_all()

    def _answer_all(self) -> None:
        self._progress.baselines_done = self._baseline_scheduler.done
        for worker in list(self._waiting):
            self._answer(worker)

    # ── the end before the end ────────────────────────────────────────────────────────────────

    def _interrupt(self, signals: HeldSignals) -> None:
        """Stop the workers, each after the epoch that it is in, and mark what is left.

        They are killed if that takes long, or if somebody asks again.
        """
        self._worker_pool.stop_replacing()
        for worker in self._worker_pool.workers:
            if worker in self._training:
                worker.send(say.Stop())
            elif worker in self._computing:
                worker.kill()  # nothing is lost
        began, is_told = time.monotonic(), False
        stopping = dict(self._training)
        while stopping and time.monotonic() - began < SECONDS_TO_STOP and not signals.again:
            for worker, message in self._worker_pool.listen(0.1, stopping):
                if isinstance(message, Gone):
                    stopping.pop(worker, None)
                elif isinstance(message, say.Ended | say.Advanced) and worker in stopping:
                    self._take(worker, message)
            if stopping and not is_told and time.monotonic() - began > _SECONDS_TO_TELL:
                is_told = True
                log.info("stopping; Ctrl-C once more stops at once")
        for worker in stopping:  # it must not write beside what is written below
            worker.kill()
        self._queue.give_up_all("interrupted", "interrupted", list(self._training.values()))


# --------------------------------------------------------------------------------------------------
# The workers of a sweep, from their first look at the data to the last result.
# --------------------------------------------------------------------------------------------------


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
        self._worker_pool = WorkerPool(Path(self._folder.name), self._environment)
        start_server()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._worker_pool.dismiss()
        finally:
            self._folder.cleanup()

    def survey(self, entries: Sequence[Entry], *, fetch: bool) -> DataInspection:
        """Look at the data.

        Args:
            fetch: those that are absent.
        """
        self._worker_pool.draws = any(entry.config.trainer.pictures for entry in entries)
        self._worker_pool.grow(self._num_workers)
        return inspect_data(self._worker_pool, entries, fetch=fetch)

    def train(
        self, plan: Plan, ended: Callable[[Entry, RunResult], None]
    ) -> Generator[Progress, None, None]:
        """Train everything; see ``Training.run``.

        Args:
            ended: called for every run that has its ``result.json``. The folders of runs that are
                still to be trained have none.
        """
        self._worker_pool.grow(plan.num_workers)
        baseline_cache = BaselineCache(Path(self._folder.name))
        return Training(self._worker_pool, plan, baseline_cache, ended).run()
