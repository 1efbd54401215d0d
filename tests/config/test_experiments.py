"""The experiments that compare: the runs they plan, fair budgets, and the command line on top."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import programs
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import Config
from nnexp.runs.record import read_result
from nnexp.sweeps.composition import Composer
from nnexp.sweeps.config_trees import without_hydra
from nnexp.sweeps.sweeper import checked, jobs_of

NAMES = ["compare_optimizers", "compare_depth", "compare_learning_curves", "compare_all"]
OPTIMIZERS = ["adagrad", "adam", "sgd"]
DEPTHS = ["deep", "deeper", "linear", "shallow"]


class Planned:
    """What an experiment's sweep would train."""

    def __init__(self, name: str, *arguments: str) -> None:
        register()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            given = [f"experiment={name}", *arguments]
            self.master: DictConfig = compose("config", given, return_hydra_config=True)
            sweeper = self.master.hydra.sweeper
            loader = GlobalHydra.instance().config_loader()
            grids = checked(sweeper.grids)
            self.jobs = jobs_of(loader, sweeper.params or {}, grids, given)
            self._composer = Composer(loader, self.master)

    def settings(self) -> dict[tuple[str, ...], list[dict[str, str]]]:
        """The overrides of the first seed's jobs, by what is not tuned."""
        tuned = set(OmegaConf.to_container(self.master.report.tuned))  # type: ignore[arg-type]
        found = defaultdict(list)
        for job in self.jobs:
            values = dict(line.split("=", 1) for line in job)
            if values.pop("seed") == "0":
                setting = {key: values.pop(key) for key in sorted(tuned & values.keys())}
                found[tuple(f"{k}={v}" for k, v in sorted(values.items()))].append(setting)
        return found

    def configs(self) -> Iterator[Config]:
        """One of each kind of network, optimizer and size, as checked before it is trained."""
        seen = set()
        for num, job in enumerate(self.jobs):
            kind = tuple(line for line in job if not line.startswith(("seed=", "optimizer.lr=")))
            if kind not in seen:
                seen.add(kind)
                yield to_config(without_hydra(self._composer.compose(job, num)))


@pytest.fixture(scope="module")
def planned() -> dict[str, Planned]:
    return {name: Planned(name) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "learners", "settings", "seeds"),
    [
        ("compare_optimizers", 3, 6, 10),
        ("compare_depth", 4, 6, 10),
        ("compare_learning_curves", 2 * 5, 6, 5),  # on five tasks
        ("compare_all", 12, 6, 10),
    ],
)
def test_budgets_are_equal(
    planned: dict[str, Planned], name: str, learners: int, settings: int, seeds: int
) -> None:
    jobs = planned[name].jobs
    assert len(jobs) == learners * settings * seeds
    by_seed = Counter(line for job in jobs for line in job if line.startswith("seed="))
    assert by_seed == {f"seed={seed}": len(jobs) // seeds for seed in range(seeds)}
    found = planned[name].settings()
    assert len(found) == learners
    for tried in found.values():
        rates = [float(setting["optimizer.lr"]) for setting in tried]
        assert len(set(rates)) == settings
        # Equal steps, half a power of ten apart.
        steps = [b / a for a, b in itertools.pairwise(rates)]
        assert all(2.99 < step < 3.4 for step in steps)


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_job_composes(planned: dict[str, Planned], name: str) -> None:
    configs = list(planned[name].configs())
    assert {config.scheduler.name for config in configs} == {"cosine"}
    assert {config.trainer.early_stopping.patience for config in configs} == {None}
    assert all(config.optimizer.nesterov for config in configs if config.optimizer.name == "sgd")  # type: ignore[attr-defined]
    kinds = sorted({(config.model.name, config.optimizer.name) for config in configs})
    assert (
        kinds
        == {
            "compare_optimizers": [("deep", optimizer) for optimizer in OPTIMIZERS],
            "compare_depth": [(depth, "adam") for depth in DEPTHS],
            "compare_learning_curves": [("deep", "adam"), ("shallow", "adam")],
            "compare_all": [(depth, optimizer) for depth in DEPTHS for optimizer in OPTIMIZERS],
        }[name]
    )


def test_every_size_takes_the_same_number_of_steps(planned: dict[str, Planned]) -> None:
    configs = list(planned["compare_learning_curves"].configs())
    sizes = sorted({config.dataset.fraction for config in configs})
    assert sizes == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    assert {c.dataset.fraction * c.trainer.epochs for c in configs} == {30}


def test_depth_is_all_that_differs(planned: dict[str, Planned]) -> None:
    configs = [config.model for config in planned["compare_depth"].configs()]
    assert {model.name: model.hidden for model in configs} == {
        "linear": [], "shallow": [128], "deep": [128] * 4, "deeper": [128] * 8,
    }  # fmt: skip
    others = [{k: v for k, v in vars(m).items() if k not in ("name", "hidden")} for m in configs]
    assert all(other == others[0] for other in others)


def test_all_baselines_take_part(planned: dict[str, Planned]) -> None:
    (config, *_) = planned["compare_all"].configs()
    others = {"constant", "ridge", "lightgbm", "catboost"}  # of regressions, and of an extra
    assert {n for n, one in vars(config.baseline).items() if one is None} == others


# ── the program ───────────────────────────────────────────────────────────────────────────────


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return programs.Popen(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [(["-m", "+experiment=compare_all"], 72), (["+experiment=compare_learning_curves"], 60)],
)
def test_plans_are_printed_with_and_without_m(
    tmp_path: Path, arguments: list[str], jobs: int
) -> None:
    program = start(
        tmp_path, *arguments, "seed=0", "dataset=iris", "hydra.launcher.dry_run=true",
        "hydra.launcher.workers=1",
    )  # fmt: skip
    out, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (0, "")
    assert f" {jobs} jobs\n" in out
    assert f" {jobs} runs in " in out
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_narrows_an_experiment(tmp_path: Path) -> None:
    """One learning rate for all optimizers, another network, two seeds, fewer epochs."""
    program = start(
        tmp_path, "+experiment=compare_optimizers", "dataset=iris", "model=linear", "seed=3,4",
        "optimizer.lr=0.05", "trainer.epochs=2", "hydra.sweep.dir=out", "report.enabled=false",
        "hydra.sweeper.max_batch_size=4", "hydra.launcher.workers=1",
    )  # fmt: skip
    _, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (0, "")
    results = [read_result(tmp_path / "out" / str(num)) for num in range(6)]
    assert [(r.optimizer, r.seed) for r in results] == [
        (optimizer, seed) for optimizer in ("sgd", "adagrad", "adam") for seed in (3, 4)
    ]
    assert {(r.model, r.status) for r in results} == {("linear", "completed")}
    configs: list[dict[str, Any]] = [r.config or {} for r in results]
    assert [c["optimizer"].get("nesterov") for c in configs] == [True, True] + [None] * 4
    assert {c["optimizer"]["lr"] for c in configs} == {0.05}
    assert {r.group_size for r in results} == {4, 2}  # two batches


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["+experiment=compare_all", "hydra/sweeper=basic"],
         "experiment/compare_all.yaml: hydra.sweeper.grids: need nnexp's own sweeper; "
         "leave out hydra/sweeper=..."),
        (["+experiment=compare_all", "optimizer=adamw"],
         "optimizer=adamw: hydra.sweeper.grids are for optimizer=sgd,adagrad,adam "
         "(did you mean 'adam'?); hydra.sweeper.grids=[] drops them"),
        (["+experiment=compare_depth", "optimizer=sgd"],
         "optimizer=sgd: hydra.sweeper.grids are for optimizer=adam; "
         "hydra.sweeper.grids=[] drops them"),
        (["-m", "+experiment=compare_depth,compare_all"],
         "job 0 experiment=compare_depth (and 1 other job): seed: this config is a sweep over it, "
         "and cannot be a job of another sweep; run it alone"),
        (["-m", "hydra/launcher=basic", "+experiment=compare_all,compare_depth"],
         "job 0 experiment=compare_all (and 1 other job): seed: this config is a sweep over it, "
         "and cannot be a job of another sweep; run it alone"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], line: str
) -> None:
    program = start(tmp_path, *arguments, "hydra.sweep.dir=out")
    _, errors = program.communicate(timeout=120)
    assert (program.returncode, errors) == (1, f"nnexp: {line}\n")
    assert (tmp_path / "out").exists() == ("-m" in arguments)
