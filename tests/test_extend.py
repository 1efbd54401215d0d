"""docs/extend.md, every block of it: a package of one component a file, used as the page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import programs
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "extend.md"
KINDS = (
    "optimizer", "scheduler", "activation", "loss", "metric", "model", "dataset", "baseline",
    "scaler",
)  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def files() -> dict[str, str]:
    """The Python blocks by the names that their first lines give."""
    return {text.partition("\n")[0].removeprefix("# "): text for text in blocks("python")}


def run(arguments: list[str], folder: Path) -> str:
    done = programs.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder in which the page's commands have run, and what the sweep and the script print."""
    folder = tmp_path_factory.mktemp("extend")
    for name, text in files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (commands,) = blocks("sh")
    printed = [
        run([sys.executable, "-m", *shlex.split(line)], folder)
        for line in commands.strip().splitlines()
    ]
    return folder, printed[0], run([sys.executable, "after.py"], folder)


def test_a_file_each() -> None:
    """Every kind of component is on the page, each in one file that registers nothing else."""
    registered = {
        name: re.findall(rf"@nnexp\.({'|'.join(KINDS)})\(", text) for name, text in files().items()
    }
    assert sorted(kinds[0] for kinds in registered.values() if kinds) == sorted(KINDS)
    assert all(len(kinds) <= 1 for kinds in registered.values())
    table = re.findall(r"^\| \[([a-z]+)\].*\| (\d) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert dict(table) == dict.fromkeys(KINDS, "1")


def test_runs_train_together(used: tuple[Path, str, str]) -> None:
    assert "8 runs in 2 groups" in used[1]
    assert used[1].count("4 runs in 1 group of 4") == 2


def test_results(used: tuple[Path, str, str]) -> None:
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(used[0].glob("multirun/*/*/[0-9]*/result.json"))
    ]
    assert len(results) == 8
    assert {result["status"] for result in results} == {"completed"}
    assert {result["group_size"] for result in results} == {4}
    first = results[0]
    assert first["config"]["optimizer"]["betas"] == [0.9, 0.99]
    assert first["config"]["loss"] == {"name": "focal", "gamma": 2.0}
    assert first["baselines"]["lda"]["shrinkage"] in (0.0, 0.3)
    for metrics in (first["metrics"], first["baselines"]["knn"], first["baselines"]["lda"]):
        assert metrics["test/acc"] <= metrics["test/top2"] <= 1


def test_the_report(used: tuple[Path, str, str]) -> None:
    (page,) = used[0].glob("multirun/*/*/report/index.html")
    text = page.read_text(encoding="utf-8")
    for words in ("LDA", "top-2 accuracy", "residual · lion", "shallow · lion"):
        assert words in text


def test_a_later_report(used: tuple[Path, str, str], tmp_path: Path) -> None:
    """It imports the package for its labels; where that is not there any more it says so."""
    (sweep,) = used[0].glob("multirun/*/*")
    command = [sys.executable, "-m", "nnexp", "report", str(sweep.resolve()), "--out"]
    assert " LDA " in run([*command, str(tmp_path / "with")], used[0])
    without = " ".join(run([*command, "without"], tmp_path).split())
    assert " lda " in without
    assert "there is no module my_parts" in without
    assert "its metrics and baselines go by their names" in without


def test_the_same_bits_solo(used: tuple[Path, str, str]) -> None:
    """The first run of each architecture, trained again by itself."""
    (sweep,) = used[0].glob("multirun/*/*")
    printed = run([sys.executable, "-m", "nnexp.verify", str(sweep), "--runs", "2"], used[0])
    assert "2 of 2 runs identical, bit for bit" in printed


def test_what_was_trained_is_loaded(used: tuple[Path, str, str]) -> None:
    accuracy, labels = used[2].split(maxsplit=1)
    result = json.loads((used[0] / "mine" / "result.json").read_text(encoding="utf-8"))
    assert float(accuracy) == result["metrics"]["test/acc"]
    assert re.fullmatch(r"\['(inner|middle|outer)' '(inner|middle|outer)'\]\n", labels)


def test_a_network_of_a_package_is_loaded(used: tuple[Path, str, str]) -> None:
    script = (
        "import glob, nnexp, numpy as np\n"
        "run = nnexp.load(glob.glob('multirun/*/*')[0]).runs[0]\n"
        "found = run.predict_proba([[0.0, 1.1], [0.0, -3.0]])\n"
        "assert found.shape == (2, 3) and np.allclose(found.sum(1), 1)\n"
        "print(run.config['model']['name'])\n"
    )
    assert run([sys.executable, "-c", script], used[0]) == "residual\n"
