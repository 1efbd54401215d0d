"""Which worker trains what on which GPU, on machines that are made up."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_cases import make_config

from nnexp.config.schema import BaselinesConfig, BundledConfig, KNNConfig, MajorityConfig
from nnexp.models.layout import Structure, parameter_layout
from nnexp.sweeps import connection as say
from nnexp.sweeps import worker as worker_module
from nnexp.sweeps.executor import Training
from nnexp.sweeps.plan import Plan, make_plan
from nnexp.sweeps.task_queue import BaselineCache
from nnexp.sweeps.tasks import Entry, Inspection, Kind, Machine

NETWORK = Structure(64, (32,), 10)
KIND = Kind("digits", 1000, 200, NETWORK, 32, False, "float32", "cpu", 1)


class Crew:
    """Workers that do nothing, one task after the other; what each is told is kept."""

    problem = ""

    def __init__(self, count: int) -> None:
        self.told: list[tuple[int, Any]] = []
        self.at_once: list[Counter[str]] = []  # groups in training, by device
        self._at_work: dict[int, list[Any]] = {}  # by worker: what it has been told last
        self.workers = [
            SimpleNamespace(ready=True, kill=lambda: None, place=place) for place in range(count)
        ]
        for worker in self.workers:
            worker.send = lambda message, place=worker.place: self._tell(place, message)
        self.workers = [_Hashable(worker) for worker in self.workers]  # type: ignore[misc]

    def _tell(self, place: int, message: Any) -> None:
        self.told.append((place, message))
        self._at_work[place] = [message]

    def listen(self, _: float, busy: Mapping[Any, object]) -> list[tuple[Any, object]]:
        """The first that was told something is done with it."""
        tasks = [message for (message,) in self._at_work.values()]
        self.at_once.append(Counter(task.device for task in tasks if isinstance(task, say.Train)))
        place = next(iter(self._at_work))
        (message,) = self._at_work.pop(place)
        worker = self.workers[place]
        if isinstance(message, say.Compute):
            return [(worker, say.Computed(message.wanted.key, 1.0))]
        done = SimpleNamespace(status="completed")
        ended = [(worker, say.Ended(entry.num, done)) for entry in message.entries]  # type: ignore[arg-type]
        return [*ended, (worker, say.Trained())]

    @property
    def trained(self) -> list[tuple[int, str]]:
        """Worker and device of each group."""
        return [(place, m.device) for place, m in self.told if isinstance(m, say.Train)]


class _Hashable(SimpleNamespace):
    def __init__(self, other: SimpleNamespace) -> None:
        super().__init__(**vars(other))

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__  # type: ignore[assignment]


def plan_of(
    counts: Mapping[str, int], num_gpus: int, *, baselines: bool = False, **options: Any
) -> Plan:
    """So many runs for each device, four in a group, on a machine of eight cores."""
    entries, seen = [], []
    for device, count in counts.items():
        kind = dataclasses.replace(KIND, device=device)
        for _ in range(count):
            config = make_config(NETWORK, batch_size=32, seed=len(entries))
            config.dataset = BundledConfig(name="digits", split_seed=0)
            config.baseline = BaselinesConfig()
            if baselines:
                config.baseline = BaselinesConfig(knn=KNNConfig(), majority=MajorityConfig())
            entries.append(Entry(len(entries), config, Path(str(len(entries))), "arm"))
            seen.append(Inspection(kind, parameter_layout(NETWORK).size, 0))
    options = {"num_workers": None, "largest": 4, "cores": 8, **options}
    return make_plan(entries, seen, machine=Machine(num_gpus, 2**33), **options)


def train(plan: Plan, tmp_path: Path, count: int = 8) -> Crew:
    """To the end, with so many worker processes."""
    worker_pool = Crew(count)
    ended: list[int] = []
    training = Training(
        worker_pool, plan, BaselineCache(tmp_path), lambda entry, _: ended.append(entry.num)
    )  # type: ignore[arg-type]
    for _ in training.run():
        pass
    assert sorted(ended) == sorted(e.num for task in plan.tasks for e in task.entries)
    return worker_pool


def most_at_once(worker_pool: Crew) -> dict[str, int]:
    devices = {device for _, device in worker_pool.trained}
    return {device: max(now[device] for now in worker_pool.at_once) for device in devices}


def test_gpus_share_the_groups_of_a_sweep(tmp_path: Path) -> None:
    """One worker on each, always the same: another would need memory of its own there."""
    plan = plan_of({"cuda": 32}, 2)
    assert (plan.gpus, plan.num_workers, plan.num_processes) == (("cuda:0", "cuda:1"), 2, 8)
    worker_pool = train(plan, tmp_path)
    assert Counter(worker_pool.trained) == {(0, "cuda:0"): 4, (1, "cuda:1"): 4}
    assert most_at_once(worker_pool) == {"cuda:0": 1, "cuda:1": 1}


def test_as_many_workers_on_a_gpu_as_one_asks_for(tmp_path: Path) -> None:
    plan = plan_of({"cuda": 64}, 2, num_workers=4)
    worker_pool = train(plan, tmp_path, 4)
    assert most_at_once(worker_pool) == {"cuda:0": 2, "cuda:1": 2}
    assert len({place for place, _ in worker_pool.trained}) == len(set(worker_pool.trained)) == 4


def test_a_gpu_that_is_named_is_the_one_that_is_used(tmp_path: Path) -> None:
    plan = plan_of({"cuda:1": 16}, 2)
    assert (plan.gpus, plan.num_workers) == (("cuda:1",), 1)
    assert set(train(plan, tmp_path).trained) == {(0, "cuda:1")}


def test_work_for_the_cpu_and_for_a_gpu_is_done_at_once(tmp_path: Path) -> None:
    """A core is left to the worker on the GPU, and that one does what is for the GPU first."""
    plan = plan_of({"cpu": 64, "cuda": 32}, 1)
    assert (plan.gpus, plan.on_cpu, plan.num_workers) == (("cuda:0",), 7, 8)
    worker_pool = train(plan, tmp_path)
    assert most_at_once(worker_pool) == {"cpu": 7, "cuda:0": 1}
    on_gpu = {place for place, device in worker_pool.trained if device == "cuda:0"}
    assert len(on_gpu) == 1
    first = [device for place, device in worker_pool.trained if place in on_gpu]
    assert first[: first.index("cuda:0")] == []
    assert "cpu" not in first[: first.count("cuda:0")]


def test_one_worker_does_everything(tmp_path: Path) -> None:
    plan = plan_of({"cpu": 8, "cuda:0": 8, "cuda:1": 8}, 2, num_workers=1)
    worker_pool = train(plan, tmp_path, 1)
    assert Counter(device for _, device in worker_pool.trained) == {
        "cpu": 2,
        "cuda:0": 2,
        "cuda:1": 2,
    }
    assert max(sum(now.values()) for now in worker_pool.at_once) == 1


def test_neighbours_are_left_to_workers_with_a_gpu(tmp_path: Path) -> None:
    """What else there is, idle workers compute on the CPU."""
    plan = plan_of({"cuda": 8}, 1, baselines=True)
    worker_pool = train(plan, tmp_path)
    computed = {
        m.wanted.name: (p, m.device) for p, m in worker_pool.told if isinstance(m, say.Compute)
    }
    assert computed["majority"] != (0, "cuda:0")
    assert computed["majority"][1] == "cpu"
    assert computed.get("knn", (0, "cuda:0")) == (0, "cuda:0")
    (tmp_path / "cpu").mkdir()
    worker_pool = train(plan_of({"cpu": 8}, 0, baselines=True), tmp_path / "cpu")
    computed = {
        m.wanted.name: (p, m.device) for p, m in worker_pool.told if isinstance(m, say.Compute)
    }
    assert {name: device for name, (_, device) in computed.items()} == {
        "knn": "cpu", "majority": "cpu",
    }  # fmt: skip


# ── what a worker finds ───────────────────────────────────────────────────────────────────────


def test_the_least_free_memory_of_the_gpus_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"cuda:0": 2**20, "cuda:1": 2**33, "cuda:2": 2**34}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda name: (free[name], 2**35))

    def machine(*devices: str) -> Machine:
        kinds = [dataclasses.replace(KIND, device=device) for device in devices]
        return worker_module.machine([Inspection(kind, 1, 0) for kind in kinds])

    assert machine("cuda:2", "cuda:1", "cpu") == Machine(3, 2**33)
    assert machine("cuda", "cuda:1") == Machine(3, 2**20)
    assert machine("cpu") == Machine(3, None)
    assert Machine(3, None).joined(Machine(3, 2**33)).joined(Machine(3, 2**30)) == Machine(3, 2**30)


_NO_CUDA_YET = """
import sys
import torch
def asked(*_):
    raise SystemExit("CUDA was asked before a worker had something to do there")
torch.cuda._lazy_init = torch.cuda.is_available = torch.cuda.device_count = asked
torch._C._cuda_getDeviceCount = torch._C._cuda_init = asked
import nnexp.sweeps.worker
import nnexp.sweeps.launcher
print("none")
"""


def test_workers_are_forked_from_a_process_that_never_asked_for_cuda() -> None:
    """It does not survive a fork. What the server of the workers imports is imported here."""
    done = subprocess.run(
        [sys.executable, "-c", _NO_CUDA_YET], capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("none\n", "")
