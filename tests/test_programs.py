"""The helper that forks programs: they find what they would find if they were started anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import programs
import pytest

TELL = """
import json, os, signal, sys, warnings
names = ("__name__", "__file__", "__package__", "__doc__")
print(json.dumps({
    "arguments": [sys.argv, sys.orig_argv],
    "main": {name: str(globals().get(name)) for name in names},
    "others": sorted(set(globals()) - {*names, "names", "__builtins__", "__annotations__"}),
    "path": sys.path, "folder": os.getcwd(), "environment": dict(os.environ),
    "options": sys.warnoptions,
    "errors": [str(one) for one in warnings.filters[:len(sys.warnoptions)] if sys.warnoptions],
    "signals": [str(signal.getsignal(number)) for number in (2, 10, 13, 15, 17)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "streams": [
        (s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.fileno())
        for s in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "files": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
    "group": os.getpgid(0) == os.getpgid(os.getppid()), "parent": os.getppid(),
    "ours": [name for name in sys.modules if name.partition(".")[0] == "nnexp"],
}))
print(sys.stdin.read(), file=sys.stderr)
sys.exit(7)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


@pytest.mark.parametrize(
    ("kind", "options", "variables"),
    [
        ("-m", [], {}),
        ("-m", ["-W", "error::UserWarning"], {"OMP_NUM_THREADS": "1", "COLUMNS": "77"}),
        ("-c", ["-W", "error"], {}),
        ("file", [], {"OMP_NUM_THREADS": "1"}),
        ("file", ["-W", "error"], {"TMPDIR": "/"}),
    ],
    ids=str,
)
def test_it_finds_what_it_would_find(
    tmp_path: Path, kind: str, options: list[str], variables: dict[str, str]
) -> None:
    (tmp_path / "tell.py").write_text(TELL, encoding="utf-8")
    program = {"-m": ["-m", "tell"], "-c": ["-c", TELL], "file": ["tell.py"]}[kind]
    given: dict[str, Any] = {
        "input": "told\n", "capture_output": True, "text": True, "cwd": tmp_path,
        "env": os.environ | variables,
    }  # fmt: skip
    command = [sys.executable, *options, *program, "one", "--two", "three words"]
    forked, started = programs.run(command, **given), subprocess.run(command, **given, check=False)
    assert (forked.returncode, forked.stderr) == (7, "told\n\n")
    assert (started.returncode, started.stderr) == (7, "told\n\n")
    assert json.loads(forked.stdout) == json.loads(started.stdout)


def test_it_is_a_child_of_ours(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
    with programs.Popen(sleep, stdout=subprocess.PIPE, text=True) as process:
        assert process.forked
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        programs.run(sleep, timeout=0.1)
    with pytest.raises(subprocess.CalledProcessError):
        programs.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)


def test_what_cannot_be_forked_is_started() -> None:
    with programs.Popen([sys.executable, "-S", "-c", "pass"]) as other_options:
        assert not other_options.forked
    with programs.Popen(["true"]) as other_program:
        assert not other_program.forked
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with programs.Popen([sys.executable, "-c", "pass"], env=environment) as other_libraries:
        assert not other_libraries.forked


WORKER = """
import multiprocessing, sys
from multiprocessing import forkserver

def work():
    print("torch" in sys.modules, flush=True)

if __name__ == "__main__":
    process = multiprocessing.get_context("forkserver").Process(target=work)
    process.start()
    process.join()
    forkserver.ensure_running()
    print(process.exitcode, forkserver._forkserver._forkserver_pid)
"""


def test_workers_of_a_sweep_are_forked_as_well(tmp_path: Path) -> None:
    """Their server is the program's own child, and nothing outlives the program."""
    (tmp_path / "one.py").write_text(WORKER, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "one", "-m"]
    done = programs.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told, code, pid = done.stdout.split()
    assert (told, code) == ("True", "0")
    for _ in range(300):
        if not Path("/proc", pid).exists():
            break
        time.sleep(0.1)
    assert not Path("/proc", pid).exists()
