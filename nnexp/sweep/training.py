"""The main process has a plan carried out: who trains what, who computes which baseline."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator

from nnexp.results.record import RunResult
from nnexp.sweep import messages as say
from nnexp.sweep.claims import Claims
from nnexp.sweep.findings import Findings
from nnexp.sweep.plan import Plan
from nnexp.sweep.processes import SECONDS_TO_STOP, Crew, Gone, Worker
from nnexp.sweep.queue import Group, Progress, Queue
from nnexp.sweep.signals import HeldSignals, signals_held
from nnexp.sweep.tasks import Entry, Kind, Wanted

log = logging.getLogger(__name__)

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
        crew: Crew,
        plan: Plan,
        findings: Findings,
        ended: Callable[[Entry, RunResult], None],
    ) -> None:
        self._crew = crew
        self._plan = plan
        self._ended = ended
        self._queue = Queue(plan, self._end)
        self._claims = Claims((e for task in plan.tasks for e in task.entries), findings)
        self._progress = self._queue.progress
        self._progress.baselines = self._claims.total
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
                    if not self._crew.workers:
                        self._queue.give_up_all("failed", self._crew.problem, [])
                        break
                    self._hand_out()
                    yield self._progress
                    for worker, message in self._crew.listen(0.2, self._busy()):
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
        for worker in self._crew.workers:
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
        wanted = self._claims.claim(first or (), left_alone=left_alone)
        if wanted is None:
            return False
        self._computing[worker] = wanted
        worker.send(say.Compute(wanted, gpu or "cpu"))
        return True

    def _answer(self, worker: Worker) -> None:
        """Tell a waiting worker that all is there, or what to compute; else it waits on."""
        wanted = self._waiting[worker]
        missing = self._claims.missing(wanted)
        if not missing:
            worker.send(say.Found(self._claims.left_out(wanted)))
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
                self._claims.settle(key, seconds, error)
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
        self._claims.drop(entry.num)
        self._ended(entry, result)

    def _bury(self, worker: Worker, how: str) -> None:
        wanted = self._computing.pop(worker, None)
        group = self._training.pop(worker, None)
        self._waiting.pop(worker, None)
        self._gpus.pop(worker, None)
        if wanted is not None:
            self._claims.lose(wanted, how)
        if group is not None:
            self._queue.lose(group, how, innocent=wanted is not None)
        self._answer_all()

    def _answer_all(self) -> None:
        self._progress.baselines_done = self._claims.done
        for worker in list(self._waiting):
            self._answer(worker)

    # ── the end before the end ────────────────────────────────────────────────────────────────

    def _interrupt(self, signals: HeldSignals) -> None:
        """Stop the workers, each after the epoch that it is in, and mark what is left.

        They are killed if that takes long, or if somebody asks again.
        """
        self._crew.stop_replacing()
        for worker in self._crew.workers:
            if worker in self._training:
                worker.send(say.Stop())
            elif worker in self._computing:
                worker.kill()  # nothing is lost
        began, is_told = time.monotonic(), False
        stopping = dict(self._training)
        while stopping and time.monotonic() - began < SECONDS_TO_STOP and not signals.again:
            for worker, message in self._crew.listen(0.1, stopping):
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
