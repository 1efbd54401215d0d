"""Sweeps: nnexp's fused training beside its peers, all in one run on the same machine.

    python benchmarks/sweep.py [--rounds 3] [--work tiny mid large] [--mnist FOLDER] [--scaling]
                               [--skip-shell] [--group-size G] [--json FILE]

Everybody trains the same networks with Adam (lr 1e-3) on the same rows in batches of the same size
for as many epochs, one run a seed. The learners are

- nnexp, fused: one process a core, one thread each, groups of the planned size, evaluated at the
  end alone; and the same evaluated every epoch; and the same engine one run after the other;
- nnexp from the shell: ``python -m nnexp -m``, once, with all that a person gets: evaluation every
  epoch, metrics, checkpoints, TensorBoard, baseline (none on MNIST);
- plain: a torch loop with tensors in memory, Adam(fused=True); loader: one with a DataLoader;
- JAX: jit(vmap(scan)), the better of a few numbers of runs at a time, warm and with compiling
  (pip install 'nnexp[bench]');
- scikit-learn's MLPClassifier, whose initial weights are its own.

The machine must be quiet: where others want its cores, threads that spin take a hundred times as
long. Processes are started before any clock. All take turns; the first turn warms up and drops
settings (threads, runs at a time) that are clearly not a learner's best. The tables quote medians,
in microseconds of wall time per run and step. Those who train one run after the other train fewer
runs, because a run costs them the same in any number. Final losses must be equal: the mean over
the runs of the mean training loss of the last epoch, within 5 standard errors or 1 %; otherwise
the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

import checkout  # noqa: F401
from learners.engine import engine_runs, own_threads, structure_of
from learners.scikit_learn import scikit_learn_runs
from learners.torch_loops import loader_runs, plain_runs
from learners.work import Data, Task, Work, random_data
from learners.workers import Workers
from nnexp.config.compose import CONF, register, to_config
from nnexp.data import load
from nnexp.data.coded import ComputedClasses, EpochRows
from nnexp.environment import allow_any_text, available_cores
from nnexp.sweeps.plan import runs_in_cache
from scaling import Cost, as_json, measure_costs, print_costs
from shell import sweep_from_shell

FUSED = "nnexp, fused"
EVALUATED = "nnexp, fused, evaluated every epoch"
ALONE = "nnexp, one after the other"
SPREAD = "nnexp, one after the other, a process a core"
SHELL = "nnexp from the shell, everything"
PLAIN, PLAIN_SPREAD = "plain", "plain, a process a core"
LOADER, LOADER_SPREAD = "loader", "loader, a process a core"
JAX, JAX_COMPILING = "JAX, warm", "JAX, with compiling"
SKLEARN, SKLEARN_SPREAD = "scikit-learn", "scikit-learn, a process a core"


@dataclass(frozen=True)
class Goal:
    """How many times as fast as others the fused sweep shall be."""

    what: str
    others: tuple[str, ...]  # the fastest of them counts
    times: float


@dataclass(frozen=True)
class Sweep:
    """What is trained, by whom and how much of it."""

    work: Work
    runs: int
    fewer: int  # runs of those who train one after the other
    goals: tuple[Goal, ...]
    jax_chunks: tuple[int, ...]  # numbers of runs that JAX may train together
    counts: tuple[int, ...]  # of the table of scaling
    data: tuple[str, ...]  # overrides


NOT_SLOWER = Goal("one after the other", (ALONE, SPREAD), 1.0)
DIGITS = (
    "dataset=digits",
    "dataset.split_seed=0",
    "dataset.num_train=1408",
    "dataset.test_fraction=0.1",
    "dataset.val_fraction=0.1",
)
MNIST = (
    "dataset=mnist",
    "dataset.split_seed=0",
    "dataset.num_train=12800",
    "dataset.val_fraction=0.02",
    "dataset.download=false",
    "baseline=none",
)
UP_TO_256 = tuple(2**i for i in range(9))

SWEEPS = (
    Sweep(
        Work("tiny", (64, 32, 10), 32, 1408, 10),
        runs=256,
        fewer=16,
        goals=(
            Goal("the plain loop", (PLAIN,), 30.0),
            Goal("JAX warm", (JAX,), 1.3),
            NOT_SLOWER,
        ),
        jax_chunks=(16, 64, 256),
        counts=UP_TO_256,
        data=DIGITS,
    ),
    Sweep(
        Work("mid", (64, 128, 128, 128, 128, 10), 64, 1408, 10),
        runs=64,
        fewer=8,
        goals=(Goal("the plain loop", (PLAIN,), 3.0), Goal("JAX warm", (JAX,), 1.1), NOT_SLOWER),
        jax_chunks=(8, 16, 64),
        counts=UP_TO_256,
        data=DIGITS,
    ),
    Sweep(
        Work("large", (784, 256, 128, 10), 128, 12800, 2),
        runs=16,
        fewer=8,
        goals=(
            Goal("the plain loop its best way", (PLAIN, PLAIN_SPREAD), 1.2),
            NOT_SLOWER,
        ),
        jax_chunks=(1, 4, 16),
        counts=(1, 2, 4, 8, 16),
        data=MNIST,
    ),
)

# Shapes for which fusing must not be slower either, and how many runs.
OTHER_SHAPES = (
    (Work("linear", (64, 10), 32, 1408, 10), 128),
    (Work("narrow", (64, 8, 10), 16, 1408, 5), 128),
    (Work("tiny, batch 256", (64, 32, 10), 256, 1280, 40), 128),
    (Work("mid, batch 32", (64, 128, 128, 128, 128, 10), 32, 1408, 5), 32),
    (Work("wide", (64, 512, 512, 10), 64, 1408, 5), 8),
    (Work("784-256-128-10, batch 32", (784, 256, 128, 10), 32, 3200, 1), 8),
)

Learner = Callable[[Task], list[float]]


@dataclass(frozen=True)
class Setting:
    """How a learner uses the machine."""

    processes: int
    threads: int | None  # of each process; None where the learner decides
    together: int = 1  # runs in one computation

    def __str__(self) -> str:
        threads = "own threads" if self.threads is None else f"{self.threads} thr."
        return f"{self.processes} proc. x {threads}, {self.together} together"


@dataclass
class Entry:
    """One learner in one of its settings, and what was measured."""

    name: str
    learner: Learner
    runs: int
    setting: Setting
    eval_every: int | None = None
    times: list[float] = field(default_factory=list)  # microseconds per run and step
    losses: list[float] = field(default_factory=list)  # a run each

    def take_turn(self, work: Work, data: Data, workers: Workers) -> None:
        """Train all runs once more."""
        seconds, losses = workers.do(self.learner, self.tasks(work, data))
        self.times.append(seconds / (self.runs * work.steps) * 1e6)
        self.losses = [loss for part in losses for loss in part]

    def tasks(self, work: Work, data: Data) -> list[Task]:
        """Of each process."""
        setting = self.setting
        share = math.ceil(self.runs / setting.processes)
        return [
            Task(
                work,
                data,
                tuple(range(first, min(first + share, self.runs))),
                setting.threads or 1,
                setting.together,
                self.eval_every,
            )
            for first in range(0, self.runs, share)
        ]

    @property
    def median(self) -> float:
        """Microseconds per run and step."""
        return statistics.median(self.times)


def planned_group_size(work: Work) -> int:
    """Runs in a group, as a sweep plans it."""
    return runs_in_cache(structure_of(work), work.batch_size)


def engine_entries(work: Work, runs: int, fewer: int, group_size: int) -> Iterator[Entry]:
    """nnexp's engine, fused and one run after the other."""
    cores = available_cores()
    fused = Setting(cores, 1, min(group_size, math.ceil(runs / cores)))
    yield Entry(FUSED, engine_runs, runs, fused)
    yield Entry(EVALUATED, engine_runs, runs, fused, eval_every=1)
    if fused.together > 1:  # else it is what the fused sweep does
        yield Entry(SPREAD, engine_runs, fewer, Setting(cores, 1))
    yield Entry(ALONE, engine_runs, fewer, Setting(1, own_threads(work)))


def peer_entries(sweep: Sweep, fewer: int) -> Iterator[Entry]:
    """Every peer in every setting that may be its best."""
    cores = available_cores()
    peers: list[tuple[str, str, Learner]] = [
        (PLAIN, PLAIN_SPREAD, plain_runs),
        (LOADER, LOADER_SPREAD, loader_runs),
        (SKLEARN, SKLEARN_SPREAD, scikit_learn_runs),
    ]
    for name, spread, learner in peers:
        for threads in sorted({1, cores}):
            yield Entry(name, learner, fewer, Setting(1, threads))
        yield Entry(spread, learner, fewer, Setting(cores, 1))
    if has_jax():
        from learners.xla import jax_runs

        for chunk in sweep.jax_chunks:
            yield Entry(JAX, jax_runs, sweep.runs, Setting(1, None, chunk))


def has_jax() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("jax") is not None


def take_turns(
    entries: list[Entry], work: Work, data: Data, rounds: int, workers: Workers
) -> dict[str, Entry]:
    """Measure; the best entry by learner."""
    for entry in entries:
        if entry.name == JAX:
            compile_seconds(entry, work, data, workers)  # no part of a turn
        entry.take_turn(work, data, workers)
    quickest = {e.name: min(o.median for o in entries if o.name == e.name) for e in entries}
    entries = [e for e in entries if e.median <= 1.5 * quickest[e.name]]
    for entry in entries:
        entry.times.clear()
    for _ in range(rounds):
        for entry in entries:
            entry.take_turn(work, data, workers)
    best: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: e.median):
        best.setdefault(entry.name, entry)
    return best


def compile_seconds(entry: Entry, work: Work, data: Data, workers: Workers) -> float:
    """What compiling takes JAX, or has taken it."""
    from learners import xla

    return workers.do(xla.compile_seconds, entry.tasks(work, data))[1][0]


def compiling(warm: Entry, seconds: float, work: Work) -> Entry:
    """What JAX's warm entry would have been had it compiled first."""
    times = [time + seconds / (warm.runs * work.steps) * 1e6 for time in warm.times]
    return Entry(JAX_COMPILING, warm.learner, warm.runs, warm.setting, None, times, warm.losses)


def from_shell(work: Work, runs: int, overrides: Sequence[str]) -> list[Entry]:
    """The sweep as a person starts it, with its start and without."""
    swept = sweep_from_shell(work, overrides, runs)
    setting = Setting(available_cores(), 1, max(swept.group_sizes))
    took = {SHELL: swept.seconds, f"{SHELL}, less its start": swept.seconds - swept.startup_seconds}
    print(
        f"from the shell: {swept.seconds:.1f} s for {runs} runs, of which the same command takes "
        f"{swept.startup_seconds:.1f} s for one run of one epoch; groups of "
        f"{min(swept.group_sizes)} to {max(swept.group_sizes)}; training "
        f"{swept.training_seconds:.1f} s, summed over the groups"
    )
    return [
        Entry(
            name, engine_runs, runs, setting, 1, [seconds / (runs * work.steps) * 1e6], swept.losses
        )
        for name, seconds in took.items()
    ]


def unequal_losses(entries: Sequence[Entry], reference: Entry) -> list[str]:
    """Those whose losses are not the reference's. scikit-learn starts from other weights."""
    expected = statistics.mean(reference.losses)
    wrong = []
    for entry in entries:
        difference = abs(statistics.mean(entry.losses) - expected)
        error = math.hypot(_standard_error(entry.losses), _standard_error(reference.losses))
        if entry.learner is not scikit_learn_runs and difference > max(5 * error, 0.01 * expected):
            wrong.append(entry.name)
    return wrong


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def print_table(work: Work, entries: Sequence[Entry]) -> None:
    """In Markdown, the quickest first."""
    network = "-".join(map(str, work.widths))
    print(f"\n### {work.name}: {network}, batch {work.batch_size}, {work.steps} steps a run\n")
    print("| | us/run-step | / fused | runs | how | final loss |")
    print("|---|---|---|---|---|---|")
    fused = next(entry for entry in entries if entry.name == FUSED)
    for e in sorted(entries, key=lambda e: e.median):
        print(
            f"| {e.name} | {e.median:.1f} | {e.median / fused.median:.2f} | {e.runs} "
            f"| {e.setting} | {statistics.mean(e.losses):.4f} ± {_standard_error(e.losses):.4f} |"
        )
    print(flush=True)


def judge(goals: Sequence[Goal], best: dict[str, Entry]) -> list[dict[str, Any]]:
    """Print whether each goal is met."""
    judged = []
    for goal in goals:
        others = [best[name].median for name in goal.others if name in best]
        if not others:
            print(f"goal: {goal.times:g} times as fast as {goal.what}: not measured")
            continue
        ratio = min(others) / best[FUSED].median
        met = ratio >= goal.times
        print(
            f"goal: {goal.times:g} times as fast as {goal.what}: {ratio:.2f}, "
            f"{'met' if met else 'MISSED'}"
        )
        judged.append({"goal": goal.what, "times": goal.times, "measured": ratio, "met": met})
    return judged


class Benchmark:
    """All sweeps on one set of processes; ``report`` is what ``--json`` writes."""

    def __init__(self, arguments: argparse.Namespace, workers: Workers) -> None:
        self._arguments = arguments
        self._workers = workers
        self.failed = False
        self.report: dict[str, Any] = {
            "cores": available_cores(),
            "rounds": arguments.rounds,
            "versions": {name: version(name) for name in ("torch", "scikit-learn", "jax")},
            "sweeps": [],
            "other_shapes": [],
        }

    def measure(self, sweep: Sweep) -> None:
        """One table, its goals, and if wanted that of scaling."""
        work, arguments = sweep.work, self._arguments
        overrides = self._overrides(sweep)
        data = random_data(work) if overrides is None else load_data(overrides)
        fewer = min(sweep.runs, max(sweep.fewer, 2 * available_cores()))
        group_size = arguments.group_size or planned_group_size(work)
        entries = [
            *engine_entries(work, sweep.runs, fewer, group_size),
            *peer_entries(sweep, fewer),
        ]
        best = take_turns(entries, work, data, arguments.rounds, self._workers)
        if JAX in best:
            seconds = compile_seconds(best[JAX], work, data, self._workers)
            best[JAX_COMPILING] = compiling(best[JAX], seconds, work)
        if overrides is not None and not arguments.skip_shell:
            best |= {e.name: e for e in from_shell(work, sweep.runs, overrides)}
        print_table(work, list(best.values()))
        judged = judge(sweep.goals, best)
        unequal = unequal_losses(list(best.values()), best[FUSED])
        print(f"final losses: {'NOT EQUAL: ' + '; '.join(unequal) if unequal else 'equal'}")
        self.failed |= bool(unequal)
        self.report["sweeps"].append(
            {
                "work": vars(work),
                "runs": sweep.runs,
                "random_rows": overrides is None,
                "learners": [_as_json(e) for e in best.values()],
                "goals": judged,
                "unequal_losses": unequal,
                "scaling": as_json(self._scale(sweep, data)) if arguments.scaling else None,
            }
        )

    def measure_other_shapes(self) -> None:
        """Whether fusing is slower anywhere."""
        print("\n### other shapes: fused beside one after the other, a process a core\n")
        print("| | network | batch | group | fused us/run-step | one after the other | ratio |")
        print("|---|---|---|---|---|---|---|")
        for work, runs in OTHER_SHAPES:
            group_size = self._arguments.group_size or planned_group_size(work)
            fewer = min(runs, 16)
            entries = list(engine_entries(work, runs, fewer, group_size))
            entries = [entry for entry in entries if entry.name in (FUSED, SPREAD)]
            rounds = self._arguments.rounds
            best = take_turns(entries, work, random_data(work), rounds, self._workers)
            fused, spread = best[FUSED], best.get(SPREAD)
            # In groups of one both are the same computation.
            alone = "the same" if spread is None else f"{spread.median:.1f}"
            ratio = "" if spread is None else f"{spread.median / fused.median:.2f}"
            print(
                f"| {work.name} | {'-'.join(map(str, work.widths))} | {work.batch_size} "
                f"| {fused.setting.together} | {fused.median:.1f} | {alone} | {ratio} |",
                flush=True,
            )
            learners = [_as_json(e) for e in best.values()]
            self.report["other_shapes"].append({"work": vars(work), "learners": learners})

    def _overrides(self, sweep: Sweep) -> tuple[str, ...] | None:
        """What makes the sweep's data; None where the files are not there."""
        if sweep.data is not MNIST:
            return sweep.data
        folder = mnist_folder(self._arguments.mnist)
        if folder is None:
            print(f"\n{sweep.work.name}: no files of MNIST (--mnist FOLDER); random rows instead")
            return None
        return (*sweep.data, f"dataset.root='{folder}'")

    def _scale(self, sweep: Sweep, data: Data) -> list[Cost]:
        costs = list(measure_costs(sweep.work, data, sweep.counts))
        print_costs(sweep.work.name, costs)
        return costs


def load_data(overrides: Sequence[str]) -> Data:
    """The rows that a run from the shell trains and validates on."""
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        dataset = load(to_config(compose("config", list(overrides))).dataset)
    assert not isinstance(dataset.train, EpochRows)
    assert not isinstance(dataset.y, ComputedClasses)
    rows = np.concatenate([dataset.train.numpy(), dataset.val.numpy()])
    return Data(dataset.x.numpy()[rows], dataset.y.numpy()[rows], dataset.num_train)


def mnist_folder(given: Path | None) -> Path | None:
    """The folder of MNIST, or one above it: as told, NNEXP_DATA, or beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = given or Path(os.environ.get("NNEXP_DATA") or beside)
    name = "train-images-idx3-ubyte.gz"
    found = any((place / name).exists() for place in (folder, folder / "mnist", folder / "MNIST"))
    return folder.resolve() if found else None


def version(package: str) -> str | None:
    """As installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "runs": entry.runs,
        "setting": vars(entry.setting),
        "us_per_run_step": entry.times,
        "median": entry.median,
        "losses": entry.losses,
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [sweep.work.name for sweep in SWEEPS]
    parser.add_argument("--rounds", type=int, default=3, help="turns of each learner")
    parser.add_argument("--work", nargs="+", choices=names, default=names)
    parser.add_argument("--mnist", type=Path, help="folder of its IDX files, or one above")
    parser.add_argument("--group-size", type=int, help="runs in a group; default: as planned")
    parser.add_argument("--skip-shell", action="store_true", help="no sweep from the shell")
    parser.add_argument("--skip-others", action="store_true", help="none of the other shapes")
    parser.add_argument("--scaling", action="store_true", help="cost of a step, R = 1, 2, 4, ...")
    parser.add_argument("--json", type=Path, help="file for programs")
    return parser.parse_args()


def main() -> None:
    """Measure and print; exit with 1 where final losses differ."""
    allow_any_text()
    arguments = parse_arguments()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read as JAX is imported, in every process
    with Workers(available_cores()) as workers:
        benchmark = Benchmark(arguments, workers)
        versions = ", ".join(f"{k} {v}" for k, v in benchmark.report["versions"].items() if v)
        print(f"{versions}; {available_cores()} cores, {arguments.rounds} rounds")
        if not has_jax():
            print("JAX is not installed and left out (pip install 'nnexp[bench]')")
        for sweep in SWEEPS:
            if sweep.work.name in arguments.work:
                benchmark.measure(sweep)
        if not arguments.skip_others:
            benchmark.measure_other_shapes()
    if arguments.json:
        arguments.json.write_text(json.dumps(benchmark.report, indent=1) + "\n")
    sys.exit(1 if benchmark.failed else 0)


if __name__ == "__main__":
    main()
