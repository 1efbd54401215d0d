"""Terminals and locales that have no ``·``: nothing fails, and files are UTF-8 all the same."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nnexp.environment import allow_any_text, make_logs_utf8
from nnexp.runs.record import read_result

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
STRICT = {"PYTHONIOENCODING": "ascii:strict"}
QUICK = ["model=linear", "trainer.epochs=2", "hydra.launcher.workers=1"]
NO_PICTURES = "trainer.pictures=false"  # they are drawn where classes have letters that ASCII lacks


def program(
    folder: Path, *arguments: str | bytes, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """``python -m`` in ``folder``; what it prints is bytes."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"LC_ALL": "C.UTF-8", **inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("environment", [ASCII, LATIN, STRICT], ids=["C", "latin-1", "ascii"])
def test_a_run_and_its_log(tmp_path: Path, environment: dict[str, str]) -> None:
    done = program(
        tmp_path, "nnexp", "dataset=iris", *QUICK, NO_PICTURES, "hydra.run.dir=out", **environment
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = "linear · adam".encode("latin-1") if environment is LATIN else b"linear - adam"
    assert shown + b" on iris, seed 0\n" in done.stdout.replace(b" - epochs=2", b"").replace(
        " · epochs=2".encode("latin-1"), b""
    )
    log = (tmp_path / "out" / "nnexp.log").read_text(encoding="utf-8").splitlines()
    assert "linear · adam" in log[0]
    assert len(log) == 2


def table(path: Path) -> Path:
    """Classes, columns and a name with letters that ASCII lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{n % 7},{n % 5},{'größer' if n % 7 > 3 else '小さい'}" for n in range(90)]
    path.write_text("\n".join(["länge,bréite,urteil·", *rows]) + "\n", encoding="utf-8")
    return path


def assert_is_of_the_table(folder: Path) -> None:
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    assert config["dataset"]["path"] == "dätä/größen.csv"
    assert read_result(folder).status == "completed"


def test_names_of_files_columns_and_classes(tmp_path: Path) -> None:
    path = table(tmp_path / "dätä" / "größen.csv")
    done = program(
        tmp_path, "nnexp", "dataset=csv", f"dataset.path='{path.relative_to(tmp_path)}'",
        "dataset.target='urteil·'", *QUICK, "hydra.run.dir='läufe/1'", **ASCII,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert_is_of_the_table(tmp_path / "läufe" / "1")


@pytest.mark.parametrize(("launcher", "environment"), [("fused", ASCII), ("basic", LATIN)])
def test_a_sweep_its_report_and_the_programs_that_read_it(
    tmp_path: Path, environment: dict[str, str], launcher: str
) -> None:
    """Of a table whose names have letters that ASCII lacks."""
    path = table(tmp_path / "dätä" / "größen.csv")
    done = program(
        tmp_path, "nnexp", "-m", "dataset=csv", f"dataset.path='{path.relative_to(tmp_path)}'",
        "dataset.target='urteil·'", *QUICK[:2], "seed=0,1,2", "hydra.sweep.dir='läufe'",
        "hydra.sweep.subdir='${hydra.job.num}ä'", "report.tensorboard=true",
        f"hydra/launcher={launcher}", **environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\n  * " in done.stdout
    runs = tmp_path / "läufe"
    encoding = {"fused": "ascii", "basic": "latin-1"}[launcher]
    assert b"report       " + "läufe".encode(encoding, "backslashreplace") in done.stdout
    for num in range(3):
        assert_is_of_the_table(runs / f"{num}ä")
        log = (runs / f"{num}ä" / "nnexp.log").read_text(encoding="utf-8")
        assert "linear · adam" in log
    again = program(
        tmp_path, "nnexp.report", "läufe", "--reference", "linear · adam", **environment
    )
    assert again.returncode == 0, again.stderr
    for module in ("report", "tensorboard", "verify") if launcher == "fused" else ():
        helped = program(tmp_path, f"nnexp.{module}", "--help", **environment)
        assert (helped.returncode, helped.stderr) == (0, b"")
    verified = program(tmp_path, "nnexp.verify", "läufe", "--runs", "1", **environment)
    assert (verified.returncode, verified.stderr) == (0, b"")
    assert b"1 of 1 run identical" in verified.stdout
    means = (path.name for path in (runs / "report").rglob("*") if path.is_dir())
    assert any("·" in name for name in means)  # names of folders are UTF-8 too


@pytest.mark.parametrize("environment", [ASCII, {}], ids=["C", "UTF-8"])
def test_names_that_are_no_text_are_told_in_one_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    table(tmp_path / os.fsdecode(b"gr\xf6\xdfen.csv"))
    done = program(tmp_path, "nnexp", b"dataset.path=gr\xf6\xdfen.csv", **environment)
    line = rb"nnexp: dataset.path=gr\xf6\xdfen.csv: is not UTF-8, which files of nnexp are"
    assert (done.returncode, done.stderr.splitlines()) == (1, [line])


def test_bad_input_is_told(tmp_path: Path) -> None:
    done = program(
        tmp_path, "nnexp", "dataset=csv", "dataset.path='größe.csv'", "dataset.target=a", **ASCII
    )
    assert done.returncode == 1
    assert done.stderr.startswith(rb"nnexp: ")
    assert rb"gr\xf6\xdfe.csv" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_no_file_is_opened_in_the_encoding_of_the_locale(tmp_path: Path) -> None:
    """Ruff finds the calls whose type it can see; Python those that are made."""
    path = table(tmp_path / "table.csv")
    done = program(
        tmp_path, "nnexp", "-m", "dataset=csv", f"dataset.path={path}", "dataset.target=-1",
        "seed=0,1", *QUICK, "baseline=all", "hydra.sweep.dir=out", "report.tensorboard=true",
        "hydra/launcher=basic", "~hydra.launcher.workers", PYTHONWARNDEFAULTENCODING="1",
    )  # fmt: skip
    own = re.findall(r".*(?:nnexp|hydra_plugins)/.*EncodingWarning.*", done.stderr.decode())
    assert own == []


class Written(io.TextIOWrapper):
    """A stream as Python makes it for a terminal."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors=errors, write_through=True)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"a - b * -1 - x ~ <= -> . \xe9 \u5c0f"),
        ("latin-1", b"a \xb7 b * -1 - \xd7 \xb1 <= -> . \xe9 \\u5c0f"),
        ("cp1252", b"a \xb7 b \x95 -1 - \xd7 \xb1 <= -> \x85 \xe9 \\u5c0f"),
        ("utf-8", "a · b • −1 ─ × ± ≤ → … é 小".encode()),
    ],
)
def test_stand_ins(monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes) -> None:
    for name in ("stdout", "stderr"):
        stream = Written(encoding)
        monkeypatch.setattr(sys, name, stream)
        allow_any_text()
        stream.write("a · b • −1 ─ × ± ≤ → … é 小")
        assert stream.bytes.getvalue() == expected
        stream.write("\udcff\u280b\udcfe")
        spinner = "\u280b".encode() if encoding == "utf-8" else b"*"
        assert stream.bytes.getvalue()[len(expected) :] == b"\xff" + spinner + b"\xfe"


def test_what_the_user_asks_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Written("ascii", "replace"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # of a notebook
    allow_any_text()
    sys.stdout.write("·")
    assert sys.stdout.bytes.getvalue() == b"?"  # type: ignore[attr-defined]


def test_log_files_become_utf8(tmp_path: Path) -> None:
    """Also where opened as the locale has it, and of a name that is no text."""
    logger = logging.getLogger("nnexp.of_a_test")
    open_, delayed = (
        logging.FileHandler(tmp_path / name, encoding="ascii", delay=name == "delayed")
        for name in ("open", "delayed")
    )
    logger.handlers, logger.propagate = [open_, delayed], False
    try:
        make_logs_utf8()
        logger.error("− %s", "\udcff")
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers = []
    for name in ("open", "delayed"):
        assert (tmp_path / name).read_bytes() == "− \\udcff\n".encode()
