"""``python -m nnexp.tensorboard``: what runs are called there, and that they are shown."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comparison_cases as cases
import pytest

from nnexp.analysis.names import arm_names
from nnexp.errors import DataError
from nnexp.report.tensorboard import Logdir, read_start, write_mean_curves
from nnexp.runs.files import to_readable_json
from nnexp.runs.tensorboard import EventWriter

_LINE = {"epoch": 1, "step": 8, "val/loss": 0.5, "lr": 0.1, "seconds": 0.2}


def write_run(folder: Path, dataset: str = "digits", **choices: Any) -> Path:
    """What a run that has begun leaves for TensorBoard."""
    folder.mkdir(parents=True, exist_ok=True)
    config = cases.config(**choices)
    writer = EventWriter(folder)
    writer.start({"seed": config["seed"], "dataset.name": dataset})
    writer.text("config", f"```json\n{to_readable_json(config).decode()}\n```")
    writer.epochs([_LINE], 0.0)
    writer.close()
    (file,) = folder.glob("events.out.tfevents.*")
    return file


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    choices = [(lr, seed) for lr in (0.01, 0.1) for seed in (0, 1)]
    for number, (lr, seed) in enumerate(choices):
        write_run(tmp_path / "sweep" / str(number), lr=lr, seed=seed)
    return tmp_path / "sweep"


def links(place: Path) -> dict[str, set[Path]]:
    """What TensorBoard would find: by the name of a run the files that are linked."""
    found: dict[str, set[Path]] = {}
    for path in place.rglob("events.out.tfevents.*"):
        assert path.is_symlink()
        found.setdefault(path.parent.relative_to(place).as_posix(), set()).add(path.resolve())
    return found


# ── names ─────────────────────────────────────────────────────────────────────────────────────


def test_arms_are_called_by_what_varies() -> None:
    choices: list[dict[str, Any]] = [
        {"lr": 0.01, "seed": 0},
        {"lr": 0.01, "seed": 1},
        {"lr": 0.1, "seed": 0},
        {"optimizer": "sgd", "lr": 0.3, "overrides": {"trainer.device": "cpu"}},
        {"optimizer": "sgd", "lr": 0.3, "num_train": 100},
    ]
    configs = [cases.config(**choice) for choice in choices]
    names = ["deep · adam · lr=0.01", "deep · adam · lr=0.01", "deep · adam · lr=0.1"]
    names += ["deep · sgd · num_train=null", "deep · sgd · num_train=100"]
    assert arm_names(configs, ["digits"] * 5) == names
    two = arm_names(configs[:3], ["digits", "iris", "iris"])
    assert two == ["digits · deep · adam", "iris · deep · adam · lr=0.01",
                   "iris · deep · adam · lr=0.1"]  # fmt: skip
    assert arm_names([], []) == []


def test_a_split_is_told_only_where_it_stays() -> None:
    follows = [cases.config(seed=seed) for seed in range(3)]
    assert set(arm_names(follows, ["digits"] * 3)) == {"deep · adam"}
    held = [cases.config(seed=seed, split_seed=1) for seed in range(3)]
    assert set(arm_names(held, ["digits"] * 3)) == {"deep · adam"}
    other = [cases.config(seed=seed, split_seed=7) for seed in range(3)]
    assert set(arm_names(held + other, ["digits"] * 6)) == {
        "deep · adam · split_seed=1", "deep · adam · split_seed=7",
    }  # fmt: skip


def test_runs_are_called_by_arm_and_seed(sweep: Path, place: Path) -> None:
    write_mean_curves(sweep / "report" / "curves", "deep · adam · lr=0.1", [[_LINE], [_LINE]])
    (sweep / "3" / "previous" / "1").mkdir(parents=True)
    write_run(sweep / "3" / "previous" / "1")
    Logdir(place, [sweep]).refresh()
    found = links(place)
    assert {name: {path.parent.name for path in paths} for name, paths in found.items()} == {
        "deep · adam · lr=0.01/seed=0": {"0"},
        "deep · adam · lr=0.01/seed=1": {"1"},
        "deep · adam · lr=0.1/seed=0": {"2"},
        "deep · adam · lr=0.1/seed=1": {"3"},
        "deep · adam · lr=0.1/mean": {"mean of deep · adam · lr=0.1"},
    }


def test_runs_of_one_name_have_their_path_too(tmp_path: Path, place: Path) -> None:
    for sweep in ("a/sweep", "b/sweep"):
        write_run(tmp_path / sweep / "0")
    logdir = Logdir(place, [tmp_path / "a" / "sweep", tmp_path / "b", tmp_path / "b" / "sweep"])
    logdir.refresh()
    assert sorted(links(place)) == logdir.names
    assert logdir.names == ["deep · adam/seed=0 · a sweep 0", "deep · adam/seed=0 · b sweep 0"]


def test_runs_of_folds_are_called_by_them(tmp_path: Path, place: Path) -> None:
    for number, (split_seed, fold) in enumerate([(0, 0), (0, 1), (1, 0)]):
        folds = {"dataset.folds": 2, "dataset.fold": fold}
        write_run(tmp_path / "s" / str(number), split_seed=split_seed, overrides=folds)
    logdir = Logdir(place, [tmp_path / "s"])
    logdir.refresh()
    assert logdir.names == [
        f"deep · adam/seed=0 {told}" for told in ("fold=0", "fold=1", "split_seed=1 fold=0")
    ]


@pytest.mark.parametrize("word", ["../up", "a/b", "x" * 300, "nul\tbell\x07", "..", 'quo"te*'])
def test_names_are_safe_as_folders(tmp_path: Path, place: Path, word: str) -> None:
    write_run(tmp_path / "0", overrides={"model.name": word})
    write_run(tmp_path / "1", overrides={"model.name": word + "!"})
    logdir = Logdir(place, [tmp_path / "0", tmp_path / "1"])
    logdir.refresh()
    found = links(place)
    assert sorted(found) == logdir.names
    assert {path.parent.name for paths in found.values() for path in paths} == {"0", "1"}
    assert all(re.fullmatch(r'[^\x00-\x1f\\:*?"<>|]+/seed=0', name) for name in found)


def test_what_tells_no_config_is_called_by_its_path(tmp_path: Path, place: Path) -> None:
    runs = tmp_path / "runs"
    for name, text in (("plain", "lr: 0.1"), ("list", "```json\n[1]\n```"), ("none", "```json")):
        (runs / name).mkdir(parents=True)
        writer = EventWriter(runs / name)
        writer.text("config", text)
        writer.close()
    Logdir(place, [runs]).refresh()
    assert set(links(place)) == {"runs/plain", "runs/list", "runs/none"}


# ── what comes later ──────────────────────────────────────────────────────────────────────────


def test_runs_appear_and_keep_their_names(sweep: Path, place: Path) -> None:
    logdir = Logdir(place, [sweep])
    logdir.refresh()
    before = links(place)
    write_run(sweep / "4", lr=0.01, seed=2, overrides={"trainer.epochs": 5})
    logdir.refresh()
    after = links(place)
    assert after.items() >= before.items()
    assert set(after) - set(before) == {"deep · adam · lr=0.01 · epochs=5/seed=2"}
    (sweep / "4" / "events.out.tfevents.9").touch()  # a run may have several
    logdir.refresh()
    assert len(links(place)["deep · adam · lr=0.01 · epochs=5/seed=2"]) == 2


def test_a_run_that_is_begun_anew_is_called_anew(sweep: Path, place: Path) -> None:
    logdir = Logdir(place, [sweep])
    logdir.refresh()
    (first,) = (sweep / "0").iterdir()
    first.unlink()
    again = write_run(sweep / "0", lr=0.5)
    logdir.refresh()
    found = links(place)
    assert len(found) == 4
    assert found["deep · adam · lr=0.5/seed=0"] == {again}
    assert "deep · adam · lr=0.01/seed=0" not in found


def test_a_run_has_no_name_before_it_tells_its_config(tmp_path: Path, place: Path) -> None:
    file = write_run(tmp_path / "sweep" / "0")
    content = file.read_bytes()
    logdir = Logdir(place, [tmp_path / "sweep"])
    for length in (0, 7, 30, content.index(b"```json")):
        file.write_bytes(content[:length])
        assert read_start(file) is None
        logdir.refresh()
        assert logdir.names == []
    file.write_bytes(content)
    logdir.refresh()
    assert logdir.names == ["deep · adam/seed=0"]


def test_damaged_files_hurt_nobody(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    for content in (b"\xff" * 100, b"\x05" + bytes(11) + b"\xff" * 9):
        path.write_bytes(content)
        assert read_start(path) is None


# ── bad input ─────────────────────────────────────────────────────────────────────────────────


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nnexp.tensorboard", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_bad_input_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for words, line in {
        ("nowhere",): "nowhere: no such folder",
        ("file",): "file: is a file; give a folder",
        ("empty",): "empty: holds no TensorBoard file of a run",
        ("empty", "--logdir=x"): "--logdir=x: name the folders first, without an option",
    }.items():
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"nnexp: {line}\n")
    done = run("--port", "6007", cwd=tmp_path)
    assert done.returncode == 2
    assert "the following arguments are required: DIR" in done.stderr
    assert run("--help", cwd=tmp_path).returncode == 0


def test_links_that_cannot_be_made_are_told(
    sweep: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    logdir = Logdir(place, [sweep])
    monkeypatch.setattr(Path, "symlink_to", refused)
    with pytest.raises(DataError, match="cannot hold links: Operation not permitted"):
        logdir.refresh()


def test_the_exit_code_is_tensorboards(sweep: Path) -> None:
    done = run(".", "--no-such-option", cwd=sweep)
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


# ── TensorBoard itself ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(sweep: Path, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Asks a TensorBoard on the sweep over HTTP; at the end it is told to stop, as is all of it."""
    log = tmp_path / "log"
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "nnexp.tensorboard", str(sweep), "--host", "127.0.0.1"]
    command += ["--port", "0", "--reload_interval", "1"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}
        )

    def get(path: str) -> Any:
        deadline = time.monotonic() + 60
        while not (url := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        with urllib.request.urlopen(f"{url[0]}/data/{path}", timeout=30) as answer:
            return json.loads(answer.read())

    try:
        yield get
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    assert code == 128 + signal.SIGTERM
    assert [path.name for path in (tmp_path / "tmp").glob("nnexp-*")] == []


def test_tensorboard_shows_runs_by_their_names(asked: Callable[[str], Any], sweep: Path) -> None:
    wanted = {f"deep · adam · lr={lr}/seed={seed}" for lr in (0.01, 0.1) for seed in (0, 1)}
    wait_for(lambda: set(asked("runs")) == wanted)
    wait_for(lambda: asked("plugin/scalars/tags").keys() == wanted)
    assert asked("plugin/scalars/tags")["deep · adam · lr=0.1/seed=0"].keys() == {"val/loss", "lr"}
    write_run(sweep / "4", lr=0.5, seed=3)
    wait_for(lambda: set(asked("runs")) == wanted | {"deep · adam · lr=0.5/seed=3"})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.2)
    assert condition()


def test_it_takes_no_torch() -> None:
    script = (
        "import sys, nnexp.tensorboard, nnexp.report.tensorboard\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
