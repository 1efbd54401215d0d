"""Who does what in a sweep, with workers that are only heard: claims, deaths, plans of devices."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from engine_cases import make_config

from nnexp.config.schema import BaselinesConfig, BundledConfig, KNNConfig, MajorityConfig
from nnexp.models.layout import Structure, parameter_layout
from nnexp.runs.record import RunResult
from nnexp.runs.run_log import about
from nnexp.sweeps import connection as say
from nnexp.sweeps import processes
from nnexp.sweeps.connection import LogForwarder
from nnexp.sweeps.executor import Pool, Training, inspect_data
from nnexp.sweeps.plan import Plan, make_plan
from nnexp.sweeps.processes import Gone, WorkerPool
from nnexp.sweeps.task_queue import BaselineCache, BaselineScheduler
from nnexp.sweeps.tasks import Entry, Inspection, Kind, Machine, Refused, wanted_baselines

MACHINE = Machine()
KIND = Kind("iris", 90, 30, Structure(4, (8,), 3), 32, False, "float32", "cpu", 1)
PROSPECT = Inspection(KIND, parameter_layout(KIND.network).size, 0)


def entry_of(folder: Path, num: int, *, split: int = 0, source: str = "iris") -> Entry:
    """A run that wants two baselines."""
    config = make_config(KIND.network, seed=num, epochs=2, batch_size=32)
    config = dataclasses.replace(
        config,
        dataset=BundledConfig(name=source, source=source, split_seed=split),
        baseline=BaselinesConfig(knn=KNNConfig(), majority=MajorityConfig()),
    )
    return Entry(num, config, folder / str(num), "arm")


class Deaf:
    """A worker of a crew that is only in the mind: what it is sent is kept."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.is_dead = False

    def send(self, message: object) -> None:
        """Keep it."""
        self.sent.append(message)

    def kill(self) -> None:
        """End it."""
        self.is_dead = True

    ready = True

    @property
    def last(self) -> Any:
        """What it was told last."""
        return self.sent[-1]


class Minds:
    """A crew of such workers; the test says what they say."""

    problem = "no worker lives"

    def __init__(self, count: int) -> None:
        self.workers = [Deaf() for _ in range(count)]
        self.says: list[tuple[Deaf, object]] = []
        self.is_over = False

    def listen(self, _: float, __: Mapping[Any, object]) -> list[tuple[Deaf, object]]:
        """What the test has put there. One that has died has a successor."""
        if self.is_over:
            return [(worker, Gone("ended with exit code 0")) for worker in self.workers]
        heard, self.says = self.says, []
        for worker, message in heard:
            if isinstance(message, Gone):
                self.workers[self.workers.index(worker)] = Deaf()
        return heard

    def stop_replacing(self) -> None:
        """They are about to be stopped, and stop."""
        self.is_over = True


class Sweep:
    """A plan under way with such workers."""

    def __init__(self, folder: Path, plan: Plan, count: int) -> None:
        self.worker_pool = Minds(count)
        self.baseline_cache = BaselineCache(folder)
        self.ended: dict[int, RunResult] = {}
        self.training = Training(
            self.worker_pool,  # type: ignore[arg-type]
            plan,
            self.baseline_cache,
            lambda entry, result: self.ended.update({entry.num: result}),
        )
        self.steps = self.training.run()
        self.progress = next(self.steps)

    def say(self, *said: tuple[Deaf, object]) -> None:
        """Let workers say something, and the main process act on it."""
        self.worker_pool.says += said
        next(self.steps)


@pytest.fixture
def carried_out(tmp_path: Path) -> Iterator[Callable[[Plan, int], Sweep]]:
    """Begins a sweep, which is stopped when the test is over."""
    begun: list[Sweep] = []

    def begin(plan: Plan, count: int) -> Sweep:
        begun.append(Sweep(tmp_path, plan, count))
        return begun[-1]

    yield begin
    for sweep in begun:
        sweep.steps.close()


def planned(folder: Path, entries: list[Entry], workers: int) -> Plan:
    for entry in entries:
        entry.folder.mkdir(parents=True)
    return make_plan(entries, [PROSPECT] * len(entries), num_workers=workers, largest=None)


def keys_of(entry: Entry) -> tuple[str, ...]:
    return tuple(wanted.key for wanted in wanted_baselines(entry.config))


# ── baselines ─────────────────────────────────────────────────────────────────────────────────


def test_runs_that_share_a_split_share_their_baselines(tmp_path: Path) -> None:
    """Whatever else they have; another split or another option is another baseline."""
    first, same, other = (entry_of(tmp_path, n, split=n // 2) for n in range(3))
    baseline_scheduler = BaselineScheduler([first, same, other], BaselineCache(tmp_path))
    assert keys_of(first) == keys_of(same)
    assert baseline_scheduler.total == 4
    changed = dataclasses.replace(first.config.baseline, knn=KNNConfig(weights="distance"))
    config = dataclasses.replace(first.config, baseline=changed)
    keys = [wanted.key for wanted in wanted_baselines(config)]
    assert keys[0] not in keys_of(first)
    assert keys[1] == keys_of(first)[1]
    names = [wanted.name for wanted in wanted_baselines(first.config)]
    assert names == ["knn", "majority"]
    for wanted in wanted_baselines(first.config):
        assert [wanted.name] == [alone.name for alone in wanted_baselines(wanted.config)]


def test_each_is_claimed_once_in_the_order_of_need_and_the_dear_ones_first(tmp_path: Path) -> None:
    entries = [entry_of(tmp_path, n, split=n) for n in range(3)]
    baseline_scheduler = BaselineScheduler(entries, BaselineCache(tmp_path))
    first = baseline_scheduler.claim()
    assert first is not None
    assert first.key == keys_of(entries[0])[0]
    baseline_scheduler.settle(first.key, seconds=5.0)  # so KNN is dear
    assert baseline_scheduler.missing(keys_of(entries[0])) == [keys_of(entries[0])[1]]
    order = []
    while wanted := baseline_scheduler.claim():
        order.append((wanted.name, wanted.config.dataset.split_seed))
    assert order == [("knn", 1), ("knn", 2), ("majority", 0), ("majority", 1), ("majority", 2)]


def test_what_no_run_waits_for_is_not_computed(tmp_path: Path) -> None:
    entries = [entry_of(tmp_path, n, split=n) for n in range(2)]
    baseline_scheduler = BaselineScheduler(entries, BaselineCache(tmp_path))
    baseline_scheduler.drop(0)  # it diverged, say
    found = [baseline_scheduler.claim(), baseline_scheduler.claim(), baseline_scheduler.claim()]
    assert [w and w.config.dataset.split_seed for w in found] == [1, 1, None]


def test_an_idle_worker_computes_what_others_will_want(
    tmp_path: Path, carried_out: Callable[[Plan, int], Sweep]
) -> None:
    """One group, two workers: the other computes a baseline each time it is free."""
    entry = entry_of(tmp_path, 0)
    sweep = carried_out(planned(tmp_path, [entry], 2), 2)
    trains, idle = sweep.worker_pool.workers
    knn, majority = keys_of(entry)
    assert isinstance(trains.last, say.Train)
    assert isinstance(idle.last, say.Compute)
    assert idle.last.wanted.key == knn
    # The run has come to its end: what is still to do it does itself, and waits for the rest.
    sweep.say((trains, say.Want((knn, majority))))
    assert trains.last == say.Compute(trains.last.wanted, "cpu")
    assert trains.last.wanted.key == majority
    sweep.say((trains, say.Computed(majority, 0.1)), (trains, say.Want((knn, majority))))
    assert isinstance(trains.last, say.Compute)  # no answer yet: the other is at it
    sweep.say((idle, say.Computed(knn, 1.0)))
    assert trains.last == say.Found()
    assert len(idle.sent) == 1
    assert (sweep.progress.baselines_done, sweep.progress.baselines) == (2, 2)


def test_groups_come_before_baselines(
    tmp_path: Path, carried_out: Callable[[Plan, int], Sweep]
) -> None:
    entries = [entry_of(tmp_path, n) for n in range(4)]
    plan = planned(tmp_path, entries, 2)
    plan = dataclasses.replace(plan, num_processes=1, num_workers=1)
    sweep = carried_out(plan, 2)
    first, second = sweep.worker_pool.workers
    assert isinstance(first.last, say.Train)
    assert second.sent == []  # no more at once than the plan says


def test_a_baseline_that_kills_two_workers_is_left_out_and_costs_no_run(
    tmp_path: Path, carried_out: Callable[[Plan, int], Sweep]
) -> None:
    entry = entry_of(tmp_path, 0)
    plan = dataclasses.replace(planned(tmp_path, [entry], 1), num_processes=1)
    sweep = carried_out(plan, 1)
    knn, majority = keys_of(entry)
    for _ in range(2):
        (worker,) = sweep.worker_pool.workers
        assert isinstance(worker.last, say.Train)
        sweep.say((worker, say.Want((knn, majority))))
        assert worker.last.wanted.key == knn
        sweep.say((worker, Gone("was killed by SIGKILL")))
    (worker,) = sweep.worker_pool.workers
    sweep.say((worker, say.Want((knn, majority))))
    assert worker.last.wanted.key == majority
    sweep.say((worker, say.Computed(majority, 0.1)), (worker, say.Want((knn, majority))))
    assert worker.last == say.Found({knn: "its worker process was killed by SIGKILL, twice"})
    assert sweep.ended == {}


def test_a_baseline_that_cannot_be_handed_on_is_left_out_and_nobody_waits_for_it(
    tmp_path: Path, carried_out: Callable[[Plan, int], Sweep], caplog: pytest.LogCaptureFixture
) -> None:
    entries = [entry_of(tmp_path, n) for n in range(2)]
    sweep = carried_out(planned(tmp_path, entries, 2), 2)
    first, second = sweep.worker_pool.workers
    knn, majority = keys_of(entries[0])
    sweep.say((first, say.Want((knn, majority))))
    sweep.say((second, say.Want((knn, majority))))
    assert (first.last.wanted.key, second.last.wanted.key) == (knn, majority)
    why = "/tmp/x: No space left on device"
    sweep.say((first, say.Computed(knn, 0.1, why)), (first, say.Want((knn, majority))))
    sweep.say((second, say.Computed(majority, 0.1)), (second, say.Want((majority,))))
    assert first.last == say.Found({knn: why})
    assert second.last == say.Found({})
    assert (sweep.progress.baselines_done, sweep.progress.baselines) == (2, 2)
    assert caplog.messages == [f"knn on iris is left out: {why}"]


def test_what_a_worker_had_found_before_it_died_is_kept(
    tmp_path: Path, carried_out: Callable[[Plan, int], Sweep]
) -> None:
    entry = entry_of(tmp_path, 0)
    sweep = carried_out(planned(tmp_path, [entry], 2), 2)
    trains, idle = sweep.worker_pool.workers
    knn, _ = keys_of(entry)
    sweep.baseline_cache.put(knn, {"knn": {"test/acc": 1.0}})
    sweep.say((idle, Gone("ended with exit code 1")), (trains, say.Want((knn,))))
    assert trains.last == say.Found()


# ── workers that die ──────────────────────────────────────────────────────────────────────────


def test_a_source_that_kills_two_workers_is_refused_alone(tmp_path: Path) -> None:
    class Deadly(Minds):
        def listen(self, _: float, busy: Mapping[Any, object]) -> list[tuple[Deaf, object]]:
            for worker in busy:
                deadly = worker.last.entries[0].config.dataset.name == "wine"
                found = tuple(PROSPECT for _ in worker.last.entries)
                answer = Gone("was killed by SIGKILL") if deadly else say.Inspected(found, MACHINE)
                self.says.append((worker, answer))
            return super().listen(0, {})

    sources = ["wine", "iris", "wine", "digits"]
    entries = [entry_of(tmp_path, n, source=name) for n, name in enumerate(sources)]
    outlook = inspect_data(Deadly(1), entries, fetch=True)  # type: ignore[arg-type]
    why = Refused("a worker process that looked at the data was killed by SIGKILL, twice")
    assert outlook.found == (why, PROSPECT, why, PROSPECT)


def stillborn(*_: object) -> None:
    """In place of what a worker does."""
    os._exit(3)


@pytest.mark.parametrize("count", [1, 2])
def test_workers_that_die_at_their_start_are_not_replaced_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    started: list[int] = []
    start = WorkerPool._start

    def counted(worker_pool: WorkerPool, place: int) -> None:
        started.append(place)
        start(worker_pool, place)

    monkeypatch.setattr(processes, "serve", stillborn)
    monkeypatch.setattr(WorkerPool, "_start", counted)
    entries = [entry_of(tmp_path, n) for n in range(2)]
    with Pool(count) as pool:
        outlook = pool.survey(entries, fetch=True)
    why = "worker processes do not live; the last one ended with exit code 3"
    assert outlook.found == (Refused(why), Refused(why))
    assert sorted(started) == sorted([*range(count)] * 3)


def test_where_no_worker_lives_all_runs_have_failed(tmp_path: Path) -> None:
    entries = [entry_of(tmp_path, n) for n in range(3)]
    plan = planned(tmp_path, entries, 1)
    worker_pool = Minds(0)
    ended: dict[int, RunResult] = {}
    training = Training(
        worker_pool,  # type: ignore[arg-type]
        plan,
        BaselineCache(tmp_path),
        lambda entry, result: ended.update({entry.num: result}),
    )
    assert len(list(training.run())) == 1
    assert {num: (r.status, r.error) for num, r in ended.items()} == dict.fromkeys(
        range(3), ("failed", "no worker lives")
    )


# ── what workers say ──────────────────────────────────────────────────────────────────────────


def test_a_warning_names_the_job_that_it_is_about(tmp_path: Path) -> None:
    line = Deaf()
    telling = LogForwarder(line)  # type: ignore[arg-type]
    telling.follow({tmp_path / "12": 12})
    logger = logging.getLogger("test of warnings")
    logger.addHandler(telling)
    try:
        with about(tmp_path / "12"):
            logger.warning("no %s", "checkpoint")
        with about(tmp_path / "13"):
            logger.warning("of another sweep")
        logger.warning("of nobody")
    finally:
        logger.removeHandler(telling)
    assert [warned.text for warned in line.sent if isinstance(warned, say.Warned)] == [
        "job 12: no checkpoint", "of another sweep", "of nobody",
    ]  # fmt: skip
