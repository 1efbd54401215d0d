"""``trainer.select`` on the command line: a sweep in which runs keep their epochs by all rules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
from conftest import Once
from omegaconf import OmegaConf

from nnexp.cli.rerun import read_recorded
from nnexp.runs.checkpoints import load_checkpoint, save_checkpoint
from nnexp.runs.record import read_metrics, read_result
from nnexp.verification.picks import find_runs
from nnexp.verification.rerun import compared, recorded_config

SELECTS = ("accuracy", "loss", "last")
EPOCHS = 20


def nnexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", "nnexp", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
    )  # fmt: skip


def make_sweep(folder: Path) -> None:
    done = nnexp(
        folder, "-m", "dataset=digits", "dataset.num_train=200", "model=shallow", "optimizer=adam",
        "optimizer.lr=0.02", f"trainer.epochs={EPOCHS}", f"trainer.select={','.join(SELECTS)}",
        "trainer.device=cpu", "trainer.pictures=false", "seed=0,1", "baseline=knn",
        "hydra.sweep.dir=sweep", "hydra.launcher.workers=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "select=last" in done.stdout


@pytest.fixture(scope="module")
def swept(once: Once) -> Path:
    return once("selection_swept", make_sweep) / "sweep"


def runs_of(sweep: Path) -> dict[tuple[str, int], Path]:
    found = {}
    for path in sorted(sweep.glob("*/result.json")):
        result = read_result(path.parent)
        found[result.config["trainer"]["select"], result.seed] = path.parent
    return found


def test_each_run_keeps_its_epoch(swept: Path) -> None:
    runs = runs_of(swept)
    assert len(runs) == 6
    chosen: dict[int, set[int | None]] = {}
    for (select, seed), folder in runs.items():
        epochs, result = read_metrics(folder), read_result(folder)
        accs, losses = ([epoch[key] for epoch in epochs] for key in ("val/acc", "val/loss"))
        wanted = {
            "accuracy": EPOCHS - accs[::-1].index(max(accs)),
            "loss": EPOCHS - losses[::-1].index(min(losses)),
            "last": EPOCHS,
        }[select]
        assert (result.group_size, result.epochs) == (6, EPOCHS)
        assert result.best_epoch == wanted
        assert f" · select={select}" in result.arm
        for key in ("train/loss", "val/loss", "val/acc"):
            assert result.metrics[key] == epochs[wanted - 1][key]
        assert load_checkpoint(folder / "checkpoints" / "best.pt")["epoch"] == wanted
        last = load_checkpoint(folder / "checkpoints" / "last.pt")
        assert (last["epoch"], last["best_epoch"]) == (EPOCHS, wanted)
        chosen.setdefault(seed, set()).add(result.best_epoch)
    assert 3 in {len(epochs) for epochs in chosen.values()}  # else there is nothing to see


def test_the_report_says_how_epochs_were_chosen(swept: Path) -> None:
    summary = json.loads((swept / "report" / "summary.json").read_text())
    told = dict(summary["protocol"]["lines"])["epoch of a run"]
    assert told == (
        "a run is validated and tested with the weights of the epoch of highest validation "
        "accuracy (select=accuracy, 2 runs) or the last epoch (select=last, 2 runs) or the epoch "
        "of lowest validation loss (select=loss, 2 runs); of equally good epochs the last"
    )
    assert "the epoch of highest validation accuracy" in (
        (swept / "report" / "index.html").read_text()
    )
    assert [name for name in summary["learners"] if "select" in name] == [
        f"shallow · adam · select={select}" for select in sorted(SELECTS)
    ]


def test_a_run_of_the_sweep_is_the_run_alone(swept: Path) -> None:
    for run in find_runs(swept)[:3]:
        assert compared(run).identical


def without_select(config: Any) -> Any:
    return {**config, "trainer": {k: v for k, v in config["trainer"].items() if k != "select"}}


@pytest.mark.parametrize("select", ["loss", "accuracy"])
def test_a_run_from_before_there_was_the_option(swept: Path, tmp_path: Path, select: str) -> None:
    """It is read, verified and trained again as selected by loss."""
    folder = shutil.copytree(runs_of(swept)[select, 0], tmp_path / "run")
    path = folder / "result.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "config": without_select(fields["config"])}))
    for name in ("best.pt", "last.pt"):
        content = load_checkpoint(folder / "checkpoints" / name)
        content["config"] = without_select(content["config"])
        if name == "last.pt":
            content["best_loss"] = content.pop("best_score")
        save_checkpoint(folder / "checkpoints" / name, content)
    path = folder / ".hydra" / "config.yaml"
    plain: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    OmegaConf.save(OmegaConf.create(without_select(plain)), path)
    path = folder / ".hydra" / "overrides.yaml"
    overrides = [text for text in OmegaConf.load(path) if not text.startswith("trainer.select")]
    OmegaConf.save(OmegaConf.create(overrides), path)

    assert read_result(folder).config["trainer"]["select"] == "loss"
    assert recorded_config(folder, {}).config.trainer.select == "loss"
    assert "trainer.select=loss" in read_recorded(folder).pins
    (run,) = find_runs(folder)
    found = compared(run)
    assert not [note for note in found.notes if "select" in note]
    assert found.identical == (select == "loss")  # the other one was never recorded like that


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "trainer.select=acc")
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: trainer.select=acc: must be one of metric, loss, last, accuracy")
    assert line.endswith(" (did you mean 'accuracy'?)")
