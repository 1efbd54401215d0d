"""The plan of a sweep: which runs train together, and how many at a time.

What runs must have in common is ``nnexp.sweeps.tasks.Kind``.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnexp.memory import fits, needs_of
from nnexp.models.protocol import Network
from nnexp.sweeps.tasks import Entry, Inspection, Kind, Machine

# --------------------------------------------------------------------------------------------------
# How many runs train together: what a core's caches take, or the memory of a GPU.
# --------------------------------------------------------------------------------------------------

# A group on the CPU takes as many runs as keep what a step touches again and again in a core's
# caches; benchmarks/README.md has the measurements. Neither number changes a result.
_ACTIVATIONS = 5 * 2**19  # bytes of a step's activations, of all runs
_MOST_RUNS = 96
# Networks of which not even a few runs fit lose nothing by training this many together, and the
# sweep has fewer groups; as long as they take so many bytes of activations, and of parameters,
# gradients and optimizer state.
_FEW_RUNS = 4
_FEW_ACTIVATIONS = 2**25
_STATE = 2**29
_STATE_OF_A_NUMBER = 4 * 5  # bytes a parameter: Adam's two moments and the best weights included
# On CUDA nothing but memory limits a group. Of what is free it gets a part, less where the table of
# rows takes much; the rest is for CUDA itself, for the workspaces of its libraries and for what
# lies unused between allocations.
_GPU_SHARE = 0.6
_GPU_SHARE_WITH_TABLE = 0.85
GPU_BYTES = 8 * 2**30  # where it is not known how much is free
# Tables of rows that runs with other splits do not share, of all runs of a group.
_TABLES = 512 * 2**20


def most_memory(entries: Sequence[Entry], inspection: Inspection) -> int:
    """Bytes of the run that takes most of a GPU's memory, beside the table of rows.

    Args:
        inspection: of one of the entries, which are of one kind.
    """
    kind = inspection.kind
    num_test = (inspection.data.num_test if inspection.data is not None else 0) or 0
    unlike = {}  # one of those that take the same, of each
    for entry in entries:
        config = entry.config
        unlike[len(config.optimizer.state_names()), repr(config.model)] = config
    numbers = kind.num_train, kind.num_val, num_test
    return max(
        needs_of(config, kind.network, kind.device, *numbers).total for config in unlike.values()
    )


def runs_a_group(
    kind: Kind, inspection: Inspection, of_a_run: int = 0, gpu_bytes: int = GPU_BYTES
) -> int:
    """How many runs of a kind train together best; their number never changes a result.

    Args:
        of_a_run: bytes that it takes on CUDA, beside the table of rows.
        gpu_bytes: that are free for a group on CUDA.
    """
    if why_alone(kind):
        return 1
    if kind.device == "cpu":
        size = runs_in_cache(kind.network, kind.batch_size)
    else:
        room = int(_GPU_SHARE * gpu_bytes)
        if fits(inspection.shared_table, gpu_bytes):  # else it is streamed
            room = min(room, int(_GPU_SHARE_WITH_TABLE * gpu_bytes) - inspection.shared_table)
        size = room // max(1, of_a_run + inspection.own_table)
    if inspection.own_table:
        size = min(size, _TABLES // inspection.own_table)
    return max(1, size)


def runs_in_cache(network: Network, batch_size: int) -> int:
    """How many runs a core's caches take together, or a few where they do not take them."""
    state = _STATE_OF_A_NUMBER * network.parameters.size
    activations = batch_size * network.bytes_per_row()
    few = min(_FEW_RUNS, _FEW_ACTIVATIONS // activations, _STATE // state)
    return max(1, few, min(_MOST_RUNS, _ACTIVATIONS // activations))


def why_alone(kind: Kind) -> str | None:
    """Why runs of a kind train one by one, None if they do not."""
    if kind.network.why_solo:
        return kind.network.why_solo
    if kind.threads > 1:
        return (
            f"they use {kind.threads} threads, with which the last bits depend on the batching; "
            "trainer.threads=1 lets them be batched"
        )
    if kind.device == "cpu" and kind.precision == "bfloat16":
        return "the last bits of bfloat16 on the CPU depend on the batching"
    return None


# --------------------------------------------------------------------------------------------------
# From the entries of a sweep to groups that train together.
# --------------------------------------------------------------------------------------------------

# Tasks for each worker, at least, so that all of them are busy to the end.
_TASKS_A_WORKER = 3
_FEWEST_RUNS = 8  # a group is not halved below this to have so many tasks
_DEARER = 1.06  # nor where its halves cost more than this, in calls that each of them makes
_LAST_COUNT = 32  # the power of workers' ends by which plans are compared: the last ones count

# What a step costs, in microseconds of one core of the machine that it was fitted on. Only ratios
# matter: they put long tasks first and weigh what is left to do.
_COST_OF_A_LAYER = 60.0  # the calls of a step of a group, however many its runs
_COST_OF_A_STEP = 4.0  # a run's share in the calls
_COST_OF_A_NUMBER = 0.6e-3  # gradients, optimizer
_COST_OF_A_FLOP = 8e-6


@dataclass(frozen=True)
class PlannedTask:
    """Runs that train together, and what that costs, in microseconds of a core."""

    kind: Kind
    entries: tuple[Entry, ...]
    cost: float

    def halves(self) -> list[PlannedTask]:
        """The same work as two tasks."""
        middle = (len(self.entries) + 1) // 2
        return [self.part(self.entries[:middle]), self.part(self.entries[middle:])]

    def part(self, entries: tuple[Entry, ...]) -> PlannedTask:
        """Some of the runs, and what of the cost is theirs."""
        share = _epochs(entries) / _epochs(self.entries)
        return dataclasses.replace(self, entries=entries, cost=self.cost * share)

    @property
    def cost_of_an_epoch(self) -> float:
        """Of one run."""
        return self.cost / _epochs(self.entries)

    @property
    def length(self) -> float:
        """Microseconds that a worker is busy: the fewer the runs, the dearer each."""
        steps = max(_steps(entry, self.kind) for entry in self.entries)
        return self.cost + steps * _COST_OF_A_LAYER * self.kind.network.num_layers


@dataclass(frozen=True)
class Plan:
    """All tasks, the longest first."""

    tasks: tuple[PlannedTask, ...]
    num_workers: int  # that train at once
    num_processes: int  # that are busy at once: those that do not train compute baselines
    gpus: tuple[str, ...] = ()  # cuda:0, ... that are in use; work on ``cuda`` goes to any of them
    on_a_gpu: int = 1  # groups that train at once on one of them
    on_cpu: int = 1  # and on the CPU

    @property
    def cost(self) -> float:
        """Of all tasks, in microseconds of a core."""
        return sum(task.cost for task in self.tasks)


def make_plan(
    entries: Sequence[Entry],
    inspections: Sequence[Inspection],
    *,
    num_workers: int | None,
    largest: int | None,
    cores: int = 1,
    machine: Machine = Machine(),  # noqa: B008
) -> Plan:
    """Group what can train together, in groups that suit the machine.

    Args:
        inspections: of the entries.
        num_workers: to train at once; fewer where there are fewer tasks. None: one a GPU and, for
            work on the CPU, as many as there are cores for with the threads that the runs use.
        largest: runs a group at most; None lets the work decide.
        cores: of the CPU.
    """
    by_kind: dict[Kind, list[tuple[Entry, Inspection]]] = {}
    for entry, inspection in zip(entries, inspections, strict=True):
        by_kind.setdefault(inspection.kind, []).append((entry, inspection))
    gpus = _gpus_in_use({kind.device for kind in by_kind}, machine.num_gpus)
    threads = max((kind.threads for kind in by_kind), default=1)
    on_a_gpu = max(1, math.ceil((num_workers or 0) / max(1, len(gpus))))
    on_cpu = num_workers or max(1, (cores - len(gpus)) // threads)
    tasks: list[PlannedTask] = []
    workers = 0
    for is_on_cpu, most in ((True, on_cpu), (False, len(gpus) * on_a_gpu)):
        at_once = min(most, num_workers or most)
        planned: list[PlannedTask] = []
        for kind, pairs in by_kind.items():
            if (kind.device == "cpu") == is_on_cpu:
                gpu_bytes = (machine.gpu_bytes or GPU_BYTES) // on_a_gpu
                planned += _tasks_of(kind, pairs, at_once, largest, gpu_bytes)
        planned = _balanced(planned, max(1, at_once))
        workers += min(at_once, len(planned))
        tasks += planned
    tasks.sort(key=lambda task: -task.length)
    training = max(1, min(workers, num_workers or workers))
    processes = num_workers or training + max(0, cores - training * threads)
    return Plan(tuple(tasks), training, max(training, processes), gpus, on_a_gpu, on_cpu)


def _gpus_in_use(devices: set[str], num_gpus: int) -> tuple[str, ...]:
    """By name: all that there are, where any will do."""
    named = devices - {"cpu", "cuda"}
    if "cuda" in devices:
        named |= {f"cuda:{number}" for number in range(max(1, num_gpus))}
    return tuple(sorted(named, key=lambda name: int(name.removeprefix("cuda:"))))


def _tasks_of(
    kind: Kind,
    pairs: list[tuple[Entry, Inspection]],
    at_once: int,
    largest: int | None,
    gpu_bytes: int,
) -> list[PlannedTask]:
    """Groups of one kind, as even as may be; ``at_once`` of them can train at once."""
    # Runs of one split side by side share a table, runs of one optimizer its passes.
    pairs = sorted(pairs, key=lambda pair: _likeness(pair[0]))
    widest = max((inspection for _, inspection in pairs), key=lambda p: p.own_table)
    of_a_run = 0 if kind.device == "cpu" else most_memory([entry for entry, _ in pairs], widest)
    size = min(runs_a_group(kind, widest, of_a_run, gpu_bytes), largest or len(pairs))
    count = math.ceil(len(pairs) / size)
    even = math.ceil(count / at_once) * at_once
    if count > 1 and len(pairs) >= even * min(size, _FEWEST_RUNS):
        count = even  # as many for each worker
    bounds = [len(pairs) * i // count for i in range(count + 1)]
    tasks = []
    for start, stop in itertools.pairwise(bounds):
        cost = sum(cost_of(entry, inspection) for entry, inspection in pairs[start:stop])
        entries = tuple(entry for entry, _ in pairs[start:stop])
        tasks.append(PlannedTask(kind, entries, cost))
    return tasks


def cost_of(entry: Entry, inspection: Inspection) -> float:
    """Microseconds of a core, roughly."""
    kind = inspection.kind
    flops = kind.network.flops_per_row() * kind.batch_size
    step = _COST_OF_A_STEP + _COST_OF_A_NUMBER * inspection.num_elements + _COST_OF_A_FLOP * flops
    return _steps(entry, kind) * step


def _steps(entry: Entry, kind: Kind) -> int:
    return math.ceil(kind.num_train / kind.batch_size) * entry.config.trainer.epochs


def _epochs(entries: Sequence[Entry]) -> int:
    return sum(entry.config.trainer.epochs for entry in entries)


def _likeness(entry: Entry) -> tuple[str, str, str]:
    config = entry.config
    return repr(config.dataset), repr(config.optimizer), repr(config.scheduler)


def _balanced(tasks: list[PlannedTask], num_workers: int) -> list[PlannedTask]:
    """The tasks in halves, quarters, ... so that the workers end together; the longest first.

    First the longest are halved until every worker has one and then, as long as that costs little,
    until there are enough to even out what the estimates get wrong. Then one is halved wherever the
    workers that end last would end earlier by the estimates.
    """
    fair = sum(task.length for task in tasks) / (num_workers * _TASKS_A_WORKER)
    while num_workers > 1:
        idle = len(tasks) < num_workers
        fewest = 2 if idle else 2 * _FEWEST_RUNS
        large = [
            task
            for task in tasks
            if len(task.entries) >= fewest
            and (idle or sum(half.length for half in task.halves()) <= _DEARER * task.length)
        ]
        longest = max(large, key=lambda task: task.length, default=None)
        if longest is None or not (idle or longest.length > fair):
            break
        tasks.remove(longest)
        tasks += longest.halves()
    tasks.sort(key=lambda task: -task.length)
    while num_workers > 1 and tasks:
        lateness, last = _schedule(tasks, num_workers, fair)
        better = min(
            (_in_halves(tasks, task) for task in last if len(task.entries) > 1),
            key=lambda other: _schedule(other, num_workers, fair)[0],
            default=None,
        )
        # Where all end together, one worker less that does is a gain of 1 / num_workers.
        worthwhile = (1 - 0.5 / num_workers) * lateness
        if better is None or _schedule(better, num_workers, fair)[0] > worthwhile:
            break
        tasks = better
    return tasks


def _in_halves(tasks: list[PlannedTask], task: PlannedTask) -> list[PlannedTask]:
    others = [other for other in tasks if other is not task]
    return sorted([*others, *task.halves()], key=lambda task: -task.length)


def _schedule(
    tasks: list[PlannedTask], num_workers: int, unit: float
) -> tuple[float, list[PlannedTask]]:
    """How late workers end that each take the next task as they get free; the tasks of the last."""
    ends = [(0.0, worker) for worker in range(num_workers)]
    given: list[list[PlannedTask]] = [[] for _ in range(num_workers)]
    for task in tasks:
        end, worker = ends[0]
        heapq.heapreplace(ends, (end + task.length, worker))
        given[worker].append(task)
    return sum((end / unit) ** _LAST_COUNT for end, _ in ends), given[max(ends)[1]]
