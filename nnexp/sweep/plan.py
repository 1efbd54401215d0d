"""From the entries of a sweep to groups that train together."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnexp.models.structure import Structure
from nnexp.sweep.tasks import Entry, Kind, Machine, Prospect

# A group on the CPU takes as many runs as keep what a step touches again and again in a core's
# caches; benchmarks/README.md has the measurements. Neither number changes a result.
_ACTIVATIONS = 5 * 2**19  # bytes of a step's activations, of all runs
_MOST_RUNS = 96
# On CUDA nothing but memory limits a group. Of what is free a part is left to CUDA itself, to the
# workspaces of its libraries, to the table of rows and to what lies unused between allocations.
_GPU_SHARE = 0.6
_GPU_BYTES = 8 * 2**30  # where it is not known how much is free
_EVALUATED_ROWS = 8192  # of a run at once
# Tables of rows that runs with other splits do not share, of all runs of a group.
_TABLES = 512 * 2**20
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
        return self.cost + steps * _COST_OF_A_LAYER * (len(self.kind.structure.widths) - 1)


@dataclass(frozen=True)
class Plan:
    """All tasks, the longest first."""

    tasks: tuple[PlannedTask, ...]
    num_workers: int  # that train at once
    num_processes: int  # that are busy at once: those that do not train compute baselines
    num_gpus: int = 0  # among which work on ``cuda`` is dealt out

    @property
    def cost(self) -> float:
        """Of all tasks, in microseconds of a core."""
        return sum(task.cost for task in self.tasks)


def make_plan(
    entries: Sequence[Entry],
    prospects: Sequence[Prospect],
    *,
    num_workers: int | None,
    largest: int | None,
    cores: int = 1,
    machine: Machine = Machine(),  # noqa: B008
) -> Plan:
    """Group what can train together, in groups that suit the machine.

    Args:
        prospects: of the entries.
        num_workers: to train at once; fewer where there are fewer tasks. None: one a GPU, else as
            many as there are cores for with the threads that the runs use.
        largest: runs a group at most; None lets the work decide.
        cores: of the CPU.
    """
    by_kind: dict[Kind, list[tuple[Entry, Prospect]]] = {}
    for entry, prospect in zip(entries, prospects, strict=True):
        by_kind.setdefault(prospect.kind, []).append((entry, prospect))
    devices = {kind.device for kind in by_kind}
    # Work on a GPU that is named is for one worker.
    num_gpus = machine.num_gpus if "cuda" in devices else len(devices - {"cpu"})
    threads = max((kind.threads for kind in by_kind), default=1)
    wanted = num_workers or num_gpus or max(1, cores // threads)
    gpu_bytes = _GPU_BYTES
    if machine.gpu_bytes is not None:
        sharing = math.ceil(wanted / num_gpus) if num_gpus else 1
        gpu_bytes = int(_GPU_SHARE * machine.gpu_bytes) // sharing
    tasks: list[PlannedTask] = []
    for kind, pairs in by_kind.items():
        # Runs of one split side by side share a table, runs of one optimizer its passes.
        pairs.sort(key=lambda pair: _likeness(pair[0]))
        widest = max((prospect for _, prospect in pairs), key=lambda p: p.own_table)
        size = min(runs_a_group(kind, widest, gpu_bytes), largest or len(pairs))
        count = math.ceil(len(pairs) / size)
        even = math.ceil(count / wanted) * wanted
        if count > 1 and len(pairs) >= even * min(size, _FEWEST_RUNS):
            count = even  # as many for each worker
        bounds = [len(pairs) * i // count for i in range(count + 1)]
        for start, stop in zip(bounds, bounds[1:], strict=False):  # noqa: RUF007
            members = pairs[start:stop]
            cost = sum(cost_of(entry, prospect) for entry, prospect in members)
            tasks.append(PlannedTask(kind, tuple(entry for entry, _ in members), cost))
    tasks = _balanced(tasks, wanted)
    training = max(1, min(wanted, len(tasks)))
    processes = num_workers or training + max(0, cores - training * threads)
    return Plan(tuple(tasks), training, max(training, processes), num_gpus)


def runs_a_group(kind: Kind, prospect: Prospect, gpu_bytes: int = _GPU_BYTES) -> int:
    """How many runs of a kind train together best; their number never changes a result.

    Args:
        gpu_bytes: memory for a group on CUDA.
    """
    if why_alone(kind):
        return 1
    if kind.device == "cpu":
        size = runs_in_cache(kind.structure, kind.batch_size)
    else:
        # Parameters, gradients, best parameters, and up to three buffers of the optimizer.
        rows = max(kind.batch_size, _EVALUATED_ROWS)
        of_a_run = _activations(kind.structure, rows) + 24 * prospect.num_numbers
        size = gpu_bytes // (of_a_run + prospect.own_table)
    if prospect.own_table:
        size = min(size, _TABLES // prospect.own_table)
    return max(1, size)


def runs_in_cache(structure: Structure, batch_size: int) -> int:
    """How many runs a core's caches take together."""
    return max(1, min(_MOST_RUNS, _ACTIVATIONS // _activations(structure, batch_size)))


def _activations(structure: Structure, batch_size: int) -> int:
    """Bytes that a step of one run writes and reads again: inputs, outputs and their gradients."""
    inputs, *others = structure.widths
    return 4 * batch_size * (inputs + 2 * sum(others))


def why_alone(kind: Kind) -> str | None:
    """Why runs of a kind train one by one, None if they do not."""
    if kind.threads > 1:
        return (
            f"they use {kind.threads} threads, with which the last bits depend on the group; "
            "trainer.threads=1 lets them train together"
        )
    if kind.device == "cpu" and kind.precision == "bfloat16":
        return "the last bits of bfloat16 on the CPU depend on the group"
    return None


def cost_of(entry: Entry, prospect: Prospect) -> float:
    """Microseconds of a core, roughly."""
    kind = prospect.kind
    flops = kind.structure.flops_per_row() * kind.batch_size
    step = _COST_OF_A_STEP + _COST_OF_A_NUMBER * prospect.num_numbers + _COST_OF_A_FLOP * flops
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
