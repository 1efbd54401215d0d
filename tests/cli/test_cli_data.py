"""``nnexp data``: the data card of a file, before anything is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nnexp.cli.data_card import main

ROWS = "".join(f"{i},{i % 7 / 4},{i % 11}%,{'xy'[i % 2]}\n" for i in range(40))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("n,size,share,label\n" + ROWS, encoding="utf-8")
    return "t.csv"


def test_the_card_in_a_terminal(file: str) -> None:
    """By the real program, from start to end."""
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", "data", file, "target=label"],
        capture_output=True, text=True, encoding="utf-8", check=False, env=os.environ.copy(),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "t.csv: 40 rows, 4 columns, 2 features",
        "  cells are separated by ,",
        "  line 1 names the columns",
        "  column  role        distinct  missing  example  becomes",
        "  n       identifier        40        0  0        left out: it counts the rows",
        "  size    numeric            7        0  0.0      a number",
        "  share   numeric           11        0  0%       a number (unit %)",
        "  label   target             2        0  x        the label",
    ]
    assert done.stderr.splitlines() == [
        "nnexp: data: column n: it counts the rows; left out "
        "('dataset.columns={n:numeric}' keeps it)"
    ]


def test_the_card_for_programs(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([file, "--json", "dataset.columns={n:numeric}"])
    card: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (card["rows"], card["num_columns"], card["features"]) == (40, 4, 5)
    assert [column["role"] for column in card["columns"]] == ["numeric"] * 3 + ["categorical"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["tagret=label"], "tagret: is no option of dataset=table (did you mean 'target'?)"),
        (["skip_rows=no"], "dataset.skip_rows=no: must be how many lines at the beginning"),
        (["target=lable"], "dataset.target=lable: t.csv has no such column (did you mean 'label'"),
        (["columns={n:number}"], "n: number is no role (did you mean 'numeric'?)"),
        (["header=perhaps"], "header=perhaps: "),
        (["label"], "label: cannot be read, must be key=value"),
    ],
)
def test_wrong_options(
    file: str, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([file, *options])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
