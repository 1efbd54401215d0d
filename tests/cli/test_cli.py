"""The program as a user meets it: the real command line, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import pty
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from conftest import Once
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nnexp.config.compose import CONF, register, to_config
from nnexp.runs.checkpoints import load_checkpoint
from nnexp.runs.record import EPOCH_KEYS, read_result
from nnexp.trainer import run

ROOT = Path(__file__).resolve().parents[2]


def nnexp(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nnexp`` in ``folder``."""
    return programs.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def only_run(folder: Path) -> Path:
    """The folder of the one run under ``folder``."""
    (result,) = folder.rglob("result.json")
    return result.parent


def epochs_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def main_job(once: Once) -> tuple[Path, Any]:
    """The main job, once for the tests that look at what it left."""

    def train(folder: Path) -> None:
        done = nnexp(folder, "+experiment=deep_adam")
        assert done.returncode == 0, done.stderr
        (folder / "done").write_bytes(pickle.dumps(done))

    folder = once("main_job", train)
    return only_run(folder), pickle.loads((folder / "done").read_bytes())


def test_main_job_leaves_the_contract(main_job: tuple[Path, Any]) -> None:
    run, _ = main_job
    assert (run / ".hydra" / "config.yaml").is_file()
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    epochs = epochs_of(run)
    assert [e["epoch"] for e in epochs] == list(range(1, 51))
    assert all(tuple(e) == EPOCH_KEYS for e in epochs)
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["error"] is None
    assert (result["seed"], result["arm"]) == (0, "deep · adam")
    assert result["dataset"]["num_features"] == 64
    assert result["dataset"]["num_classes"] == 10
    assert sum(result["dataset"][f"num_{s}"] for s in ("train", "val", "test")) == 1797
    assert result["num_parameters"] == 64 * 128 + 3 * 128 * 128 + 128 * 10 + 4 * 128 + 10
    best = epochs[result["best_epoch"] - 1]
    assert best["val/acc"] == max(e["val/acc"] for e in epochs)
    for key in ("train/loss", "val/loss", "val/acc"):
        assert result["metrics"][key] == best[key]
    assert result["metrics"]["test/acc"] > 0.95
    assert result["baselines"]["knn"]["test/acc"] > 0.96
    assert result["group_size"] == 1


def test_main_job_tells_what_came_out(main_job: tuple[Path, Any]) -> None:
    run, done = main_job
    result = json.loads((run / "result.json").read_text())
    assert done.stderr == ""
    assert f"{result['metrics']['test/acc']:.4f}" in done.stdout
    assert f"{result['baselines']['knn']['test/acc']:.4f}" in done.stdout
    assert f"k={result['baselines']['knn']['k']}" in done.stdout
    assert str(run.relative_to(run.parents[2])) in done.stdout
    assert "tensorboard --logdir outputs" in done.stdout


def test_tensorboard_shows_the_run(main_job: tuple[Path, Any]) -> None:
    run, _ = main_job
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/acc", "val/loss", "val/acc", "lr", "best/val_acc"} <= set(
        tags["scalars"]
    )
    assert not any("test" in tag for tag in tags["scalars"])  # no table of runs sorts by them
    losses = [(point.step, point.value) for point in events.Scalars("val/loss")]
    assert losses == [
        (epoch["step"], pytest.approx(epoch["val/loss"], rel=1e-6)) for epoch in epochs_of(run)
    ]
    result = read_result(run)
    assert [p.value for p in events.Scalars("best/val_acc")] == [
        pytest.approx(result.metrics["val/acc"])
    ]
    knn = events.Scalars("vs/knn/val_acc")
    assert [(p.step, p.value) for p in knn] == [
        (step, pytest.approx(result.baselines["knn"]["val/acc"])) for step in (0, losses[-1][0])
    ]
    (text,) = events.Tensors("test")
    told = text.tensor_proto.string_val[0].decode()
    assert f"{result.metrics['test/acc']:.4f}" in told
    assert f"{result.baselines['knn']['test/acc']:.4f}" in told
    assert tags["images"] == ["test/confusion_matrix"]
    assert tags["graph"] is True
    assert events.summary_metadata["config"].plugin_data.plugin_name == "text"
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_pictures_and_histograms(tmp_path: Path) -> None:
    done = nnexp(
        tmp_path, "dataset=moons", "model=shallow", "trainer.epochs=4", "trainer.eval_every=2",
        "trainer.histograms=true", "model.norm=layer",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    events = EventAccumulator(str(run))
    events.Reload()
    assert set(events.Tags()["images"]) == {"test/confusion_matrix", "decision_boundary"}
    names = ("hidden.0.linear.weight", "hidden.0.linear.bias", "hidden.0.norm.weight",
             "hidden.0.norm.bias", "output.weight", "output.bias")  # fmt: skip
    wanted = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    assert wanted <= set(events.Tags()["tensors"])
    assert len(events.Tensors("weights/output.weight")) == 2
    epochs = epochs_of(run)
    assert [epoch["val/loss"] is None for epoch in epochs] == [True, False, True, False]


def test_the_bar_is_there_in_a_terminal_alone(tmp_path: Path, main_job: tuple[Path, Any]) -> None:
    ours, theirs = pty.openpty()
    process = programs.Popen(
        [sys.executable, "-m", "nnexp", "dataset=iris", "trainer.epochs=30",
         "trainer.pictures=false"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the program is
        while part := os.read(ours, 65536):
            seen += part
    assert process.wait(timeout=60) == 0
    assert b"train loss" in seen
    assert b"val loss" in seen
    assert "train loss" not in main_job[1].stderr + main_job[1].stdout


def test_checkpoints_load_without_code(main_job: tuple[Path, Any]) -> None:
    run, _ = main_job
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert best["model"]["output.weight"].shape == (10, 128)
    last = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert last["epoch"] == 50
    assert set(last["optimizer"]) == {"exp_avg", "exp_avg_sq"}


def test_a_checkpoint_predicts_as_the_run_did(main_job: tuple[Path, Any]) -> None:
    from nnexp.config.schema import BundledConfig
    from nnexp.data.dataset import load, load_source
    from nnexp.runs.checkpoints import load_network

    run, _ = main_job
    trained = load_network(run / "checkpoints" / "best.pt")
    config = BundledConfig(name="digits", source="digits", scaling="none", split_seed=0)
    dataset, source = load(config), load_source(config)
    raw = source.x[dataset.test.numpy()]
    assert trained.predict(raw[:2]) == trained.predict(raw[:2].tolist())
    names = [dataset.class_names[i] for i in dataset.y[dataset.test].tolist()]
    right = sum(a == b for a, b in zip(trained.predict(raw), names, strict=True))
    assert right / len(names) == pytest.approx(read_result(run).metrics["test/acc"], abs=1e-12)


def test_the_same_command_twice_gives_the_same_record(tmp_path: Path) -> None:
    command = ["experiment=deep_adam", "trainer.epochs=4", "trainer.batch_size=50", "seed=3",
               "trainer.pictures=false"]  # fmt: skip
    records = []
    for name in ("a", "b"):
        assert nnexp(tmp_path, *command, f"hydra.run.dir={name}").returncode == 0
        epochs = epochs_of(tmp_path / name)
        for epoch in epochs:
            del epoch["seconds"]
        records.append(json.dumps(epochs))
    assert records[0] == records[1]


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_an_optimizer_is_not_trained_with_the_rate_of_another(
    tmp_path: Path, sweep: list[str]
) -> None:
    """The log tells which is, and what of the experiment is left out."""
    done = nnexp(
        tmp_path, *sweep, "+experiment=deep_adam", "optimizer=sgd", "scheduler=constant",
        "trainer.epochs=1", "trainer.pictures=false", "baseline=none", "report.enabled=false",
        "hydra.run.dir=out", "hydra.sweep.dir=out",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    note = "experiment/optimizer/deep_adam-adam.yaml does not apply to optimizer=sgd\n"
    assert done.stdout.count(note) == 1
    folder = tmp_path / "out" / ("0" if sweep else ".")
    assert epochs_of(folder)[0]["lr"] == pytest.approx(0.05)
    first, second, *_ = (folder / "nnexp.log").read_text(encoding="utf-8").splitlines(True)
    assert first.endswith(f"[nnexp.config.compose][INFO] - {note}")
    assert "; 59146 parameters; lr 0.05, batch 32; cpu, 1 thread" in second


def test_multirun_with_the_basic_launcher(tmp_path: Path) -> None:
    done = nnexp(
        tmp_path, "-m", "hydra/launcher=basic", "hydra/sweeper=basic", "debug=fast",
        "dataset=iris", "optimizer=sgd,adam", "seed=range(2)",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("result.json"))]
    assert [(r["optimizer"], r["seed"], r["epochs"]) for r in results] == [
        ("sgd", 0, 1), ("sgd", 1, 1), ("adam", 0, 1), ("adam", 1, 1),
    ]  # fmt: skip
    arms = [f"deep · {name} · debug=fast" for name in ("sgd", "adam")]
    assert [r["arm"] for r in results] == [arms[0], arms[0], arms[1], arms[1]]
    assert "tensorboard --logdir multirun" in done.stdout


@pytest.mark.parametrize(
    "arguments", ["", "experiment=shallow_sgd", "dataset=xor model=shallow optimizer=adagrad"]
)
def test_debug_overfit_reaches_zero_training_loss(tmp_path: Path, arguments: str) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", ["debug=overfit", *arguments.split()]))
    run(config, tmp_path, "arm")
    assert epochs_of(tmp_path)[-1]["train/loss"] < 0.01


def test_debug_overfit_fails_a_network_that_does_not_learn(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "debug=overfit", "trainer.epochs=5", "optimizer.lr=1e-6")
    assert done.returncode == 1
    assert "require_train_loss=0.01: the training loss ended at 2." in done.stderr
    assert read_result(only_run(tmp_path)).status == "failed"


def test_a_diverged_run_says_so(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "optimizer=sgd", "optimizer.lr=1e30", "trainer.epochs=3")
    assert done.returncode == 1
    assert done.stderr.startswith("nnexp: training diverged in epoch 1: train/loss is ")
    assert done.stderr.count("\n") == 1
    result = read_result(only_run(tmp_path))
    assert (result.status, result.epochs) == ("diverged", 1)
    assert result.baselines["knn"]["test/acc"] > 0.9


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    process = programs.Popen(
        [sys.executable, "-m", "nnexp", "trainer.epochs=100000", "hydra.run.dir=run"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    record = tmp_path / "run" / "metrics.jsonl"
    for _ in range(600):
        if record.exists() and record.read_text().count("\n") > 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "nnexp: interrupted\n"
    run = tmp_path / "run"
    result = read_result(run)
    assert result.status == result.error == "interrupted"
    epochs = epochs_of(run)
    assert 3 < len(epochs) <= result.epochs + 1 <= len(epochs) + 1
    assert result.best_epoch is not None
    assert result.metrics["val/loss"] == epochs[result.best_epoch - 1]["val/loss"]
    assert load_checkpoint(run / "checkpoints" / "best.pt")["epoch"] >= result.best_epoch


def test_checkpoints_that_do_not_fit_lose_nothing_else(tmp_path: Path) -> None:
    """No file may be longer than 200 kB; the network takes 1 MB."""
    done = programs.run(
        [sys.executable, "-m", "nnexp", "dataset=iris", "debug=fast", "model.hidden=[512,512]",
         "hydra.run.dir=run"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )  # fmt: skip
    assert done.returncode == 1
    line = f"no checkpoint: {tmp_path / 'run' / 'checkpoints' / 'best.pt'}: File too large"
    assert done.stderr == f"nnexp: {line}\n"
    result = read_result(tmp_path / "run")
    assert (result.status, result.error) == ("completed", line)
    assert f"{result.metrics['test/acc']:.4f}" in done.stdout
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


# ── Hydra's own ways ──────────────────────────────────────────────────────────────────────────


def test_help_is_quick_because_it_does_not_import_torch(tmp_path: Path) -> None:
    program = (
        "import sys, runpy\n"
        "sys.argv = ['nnexp', '--help']\n"
        "try: runpy.run_module('nnexp', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "optimizer: adagrad, adam, adamw, rmsprop, sgd" in done.stdout
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--cfg", "job", "optimizer=sgd"], "nesterov: false"),
        (["--cfg", "job", "experiment=shallow_adagrad"], "name: adagrad"),
        (["--cfg", "job", "+experiment=shallow_adagrad"], "name: shallow"),
        (["--cfg", "job", "-p", "optimizer", "++optimizer.lr=0.5"], "lr: 0.5"),
        (["--cfg", "job", "~baseline"], "knn: null"),
        (["--cfg", "job", "--resolve", "seed=7"], "split_seed: 7"),
        (["--info", "defaults-tree"], "optimizer: adam"),
        (["-sc", "query=bash"], "optimizer=adagrad"),
    ],
)
def test_hydra_flags(tmp_path: Path, arguments: list[str], expected: str) -> None:
    environment = {"COMP_LINE": "nnexp optimizer=", "COMP_POINT": "16"}
    done = nnexp(tmp_path, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_own_configs_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer").mkdir()
    (tmp_path / "mine" / "optimizer" / "hot.yaml").write_text(
        "defaults:\n  - sgd\n  - _self_\nname: hot\nlr: 0.3\n"
    )
    (tmp_path / "mine" / "experiment" / "trial.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: hot\n"
        "  - override /dataset: wine\ntrainer:\n  epochs: 2\n"
    )
    done = nnexp(tmp_path, "--config-dir", "mine", "+experiment=trial")
    assert done.returncode == 0, done.stderr
    result = read_result(only_run(tmp_path))
    assert (result.optimizer, result.dataset.name, result.epochs) == ("hot", "wine", 2)
    assert result.arm == "deep · hot · trial"


# ── bad input: one line that names the thing, and an exit code ────────────────────────────────
# Of every kind of mistake one; test_messages.py has the others, without a process each.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("optimizer.lrr=1", "optimizer.lrr: no such option (did you mean 'lr'?)"),
        ("optimizer=adm", "optimizer=adm: no such choice (did you mean 'adam'?)"),
        ("+experiment=deep_adm", "experiment=deep_adm: no such choice (did you mean 'deep_adam'?)"),
        ("optimizer.lr=fast", "optimizer.lr=fast: must be a number"),
        ("optimizer.lr=-1", "optimizer.lr=-1.0: must be at least 0"),
        ("model=linear model.norm=batch", "model.norm=batch: needs a hidden layer"),
        ("~model", "model is required: choose one with model=<name>"),
        ("dataset.split_seed=${sed}", "dataset.split_seed: Interpolation key 'sed' not found"),
        ("trainer.device=gpu", "trainer.device=gpu: must be auto, cpu, cuda or cuda:N"),
        ("dataset=mnist dataset.root=nowhere dataset.download=false", "nowhere"),
        ("dataset=csv", "dataset.path is required"),
        ("dataset=csv dataset.path=no.csv dataset.target=y", "no.csv"),
        ("dataset=iris dataset.num_train=2", "dataset.num_train=2"),
        (
            "dataset=iris baseline.knn.k=500",
            "baseline.knn.k=500: must be at most the number of training",
        ),
        ("hydra.run.dir=/proc/nnexp", "/proc/nnexp: No such file or directory"),
        ("model=deep,shallow", "model=deep,shallow"),
    ],
)
def test_bad_input_is_told_in_one_line(tmp_path: Path, arguments: str, expected: str) -> None:
    done = nnexp(tmp_path, *arguments.split())
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: ")
    assert expected in line
    assert "Traceback" not in done.stdout
    assert "unexpected" not in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_where_there_is_none(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "trainer.device=cuda")
    assert done.returncode == 1
    assert done.stderr.startswith("nnexp: trainer.device=cuda: torch ")
    assert done.stderr.count("\n") == 1


def test_full_error_shows_the_traceback(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "optimizer.lr=-1", HYDRA_FULL_ERROR="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ConfigError: optimizer.lr=-1.0: must be at least 0" in done.stderr


def test_a_refused_config_is_recorded_in_its_folder(tmp_path: Path) -> None:
    assert nnexp(tmp_path, "optimizer.lr=-1", "seed=4").returncode == 1
    result = read_result(only_run(tmp_path))
    assert (result.status, result.seed, result.model) == ("failed", 4, "deep")
    assert result.error == "optimizer.lr=-1.0: must be at least 0"


# ── the wheel ─────────────────────────────────────────────────────────────────────────────────


def test_the_wheel_runs_from_an_empty_folder(tmp_path: Path) -> None:
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("nnexp-*.whl")
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, unpacked], check=True)
    empty.mkdir()
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "import nnexp; from nnexp.cli.main import main\n"
        "print(nnexp.__file__, file=sys.stdout); main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(unpacked), "+experiment=deep_adam", "debug=fast"],
        cwd=empty, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(unpacked) in done.stdout.splitlines()[0]
    assert read_result(only_run(empty)).status == "completed"
