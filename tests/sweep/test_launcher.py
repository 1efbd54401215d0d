"""Hydra's launcher and sweeper ``fused``: held to Hydra's own suites, then to Hydra's own classes.

All cases of the three suites apply, none is left out. Their task functions are not nnexp's, and
jobs of another program's function run one after the other; so what the suites ask of a launcher is
asked below of nnexp's own program as well, whose jobs train in groups. One thing that a launcher
may do a group cannot: ``hydra.job.chdir=true``, which is refused in one line.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase
from packaging.version import Version

from hydra_plugins.nnexp_fused import FusedLauncher, FusedSweeper
from nnexp.runs.folder_lock import SharedLock
from nnexp.runs.record import read_result
from nnexp.sweeps import processes, worker

# ── Hydra's own suites ────────────────────────────────────────────────────────────────────────

# The suites ask for Hydra's ways of before 1.2, in which a job changes the working directory.
_BEFORE_1_2 = [
    pytest.mark.filterwarnings("ignore:Future Hydra versions will no longer change"),
    pytest.mark.usefixtures("hydra_1_1"),
]


@pytest.fixture
def hydra_1_1() -> Iterator[None]:
    """What Hydra assumes where nothing has said otherwise, as tests that ran before may have."""
    before = VersionBase.instance().version_base
    VersionBase.instance().setbase(Version("1.1"))
    yield
    VersionBase.instance().version_base = before


def test_hydra_discovers_both() -> None:
    # Not the same class objects: Hydra executes the module's file itself.
    for kind, ours in ((Launcher, FusedLauncher), (Sweeper, FusedSweeper)):
        found = [plugin.__qualname__ for plugin in Plugins.instance().discover(kind)]
        assert ours.__qualname__ in found


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("fused", ["hydra/sweeper=basic"]), ("fused", ["hydra/sweeper=fused"])],
)
class TestLauncher(LauncherTestSuite):
    pytestmark = _BEFORE_1_2


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        (launcher, [f"hydra/sweeper={sweeper}", "hydra.sweeper.max_batch_size=2"])
        for launcher, sweeper in (("fused", "fused"), ("basic", "fused"), ("fused", "basic"))
    ],
)
class TestBatchedSweeper(BatchedSweeperTestSuite):
    pytestmark = _BEFORE_1_2


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        ({}, ["-m", "hydra/launcher=fused", "hydra/sweeper=basic"]),
        ({}, ["-m", "hydra/launcher=fused", "hydra/sweeper=fused"]),
    ],
)
class TestIntegration(IntegrationTestSuite):
    pass


# ── nnexp's own program ───────────────────────────────────────────────────────────────────────

_SMALL = ["dataset=iris", "baseline=none", "model=shallow", "trainer.epochs=2",
          "trainer.pictures=false"]  # fmt: skip

# A sweeper as of another plugin: launches two batches, the second of which hangs on the results of
# the first, and keeps what it was handed.
_SWEEPER = """
import json
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf


class Twice(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        rates = [0.1, 0.01, -1]
        first = self.launcher.launch(
            [[*arguments, f"optimizer.lr={rate}"] for rate in rates], initial_job_idx=0
        )
        losses = [job.return_value for job in first]
        best = rates[losses.index(min(losses))]
        second = self.launcher.launch(
            [[*arguments, f"optimizer.lr={best}", f"seed={s}"] for s in (1, 2)], initial_job_idx=3
        )
        told = [
            {
                "overrides": list(job.overrides),
                "cfg": OmegaConf.to_container(job.cfg, resolve=True),
                "job": OmegaConf.to_container(job.hydra_cfg.hydra.job, resolve=False),
                "output_dir": job.hydra_cfg.hydra.runtime.output_dir,
                "working_dir": job.working_dir,
                "task_name": job.task_name,
                "status": job.status.name,
                "return_value": job.return_value,
            }
            for job in [*first, *second]
        ]
        Path("told.json").write_text(json.dumps(told))


ConfigStore.instance().store(
    group="hydra/sweeper", name="twice", node={"_target_": "hydra_plugins.twice.Twice"}
)
"""


def nnexp(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nnexp`` in ``folder``, where it finds plugins in ``plugins``."""
    folder.mkdir(parents=True, exist_ok=True)
    no_report = ["~hydra.callbacks.report"] if "-m" in arguments else []  # it takes its time
    return programs.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments, *no_report],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": "plugins",
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def told_by_the_other_sweeper(folder: Path, launcher: str) -> list[dict[str, Any]]:
    """What the sweeper ``twice`` was handed by a launcher, a job each."""
    (folder / "plugins" / "hydra_plugins").mkdir(parents=True)
    (folder / "plugins" / "hydra_plugins" / "twice.py").write_text(_SWEEPER)
    done = nnexp(
        folder, "-m", "hydra/sweeper=twice", f"hydra/launcher={launcher}", "hydra.sweep.dir=out",
        *(["hydra.launcher.workers=1"] if launcher == "fused" else []), *_SMALL,
    )  # fmt: skip
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("nnexp: ")]
    (line,) = lines
    assert line.endswith("optimizer.lr=-1: optimizer.lr=-1.0: must be at least 0")
    told: list[dict[str, Any]] = json.loads((folder / "told.json").read_text())
    return told


def test_another_sweeper_is_handed_what_the_basic_launcher_hands_it(tmp_path: Path) -> None:
    fused = told_by_the_other_sweeper(tmp_path / "fused", "fused")
    basic = told_by_the_other_sweeper(tmp_path / "basic", "basic")
    assert [job["job"]["num"] for job in fused] == [0, 1, 2, 3, 4]
    for num, (ours, theirs) in enumerate(zip(fused, basic, strict=True)):
        for told, name in ((ours, "fused"), (theirs, "basic")):
            folder = tmp_path / name
            assert told.pop("output_dir") == str(folder / "out" / str(num))
            assert told.pop("working_dir") == str(folder)
        assert ours == theirs
    assert [job["status"] for job in fused] == ["COMPLETED"] * 5
    assert fused[0]["overrides"] == [*_SMALL, "optimizer.lr=0.1"]
    assert fused[3]["overrides"][-1] == "seed=1"
    # The loss, infinite for the job that was refused.
    losses = [job["return_value"] for job in fused]
    assert losses[2] == math.inf
    for num in (0, 1, 3, 4):
        result = read_result(tmp_path / "fused" / "out" / str(num))
        assert losses[num] == result.metrics["val/loss"]
        assert math.isfinite(losses[num])
    sizes = [read_result(tmp_path / "fused" / "out" / str(num)).group_size for num in range(5)]
    assert sizes == [2, 2, 1, 2, 2]
    assert read_result(tmp_path / "fused" / "out" / "2").status == "failed"


@pytest.mark.parametrize(
    ("launcher", "sweeper", "size"),
    [("basic", "fused", 1), ("fused", "basic", 2)],
)
def test_hydras_own_launcher_and_sweeper_go_with_ours(
    tmp_path: Path, launcher: str, sweeper: str, size: int
) -> None:
    done = nnexp(
        tmp_path, "-m", f"hydra/launcher={launcher}", f"hydra/sweeper={sweeper}",
        "hydra.sweep.dir=out", "hydra.sweeper.max_batch_size=2",
        *(["hydra.launcher.workers=1"] if launcher == "fused" else []), *_SMALL, "seed=range(4)",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    results = [read_result(tmp_path / "out" / str(num)) for num in range(4)]
    assert [r.seed for r in results] == [0, 1, 2, 3]
    assert {r.status for r in results} == {"completed"}
    assert {r.group_size for r in results} == {size}
    told = yaml.safe_load((tmp_path / "out" / "multirun.yaml").read_text())
    assert told["hydra"]["overrides"]["task"] == [*_SMALL, "seed=range(4)"]


def test_globs_and_experiments_and_the_sweepers_own_params(tmp_path: Path) -> None:
    """``hydra.sweeper.params`` come first, and the command line multiplies with them."""
    done = nnexp(
        tmp_path, "-m", "hydra.sweep.dir=out", "+hydra.sweeper.params={optimizer:'glob(ada*)'}",
        "hydra.sweeper.max_batch_size=4", "hydra.launcher.workers=1",
        "experiment=shallow_sgd,shallow_adam", *_SMALL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    results = [read_result(tmp_path / "out" / str(num)) for num in range(6)]
    assert [r.optimizer for r in results] == [
        "adagrad", "adagrad", "adam", "adam", "adamw", "adamw",
    ]  # fmt: skip
    assert ["shallow_sgd" in r.arm for r in results] == [True, False] * 3
    assert [r.group_size for r in results] == [4, 4, 4, 4, 2, 2]


def test_what_a_group_cannot_do_is_refused_in_one_line(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "-m", "hydra.sweep.dir=out", "hydra.job.chdir=true", *_SMALL)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: hydra.job.chdir=true: ")
    assert list(tmp_path.rglob("result.json")) == []


def test_the_environment_of_jobs_holds_in_the_main_process(tmp_path: Path) -> None:
    """``hydra.job.env_set`` reaches configs, which resolve there."""
    done = nnexp(
        tmp_path, "-m", "hydra.sweep.dir=out", "+hydra.job.env_set={RATE: 0.25}",
        "optimizer.lr=${oc.env:RATE}", "optimizer=sgd", *_SMALL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (line, *_) = (tmp_path / "out" / "0" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["lr"] == 0.25


def test_the_environment_of_jobs_holds_in_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the workers has been started before the config was known."""
    monkeypatch.delenv("NNEXP_TOLD", raising=False)
    ours, its = multiprocessing.Pipe()
    monkeypatch.setattr(worker, "work", lambda pipe, *_: pipe.send(os.environ["NNEXP_TOLD"]))
    processes.serve(its, Path(), {"NNEXP_TOLD": "yes"}, False, SharedLock())
    assert ours.recv() == "yes"
    monkeypatch.delenv("NNEXP_TOLD")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("+hydra.job.env_set.OMP_NUM_THREADS=3",
         "hydra.job.env_set.OMP_NUM_THREADS: is read when torch is loaded; set it in the shell"),
        ("hydra.sweeper.max_batch_size=0",
         "hydra.sweeper.max_batch_size=0: must be at least 1, or null"),
    ],
)  # fmt: skip
def test_what_a_sweep_cannot_do_is_told(tmp_path: Path, option: str, line: str) -> None:
    done = nnexp(tmp_path, "-m", option, *_SMALL)
    assert (done.returncode, done.stderr) == (1, f"nnexp: {line}\n")


def test_a_split_that_cannot_be_scaled_fails_its_own_seeds_alone(tmp_path: Path) -> None:
    """Of 60 rows one holds 1e100; where it is a training row, standard scaling is impossible."""
    rows = [f"{i % 7},{1e100 if i == 0 else i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    outcomes = []
    for seeds in ("0,1,2,3", "3,2,1,0"):
        done = nnexp(
            tmp_path, "-m", f"hydra.sweep.dir=out{seeds[0]}", "dataset=csv", "dataset.path=t.csv",
            "dataset.target=label", "model=shallow", "trainer.epochs=1", "baseline=none",
            "trainer.pictures=false",
            "hydra.sweep.subdir=${seed}", f"seed={seeds}",
        )  # fmt: skip
        folder = tmp_path / f"out{seeds[0]}"
        outcomes.append({n: read_result(folder / str(n)).status for n in range(4)})
        assert done.returncode == int("failed" in outcomes[-1].values())
    assert outcomes[0] == outcomes[1]


# ── logs, folders, errors ─────────────────────────────────────────────────────────────────────


def log_lines(folder: Path) -> list[list[str]]:
    """Of each run, without the time, in any order: what runs share is logged when it is made."""
    logs = [folder / "out" / str(num) / "nnexp.log" for num in range(4)]
    return [sorted(line.split("]", 1)[-1] for line in log.read_text().splitlines()) for log in logs]


def test_runs_of_a_group_have_the_logs_that_they_have_alone(tmp_path: Path) -> None:
    """A warning about the rows, what the baseline says (computed once for two runs), the run's own
    lines, that it diverged."""
    rows = [f"{i % 7},{i % 5},{'rare' if i == 0 else i % 2}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    sweep = [
        "-m", "hydra.sweep.dir=out", f"dataset.path={tmp_path / 't.csv'}", "dataset=csv",
        "dataset.target=label", "model=shallow", "trainer.epochs=1", "optimizer=sgd",
        "baseline.knn.k=[1,3,500]", "optimizer.lr=0.1,1e30", "seed=0,1",
    ]  # fmt: skip
    fused = nnexp(tmp_path / "fused", *sweep)
    basic = nnexp(tmp_path / "basic", "hydra/launcher=basic", "hydra/sweeper=basic", *sweep)
    assert (fused.returncode, basic.returncode) == (0, 0)
    lines = log_lines(tmp_path / "fused")
    assert lines == log_lines(tmp_path / "basic")
    for num, of_run in enumerate(lines):
        assert sum("a single row" in line for line in of_run) == 1
        assert sum(" test samples, " in line for line in of_run) == 1
        assert sum("Tuning KNN" in line for line in of_run) == 1
        assert sum("[WARNING] - training diverged" in line for line in of_run) == (num > 1)


@pytest.mark.slow
def test_job_logging_says_where_logs_are_and_what_they_hold(tmp_path: Path) -> None:
    fused = ["-m", "hydra.sweep.dir=out", *_SMALL, "baseline=knn", "baseline.knn.k=[1,500]"]
    done = nnexp(
        tmp_path, *fused,
        "hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/mine.txt",
        "hydra.job_logging.formatters.simple.format='%(levelname)s|%(message)s'",
        "+hydra.job_logging.loggers={nnexp.baselines:{level:WARNING}}",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (tmp_path / "out" / "0" / "mine.txt").read_text().splitlines()
    assert line.startswith("INFO|shallow · adam")
    assert not (tmp_path / "out" / "0" / "nnexp.log").exists()
    done = nnexp(tmp_path / "none", *fused, "hydra/job_logging=disabled")
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "none" / "out").rglob("*.log")) == []


def test_full_errors_show_where_each_wrong_job_went_wrong(tmp_path: Path) -> None:
    """One that cannot be composed, one out of range, one with more rows than there are; the right
    one is trained all the same."""
    wrong = [
        "-m", "hydra.sweep.dir=out", *_SMALL, "optimizer=adm,sgd", "optimizer.lr=-1,0.1",
        "dataset.num_train=60,5000",
    ]  # fmt: skip
    done = nnexp(tmp_path, *wrong, environment={"HYDRA_FULL_ERROR": "1"})
    assert done.returncode == 1
    told = done.stdout.split("Traceback (most recent call last)")
    assert len(told) > 3
    for who in ("job 0: ", "job 4: ", "job 7: "):
        assert any(part.endswith(who) for part in told)
    for raised in ("MissingConfigException", "ConfigError: optimizer.lr=-1.0", "5000"):
        assert raised in done.stdout
    assert read_result(tmp_path / "out" / "6").status == "completed"
    assert len(done.stderr.splitlines()) == 3


def test_a_job_that_cannot_be_composed_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """The one that it would have had, unless that is another's."""
    done = nnexp(
        tmp_path / "named", "-m", "hydra.sweep.dir=out", *_SMALL, "optimizer=adm,sgd",
        "hydra.sweep.subdir=${optimizer.name}-${seed}-${hydra.job.num}", "seed=3",
    )  # fmt: skip
    assert done.returncode == 1
    folder = tmp_path / "named" / "out"
    assert read_result(folder / "adm-3-0").status == "failed"
    assert read_result(folder / "sgd-3-1").status == "completed"
    done = nnexp(
        tmp_path / "shared", "-m", "hydra.sweep.dir=out", *_SMALL, "optimizer=adm,sgd",
        "hydra.sweep.subdir=${seed}", "seed=0",
    )  # fmt: skip
    assert done.returncode == 1
    folder = tmp_path / "shared" / "out"
    found = {path.parent.name: read_result(path.parent) for path in folder.glob("*/result.json")}
    assert {name: result.status for name, result in found.items()} == {
        "0": "completed", "0_1": "failed",
    }  # fmt: skip
    assert list(folder.rglob("previous")) == []


@pytest.mark.slow
def test_no_two_batches_share_a_folder(tmp_path: Path) -> None:
    done = nnexp(
        tmp_path, "-m", "hydra.sweep.dir=out", *_SMALL, "seed=0,1", "hydra.sweep.subdir=same",
        "hydra.sweeper.max_batch_size=1", "report.enabled=false",
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: hydra.sweep.subdir=same: jobs 0 and 1 would both write to ")
    assert read_result(tmp_path / "out" / "same").seed == 0
    assert list(tmp_path.rglob("previous")) == []


def test_files_that_cannot_be_moved_aside_cost_their_run(tmp_path: Path) -> None:
    """Else an earlier result might be taken for one of this sweep."""
    sweep = ["-m", "hydra.sweep.dir=out", *_SMALL, "seed=0,1", "report.enabled=false"]
    assert nnexp(tmp_path, *sweep, "seed=0,1,2").returncode == 0
    before = (tmp_path / "out" / "1" / "result.json").read_bytes()
    (tmp_path / "out" / "1" / "previous").write_text("in the way")
    done = nnexp(tmp_path, *sweep)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: job 1 ")
    assert str(tmp_path / "out" / "1" / "previous") in line
    assert (tmp_path / "out" / "1" / "result.json").read_bytes() == before
    assert read_result(tmp_path / "out" / "0").status == "completed"
    assert "1 run in 1 group on 1 worker; 1 job cannot be trained" in done.stdout
    assert "1 run of an earlier sweep in this folder moved to previous/ in out/2" in done.stdout


def test_a_launcher_that_cannot_be_leaves_no_folder(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "-m", "hydra.sweep.dir=out", "hydra.launcher.workers=abc", *_SMALL)
    line = "must be a whole number of at least 1, or null for one a core, or one a GPU"
    assert (done.returncode, done.stderr) == (1, f"nnexp: hydra.launcher.workers=abc: {line}\n")
    assert list(tmp_path.iterdir()) == []
