"""What a sweeper that searches is given, and that it searches in the right direction."""

from __future__ import annotations

import enum
import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from omegaconf import OmegaConf

from nnexp.runs.record import read_result
from nnexp.sweeps.sweeper import ObjectiveError, check_direction, objective_of, searched, value_for

_SMALL = ["dataset=iris", "model=shallow", "baseline=none", "trainer.epochs=3", "optimizer=sgd",
          "trainer.pictures=false", "report.enabled=false"]  # fmt: skip
_METRICS = {"val/loss": 0.25, "val/acc": 0.875}

# A sweeper that searches, as far as its launcher and its user can see.
_SEARCHER = """
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


@dataclass
class SearcherConf:
    _target_: str = "hydra_plugins.searcher.Searcher"
    direction: Any = "minimize"
    jobs: list[str] = field(default_factory=lambda: [f"optimizer.lr={r}" for r in (0.1, 1e30, -1)])


ConfigStore.instance().store(group="hydra/sweeper", name="searcher", node=SearcherConf)


class Searcher(Sweeper):
    def __init__(self, direction, jobs):
        self.jobs = jobs

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments):
        jobs = [[*arguments, job] for job in self.jobs]
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        print("returned", *(repr(done.return_value) for done in returns))
"""


class Direction(enum.Enum):
    minimize = 1
    maximize = 2


@pytest.mark.parametrize(
    ("objective", "metrics", "value"),
    [
        ("val/loss", _METRICS, 0.25),
        ("val/acc", _METRICS, 0.875),
        ("val/loss", None, math.inf),
        ("val/acc", None, -math.inf),
        ("val/loss", {"val/loss": math.nan}, math.inf),
        ("val/acc", {"val/acc": None}, -math.inf),
        (None, None, math.inf),
    ],
)
def test_what_a_job_hands_back(
    objective: str | None, metrics: dict[str, float | None] | None, value: float
) -> None:
    assert value_for(objective, metrics) == value


@pytest.mark.parametrize("objective", [None, "val/loss", "val/acc"])
@pytest.mark.parametrize(("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)])
def test_the_worst_value_goes_by_the_direction_of_the_search(
    objective: str | None, direction: str, worst: float
) -> None:
    assert value_for(objective, None, direction) == worst
    assert value_for("val/acc", _METRICS, direction) == 0.875


@pytest.mark.parametrize(
    ("sweeper", "direction", "shown"),
    [
        ({"direction": "maximize"}, "maximize", "direction=maximize"),
        ({"direction": "minimize"}, "minimize", "direction=minimize"),
        ({"direction": Direction.maximize}, "maximize", "direction=maximize"),
        ({"direction": [Direction.minimize]}, "minimize", "direction=minimize"),
        ({"optim": {"maximize": True}}, "maximize", "optim.maximize=true"),
        ({"optim": {"maximize": False}}, "minimize", "optim.maximize=false"),
        ({"ax_config": {"experiment": {"minimize": True}}}, "minimize",
         "ax_config.experiment.minimize=true"),
        ({"ax_config": {"experiment": {"minimize": False}}}, "maximize",
         "ax_config.experiment.minimize=false"),
    ],
)  # fmt: skip
def test_directions_of_optuna_nevergrad_and_ax(
    sweeper: dict[str, Any], direction: str, shown: str
) -> None:
    config = OmegaConf.create(sweeper)
    OmegaConf.set_struct(config, True)
    assert searched(config) == direction
    good, bad = ("val/loss", "val/acc") if direction == "minimize" else ("val/acc", "val/loss")
    wanted = "maximize" if direction == "minimize" else "minimize"
    check_direction(config, good)
    with pytest.raises(ObjectiveError) as caught:
        check_direction(config, bad)
    assert str(caught.value) == (
        f"hydra.sweeper.{shown} would {direction} objective={bad} and find the worst runs; "
        f"{wanted} it, or say objective={good}"
    )


@pytest.mark.parametrize("sweeper", [None, {}, {"max_batch_size": 3}, {"direction": None},
                                     {"direction": "sideways"}, {"optim": None}])  # fmt: skip
def test_a_sweeper_that_does_not_search_may_have_any_objective(
    sweeper: dict[str, Any] | None,
) -> None:
    config = None if sweeper is None else OmegaConf.create(sweeper)
    assert searched(config) is None
    for objective in ("val/loss", "val/acc", None):
        check_direction(config, objective)


def test_one_objective_has_one_direction() -> None:
    config = OmegaConf.create({"direction": ["minimize", "maximize"]})
    with pytest.raises(ObjectiveError, match=r"direction=\[minimize,maximize\]: a run has one"):
        check_direction(config, "val/loss")


def test_a_config_that_names_no_objective() -> None:
    assert objective_of(OmegaConf.create({"objective": "val/acc"})) == "val/acc"
    assert objective_of(OmegaConf.create({"objective": "val/los"})) is None
    assert objective_of(OmegaConf.create({"objective": "${nowhere}"})) is None
    assert objective_of(OmegaConf.create({})) is None


# ── the program ───────────────────────────────────────────────────────────────────────────────


def search(folder: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error that are ours."""
    plugins = folder / "site" / "hydra_plugins"
    plugins.mkdir(parents=True)
    (plugins / "searcher.py").write_text(_SEARCHER)
    done = programs.run(
        [sys.executable, "-m", "nnexp", "-m", "hydra.sweep.dir=out", *_SMALL, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "PYTHONPATH": str(plugins.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    return done.returncode, done.stdout, [line for line in lines if line.startswith("nnexp: ")]


@pytest.mark.parametrize(
    ("launcher", "objective", "direction", "worst"),
    [("fused", "val/loss", "minimize", "inf"), ("basic", "val/acc", "maximize", "-inf")],
)
def test_a_search_is_given_the_objective_and_the_worst_for_what_failed(
    tmp_path: Path, launcher: str, objective: str, direction: str, worst: str
) -> None:
    code, output, errors = search(
        tmp_path, "hydra/sweeper=searcher", f"hydra/launcher={launcher}",
        f"hydra.sweeper.direction={direction}", f"objective={objective}",
    )  # fmt: skip
    assert code == 1  # for the rate below 0
    assert [line.rpartition(": ")[2] for line in errors[:1]] == ["must be at least 0"]
    value = read_result(tmp_path / "out" / "0").metrics[objective]
    assert f"returned {value!r} {worst} {worst}\n" in output
    assert f"objective, to {direction}: {objective}" in output


@pytest.mark.parametrize(
    ("launcher", "bad", "problem", "objective", "direction", "worst"),
    [
        ("fused", "optimizer.lr=abc", "optimizer.lr=abc: ", "val/acc", "maximize", "-inf"),
        ("fused", "objective=val/los", "objective=val/los: must be one of ", "val/loss", "minimize",
         "inf"),
        ("basic", "objective=val/los", "objective=val/los: must be one of ", "val/loss", "minimize",
         "inf"),
    ],
)  # fmt: skip
def test_a_job_that_is_refused_is_never_the_best_trial(
    tmp_path: Path, launcher: str, bad: str, problem: str, objective: str, direction: str,
    worst: str,
) -> None:  # fmt: skip
    """Hydra's own launcher ends at a job that does not compose, and hands nothing back."""
    code, output, errors = search(
        tmp_path, "hydra/sweeper=searcher", f"hydra/launcher={launcher}",
        f"hydra.sweeper.direction={direction}", f"objective={objective}",
        f'hydra.sweeper.jobs=["optimizer.lr=0.1","{bad}"]',
    )  # fmt: skip
    assert code == 1
    assert problem in errors[0]
    value = read_result(tmp_path / "out" / "0").metrics[objective]
    assert f"returned {value!r} {worst}\n" in output


@pytest.mark.parametrize(
    ("launcher", "options", "line"),
    [
        ("fused", ["hydra.sweeper.direction=maximize"],
         "hydra.sweeper.direction=maximize would maximize objective=val/loss and find the worst "
         "runs; minimize it, or say objective=val/acc"),
        ("basic", ["objective=val/acc"],
         "hydra.sweeper.direction=minimize would minimize objective=val/acc and find the worst "
         "runs; maximize it, or say objective=val/loss"),
        ("fused", ["hydra.sweeper.direction=[minimize,minimize]"],
         "hydra.sweeper.direction=[minimize,minimize]: a run has one objective, give one "
         "direction"),
    ],
)  # fmt: skip
def test_a_search_for_the_worst_is_refused_before_anything_trains(
    tmp_path: Path, launcher: str, options: list[str], line: str
) -> None:
    code, _, errors = search(
        tmp_path, "hydra/sweeper=searcher", f"hydra/launcher={launcher}", *options
    )
    assert (code, errors) == (1, [f"nnexp: {line}"])
    assert list(tmp_path.rglob("metrics.jsonl")) == []


def test_an_objective_that_is_none_is_refused(tmp_path: Path) -> None:
    code, _, errors = search(tmp_path, "objective=val/los")
    assert code == 1
    (line,) = errors
    assert (
        "objective=val/los: must be one of val/loss, val/acc, val/rmse (did you mean 'val/loss'?)"
        in line
    )


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None,
    reason="needs the package hydra-optuna-sweeper",
)
@pytest.mark.parametrize(
    ("options", "best"),
    [([], min), (["objective=val/acc", "hydra.sweeper.direction=maximize"], max)],
    ids=["loss", "accuracy"],
)
def test_optuna_finds_the_best(tmp_path: Path, options: list[str], best: Any) -> None:
    optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_jobs=3", "hydra.sweeper.n_trials=6",
              "hydra.sweeper.sampler.seed=1"]  # fmt: skip
    code, output, errors = search(
        tmp_path, *optuna, *options, "optimizer.lr=tag(log,interval(0.0001,0.1))"
    )
    assert (code, errors) == (0, [])
    found = yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text())
    name = "val/acc" if options else "val/loss"
    values = [read_result(path.parent).metrics[name] for path in tmp_path.rglob("result.json")]
    assert len(values) == 6
    assert found["best_value"] == best(values)
    assert f"{name} at the best epoch" in output


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None,
    reason="needs the package hydra-optuna-sweeper",
)
def test_optuna_in_the_wrong_direction_leaves_nothing(tmp_path: Path) -> None:
    code, _, errors = search(
        tmp_path, "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize",
        "optimizer.lr=choice(0.1,0.2)",
    )  # fmt: skip
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: hydra.sweeper.direction=maximize would maximize objective=val/l")
    assert not (tmp_path / "out" / "0").exists()
