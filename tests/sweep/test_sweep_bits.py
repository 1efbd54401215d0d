"""Company changes nothing: every run of a sweep, bit for bit, beside the same run alone.

Sweeps go through the real command line, with several numbers of workers and sizes of groups. The
runs alone go through ``nnexp.trainer.run``, in this process. All that a run leaves is compared, but
for times, sizes of groups and numbers of threads.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
import yaml
from conftest import Once
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from nnexp import device
from nnexp.config.compose import CONF, register, to_config
from nnexp.data import load
from nnexp.device import ignores_threads
from nnexp.environment import available_cores
from nnexp.errors import DivergedError
from nnexp.models.choose import network_of
from nnexp.runs.checkpoints import load_checkpoint
from nnexp.runs.record import RunResult, read_metrics, read_result
from nnexp.trainer import run

Grid = dict[str, Sequence[Any]]

# Groups of two kinds (with batch norm and without), in which rates of dropout, optimizers and seeds
# meet; runs that diverge beside the others, and runs that stop early and leave them. Pictures take
# as long as all the rest, and have a test of their own.
SMALL: Grid = {
    "trainer.device": ["cpu"],
    "dataset": ["wine"],
    "model.hidden": ["[24,24]"],
    "model.residual": ["true"],
    "trainer.batch_size": [20],
    "trainer.pictures": ["false"],
    "trainer.epochs": [7],
    "trainer.early_stopping.patience": [1],
    "trainer.early_stopping.min_delta": [0.02],
    "model.norm": ["none", "batch"],
    "model.dropout": [0, 0.3],
    "optimizer": ["sgd", "adagrad", "adam"],
    "optimizer.lr": [0.05, 1e30],
    "seed": [0, 7],
}

# Every optimizer meets every norm, schedule and clipping. Two seeds at a time are in SMALL;
# networks without residual connections are in LARGE, and in tests/models/test_matmul.py.
WIDE: Grid = {
    "trainer.device": ["cpu"],
    "dataset": ["digits"],
    "dataset.num_train": [200],
    "baseline": ["none"],
    "model.hidden": ["[32,32,32]"],
    "model.dropout": [0.2],
    "trainer.label_smoothing": [0.1],
    "trainer.pictures": ["false"],
    "trainer.eval_every": [2],
    "trainer.epochs": [3],
    "scheduler": ["constant", "cosine"],
    "model.norm": ["none", "batch", "layer"],
    "model.residual": ["true"],
    "optimizer": ["sgd", "adagrad", "adam", "adamw", "rmsprop"],
    "trainer.grad_clip": ["null", 0.5],
    "seed": [1],
}

# A step of more than 30 MFLOP: alone it uses all cores.
LARGE: Grid = {
    "trainer.device": ["cpu"],
    "dataset": ["digits"],
    "dataset.num_train": [700],
    "model.hidden": ["[256,256]"],
    "model.norm": ["batch"],
    "model.dropout": [0.3],
    "trainer.batch_size": [64],
    "trainer.epochs": [2],
    "trainer.pictures": ["false"],
    "optimizer": ["sgd", "adagrad", "adam"],
    "seed": [3, 4],
}


def jobs_of(grid: Grid) -> list[list[str]]:
    """The overrides of each job, in the order of the sweep."""
    columns = [[f"{key}={value}" for value in values] for key, values in grid.items()]
    return [list(job) for job in itertools.product(*columns)]


def sweep(folder: Path, grid: Grid, *options: str) -> Path:
    """The folder of a sweep over the grid, from the command line."""
    done = programs.run(
        [sys.executable, "-m", "nnexp", "-m", f"hydra.sweep.dir={folder}",
         "~hydra.callbacks.report", *options,
         *(f"{key}={','.join(map(str, values))}" for key, values in grid.items()
           if len(values) > 1 or not str(values[0]).startswith("[")),
         *(f"{key}={values[0]}" for key, values in grid.items()
           if len(values) == 1 and str(values[0]).startswith("["))],
        cwd=folder.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    return folder


def alone(folder: Path, grid: Grid) -> list[Path]:
    """The folders of the same runs, each trained by itself in this process."""
    register()
    folders = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configs = [to_config(compose("config", overrides)) for overrides in jobs_of(grid)]
    for num, config in enumerate(configs):
        folders.append(folder / str(num))
        try:
            run(config, folders[-1], "arm")
        except DivergedError:
            assert config.optimizer.lr == 1e30
    return folders


@pytest.fixture(scope="module")
def small_alone(once: Once) -> list[Path]:
    folder = once("small_alone", lambda folder: alone(folder, SMALL))
    return [folder / str(num) for num in range(len(jobs_of(SMALL)))]


@pytest.fixture(scope="module")
def wide_alone(once: Once) -> list[Path]:
    folder = once("wide_alone", lambda folder: alone(folder, WIDE))
    return [folder / str(num) for num in range(len(jobs_of(WIDE)))]


# ── what is compared ──────────────────────────────────────────────────────────────────────────


def numbers_of(result: RunResult) -> dict[str, Any]:
    """All of ``result.json`` but times, company, threads, and the name of the arm."""
    fields = dataclasses.asdict(result)
    for key in ("seconds", "group_size", "threads", "arm"):
        del fields[key]
    for baseline in fields["baselines"].values():
        for key in ("seconds", "seconds/train", "seconds/predict"):
            del baseline[key]
    return fields


def epochs_of(folder: Path) -> list[dict[str, float | None]]:
    return [{**epoch, "seconds": None} for epoch in read_metrics(folder)]


def bits_of(value: Any) -> Any:
    """A checkpoint, its tensors as bytes: a NaN equals itself."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bits_of(item) for item in value]
    return repr(value)


def predictions_of(folder: Path) -> bytes | None:
    path = folder / "predictions.npz"
    return path.read_bytes() if path.exists() else None


def events_of(folder: Path) -> list[tuple[int, str, bytes]]:
    """Step, tag and value of everything in the event file, in its order."""
    (path,) = folder.glob("events.out.tfevents.*")
    found = []
    for event in LegacyEventFileLoader(str(path)).Load():
        if event.graph_def:
            graph = GraphDef.FromString(event.graph_def)  # protobuf writes a map in any order
            found.append((event.step, "graph", graph.SerializeToString(deterministic=True)))
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                content = value.metadata.plugin_data.content
                info = plugin_data_pb2.HParamsPluginData.FromString(content)
                info.session_start_info.start_time_secs = 0
                info.session_start_info.group_name = ""  # begins with the name of the arm
                value.metadata.plugin_data.content = info.SerializeToString(deterministic=True)
            elif value.tag == metadata.SESSION_END_INFO_TAG:
                content = value.metadata.plugin_data.content
                info = plugin_data_pb2.HParamsPluginData.FromString(content)
                info.session_end_info.end_time_secs = 0
                value.metadata.plugin_data.content = info.SerializeToString(deterministic=True)
            found.append((event.step, value.tag, value.SerializeToString(deterministic=True)))
    return found


def assert_same(ours: Path, theirs: Path) -> None:
    """Two folders hold the same run."""
    assert epochs_of(ours) == epochs_of(theirs)
    assert numbers_of(read_result(ours)) == numbers_of(read_result(theirs))
    names = sorted(path.name for path in (ours / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (theirs / "checkpoints").iterdir())
    for name in names:
        content = [load_checkpoint(folder / "checkpoints" / name) for folder in (ours, theirs)]
        assert bits_of(content[0]) == bits_of(content[1]), name
    assert predictions_of(ours) == predictions_of(theirs)
    assert events_of(ours) == events_of(theirs)


def assert_equal_runs(folder: Path, alone: Sequence[Path]) -> list[RunResult]:
    """All runs of a sweep are those trained alone; the sweep's results."""
    for num, theirs in enumerate(alone):
        assert_same(folder / str(num), theirs)
    return [read_result(folder / str(num)) for num in range(len(alone))]


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def test_the_runs_are_worth_comparing(small_alone: list[Path]) -> None:
    """They differ, and some diverge, and some stop early, at several epochs."""
    results = [read_result(folder) for folder in small_alone]
    tested = [(f / "predictions.npz").exists() for f in small_alone]
    assert tested == [r.metrics["test/acc"] is not None for r in results]
    assert len({predictions_of(f) for f in small_alone}) > sum(tested) / 2
    assert {r.status for r in results} == {"completed", "diverged"}
    assert sum(r.status == "diverged" for r in results) >= 4
    assert len({r.epochs for r in results if r.status == "completed"}) >= 3
    whole = [
        folder
        for folder, result in zip(small_alone, results, strict=True)
        if result.status == "completed"
    ]
    weights = {
        repr(bits_of(load_checkpoint(folder / "checkpoints" / "last.pt")["model"]))
        for folder in whole
    }
    assert len(weights) == len(whole) >= 20
    names = {p.name for folder in small_alone for p in (folder / "checkpoints").iterdir()}
    assert names == {"best.pt", "last.pt"}


@pytest.mark.parametrize(
    ("workers", "group_size", "largest"), [(1, "null", 24), (2, 7, 7), (2, 2, 2), (1, 1, 1)]
)
def test_runs_of_a_sweep_have_the_bits_of_runs_alone(
    tmp_path: Path, small_alone: list[Path], workers: int, group_size: str | int, largest: int
) -> None:
    folder = sweep(
        tmp_path / "sweep", SMALL, f"hydra.launcher.workers={workers}",
        f"hydra.launcher.group_size={group_size}",
    )  # fmt: skip
    results = assert_equal_runs(folder, small_alone)
    assert max(r.group_size for r in results) in (largest, largest - 1)


@pytest.mark.parametrize(
    ("reverse", "workers"), [(False, 2), (True, 1)], ids=["as they are", "the other way round"]
)
def test_first_and_last_in_the_sweep_are_the_same(
    tmp_path: Path, small_alone: list[Path], reverse: bool, workers: int
) -> None:
    """The same runs in another order, with a group that the plan has halved."""
    part: Grid = {**SMALL, "model.norm": ["batch"]}
    values = {key: list(reversed(column)) for key, column in part.items()} if reverse else part
    folder = sweep(tmp_path / "sweep", values, f"hydra.launcher.workers={workers}")
    by_job = {tuple(job): path for job, path in zip(jobs_of(SMALL), small_alone, strict=True)}
    assert_equal_runs(folder, [by_job[tuple(job)] for job in jobs_of(values)])


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "group_size"), [(2, "null"), (1, 7)])
def test_the_wide_table(
    tmp_path: Path, wide_alone: list[Path], workers: int, group_size: str | int
) -> None:
    """Every optimizer, norm and schedule, with clipping and without."""
    folder = sweep(
        tmp_path / "sweep", WIDE, f"hydra.launcher.workers={workers}",
        f"hydra.launcher.group_size={group_size}",
    )  # fmt: skip
    results = assert_equal_runs(folder, wide_alone)
    assert {r.status for r in results} == {"completed"}


def narrow(folder: Path) -> Grid:
    """Five to eleven inputs, and layers whose weights are no multiple of 16 bytes: the runs' packed
    gradients then begin at all sorts of addresses."""
    draw = random.Random(0)
    for inputs in (5, 7, 11):
        rows = [[draw.gauss(0, 1) for _ in range(inputs)] for _ in range(120)]
        lines = [",".join(f"{v:.4f}" for v in row) + f",{row[0] > row[1]}" for row in rows]
        header = ",".join([*(f"x{i}" for i in range(inputs)), "label"])
        text = "\n".join([header, *lines]) + "\n"
        (folder / f"{inputs}.csv").write_text(text, encoding="utf-8")
    return {
        "trainer.device": ["cpu"],
        "dataset": ["csv"],
        "dataset.target": ["label"],
        "dataset.path": [str(folder / f"{inputs}.csv") for inputs in (5, 7, 11)],
        "model.hidden": ["[9,7]"],
        "trainer.batch_size": [20],
        "trainer.pictures": ["false"],
        "trainer.epochs": [4],
        "optimizer": ["sgd", "adam"],
        "seed": [0, 1, 2],
    }


def test_narrow_networks(tmp_path: Path) -> None:
    grid = narrow(tmp_path)
    assert [(inputs * 9) % 4 for inputs in (5, 7, 11)] == [1, 3, 3]
    assert (9 * 7) % 4 == 3
    theirs = alone(tmp_path / "alone", grid)
    results = assert_equal_runs(sweep(tmp_path / "sweep", grid), theirs)
    assert {r.status for r in results} == {"completed"}
    assert min(r.group_size for r in results) > 1


def test_rows_of_codes(tmp_path: Path) -> None:
    """Lines of text, stored, and puzzles, computed as they are read."""
    lines = [f"{n}\t{n % 3}\t{'abc'[n % 3] * (1 + n % 5)} {n}" for n in range(240)]
    (tmp_path / "lines.tsv").write_text("\n".join(lines))
    configs = {
        "lines": "defaults: [tatoeba]\nname: lines\nvocabulary: 40\n"
        f"paths: [{tmp_path}/lines.tsv]\nmin_rows_per_label: 1\n",
        "puzzles": "defaults: [puzzle]\nname: puzzles\nrows: 400\nepoch_rows: 150\n"
        "test_rows: 40\nmax_people: 2\nmax_age: 20\n",
    }
    (tmp_path / "dataset").mkdir()
    for name, content in configs.items():
        (tmp_path / "dataset" / f"{name}.yaml").write_text(content)
    grid: Grid = {
        "hydra.searchpath": [f"['file://{tmp_path}']"], "trainer.device": ["cpu"],
        "dataset": ["lines", "puzzles"], "seed": [0, 1],
        "model": ["shallow"], "model.hidden": ["[8]"], "trainer.epochs": [3],
        "trainer.pictures": ["false"], "baseline.knn.metric": ["euclidean"],
    }  # fmt: skip
    swept = sweep(tmp_path / "sweep", grid, "hydra.launcher.workers=1")
    results = assert_equal_runs(swept, alone(tmp_path / "alone", grid))
    assert [result.group_size for result in results] == [2] * 4
    assert [result.dataset.num_train for result in results] == [156] * 2 + [360] * 2


def test_large_steps_have_the_same_bits_solo_and_batched(tmp_path: Path) -> None:
    """Solo they use all cores, if that leaves the bits as they are; in a sweep one a run."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", jobs_of(LARGE)[0]))
    dataset = load(config.dataset)
    network = network_of(config, dataset.num_features, dataset.num_classes)
    flops = network.flops_per_row() * config.trainer.batch_size
    assert flops > device._FLOPS_FOR_THREADS
    theirs = alone(tmp_path / "alone", LARGE)
    cores = available_cores() if ignores_threads() else 1
    assert {read_result(folder).threads for folder in theirs} == {cores}
    results = assert_equal_runs(
        sweep(tmp_path / "sweep", LARGE, "hydra.launcher.workers=1"), theirs
    )
    assert {r.threads for r in results} == {1}
    assert min(r.group_size for r in results) > 1


def test_histograms_and_pictures_are_those_of_a_run_alone(tmp_path: Path) -> None:
    grid: Grid = {
        "trainer.device": ["cpu"], "dataset": ["moons"], "dataset.rows": [200],
        "model": ["shallow"], "trainer.epochs": [2], "trainer.histograms": ["true"],
        "optimizer": ["sgd", "adam"], "seed": [0, 1],
    }  # fmt: skip
    theirs = alone(tmp_path / "alone", grid)
    folder = sweep(tmp_path / "sweep", grid)
    assert_equal_runs(folder, theirs)
    tags = {tag for _, tag, _ in events_of(folder / "3")}
    assert {"decision_boundary", "test/confusion_matrix", "gradients/output.bias"} <= tags


# ── what Hydra leaves ─────────────────────────────────────────────────────────────────────────


def test_hydras_own_files_are_those_of_its_own_launcher(tmp_path: Path) -> None:
    """But for what chooses the launcher: byte for byte in two files, value for value in one."""
    grid: Grid = {
        "dataset": ["iris"], "trainer.epochs": [1], "baseline": ["none"],
        "trainer.pictures": ["false"],
        "model": ["linear", "deep"], "experiment": ["shallow_sgd"], "optimizer.lr": [1e-3, 0.5],
    }  # fmt: skip
    ways = ("fused", "basic")
    for way in ways:
        (tmp_path / way).mkdir()
        sweep(tmp_path / way / "out", grid, f"hydra/launcher={way}", f"hydra/sweeper={way}")
    for num in range(4):
        places = [tmp_path / way / "out" / str(num) / ".hydra" for way in ways]
        names = [sorted(path.name for path in place.iterdir()) for place in places]
        assert names[0] == names[1] == ["config.yaml", "hydra.yaml", "overrides.yaml"]
        for name in ("config.yaml", "overrides.yaml"):
            ours, theirs = ((place / name).read_bytes() for place in places)
            assert ours == theirs
        trees = []
        for way, place in zip(ways, places, strict=True):
            text = (place / "hydra.yaml").read_text().replace(str(tmp_path / way), "here")
            tree = yaml.safe_load(text)["hydra"]
            for choice in ("launcher", "sweeper"):
                del tree[choice]
                del tree["runtime"]["choices"][f"hydra/{choice}"]
                tree["overrides"]["hydra"].remove(f"hydra/{choice}={way}")
            trees.append(tree)
        assert trees[0] == trees[1]
        assert trees[0]["job"]["num"] == num
    told = [yaml.safe_load((tmp_path / way / "out" / "multirun.yaml").read_text()) for way in ways]
    assert told[0]["hydra"]["overrides"]["task"] == told[1]["hydra"]["overrides"]["task"]
    assert {key: told[0][key] for key in told[0] if key != "hydra"} == {
        key: told[1][key] for key in told[1] if key != "hydra"
    }


def test_a_run_of_the_command_line_alone_is_the_same_run_with_the_same_arm(tmp_path: Path) -> None:
    """Once through the program itself, the name of the arm and the config in the folder too."""
    grid: Grid = {"dataset": ["iris"], "trainer.epochs": [2], "optimizer": ["sgd", "adam"]}
    folder = sweep(tmp_path / "sweep", {**grid, "seed": [0, 1]}, "hydra.launcher.workers=1") / "3"
    single = tmp_path / "single"
    subprocess.run(
        [sys.executable, "-m", "nnexp", f"hydra.run.dir={single}", "dataset=iris",
         "trainer.epochs=2", "optimizer=adam", "seed=1"],
        env={**os.environ}, cwd=tmp_path, check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    assert_same(folder, single)
    ours, theirs = (json.loads((place / "result.json").read_text()) for place in (folder, single))
    assert ours["arm"] == theirs["arm"] == "deep · adam · epochs=2"
    assert (ours["group_size"], theirs["group_size"]) == (4, 1)
    for name in ("config.yaml", "overrides.yaml"):
        assert (folder / ".hydra" / name).read_bytes() == (single / ".hydra" / name).read_bytes()
