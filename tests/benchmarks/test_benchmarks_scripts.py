"""The scripts in benchmarks/ run from a checkout in which nnexp is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(p.name for p in FOLDER.glob("*.py") if '__name__ == "__main__"' in p.read_text())


def isolated(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with all that is installed but what a .pth file leads to, such as this checkout."""
    places = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Python finds torch and no nnexp."""
    folder = tmp_path_factory.mktemp("elsewhere")
    assert isolated(folder, "-c", "import torch").returncode == 0
    if isolated(folder, "-c", "import nnexp.environment").returncode == 0:
        pytest.skip("nnexp is installed as a wheel, not as the checkout that it lies in")
    return folder


def test_there_are_scripts() -> None:
    assert {"cuda.py", "knn.py", "matmul.py", "single_run.py", "sweep.py"} <= {*SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_from_any_folder_without_an_installed_nnexp(
    elsewhere: Path, script: str
) -> None:
    done = isolated(elsewhere, str(FOLDER / script), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_programs_that_a_script_starts_find_it_too(elsewhere: Path) -> None:
    """Sweeps from the shell run in a folder of their own."""
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import subprocess, checkout\n"
        "command = [sys.executable, '-S', '-m', 'nnexp', '-m', '--help']\n"
        "sys.exit(subprocess.run(command, env=checkout.environment()).returncode)"
    )
    done = isolated(elsewhere, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "optimizer" in done.stdout
