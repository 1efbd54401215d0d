"""Folders that several programs would write to, and folders that hold something already."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from nnexp.runs import folder_lock
from nnexp.runs.output_folder import LOCK_FILE, ClaimCallback, FolderInUse
from nnexp.runs.output_folder import claim as claim_folder
from nnexp.runs.record import read_result

QUICK = ["dataset=iris", "model=linear", "trainer.epochs=2", "trainer.pictures=false"]
SMALL_SWEEP = ["-m", *QUICK, "hydra.launcher.workers=1", "report.enabled=false"]
BASIC = ["-m", *QUICK, "hydra/launcher=basic", "hydra/sweeper=basic", "report.enabled=false"]

# A name by the second, for which the clock stands still.
SAME_SECOND = "out/${now:%%S}"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return programs.Popen(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = program.communicate(timeout=240)
    return program.returncode, out, errors


# ── by the clock ──────────────────────────────────────────────────────────────────────────────


def test_runs_of_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    """As ``for s in 0 1 2; do nnexp seed=$s & done; wait`` starts them."""
    programs = [
        start(tmp_path, *QUICK, f"seed={seed}", f"hydra.run.dir={SAME_SECOND}") for seed in range(3)
    ]
    ended = [done(program) for program in programs]
    assert [(code, errors) for code, _, errors in ended] == [(0, "")] * 3
    folders = {name: tmp_path / "out" / name for name in ("%S", "%S-2", "%S-3")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == folders.keys()
    assert sorted(read_result(folder).seed for folder in folders.values()) == [0, 1, 2]
    for folder in folders.values():
        assert not (folder / "previous").exists()
        assert not (folder / LOCK_FILE).exists()
        assert (folder / "nnexp.log").read_text().count(" test samples,") == 1
        (told,) = (out for _, out, _ in ended if f"\nfiles        out/{folder.name}\n" in out)
        assert f"seed {read_result(folder).seed}\n" in told
    taken = "out/%S is taken; this writes to out/%S-"
    assert sorted(taken in out for _, out, _ in ended) == [False, True, True]


@pytest.mark.parametrize("sweep", [SMALL_SWEEP, BASIC], ids=["fused", "basic"])
def test_sweeps_of_the_same_second_have_a_folder_each(tmp_path: Path, sweep: list[str]) -> None:
    programs = [
        start(tmp_path, *sweep, f"seed={seeds}", f"hydra.sweep.dir={SAME_SECOND}")
        for seeds in ("0,1", "2,3")
    ]
    for code, _, errors in map(done, programs):
        assert (code, errors) == (0, "")
    found = {
        name: {read_result(tmp_path / "out" / name / num).seed for num in "01"}
        for name in ("%S", "%S-2")
    }
    assert sorted(map(sorted, found.values())) == [[0, 1], [2, 3]]
    for name in found:
        names = {path.name for path in (tmp_path / "out" / name).iterdir()}
        assert names == {"0", "1", "multirun.yaml"}


# ── by name ───────────────────────────────────────────────────────────────────────────────────


def test_two_programs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """A lock goes with the program that has it, even where that is killed."""
    first = start(tmp_path, "dataset=iris", "trainer.epochs=1000000", "hydra.run.dir=run")
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        before = {path.name for path in (tmp_path / "run").iterdir()}
        for arguments, key in (
            ([*QUICK, "hydra.run.dir=run"], "run"),
            ([*SMALL_SWEEP, "hydra.sweep.dir=run"], "sweep"),
        ):
            code, out, errors = done(start(tmp_path, *arguments))
            assert code == 1
            assert out == ""
            assert errors.startswith(
                f"nnexp: hydra.{key}.dir=run is in use by another process (PID {first.pid} on "
            )
            assert errors.endswith("); choose a different folder\n")
        assert {path.name for path in (tmp_path / "run").iterdir()} == before
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    code, _, errors = done(start(tmp_path, *QUICK, "hydra.run.dir=run"))
    assert (code, errors) == (0, "")
    assert (tmp_path / "run" / "previous" / "1" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / LOCK_FILE).exists()


# ── the callback by itself ────────────────────────────────────────────────────────────────────

Claim = Callable[[str], DictConfig]


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claim:
    """Claim a run's folder; the config afterwards."""
    setup_globals()
    monkeypatch.chdir(tmp_path)

    def claimed(name: str) -> DictConfig:
        config = OmegaConf.create({"seed": 3, "hydra": {"run": {"dir": name}}})
        ClaimCallback().on_run_start(config)
        return config

    return claimed


def test_the_name_changes_for_whoever_composes_with_it(claim: Claim) -> None:
    """Hydra copies what ``${now:}`` came to into each job's config; the config says the same."""
    configs = [claim("a/${now:%%S}_${seed}") for _ in range(3)]
    assert [config.hydra.run.dir for config in configs] == ["a/%S_3", "a/%S-2_3", "a/%S-3_3"]
    job = OmegaConf.create({"dir": "${now:%%S}"})
    OmegaConf.copy_cache(from_config=configs[2], to_config=job)
    assert job.dir == "%S-3"
    texts = {OmegaConf.to_yaml(config) for config in configs}
    assert len(texts) == 1


def test_a_day_is_no_name_of_its_own(claim: Claim) -> None:
    """Somebody who collects a day's runs in a folder goes on doing so, one program at a time."""
    config = claim("a/${now:%Y}")
    with pytest.raises(FolderInUse, match="is in use by another process"):
        claim("a/${now:%Y}")
    assert [path.name for path in Path("a").iterdir()] == [Path(config.hydra.run.dir).name]


def test_a_name_may_read_as_the_clock_does(tmp_path: Path) -> None:
    """As that of the folder which ``nnexp.sweep`` has made and hands to the program it starts."""
    setup_globals()
    folder = tmp_path / "%S"
    folder.mkdir()
    config = OmegaConf.create(
        {"hydra": {"run": {"dir": "${now:%%S}"}, "sweep": {"dir": str(folder)}}}
    )
    assert config.hydra.run.dir == "%S"  # Hydra asks for it before a sweep's folder is claimed
    let_go = claim_folder(config, "hydra.sweep.dir")
    assert config.hydra.sweep.dir == str(folder)
    assert config.hydra.run.dir == "%S"
    with pytest.raises(FolderInUse, match="is in use by another process"):
        claim_folder(config, "hydra.sweep.dir")
    let_go()
    assert list(tmp_path.iterdir()) == [folder]


def test_what_cannot_be_made_is_for_hydra_to_tell(claim: Claim) -> None:
    Path("file").touch()
    for name in ("file/run", "file", "/proc/nnexp/run", "${nowhere}", "${hydra:nothing}"):
        claim(name)


def test_where_nothing_can_be_locked_it_goes_on(
    claim: Claim, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", flock)
    claim("a")
    assert caplog.messages == [f"a/{LOCK_FILE} cannot be locked: No locks available"]


def test_a_folder_that_was_not_needed_is_gone_afterwards(tmp_path: Path) -> None:
    kept = tmp_path / "there"
    kept.mkdir()
    code, _, errors = done(start(
        tmp_path, *SMALL_SWEEP, "hydra.launcher.workers=0", "hydra.sweep.dir=there/new/a"
    ))  # fmt: skip
    assert code == 1
    assert errors == "nnexp: hydra.launcher.workers=0: must be at least 1, or null\n"
    assert list(tmp_path.rglob("*")) == [kept]
    code, _, _ = done(start(tmp_path, *SMALL_SWEEP, "hydra.launcher.dry_run=true"))
    assert code == 0
    assert list(tmp_path.rglob("*")) == [kept]


# ── what is there already ─────────────────────────────────────────────────────────────────────


def test_a_users_own_files_stay(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "gpt.pt").write_bytes(b"mine")
    (tmp_path / "events.out.tfevents.1.host.2.v2").write_bytes(b"mine")
    for seed in (0, 1):
        code, _, errors = done(start(tmp_path, *QUICK, f"seed={seed}", "hydra.run.dir=."))
        assert (code, errors) == (0, "")
        assert read_result(tmp_path).seed == seed
        assert (tmp_path / "checkpoints" / "gpt.pt").read_bytes() == b"mine"
        assert (tmp_path / "events.out.tfevents.1.host.2.v2").read_bytes() == b"mine"
        assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1 + 1
    assert read_result(tmp_path / "previous" / "1").seed == 0
    names = {path.name for path in (tmp_path / "previous" / "1" / "checkpoints").iterdir()}
    assert names == {"best.pt", "last.pt"}


@pytest.mark.parametrize("mode", ["run", "fused", "basic"])
def test_a_users_own_file_is_not_replaced(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "out" / ("." if mode == "run" else "0")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.pt").write_bytes(b"mine")
    (folder / "result.json").write_text('{"accuracy": 1}', encoding="utf-8")
    arguments = {"run": QUICK, "fused": SMALL_SWEEP, "basic": BASIC}[mode]
    code, _, errors = done(start(tmp_path, *arguments, "hydra.run.dir=out", "hydra.sweep.dir=out"))
    assert code == 1
    assert f"{folder / 'result.json'}: is damaged, or was not written by nnexp, which" in errors
    assert errors.count("\n") == 1
    assert (folder / "result.json").read_text(encoding="utf-8") == '{"accuracy": 1}'
    assert (folder / "checkpoints" / "best.pt").read_bytes() == b"mine"


def runs_told(sweep: Path) -> list[str]:
    with (sweep / "report" / "runs.csv").open(newline="", encoding="utf-8") as file:
        return sorted(row["folder"] for row in csv.DictReader(file))


@pytest.mark.parametrize("sweep", [SMALL_SWEEP, BASIC], ids=["fused", "basic"])
def test_a_smaller_sweep_is_reported_alone(tmp_path: Path, sweep: list[str]) -> None:
    sweep = [*sweep, "hydra.sweep.dir=out"]
    assert done(start(tmp_path, *sweep, "seed=0,1,2,3"))[0] == 0
    (tmp_path / "out" / "3" / "notes.txt").write_text("mine", encoding="utf-8")
    single = tmp_path / "out" / "7"  # a run that somebody put there
    assert done(start(tmp_path, *QUICK, "hydra.run.dir=out/7", "seed=7"))[0] == 0
    code, out, errors = done(
        start(tmp_path, *sweep, "report.enabled=true", "seed=4,5", "trainer.epochs=3")
    )
    assert (code, errors) == (0, "")
    assert runs_told(tmp_path / "out") == ["0", "1"]
    summary = json.loads((tmp_path / "out" / "report" / "summary.json").read_text("utf-8"))
    assert summary["num_runs"] == 2
    assert "2 runs of an earlier sweep in this folder moved to previous/ in out/2, out/3" in out
    assert "1 run of earlier sweeps in this folder left out: out/7" in " ".join(out.split())
    # Nothing is lost, and nothing else was touched.
    for num in range(4):
        assert read_result(tmp_path / "out" / str(num) / "previous" / "1").seed == num
    assert (tmp_path / "out" / "3" / "notes.txt").exists()
    assert read_result(single).seed == 7


def test_runs_called_otherwise_stay_where_they_are(tmp_path: Path) -> None:
    """Somebody may collect them in a folder; a report of all is for the asking."""
    sweep = [*SMALL_SWEEP, "hydra.sweep.dir=out", "hydra.sweep.subdir='s/${seed}'"]
    assert done(start(tmp_path, *sweep, "seed=0,1"))[0] == 0
    code, out, errors = done(start(tmp_path, *sweep, "seed=2,3", "report.enabled=true"))
    assert (code, errors) == (0, "")
    assert runs_told(tmp_path / "out") == ["s/2", "s/3"]
    assert "out holds 2 folders of an earlier sweep: s/0, s/1" in out
    assert "2 runs of earlier sweeps in this folder left out: out/s/0" in " ".join(out.split())
    assert read_result(tmp_path / "out" / "s" / "0").seed == 0
