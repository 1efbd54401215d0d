"""What trains together, and what the plan says of it. Sizes are held to bounds, not to tunings."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_cases import adagrad, adam, make_config, sgd

from nnexp.config.schema import BundledConfig, Cosine, CSVConfig, DatasetConfig, Optimizer
from nnexp.memory import needs_of
from nnexp.models.layout import Structure, parameter_layout
from nnexp.sweeps.plan import Plan, cost_of, make_plan, runs_a_group, why_alone
from nnexp.sweeps.progress import lines
from nnexp.sweeps.tasks import Entry, Inspection, Kind, Machine

TINY = Structure(64, (32,), 10)
MID = Structure(64, (128, 128, 128, 128), 10)
LARGE = Structure(784, (512, 256), 10)
HUGE = Structure(784, (4096, 4096), 10)

KIND = Kind("digits", 1000, 200, TINY, 32, False, "float32", "cpu", 1)


def prospect_of(kind: Kind = KIND, own_table: int = 0) -> Inspection:
    return Inspection(kind, parameter_layout(kind.network).size, own_table)


def entry_of(
    num: int,
    kind: Kind = KIND,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    split: int = 0,
    **options: Any,
) -> Entry:
    options = {"batch_size": kind.batch_size, "epochs": 10, **options}
    config = make_config(kind.network, optimizer, seed=seed, **options)
    config.dataset = BundledConfig(name="digits", split_seed=split)
    return Entry(num, config, Path(str(num)), "arm")


def plan_of(
    kinds: Sequence[Kind], *, num_workers: int = 1, largest: int | None = None
) -> tuple[list[Entry], Plan]:
    """A plan for one entry of each kind given."""
    entries = [entry_of(num, kind, seed=num) for num, kind in enumerate(kinds)]
    inspections = [prospect_of(kind) for kind in kinds]
    return entries, make_plan(entries, inspections, num_workers=num_workers, largest=largest)


def numbers(plan: Plan) -> list[list[int]]:
    return [sorted(entry.num for entry in task.entries) for task in plan.tasks]


# ── what fuses ────────────────────────────────────────────────────────────────────────────────


def test_runs_that_differ_in_all_that_may_differ_train_together() -> None:
    entries = [
        entry_of(0, optimizer=sgd()),
        entry_of(1, optimizer=adagrad(lr=0.5)),
        entry_of(2, optimizer=adam(weight_decay=0.1)),
        entry_of(3, seed=9, split=9),
        entry_of(4, epochs=99, label_smoothing=0.1, grad_clip=1.0, eval_every=3),
        entry_of(5, dropout=0.5, patience=3, require_train_loss=0.1),
    ]
    entries.append(
        dataclasses.replace(
            entries[0],
            num=6,
            config=dataclasses.replace(entries[0].config, scheduler=Cosine(name="cosine")),
        )
    )
    plan = make_plan(entries, [prospect_of()] * 7, num_workers=1, largest=None)
    assert numbers(plan) == [list(range(7))]
    assert lines(plan) == [
        "7 runs in 1 group on 1 worker",
        "  mlp 64-32-10, batch 32, cpu: 7 runs in 1 group of 7",
    ]


@pytest.mark.parametrize(
    ("field", "other", "told"),
    [
        ("source", "wine", "the data differs"),
        ("num_train", 999, "the number of training samples differs (1000, 999)"),
        ("num_val", 201, "the number of validation samples differs (200, 201)"),
        ("network", MID, "the network differs"),
        ("batch_size", 64, "trainer.batch_size differs (32, 64)"),
        ("drop_last", True, "trainer.drop_last differs (False, True)"),
        ("precision", "bfloat16", "trainer.precision differs (float32, bfloat16)"),
        ("device", "cuda", "trainer.device differs (cpu, cuda)"),
        ("threads", 2, "the number of threads differs (1, 2)"),
        ("loss", "focal", "the loss differs (cross_entropy, focal)"),
    ],
)
def test_what_keeps_groups_apart_is_told(field: str, other: object, told: str) -> None:
    kind = dataclasses.replace(KIND, **{field: other})
    _, plan = plan_of([KIND, kind, KIND, kind])
    together = [{0, 2}] if why_alone(kind) else [{0, 2}, {1, 3}]
    assert all(group in map(set, numbers(plan)) for group in together)
    assert all(len({n % 2 for n in group}) == 1 for group in numbers(plan))
    assert lines(plan)[1] == f"runs cannot all be batched together: {told}"


def test_every_field_of_a_kind_has_words() -> None:
    """A kind with a new field that two kinds differ in says so; the parametrization covers all."""
    (mark,) = test_what_keeps_groups_apart_is_told.pytestmark  # type: ignore[attr-defined]
    assert [case[0] for case in mark.args[1]] == [field.name for field in dataclasses.fields(Kind)]


def test_several_differences_are_told_together() -> None:
    kinds = [
        dataclasses.replace(KIND, batch_size=size, network=structure)
        for size in (16, 32)
        for structure in (TINY, MID)
    ]
    _, plan = plan_of(kinds)
    assert lines(plan, refused=1)[:2] == [
        "4 runs in 4 groups on 1 worker; 1 job cannot be trained",
        "runs cannot all be batched together: the network differs, "
        "trainer.batch_size differs (16, 32)",
    ]
    assert len(lines(plan)) == 2 + 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threads": 4}, "they use 4 threads, with which the last bits depend on the batching"),
        ({"precision": "bfloat16"}, "the last bits of bfloat16 on the CPU depend on the batching"),
    ],
)
def test_runs_whose_bits_would_depend_on_company_train_alone(
    changes: dict[str, Any], words: str
) -> None:
    kind = dataclasses.replace(KIND, **changes)
    _, plan = plan_of([kind] * 5, num_workers=2)
    assert sorted(numbers(plan)) == [[0], [1], [2], [3], [4]]
    (line,) = [line for line in lines(plan) if words in line]
    assert "5 runs in 5 groups of 1: " in line


def test_bfloat16_fuses_on_cuda() -> None:
    kind = dataclasses.replace(KIND, precision="bfloat16", device="cuda")
    assert why_alone(kind) is None
    assert numbers(plan_of([kind] * 5)[1]) == [[0, 1, 2, 3, 4]]


# ── how large groups are ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("num_runs", [1, 2, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("largest", [None, 1, 7])
@pytest.mark.parametrize("structure", [TINY, MID, HUGE])
def test_every_run_is_planned_once_and_no_group_is_too_large(
    num_runs: int, num_workers: int, largest: int | None, structure: Structure
) -> None:
    kind = dataclasses.replace(KIND, network=structure)
    entries = [entry_of(num, kind) for num in range(num_runs)]
    inspection = prospect_of(kind)
    plan = make_plan(entries, [inspection] * num_runs, num_workers=num_workers, largest=largest)
    planned = itertools.chain.from_iterable(numbers(plan))
    assert sorted(planned) == list(range(num_runs))
    most = min(largest or num_runs, runs_a_group(kind, inspection))
    sizes = [len(task.entries) for task in plan.tasks]
    assert 1 <= min(sizes) <= max(sizes) <= most
    assert plan.num_workers == min(num_workers, len(plan.tasks))
    # Workers without work are few: groups that halving would not end sooner stay whole.
    assert 2 * len(plan.tasks) > min(num_workers, num_runs)


def test_what_a_step_touches_bounds_a_group() -> None:
    sizes = {
        name: runs_a_group(kind, prospect_of(kind))
        for name, kind in {
            "tiny": KIND,
            "mid": dataclasses.replace(KIND, network=MID, batch_size=64),
            "large": dataclasses.replace(KIND, network=LARGE, batch_size=128),
            "huge": dataclasses.replace(KIND, network=HUGE, batch_size=256),
        }.items()
    }
    assert sizes["tiny"] > sizes["mid"] > sizes["large"] == 4  # beyond the caches, in a few groups
    assert sizes["huge"] == 1
    larger = [
        runs_a_group(kind, prospect_of(kind))
        for kind in (dataclasses.replace(KIND, batch_size=size) for size in (1, 32, 1024, 100_000))
    ]
    assert larger == sorted(larger, reverse=True)
    assert larger[-1] == 1


def test_memory_bounds_a_group_on_cuda() -> None:
    """Parameters, gradients, the optimizer's state and the best weights, in 80 GB at most."""
    for structure in (TINY, MID, HUGE):
        kind = dataclasses.replace(KIND, network=structure, device="cuda")
        inspection = prospect_of(kind)
        of_a_run = needs_of(entry_of(0, kind).config, structure, "cuda", 1000, 200, 0).total
        size = runs_a_group(kind, inspection, of_a_run)
        assert size >= runs_a_group(dataclasses.replace(kind, device="cpu"), inspection)
        assert size * 4 * 6 * inspection.num_elements < 80e9


def test_a_group_on_cuda_is_sized_by_the_memory_that_is_free() -> None:
    """A known part of it, shared by the workers of a GPU; what is asked for fits into that."""
    kind = dataclasses.replace(KIND, network=MID, device="cuda")
    entries = [entry_of(num, kind) for num in range(4000)]
    inspections = [prospect_of(kind)] * 4000
    of_a_run = needs_of(entries[0].config, MID, "cuda", 1000, 200, 0).total

    def largest(free: int, num_workers: int | None, num_gpus: int = 1) -> int:
        plan = make_plan(
            entries,
            inspections,
            num_workers=num_workers,
            largest=None,
            machine=Machine(num_gpus, free),
        )
        assert plan.gpus == tuple(f"cuda:{number}" for number in range(num_gpus))
        return max(len(task.entries) for task in plan.tasks)

    for num_workers, sharing in ((None, 1), (1, 1), (3, 3)):
        most = int(0.6 * 2**33) // sharing // of_a_run
        assert 100 < most < 4000
        assert most / 2 < largest(2**33, num_workers) <= most
    assert largest(2**33, 3, num_gpus=3) <= largest(2**33, 1)
    assert largest(2**20, None) == 1
    cpu = dataclasses.replace(kind, device="cpu")
    assert runs_a_group(cpu, prospect_of(cpu), 1, 2**20) == runs_a_group(cpu, prospect_of(cpu))


def test_tables_that_no_other_run_shares_bound_a_group() -> None:
    table = 60_000 * 784 * 4
    alone, shared = prospect_of(own_table=table), prospect_of()
    assert 1 <= runs_a_group(KIND, alone) < runs_a_group(KIND, shared)
    assert runs_a_group(KIND, alone) * table < 2 * 2**30
    assert runs_a_group(KIND, prospect_of(own_table=2**40)) == 1


def test_runs_that_share_lie_side_by_side() -> None:
    """Of one split together first, then of one optimizer, whatever the order of the jobs."""
    makers: list[Callable[[], Optimizer]] = [sgd, adam]
    entries = [
        entry_of(num, optimizer=make(), split=split)
        for num, (make, split) in enumerate(itertools.product(makers, (0, 1, 2)))
    ]
    plan = make_plan(entries, [prospect_of()] * 6, num_workers=1, largest=None)
    (task,) = plan.tasks
    splits = [entry.config.dataset.split_seed for entry in task.entries]
    assert splits == [0, 0, 1, 1, 2, 2]
    plan = make_plan(entries, [prospect_of()] * 6, num_workers=1, largest=2)
    assert sorted(numbers(plan)) == [[0, 3], [1, 4], [2, 5]]


# ── who does what ─────────────────────────────────────────────────────────────────────────────


def test_the_longest_task_comes_first() -> None:
    kinds = [
        dataclasses.replace(KIND, network=structure, batch_size=size)
        for structure in (TINY, MID)
        for size in (8, 256)
    ]
    _, plan = plan_of(kinds * 3, num_workers=2)
    lengths = [task.length for task in plan.tasks]
    assert lengths == sorted(lengths, reverse=True)
    assert plan.tasks[0].kind == dataclasses.replace(KIND, network=MID, batch_size=8)
    assert plan.cost == pytest.approx(sum(task.cost for task in plan.tasks))


def test_cost_grows_with_the_work() -> None:
    few, many = entry_of(0), entry_of(1, epochs=30)
    assert cost_of(many, prospect_of()) == pytest.approx(3 * cost_of(few, prospect_of()))
    kind = dataclasses.replace(KIND, num_train=4000)
    assert cost_of(few, prospect_of(kind)) > 3 * cost_of(few, prospect_of())
    mid = dataclasses.replace(KIND, network=MID)
    assert cost_of(few, prospect_of(mid)) > cost_of(few, prospect_of())


@pytest.mark.parametrize("num_workers", [2, 4])
def test_workers_end_together(num_workers: int) -> None:
    """Handed out longest first, no worker has twice the work of another."""
    entries = [entry_of(num, seed=num) for num in range(256)]
    plan = make_plan(entries, [prospect_of()] * 256, num_workers=num_workers, largest=None)
    loads = [0.0] * num_workers
    for task in plan.tasks:
        loads[loads.index(min(loads))] += task.cost
    assert max(loads) < 2 * min(loads)


def test_two_kinds_of_runs_end_together() -> None:
    """40 deep runs and 40 shallow ones: no worker waits for long while the other trains."""
    deep = dataclasses.replace(KIND, network=MID)
    kinds = [deep] * 40 + [KIND] * 40
    for num_workers in (2, 3, 4):
        _, plan = plan_of(kinds, num_workers=num_workers)
        loads = [0.0] * num_workers
        for task in plan.tasks:
            loads[loads.index(min(loads))] += task.length
        assert max(loads) < 1.1 * min(loads)
        assert len(plan.tasks) < 24


@pytest.mark.parametrize(
    ("num_workers", "cores", "threads", "training", "busy"),
    [
        (None, 8, 1, 8, 8),
        (None, 8, 4, 2, 2),  # each takes as many cores as it has threads
        (None, 2, 4, 1, 1),
        (3, 8, 4, 3, 3),  # what is asked for is what there is
        (16, 2, 1, 16, 16),
    ],
)
def test_how_many_work_at_once(
    num_workers: int | None, cores: int, threads: int, training: int, busy: int
) -> None:
    kind = dataclasses.replace(KIND, threads=threads)
    entries = [entry_of(num, kind) for num in range(40)]
    plan = make_plan(
        entries, [prospect_of(kind)] * 40, num_workers=num_workers, largest=None, cores=cores
    )
    assert (plan.num_workers, plan.num_processes) == (training, busy)


def test_cores_that_no_group_needs_compute_baselines() -> None:
    entries = [entry_of(0)]
    plan = make_plan(entries, [prospect_of()], num_workers=None, largest=None, cores=4)
    assert (plan.num_workers, plan.num_processes) == (1, 4)
    plan = make_plan(entries, [prospect_of()], num_workers=1, largest=None, cores=4)
    assert (plan.num_workers, plan.num_processes) == (1, 1)


def test_halves_are_the_whole() -> None:
    entries, plan = plan_of([KIND] * 7)
    (task,) = plan.tasks
    first, second = task.halves()
    assert first.entries + second.entries == task.entries
    assert (len(first.entries), len(second.entries)) == (4, 3)
    assert first.cost + second.cost == pytest.approx(task.cost)
    assert first.kind == second.kind == KIND
    assert len(entries) == 7


def test_nothing_to_train() -> None:
    plan = make_plan([], [], num_workers=2, largest=None)
    assert (plan.tasks, plan.num_workers, plan.cost) == ((), 1, 0)
    assert lines(plan, refused=3) == ["0 runs in 0 groups on 1 worker; 3 jobs cannot be trained"]


# ── in words ──────────────────────────────────────────────────────────────────────────────────


def lines_of(*kinds: Kind, datasets: Sequence[DatasetConfig] = ()) -> list[str]:
    """What the plan says of each kind."""
    entries = [entry_of(num, kind, seed=num) for num, kind in enumerate(kinds)]
    for entry, dataset in zip(entries, datasets, strict=False):
        entry.config.dataset = dataset
    plan = make_plan(entries, [prospect_of(k) for k in kinds], num_workers=1, largest=None)
    return sorted(line for line in lines(plan) if line.startswith("  "))


def test_kinds_of_one_network_are_told_apart_in_the_plan() -> None:
    normed = dataclasses.replace(TINY, norm="batch")
    told = lines_of(
        KIND,
        dataclasses.replace(KIND, network=normed),
        dataclasses.replace(KIND, precision="bfloat16"),
        dataclasses.replace(KIND, num_train=500),
        dataclasses.replace(KIND, batch_size=8),
    )
    start = "  mlp 64-32-10, batch 32, cpu, 1000 training samples, norm=none, precision=float32: "
    assert any(line.startswith(start) for line in told)
    assert any(
        "1000 training samples, norm=batch, precision=float32: 1 run" in line for line in told
    )
    assert any("norm=none, precision=bfloat16: 1 run" in line for line in told)
    assert any("500 training samples, norm=none, precision=float32: 1 run" in line for line in told)
    assert "  mlp 64-32-10, batch 8, cpu: 1 run in 1 group of 1" in told
    assert len(set(told)) == 5


def test_data_are_named_in_the_plan_where_there_are_several() -> None:
    """By their name, and those of one name by what their configs do not share."""
    tables = [CSVConfig(name="t", path=f"{folder}/t.csv", target="y") for folder in "ab"]
    told = lines_of(
        *(dataclasses.replace(KIND, source=source) for source in ("a", "b", "iris")),
        datasets=[*tables, BundledConfig(name="iris")],
    )
    assert told == [
        "  iris, mlp 64-32-10, batch 32, cpu: 1 run in 1 group of 1",
        "  t, mlp 64-32-10, batch 32, cpu, path=a/t.csv: 1 run in 1 group of 1",
        "  t, mlp 64-32-10, batch 32, cpu, path=b/t.csv: 1 run in 1 group of 1",
    ]
