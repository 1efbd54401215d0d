"""Verbs: which one a command line asks for, what is said of a wrong one, help and versions."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import programs
import pytest

from nnexp.cli import verbs
from nnexp.cli.exit_codes import MEANINGS
from nnexp.cli.main import main
from nnexp.cli.verbs import VERBS, choose


def nnexp(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["nnexp", *arguments])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["+experiment=deep_adam"],
        ["-m", "seed=0,1"],
        ["--cfg", "job"],
        ["--help"],
        ["-sc", "install=bash"],
        ["~baseline"],
        ["list=3"],
        ["+report"],
        [""],
    ],
)
def test_what_is_no_verb_is_hydras(arguments: list[str]) -> None:
    assert choose(arguments) == (VERBS["train"].handler, arguments)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_gets_what_comes_after_it(verb: str) -> None:
    assert choose([verb, "a", "--b"]) == (VERBS[verb].handler, ["a", "--b"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "trian: no such verb (did you mean 'train'?); 'nnexp help' lists them, and "
         "options are key=value"),
        (["reprot", "multirun"], "reprot: no such verb (did you mean 'report'?); 'nnexp help' "
         "lists them, and options are key=value"),
        (["optimizer", "adam"], "optimizer: no such verb; 'nnexp help' lists them, and options "
         "are key=value"),
        (["my runs"], "my runs: is a folder, not a verb; try: nnexp report 'my runs', nnexp "
         "compare 'my runs'"),
        (["help", "lst"], "lst: no such verb (did you mean 'list'?)"),
        (["report"], "report: the following arguments are required: DIR ('nnexp report --help' "
         "shows the usage)"),
        (["verify", "x", "--runs", "0"], "verify: argument --runs: 0: must be a whole number of "
         "at least 1, or all ('nnexp verify --help' shows the usage)"),
        (["tensorboard"], "tensorboard: the following arguments are required: DIR ('nnexp "
         "tensorboard --help' shows the usage)"),
        (["list", "-n", "0"], "list: argument -n: 0: must be a whole number of at least 1 "
         "('nnexp list --help' shows the usage)"),
        (["list", "--wide"], "list: unrecognized arguments: --wide ('nnexp list --help' shows "
         "the usage)"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_code_2(
    arguments: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my runs").mkdir()
    assert told(monkeypatch, capsys, *arguments) == (2, "", f"nnexp: {line}\n")


@pytest.mark.parametrize(
    "verb",
    [
        "report",
        "verify",
        "tensorboard",
        "list",
        "compare",
        "predict",
        "evaluate",
        "rerun",
        "export",
    ],
)
@pytest.mark.parametrize("form", ["{verb} --help", "help {verb}"])
def test_every_verb_has_help(
    verb: str, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(monkeypatch, capsys, *form.format(verb=verb).split())
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: nnexp {verb} ")


@pytest.mark.parametrize("verb", ["report", "verify", "tensorboard", "list", "compare"])
def test_an_error_is_one_line_and_code_1(
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = told(monkeypatch, capsys, verb, "absent")
    assert (code, out) == (1, "")
    assert err.endswith("absent: no such folder\n")
    assert err.startswith("nnexp: ")
    assert err.count("\n") == 1


def test_help_names_every_verb_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(monkeypatch, capsys, "help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, verb in VERBS.items():
        assert any(
            line.startswith(f"  nnexp {name} ") and line.endswith(verb.summary) for line in lines
        )
    assert [int(line.split()[0]) for line in lines if line[:5].strip().isdecimal()] == [*MEANINGS]


def test_versions_are_those_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.metadata import version
    from platform import python_version

    lines = [f"nnexp {version('nnexp')}", f"python {python_version()}", f"torch {version('torch')}"]
    assert told(monkeypatch, capsys, "--version") == (0, "\n".join(lines) + "\n", "")


@pytest.mark.parametrize(
    ("line", "printed", "asks_hydra", "left"),
    [
        ("nnexp ", f"{' '.join(VERBS)}\n", True, None),
        ("nnexp tr", "train\n", True, None),
        ("nnexp optimizer=a", "", True, None),
        ("nnexp train optimizer=a", "", True, "nnexp optimizer=a"),
        ("nnexp train seed=1 ", "", True, "nnexp seed=1 "),
        ("nnexp seed=1 tr", "", True, None),
        ("nnexp report mult", "", False, None),
        ("nnexp help v", "verify\n", False, None),
    ],
)
def test_completion(
    line: str,
    printed: str,
    asks_hydra: bool,
    left: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert verbs.answer() is asks_hydra
    assert capsys.readouterr().out == printed
    assert os.environ["COMP_LINE"] == (left or line)


# ── the program ───────────────────────────────────────────────────────────────────────────────


def test_train_is_the_same_as_no_verb(tmp_path: Path) -> None:
    show = ["--cfg", "job", "optimizer=sgd", "+experiment=deep_adam"]
    plain, verb = nnexp(tmp_path, *show), nnexp(tmp_path, "train", *show)
    assert (verb.returncode, verb.stderr) == (0, "")
    assert verb.stdout == plain.stdout
    assert "lr: 0.05" in verb.stdout


def test_the_other_verbs_load_neither_hydra_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from nnexp.cli.main import main\n"
        "for line in ('list', '--version', 'help', 'compare --help'):\n"
        "    sys.argv = ['nnexp', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'hydra', 'numpy', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_launchers_can_send_the_job_to_other_processes() -> None:
    """By its name in a module that can be imported, as Joblib's launcher does."""
    from nnexp.cli import train

    sent = pickle.dumps(train._job)
    assert b"nnexp.cli.train" in sent
    assert pickle.loads(sent) is train._job
    assert train._job.trains_in_groups  # type: ignore[attr-defined]
