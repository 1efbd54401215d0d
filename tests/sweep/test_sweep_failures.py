"""What goes wrong in a sweep, from the real command line: who is told, and what everybody keeps."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import programs
import pytest
from hydra import compose, initialize_config_dir

from nnexp.config.compose import CONF, register, to_config
from nnexp.errors import DataError, NnexpError
from nnexp.runs.checkpoints import load_checkpoint
from nnexp.runs.record import RunResult, read_metrics, read_result
from nnexp.runs.writer import Job
from nnexp.sweeps import connection, group_training, processes
from nnexp.sweeps.connection import WorkerConnection
from nnexp.sweeps.executor import Pool
from nnexp.sweeps.plan import make_plan
from nnexp.sweeps.processes import WorkerPool
from nnexp.sweeps.task_queue import Queue
from nnexp.sweeps.tasks import Entry, Inspection, wanted_baselines
from nnexp.sweeps.worker import Worker

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs /proc to see processes"
)

_NO_REPORT = ["~hydra.callbacks.report"]  # it takes its time
_SMALL = ["dataset=iris", "baseline=none", "trainer.pictures=false", "model=shallow",
          "trainer.epochs=2"]  # fmt: skip


_STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Short, as the system's own: pytest's, with the name of the test, is too long for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="nnexp-test-")).resolve()
    yield folder
    while _STARTED:  # a failed test leaves its program to nobody else
        end(_STARTED.pop())
    shutil.rmtree(folder, ignore_errors=True)


def started(folder: Path, *arguments: str, fork: bool = True) -> subprocess.Popen[str]:
    """``python -m nnexp -m`` in a process group of its own, with its own temporary folder."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = (programs.Popen if fork else subprocess.Popen)(
        [sys.executable, "-m", "nnexp", "-m", "hydra.sweep.dir=out", *_NO_REPORT, *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _STARTED.append(process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    """The program and all it started are gone, and its streams are closed."""
    for pid in processes_of(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def sweep(folder: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    process = started(folder, *arguments)
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in output + errors
    assert_nothing_is_left(folder, process)
    return process.returncode, output, errors.splitlines()


def results(folder: Path) -> dict[int, RunResult]:
    return {int(p.parent.name): read_result(p.parent) for p in folder.glob("out/*/result.json")}


# ── processes ─────────────────────────────────────────────────────────────────────────────────


def processes_of(session: int) -> dict[int, str]:
    """The living processes of a session, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            # Other programs' names and arguments are any bytes.
            stat = os.fsdecode((path / "stat").read_bytes()).rpartition(")")[2].split()
            line = os.fsdecode((path / "cmdline").read_bytes().replace(b"\0", b" "))
        except OSError:  # it has just ended
            continue
        if int(stat[3]) == session and stat[0] != "Z":
            found[int(path.name)] = line
    return found


def parent_of(pid: int) -> int:
    stat = os.fsdecode(Path(f"/proc/{pid}/stat").read_bytes())
    return int(stat.rpartition(")")[2].split()[1])


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes: children of the fork server, which is a child of the program."""
    lines = processes_of(process.pid)
    found = []
    for pid in lines:
        try:
            parent = parent_of(pid)
            grandparent = parent_of(parent)
        except OSError:
            continue
        if parent in lines and grandparent == process.pid:
            found.append(pid)
    return sorted(found)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


def epochs_in(folder: Path) -> int:
    try:
        return len(read_metrics(folder))
    except DataError:  # not there yet
        return 0


def assert_nothing_is_left(folder: Path, process: subprocess.Popen[str]) -> None:
    """No process, and no folder for temporary files, within seconds."""
    wait_for(lambda: not processes_of(process.pid), 15)
    wait_for(lambda: not list((folder / "tmp").glob("nnexp-sweep-*")), 5)


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep of six groups, two at a time. In each a run ends at once and another never does.

    It is handed over when two of the former have ended and the latter are under way.
    """
    process = started(
        tmp_path, "dataset=iris", "baseline=none", "model=shallow", "trainer.epochs=100000000",
        "hydra.launcher.workers=2", "hydra.launcher.group_size=2", "trainer.batch_size=16,32",
        "trainer.early_stopping.patience=1,null", "trainer.early_stopping.min_delta=1000000",
        "seed=range(3)",
    )  # fmt: skip
    try:
        wait_for(lambda: len(results(tmp_path)) == 2)
        wait_for(lambda: len(under_way(tmp_path)) == 2)
        yield process
    finally:
        end(process)


def under_way(folder: Path) -> list[Path]:
    """Runs of the endless sweep that have trained for a while."""
    return [
        path.parent
        for path in folder.glob("out/*/metrics.jsonl")
        if not (path.parent / "result.json").exists() and epochs_in(path.parent) > 5
    ]


# ── runs and configs ──────────────────────────────────────────────────────────────────────────


def test_wrong_jobs_are_named_and_the_right_one_is_trained(tmp_path: Path) -> None:
    """A choice that is none, a value out of range, more rows than there are; a line each."""
    small = ["dataset=iris", "baseline=none", "trainer.epochs=1"]
    code, output, errors = sweep(
        tmp_path, *small, "optimizer=adm,sgd", "optimizer.lr=-1,0.1", "dataset.num_train=60,5000"
    )
    assert code == 1
    assert len(errors) == 3
    before = f"{' '.join(small)} optimizer="
    assert errors[0].startswith(
        f"nnexp: job 0 {before}adm optimizer.lr=-1 dataset.num_train=60 (and 3 other jobs): "
        "optimizer=adm: no such choice (did you mean 'adam'?)"
    )
    assert errors[1] == (
        f"nnexp: job 4 {before}sgd optimizer.lr=-1 dataset.num_train=60 (and 1 other job): "
        "optimizer.lr=-1.0: must be at least 0"
    )
    assert errors[2].startswith(
        f"nnexp: job 7 {before}sgd optimizer.lr=0.1 dataset.num_train=5000: dataset.num_train=5000"
    )
    found = results(tmp_path)
    assert {num: found[num].status for num in range(8)} == {
        **dict.fromkeys(range(8), "failed"), 6: "completed",
    }  # fmt: skip
    assert found[1].error is not None
    assert found[1].error in errors[0]
    assert found[4].error in errors[1]
    assert found[7].error in errors[2]
    assert (found[7].optimizer, found[7].dataset.name, found[7].seed) == ("sgd", "iris", 0)
    assert "1 run in 1 group on 1 worker; 7 jobs cannot be trained" in output
    assert (tmp_path / "out" / "7" / ".hydra" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("trainer.batch_size=0", "trainer.batch_size=0: must be at least 1"),
        ("dataset.num_train=5000", "dataset.num_train=5000"),
    ],
)
def test_all_jobs_are_wrong(tmp_path: Path, wrong: str, error: str) -> None:
    code, _, errors = sweep(tmp_path, *_SMALL, wrong, "seed=0,1,2")
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: job 0 ")
    assert f"seed=0 (and 2 other jobs): {error}" in line
    found = results(tmp_path)
    assert {num: result.status for num, result in found.items()} == dict.fromkeys(
        range(3), "failed"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("hydra.launcher.group_size=-2", "hydra.launcher.group_size=-2: must be at least 1"),
        ("hydra.sweep.subdir=same", "hydra.sweep.subdir=same: jobs 0 and 1 would both write to"),
        ("hydra.launcher.wokers=2", "wokers"),
        ("optimizer.lrr=1", "optimizer.lrr: no such option (did you mean 'lr'?)"),
        ("hydra.sweep.dir=/proc/nnexp", "/proc/nnexp"),
    ],
)
def test_a_wrong_sweep_is_told_in_one_line(tmp_path: Path, arguments: str, error: str) -> None:
    code, _, errors = sweep(tmp_path, *_SMALL, "seed=0,1", *arguments.split())
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: ")
    assert error in line
    assert list(tmp_path.rglob("result.json")) == []


def test_a_folder_that_cannot_be_made_costs_one_run(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1").write_text("in the way")
    code, _, errors = sweep(tmp_path, *_SMALL, "seed=0,1,2")
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: job 1 ")
    assert f"seed=1: {tmp_path / 'out' / '1'}" in line
    assert {num: r.status for num, r in results(tmp_path).items()} == dict.fromkeys(
        (0, 2), "completed"
    )


def test_a_dry_run_prints_the_plan_alone(tmp_path: Path) -> None:
    code, output, errors = sweep(
        tmp_path, *_SMALL, "hydra.launcher.dry_run=true", "hydra.launcher.workers=1",
        "trainer.batch_size=16,32", "seed=range(4)",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    assert "8 runs in 2 groups on 1 worker" in output
    assert "runs cannot all be batched together: trainer.batch_size differs (16, 32)" in output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_fetches_nothing(tmp_path: Path) -> None:
    code, output, errors = sweep(
        tmp_path, "hydra.launcher.dry_run=true", "hydra.launcher.workers=1", "dataset=mnist",
        f"dataset.root={tmp_path / 'data'}", "dataset.urls=[http://127.0.0.1:9]", "seed=range(2)",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    assert "data not here yet: mnist; 2 runs not planned" in output
    assert not (tmp_path / "data").exists()


def test_a_sweep_into_an_earlier_ones_folder_keeps_it(tmp_path: Path) -> None:
    for rate in ("0.1", "0.2"):
        code, _, errors = sweep(tmp_path, *_SMALL, f"optimizer.lr={rate}", "seed=0,1")
        assert (code, errors) == (0, [])
    for num in range(2):
        place = tmp_path / "out" / str(num)
        for folder, rate in ((place / "previous" / "1", 0.1), (place, 0.2)):
            assert [epoch["lr"] for epoch in read_metrics(folder)] == [rate, rate]
            assert read_result(folder).status == "completed"
            assert len(list(folder.glob("events.out.tfevents.*"))) == 1


# ── stopping ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "whole_group", "code", "word"),
    [
        (signal.SIGINT, True, 130, "interrupted"),  # Ctrl-C in a terminal
        (signal.SIGTERM, True, 143, "terminated"),  # timeout(1), and most schedulers
        (signal.SIGTERM, False, 143, "terminated"),
    ],
)
def test_a_sweep_that_is_stopped_keeps_what_it_has(
    tmp_path: Path,
    endless: subprocess.Popen[str],
    number: signal.Signals,
    whole_group: bool,
    code: int,
    word: str,
) -> None:
    ended = set(results(tmp_path))
    going = {int(path.name) for path in under_way(tmp_path)}
    if whole_group:
        os.killpg(endless.pid, number)
    else:
        endless.send_signal(number)
    output, errors = endless.communicate(timeout=60)
    assert (endless.returncode, errors) == (code, f"nnexp: {word}\n")
    assert "Traceback" not in output
    assert_nothing_is_left(tmp_path, endless)
    found = results(tmp_path)
    assert {num for num, r in found.items() if r.status == "completed"} == ended
    assert {num for num, r in found.items() if r.status == "interrupted"} == set(range(12)) - ended
    for num in going:
        folder = tmp_path / "out" / str(num)
        assert len(read_metrics(folder)) >= found[num].epochs - 1 > 4
        assert found[num].best_epoch is not None
        assert (folder / "checkpoints" / "best.pt").is_file()
    for num in set(range(12)) - ended:
        assert found[num].config["seed"] == found[num].seed
        assert found[num].dataset == found[min(ended)].dataset
    for num in set(range(12)) - ended - going:
        assert (found[num].error, found[num].epochs) == ("interrupted", 0)
        assert (tmp_path / "out" / str(num) / ".hydra" / "overrides.yaml").is_file()


def test_stopped_at_its_start(tmp_path: Path) -> None:
    """While the server of the workers still imports torch."""
    process = started(tmp_path, *_SMALL, "seed=range(4)", fork=False)
    wait_for(lambda: any("forkserver" in line for line in processes_of(process.pid).values()))
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in output + errors
    assert (process.returncode, errors.splitlines()[-1:]) == (130, ["nnexp: interrupted"])
    assert_nothing_is_left(tmp_path, process)


def test_workers_end_when_the_program_is_killed(
    tmp_path: Path, endless: subprocess.Popen[str]
) -> None:
    ended = set(results(tmp_path))
    going = {int(path.name) for path in under_way(tmp_path)}
    assert len(workers_of(endless)) == 2
    endless.kill()
    endless.wait()
    assert_nothing_is_left(tmp_path, endless)
    # Those that were in training could still say so, the others have nothing.
    found = results(tmp_path)
    assert {num: found[num].status for num in found} == {
        **dict.fromkeys(ended, "completed"), **dict.fromkeys(going, "interrupted"),
    }  # fmt: skip


def test_a_sweep_in_the_folder_of_a_killed_one_waits_for_its_workers(
    tmp_path: Path, endless: subprocess.Popen[str]
) -> None:
    """They write to the end of their epoch, and would write over what the new one has."""
    workers = workers_of(endless)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    endless.kill()
    endless.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    second = started(tmp_path, *_SMALL, "seed=range(100,112)", "hydra.launcher.workers=2")
    try:
        assert second.stdout is not None
        told = f"waiting for the worker processes of PID {endless.pid} on "
        while told not in second.stdout.readline():
            assert second.poll() is None
        time.sleep(0.5)
        now = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
        assert now == before
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        _, errors = second.communicate(timeout=120)
    assert (second.returncode, errors) == (0, "")
    found = results(tmp_path)
    assert {num: (r.seed, r.status) for num, r in found.items()} == {
        num: (100 + num, "completed") for num in range(12)
    }
    for num in range(12):
        folder = tmp_path / "out" / str(num)
        assert len(read_metrics(folder)) == 2
        assert load_checkpoint(folder / "checkpoints" / "best.pt")
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    wait_for(lambda: not processes_of(endless.pid), 15)


def test_whoever_asks_twice_does_not_wait(tmp_path: Path, endless: subprocess.Popen[str]) -> None:
    """For workers that do not stop, here because they are held; what had ended is kept."""
    ended = set(results(tmp_path))
    for pid in workers_of(endless):
        os.kill(pid, signal.SIGSTOP)
    endless.send_signal(signal.SIGINT)
    assert endless.stdout is not None
    while "stopping; Ctrl-C once more stops at once" not in endless.stdout.readline():
        assert endless.poll() is None
    endless.send_signal(signal.SIGINT)
    # Less than the program would wait by itself.
    _, errors = endless.communicate(timeout=processes.SECONDS_TO_STOP - 10)
    assert (endless.returncode, errors) == (130, "nnexp: interrupted\n")
    assert_nothing_is_left(tmp_path, endless)
    found = results(tmp_path)
    assert {num: found[num].status for num in range(12)} == {
        **dict.fromkeys(range(12), "interrupted"), **dict.fromkeys(ended, "completed"),
    }  # fmt: skip


def test_a_stop_is_heeded_while_a_baseline_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run has been trained, and keeps what it has."""
    is_computing, is_enough = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def slow(*_: object) -> dict[str, Any]:
        threads.append(threading.current_thread())
        is_computing.set()
        is_enough.wait(60)
        return {}

    (entry,) = entries_in(tmp_path, 1, baseline="majority")
    here = _Here(tmp_path)
    here.send(connection.Inspect((entry,), fetch=True))
    (inspection,) = here.recv().found  # type: ignore[attr-defined]
    (wanted,) = wanted_baselines(entry.config)
    to_do: list[object] = [connection.Compute(wanted, "cpu")]
    said: list[object] = []
    pipe = SimpleNamespace(
        send=said.append,
        poll=is_computing.is_set,
        recv=lambda: to_do.pop() if to_do else connection.Stop(),
    )
    monkeypatch.setattr("nnexp.sweeps.worker.compare", slow)
    try:
        with pytest.raises(KeyboardInterrupt):
            Worker(WorkerConnection(pipe), tmp_path).do(  # type: ignore[arg-type]
                connection.Train((entry,), inspection.kind, "cpu")
            )
        assert not is_enough.is_set()
    finally:
        is_enough.set()
        for thread in threads:
            thread.join(60)
    assert any(isinstance(message, connection.Ended) for message in said)
    result = read_result(entry.folder)
    assert (result.status, result.epochs, result.config["seed"]) == ("interrupted", 2, 0)
    assert result.metrics["val/acc"] is not None
    assert result.metrics["test/acc"] is None
    assert result.dataset == inspection.data
    for name in ("best.pt", "last.pt"):
        assert (entry.folder / "checkpoints" / name).is_file()


# ── workers that die ──────────────────────────────────────────────────────────────────────────


def test_the_runs_of_a_killed_worker_start_anew(tmp_path: Path) -> None:
    """But for the one that had ended."""
    epochs = 3000
    process = started(
        tmp_path, *_SMALL[:-1], f"trainer.epochs={epochs}", "hydra.launcher.workers=1",
        "trainer.early_stopping.patience=1,null", "trainer.early_stopping.min_delta=1000000",
        "seed=0,1",
    )  # fmt: skip
    wait_for(lambda: len(results(tmp_path)) == 2 and len(under_way(tmp_path)) == 2)
    ended = {num: (tmp_path / "out" / str(num) / "result.json").stat() for num in (0, 1)}
    (worker,) = workers_of(process)
    os.kill(worker, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "a worker process was killed by SIGKILL; its 2 runs start anew" in output
    assert_nothing_is_left(tmp_path, process)
    found = results(tmp_path)
    assert {num: found[num].status for num in range(4)} == dict.fromkeys(range(4), "completed")
    for num, before in ended.items():
        after = (tmp_path / "out" / str(num) / "result.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for num in (2, 3):
        folder = tmp_path / "out" / str(num)
        assert [line["epoch"] for line in read_metrics(folder)] == list(range(1, epochs + 1))
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert list(tmp_path.rglob("previous")) == []


def test_runs_whose_workers_die_twice_are_given_up(tmp_path: Path) -> None:
    process = started(
        tmp_path, *_SMALL[:-1], "trainer.epochs=1500", "hydra.launcher.workers=1",
        "trainer.batch_size=8,64", "seed=0,1",
    )  # fmt: skip
    for _ in range(2):
        wait_for(lambda: {path.name for path in under_way(tmp_path)} >= {"0", "1"})
        (worker,) = workers_of(process)
        for num in (0, 1):  # so that they are seen to be there again
            (tmp_path / "out" / str(num) / "metrics.jsonl").unlink()
        os.kill(worker, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("nnexp: job 0 ")
    assert line.endswith(" (and 1 other job): its worker process was killed by SIGKILL, twice")
    assert "Traceback" not in output
    assert_nothing_is_left(tmp_path, process)
    found = results(tmp_path)
    assert {num: result.status for num, result in found.items()} == {
        0: "failed", 1: "failed", 2: "completed", 3: "completed",
    }  # fmt: skip
    for num in (0, 1):  # they count against their learner
        assert found[num].config["trainer"]["batch_size"] == 8
        assert found[num].config == {
            **found[num + 2].config,
            "trainer": found[num].config["trainer"],
        }
        assert found[num].dataset == found[num + 2].dataset


def test_data_that_kill_workers_cost_only_their_own_jobs(tmp_path: Path) -> None:
    """A source at a time is looked at; here one is a pipe, at which the reader is killed, twice."""
    rows = "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(60))
    (tmp_path / "good.csv").write_text(rows)
    pipe = tmp_path / "deadly.csv"
    os.mkfifo(pipe)
    process = started(
        tmp_path, "dataset=csv", "dataset.path=deadly.csv,good.csv", "dataset.target=-1",
        *_SMALL[1:], "seed=0,1", "hydra.launcher.workers=1",
    )  # fmt: skip

    def has_reader() -> int | None:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        return None

    for _ in range(2):
        end = wait_for(has_reader)
        (pid,) = workers_of(process)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: pid not in processes_of(process.pid))
        os.close(end)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("nnexp: job 0 ")
    assert line.endswith(
        "(and 1 other job): a worker process that looked at the data was killed by SIGKILL, twice"
    )
    assert "2 runs in 1 group on 1 worker; 2 jobs cannot be trained" in output
    assert_nothing_is_left(tmp_path, process)
    assert {num: result.status for num, result in results(tmp_path).items()} == {
        0: "failed", 1: "failed", 2: "completed", 3: "completed",
    }  # fmt: skip


# ── folders for temporary files ───────────────────────────────────────────────────────────────


def test_a_baseline_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    """And keeps nobody waiting. The folder of the findings cannot be made, as on a full disk."""
    process = started(
        tmp_path, *_SMALL, "baseline=[knn,majority]", "hydra.launcher.workers=2",
        "hydra.launcher.group_size=2", "seed=range(4)",
    )  # fmt: skip
    (shared,) = wait_for(lambda: list((tmp_path / "tmp").glob("nnexp-sweep-*")))
    (shared / "baselines").touch()
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    why = f"{shared / 'baselines'}: File exists"
    for name in ("knn", "majority"):
        assert output.count(f"{name} on iris is left out: {why}") == 4
    assert_nothing_is_left(tmp_path, process)
    found = results(tmp_path)
    assert {num: result.status for num, result in found.items()} == dict.fromkeys(
        range(4), "completed"
    )
    for result in found.values():
        assert result.metrics["test/acc"] is not None
        assert {name: told["skipped"] for name, told in result.baselines.items()} == {
            "knn": why, "majority": why,
        }  # fmt: skip


def test_a_long_name_of_the_folder_for_temporary_files_is_no_hindrance(tmp_path: Path) -> None:
    """A socket's name has 107 bytes at most; the workers' server has one."""
    folder = tmp_path / ("long" * 10) / ("name" * 20)
    folder.mkdir(parents=True)
    code, _, errors = sweep(folder, *_SMALL, "seed=0,1")
    assert (code, errors) == (0, [])
    assert [result.status for result in results(folder).values()] == ["completed"] * 2


def test_where_no_socket_can_be_it_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = str(tmp_path / ("é" * 50))
    monkeypatch.setattr(tempfile, "tempdir", usual)
    monkeypatch.setattr(processes, "_SHORT_FOLDERS", (str(tmp_path / "absent"), "/proc"))
    monkeypatch.setitem(current_process()._config, "tempdir", None)  # type: ignore[attr-defined]
    longest = processes._LONGEST
    length = len(str(tmp_path)) + 1 + 100
    with pytest.raises(NnexpError) as caught:
        processes.start_server()
    assert str(caught.value) == (
        f"TMPDIR={usual}: has {length} bytes, at most {longest} are allowed where "
        f"{tmp_path}/absent and /proc cannot be written: the processes of a sweep meet at a socket "
        "there"
    )
    assert tempfile.tempdir == usual


# ── groups that do not fit ────────────────────────────────────────────────────────────────────


class _Here:
    """The pipe to a worker that is this very process: what is sent is done at once."""

    def __init__(self, folder: Path) -> None:
        its = SimpleNamespace(send=self._said, poll=lambda: False)
        self._worker = Worker(WorkerConnection(its), folder)  # type: ignore[arg-type]
        self.answers: list[object] = []

    def _said(self, message: object) -> None:
        self.answers.append(message)

    def send(self, message: Any) -> None:
        if not isinstance(message, connection.Stop):
            self._worker.do(message)

    def poll(self) -> bool:
        return bool(self.answers)

    def recv(self) -> object:
        return self.answers.pop(0)

    def close(self) -> None:
        pass


def start_here(worker_pool: WorkerPool, place: int) -> None:
    """In place of a process."""
    process = SimpleNamespace(join=lambda *_: None, kill=lambda: None, exitcode=-signal.SIGKILL)
    here = _Here(worker_pool._folder)
    worker_pool.workers.append(processes.Worker(process, here, place, ready=True))  # type: ignore[arg-type]


def entries_in(folder: Path, count: int, baseline: str = "none") -> list[Entry]:
    register()
    options = [*_SMALL, f"baseline={baseline}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configs = [to_config(compose("config", [*options, f"seed={n}"])) for n in range(count)]
    return [Entry(n, config, folder / str(n), "arm") for n, config in enumerate(configs)]


def test_a_group_for_which_memory_runs_out_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    train = group_training.train_together

    def frugal(jobs: Sequence[Job], *arguments: Any) -> None:
        tried.append(len(jobs))
        if len(jobs) > 2:
            raise MemoryError("no room")
        train(jobs, *arguments)

    monkeypatch.setattr(group_training, "train_together", frugal)
    monkeypatch.setattr(WorkerPool, "_start", start_here)
    monkeypatch.setattr(processes, "wait", lambda pipes, timeout: [p for p in pipes if p.poll()])
    entries = entries_in(tmp_path, 7)
    ended: dict[int, RunResult] = {}
    with Pool(1) as workers:
        found = workers.survey(entries, fetch=True).found
        assert all(isinstance(inspection, Inspection) for inspection in found)
        plan = make_plan(entries, found, num_workers=1, largest=None)  # type: ignore[arg-type]
        for _ in workers.train(plan, lambda entry, result: ended.update({entry.num: result})):
            pass
    assert tried[0] == 7
    assert sorted(tried) == [1, 2, 2, 2, 3, 7]  # and the other half, of 4, not once 3 are too many
    assert sorted(ended) == list(range(7))
    assert {result.status for result in ended.values()} == {"completed"}
    assert sorted(result.group_size for result in ended.values()) == [1, 2, 2, 2, 2, 2, 2]
    for seed in range(7):
        assert [line["epoch"] for line in read_metrics(tmp_path / str(seed))] == [1, 2]
        assert len(list((tmp_path / str(seed)).glob("events.out.tfevents.*"))) == 1
    assert list(tmp_path.rglob("previous")) == []


def test_a_single_run_for_which_memory_runs_out_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broke(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(group_training, "train_together", broke)
    (entry,) = entries_in(tmp_path, 1)
    here = _Here(tmp_path)
    here.send(connection.Inspect((entry,), fetch=True))
    surveyed = here.recv()
    assert isinstance(surveyed, connection.Inspected)
    (inspection,) = surveyed.found
    assert isinstance(inspection, Inspection)
    here.send(connection.Train((entry,), inspection.kind, "cpu"))
    assert [type(answer) for answer in here.answers] == [connection.Ended, connection.Trained]
    result = read_result(tmp_path / "0")
    assert result.status == "failed"
    assert "memory" in (result.error or "")


@pytest.mark.parametrize("how", ["the worker dies", "the program is stopped"])
def test_a_result_that_was_written_counts_though_nobody_said_so(tmp_path: Path, how: str) -> None:
    """A worker is killed between the two; or the program stops there."""
    here = _Here(tmp_path)
    entries = entries_in(tmp_path, 2)
    here.send(connection.Inspect(tuple(entries), fetch=True))
    surveyed = here.recv()
    assert isinstance(surveyed, connection.Inspected)
    plan = make_plan(entries, surveyed.found, num_workers=1, largest=None)  # type: ignore[arg-type]
    ended: dict[int, RunResult] = {}
    queue = Queue(plan, lambda entry, result: ended.update({entry.num: result}))
    handed_out = queue.next()
    assert handed_out is not None
    here.send(connection.Train((entries[0],), handed_out.planned.kind, "cpu"))
    before = (tmp_path / "0" / "result.json").read_bytes()
    if how == "the worker dies":
        queue.lose(handed_out, "was killed by SIGKILL", innocent=False)
        again = queue.next()
        assert again is not None
        assert (list(again.left), again.attempt) == ([1], 2)
    else:
        queue.give_up_all("interrupted", "interrupted", [handed_out])
        assert ended.pop(1).status == read_result(tmp_path / "1").status == "interrupted"
    assert {num: result.status for num, result in ended.items()} == {0: "completed"}
    assert (tmp_path / "0" / "result.json").read_bytes() == before
