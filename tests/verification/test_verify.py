"""``python -m nnexp.verify``: a sweep as it was trained, and one in which something was changed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import programs
import pytest
import torch
from conftest import Once

from nnexp.errors import ConfigError, DataError
from nnexp.runs.checkpoints import load_checkpoint, save_checkpoint
from nnexp.runs.record import BASELINE_KEYS, read_result, write_result
from nnexp.verification.agreement import differences, largest
from nnexp.verification.picks import Recorded, find_runs, picked
from nnexp.verification.rerun import compared, recorded_config
from nnexp.verify import verify


def python(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-W", "error::UserWarning", "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


TABLE = "a,b,class\n" + "".join(f"{i % 7},{i % 5}.5,{'xy'[i % 7 > 3]}\n" for i in range(70))
NUM_RUNS = 8


@pytest.fixture(scope="module")
def swept(once: Once) -> Path:
    """A sweep of two optimizers, a rate that diverges, and two seeds, as the launcher left it."""
    return once("verify_swept", make_sweep) / "sweep"


def make_sweep(folder: Path) -> None:
    (folder / "table.csv").write_text(TABLE)
    done = python(
        folder, "nnexp", "-m", "dataset=csv", "dataset.path=table.csv", "dataset.target=class",
        "model=shallow", "optimizer=sgd,adamw", "optimizer.lr=0.1,1e30", "seed=range(2)",
        "trainer.epochs=3", "trainer.grad_clip=null", "trainer.pictures=false",
        "hydra.sweep.dir=sweep", "~hydra.callbacks.report",
    )  # fmt: skip
    runs = find_runs(folder / "sweep")
    assert len(runs) == NUM_RUNS, done.stderr


@pytest.fixture
def sweep(swept: Path, tmp_path: Path) -> Path:
    """A copy to change things in."""
    return shutil.copytree(swept, tmp_path / "sweep")


def the_run(sweep: Path, number: int) -> Recorded:
    return next(run for run in find_runs(sweep) if run.name == str(number))


def test_a_sweep_is_what_its_runs_are_alone(swept: Path) -> None:
    """From another folder than that of the sweep, to whose data the config has a relative path."""
    done = python(swept, "nnexp.verify", str(swept), "--runs", "all")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert " ".join(lines[0].split()) == "number arm seed group of epochs metrics weights"
    assert [line.split()[0] for line in lines[1:-1]] == [str(i) for i in range(NUM_RUNS)]
    assert all(line.split()[-3:] == ["0", "0", "identical"] for line in lines[1:-1])
    assert lines[-1] == "largest difference: 0 (8 of 8 runs identical, bit for bit)"
    statuses = [run.result.status for run in find_runs(swept)]
    assert set(statuses) == {"completed", "diverged"}
    assert {run.result.group_size for run in find_runs(swept)} != {1}


def test_a_changed_metric_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sweep / "0" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    epoch = json.loads(lines[1])
    before = epoch["val/loss"]
    epoch["val/loss"] += 0.25
    path.write_text("\n".join([lines[0], json.dumps(epoch), *lines[2:]]) + "\n")
    assert not verify(sweep / "0", 3, 1e-3)
    out = capsys.readouterr().out.splitlines()
    assert out[1].split()[-3:] == ["0.25", "0", "differs"]
    changed = f"metrics.jsonl, epoch 2, val/loss: {before + 0.25}, alone {before}"
    assert out[2].strip() == changed
    assert out[3] == "largest difference: 0.25 (0 of 1 run identical, bit for bit)"


def test_a_changed_weight_is_named(sweep: Path) -> None:
    path = sweep / "0" / "checkpoints" / "best.pt"
    content = load_checkpoint(path)
    content["model"]["output.weight"][1, 3] += 0.5
    save_checkpoint(path, content)
    done = python(sweep, "nnexp.verify", "0")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "checkpoints, best.pt, model, output.weight[1, 3]: " in done.stdout
    assert "largest difference: 0.5 (0 of 1 run identical, bit for bit)" in done.stdout


def test_one_bit_is_a_difference(sweep: Path) -> None:
    path = sweep / "0" / "checkpoints" / "last.pt"
    content = load_checkpoint(path)
    bias = content["model"]["output.bias"]
    bias[0] = torch.nextafter(bias[0], torch.tensor(9.0))
    save_checkpoint(path, content)
    comparison = compared(the_run(sweep, 0))
    (difference,) = comparison.weights
    assert 0 < difference.amount < 1e-6
    assert not comparison.identical
    assert not comparison.metrics


def test_what_is_missing_is_named(sweep: Path) -> None:
    (sweep / "0" / "checkpoints" / "best.pt").unlink()
    path = sweep / "0" / "metrics.jsonl"
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    comparison = compared(the_run(sweep, 0))
    assert comparison.amount == math.inf
    assert [str(d) for d in comparison.metrics + comparison.weights] == [
        "metrics.jsonl, epochs: 1, alone 3",
        "checkpoints, best.pt: absent, alone present",
    ]


def test_other_versions_and_devices_are_told(sweep: Path) -> None:
    result = read_result(sweep / "0")
    versions = {**result.versions, "torch": "1.0"}
    write_result(
        sweep / "0", dataclasses.replace(result, versions=versions, device="cuda:1 (NVIDIA X)")
    )
    comparison = compared(the_run(sweep, 0))
    assert comparison.identical
    assert comparison.on_cuda
    assert comparison.notes == [
        f"recorded with torch 1.0, now {result.versions['torch']}: differences are to be expected",
        "recorded on cuda (NVIDIA X), now on cpu: differences are to be expected",
    ]


def make_old(run: Path) -> None:
    """Rewrite a run's files to what they were before losses were exact, matmul and pixels."""
    result = json.loads((run / "result.json").read_text())
    del result["matmul"]
    for values, splits in [
        (result["metrics"], ["test"]),
        *((baseline, ["val", "test"]) for baseline in result["baselines"].values()),
    ]:
        for split in splits:
            values[f"{split}/loss"] = values.pop(f"{split}/clipped_loss")
    (run / "result.json").write_text(json.dumps(result))
    for path in (run / "checkpoints").iterdir():
        content = load_checkpoint(path)
        del content["pixels"]
        save_checkpoint(path, content)


@pytest.mark.parametrize("device", ["cpu", "cuda:0 (X)"])
def test_a_sweep_of_an_earlier_version_is_identical(
    sweep: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_result(sweep / "0")
    assert before.baselines
    assert before.metrics["test/loss"] != before.metrics["test/clipped_loss"]
    write_result(sweep / "0", dataclasses.replace(before, device=device))
    make_old(sweep / "0")
    old = read_result(sweep / "0")
    assert old.baselines == before.baselines
    assert old.metrics == {**before.metrics, "test/loss": None}
    assert verify(sweep / "0", 1, 0.0)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1].split()[-3:] == ["0", "0", "identical"]
    assert lines[2] == (
        "the record does not say which library computed its matrix products, now "
        f"{before.matmul}: another one would explain differences"
    )
    assert "recorded before the exact test/loss, pixels existed: not compared" in lines


def test_what_an_earlier_version_recorded_is_compared(sweep: Path) -> None:
    """Its clipped losses, under their old name, and a diverged run that has none."""
    for number in (0, 2):
        make_old(sweep / str(number))
    diverged = compared(the_run(sweep, 2))
    assert the_run(sweep, 2).result.status == "diverged"
    assert diverged.identical
    path = sweep / "0" / "result.json"
    result = json.loads(path.read_text())
    clipped = result["metrics"]["test/loss"]
    result["metrics"]["test/loss"] += 0.25
    name, baseline = next(iter(result["baselines"].items()))
    val_loss, baseline["val/loss"] = baseline["val/loss"], 9.0
    path.write_text(json.dumps(result))
    assert [(d.place, d.alone) for d in compared(the_run(sweep, 0)).metrics] == [
        ("result.json, metrics, test/clipped_loss", str(clipped)),
        (f"result.json, baselines, {name}, val/clipped_loss", str(val_loss)),
    ]


def test_the_first_records_are_compared_too(sweep: Path) -> None:
    """Those of before predictions were kept."""
    make_old(sweep / "0")
    path = sweep / "0" / "result.json"
    result = json.loads(path.read_text())
    for key in ("config", "calibration"):
        del result[key]
    del result["dataset"]["official_test"], result["metrics"]["test/brier"]
    knn = result["baselines"]["knn"]
    added = {*BASELINE_KEYS, "val/loss", "test/loss"} - {"val/acc", "test/acc", "seconds"}
    result["baselines"]["knn"] = {
        **{key: value for key, value in knn.items() if key not in added},
        "val/acc by k": {str(tried["k"]): tried["val/acc"] for tried in knn["tried"]},
    }
    path.write_text(json.dumps(result))
    (sweep / "0" / "predictions.npz").unlink()
    comparison = compared(the_run(sweep, 0))
    assert comparison.identical
    note = comparison.notes[-1]
    assert note.startswith("recorded before calibration, official_test, the exact test/loss, test/")
    assert note.endswith(", pixels, predictions.npz existed: not compared")


def test_what_is_null_in_a_record_of_this_version_is_a_difference(sweep: Path) -> None:
    result = read_result(sweep / "0")
    write_result(
        sweep / "0", dataclasses.replace(result, metrics={**result.metrics, "test/loss": None})
    )
    comparison = compared(the_run(sweep, 0))
    assert [d.place for d in comparison.metrics] == ["result.json, metrics, test/loss"]
    assert comparison.notes == []


def test_a_config_that_was_changed_is_told(sweep: Path) -> None:
    path = sweep / "0" / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.1", "lr: 0.2"))
    comparison = compared(the_run(sweep, 0))
    told = "the config now says 0.2 for config, optimizer, lr; it was trained with 0.1"
    assert comparison.notes == [told]
    assert comparison.metrics
    assert comparison.weights


def test_tolerance_is_for_cuda(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = read_result(sweep / "0")
    metrics = {**result.metrics, "val/loss": (result.metrics["val/loss"] or 0) + 0.01}
    write_result(sweep / "0", dataclasses.replace(result, metrics=metrics))
    assert not verify(sweep / "0", 1, 1.0)
    write_result(sweep / "0", dataclasses.replace(result, metrics=metrics, device="cuda:0 (X)"))
    assert not verify(sweep / "0", 1, 0.005)
    assert verify(sweep / "0", 1, 0.02)
    lines = capsys.readouterr().out.splitlines()
    loss = f"{metrics['val/loss']}, alone {result.metrics['val/loss']}"
    assert f"    result.json, val/loss: {loss} (0.01 apart, 0.005 allowed)" in lines
    assert lines[-4].split()[-3:] == ["0.01", "0", "agrees"]
    assert lines[-2:] == [
        "1 run on CUDA: 1 within the tolerance in every epoch",
        "agreeing means losses within 0.02 (those above 1: 2 %), accuracies within 0.02 and one "
        "sample; required of the first epoch",
    ]


def test_runs_on_cuda_may_drift_apart_later(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the second of three epochs on; that is within the rules unless two are asked for."""
    path = sweep / "0" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    epoch = json.loads(lines[1])
    before = epoch["val/loss"]
    epoch["val/loss"] += 0.25
    path.write_text("\n".join([lines[0], json.dumps(epoch), *lines[2:]]) + "\n")
    write_result(sweep / "0", dataclasses.replace(read_result(sweep / "0"), device="cuda:0 (X)"))
    assert verify(sweep / "0", 1, 1e-3)
    out = capsys.readouterr().out.splitlines()
    assert out[1].endswith("   0.25        0  drifts apart from epoch 2")
    assert out[2].strip() == (
        f"metrics.jsonl, epoch 2, val/loss: {before + 0.25}, alone {before} "
        "(0.25 apart, 0.001 allowed)"
    )
    assert out[-2] == "1 run on CUDA: 1 within it at first and apart later"
    assert not verify(sweep / "0", 1, 1e-3, epochs=2)
    out = capsys.readouterr().out.splitlines()
    assert out[1].endswith("  differs")
    assert out[-2] == "1 run on CUDA: 1 different"
    assert out[-1].endswith("required of the first 2 epochs")


def test_devices_of_a_sweep_are_told_apart(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of the CPU is held to its bits beside one of CUDA, which is not."""
    for number in range(2, NUM_RUNS):
        shutil.rmtree(sweep / str(number))
    write_result(sweep / "0", dataclasses.replace(read_result(sweep / "0"), device="cuda:0 (X)"))
    assert verify(sweep, None, 1e-3)
    assert capsys.readouterr().out.splitlines()[-3:-1] == [
        "largest difference: 0 (1 of 1 run identical, bit for bit)",
        "1 run on CUDA: 1 identical in every bit",
    ]


def test_kinds_of_a_group_are_told_apart(sweep: Path) -> None:
    """Adam and AdamW have the same options; a name of one's own says nothing."""
    run = sweep / "4"
    trained_with = load_checkpoint(run / "checkpoints" / "last.pt")["config"]
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("name: adamw", "name: mine"))
    assert type(recorded_config(run, {}).config.optimizer).__name__ == "AdamW"
    shutil.rmtree(run / ".hydra")
    found = recorded_config(run, trained_with)
    assert dataclasses.asdict(found.config) == trained_with
    assert type(found.config.optimizer).__name__ == "AdamW"
    assert type(found.config.dataset).__name__ == "TableConfig"
    assert found.cwd is None
    unknown = {**trained_with, "optimizer": {**trained_with["optimizer"], "name": "mine"}}
    with pytest.raises(ConfigError, match="optimizer: its options are those of none of adagrad, "):
        recorded_config(run, unknown)


def test_references_to_hydra_mean_what_they_meant(sweep: Path) -> None:
    config = sweep / "5" / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 1\n", "seed: ${hydra:job.num}\n", 1))
    assert recorded_config(sweep / "5", {}).config.seed == 5
    assert recorded_config(sweep / "5", {}).config.dataset.split_seed == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda sweep: shutil.rmtree(sweep), "{sweep}: no such folder"),
        (lambda sweep: shutil.rmtree(sweep / "0"), "{sweep}: no run in it has a result.json"),
        (
            lambda sweep: (sweep / "0" / "result.json").write_text('{"schema": 1'),
            "{sweep}/0/result.json: Expecting ',' delimiter: line 1 column 13 (char 12)",
        ),
        (
            lambda sweep: write_result(
                sweep / "0", dataclasses.replace(read_result(sweep / "0"), status="interrupted")
            ),
            "{sweep}: no run in it has completed: 1 interrupted",
        ),
        (
            lambda sweep: (sweep / "0" / ".hydra" / "config.yaml").write_text("model: {widths: 3}"),
            "{sweep}/0/.hydra/config.yaml: model.widths: no such option",
        ),
        (
            lambda sweep: (sweep / "0" / "checkpoints" / "last.pt").write_bytes(b"x"),
            "{sweep}/0/checkpoints/last.pt is damaged, or not a checkpoint of nnexp",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_line(sweep: Path, spoil: object, message: str) -> None:
    for folder in sweep.iterdir():
        if folder.is_dir() and folder.name != "0":
            shutil.rmtree(folder)
    spoil(sweep)  # type: ignore[operator]
    with pytest.raises((DataError, ConfigError)) as caught:
        verify(sweep, 3, 1e-3)
    assert str(caught.value).startswith(message.format(sweep=sweep))
    assert "\n" not in str(caught.value)


def test_the_command_line_tells_errors(tmp_path: Path) -> None:
    done = python(tmp_path, "nnexp.verify", "absent")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"nnexp: {tmp_path}/absent: no such folder\n"
    done = python(tmp_path, "nnexp.verify", ".", "--runs", "0")
    assert done.returncode == 2
    assert "0: must be a whole number of at least 1, or all" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(
    swept: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = programs.Popen(
        [sys.executable, "-m", "nnexp.verify", str(swept), "--runs", "all"],
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the header: training begins
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert told == ("nnexp: interrupted\n" if code == 130 else "nnexp: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_data_that_are_gone_are_told(sweep: Path) -> None:
    hydra = sweep / "0" / ".hydra" / "hydra.yaml"
    hydra.write_text(hydra.read_text().replace(" cwd: ", " cwd: /gone"))
    with pytest.raises(DataError, match=r"seed 0, cannot be trained again: dataset\.path=table"):
        compared(the_run(sweep, 0))


def recorded(number: int, arm: str, seed: int, group_size: int, result: object) -> Recorded:
    assert dataclasses.is_dataclass(result)
    changes = {"arm": arm, "seed": seed, "group_size": group_size}
    return Recorded(str(number), Path(str(number)), dataclasses.replace(result, **changes))  # type: ignore[type-var, arg-type]


def test_picks_are_spread_over_arms_seeds_and_groups(swept: Path) -> None:
    result = read_result(swept / "0")
    runs = [
        recorded(6 * arm + seed, f"arm {arm}", seed, 1 if arm == 0 else 2 + seed // 3, result)
        for arm in range(4)
        for seed in range(6)
    ]
    assert picked(runs, None) == runs
    assert picked(runs, 99) == runs
    for count in (1, 2, 3, 7, 23):
        chosen = picked(runs, count)
        assert chosen == picked(runs, count)
        assert len({run.name for run in chosen}) == count
        assert [int(run.name) for run in chosen] == sorted(int(run.name) for run in chosen)
    three = picked(runs, 3)
    assert [run.result.arm for run in three] == ["arm 1", "arm 2", "arm 3"]  # arm 0 was alone
    assert {run.result.group_size for run in three} == {3}
    assert len(picked(runs, 18)) == sum(r.result.group_size > 1 for r in picked(runs, 18))


def test_runs_are_found_by_their_numbers(sweep: Path) -> None:
    (sweep / "2").rename(sweep / "10")
    shutil.copytree(sweep / "10", sweep / "3" / "previous" / "1")
    names = [run.name for run in find_runs(sweep)]
    assert names == ["0", "1", "3", "4", "5", "6", "7", "10"]


def test_differences_of_trees() -> None:
    nan, inf = math.nan, math.inf
    tree = {"a": [1.0, nan], "t": torch.tensor([1.0, nan, inf, -0.0]), "seconds": 1.0}
    same = {"a": [1.0, nan], "t": torch.tensor([1.0, nan, inf, -0.0]), "seconds": 2.0}
    assert list(differences(tree, same, "x")) == []
    other = {"a": [1.5, 2.0, "b"], "t": torch.tensor([1.0, 0.0, inf, 0.0]), "more": None}
    found = list(differences(tree, other, "x"))
    assert [(d.place, d.recorded, d.alone, d.amount) for d in found] == [
        ("x, a[0]", "1.0", "1.5", 0.5),
        ("x, a[1]", "nan", "2.0", inf),
        ("x, a[2]", "absent", "b", inf),
        ("x, t[1]", "nan", "0.0", inf),
        ("x, more", "absent", "null", inf),
    ]
    assert largest(found) is found[1]
    assert largest([]) is None
    (sign,) = differences(torch.tensor([-0.0]), torch.tensor([0.0]), "x")
    assert sign.amount == 0.0
    (shape,) = differences(torch.zeros(2), torch.zeros(3), "x")
    assert shape.amount == inf
    (whole,) = differences(1, 1.0, "x")
    assert whole.amount == 0.0
