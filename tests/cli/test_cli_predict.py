"""``nnexp predict``, ``evaluate``, ``rerun`` and ``export``: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Once
from prediction_cases import CLASSES, HEADER, rows, table_of, trained, written

import nnexp
from nnexp.cli import evaluate_file, export_network, predict_file
from nnexp.cli.rerun import read_recorded
from nnexp.runs.checkpoints import load_checkpoint, load_network
from nnexp.runs.record import read_result

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture(scope="session")
def people(once: Once) -> Path:
    return once("people", trained)


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program as people start it."""
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "nnexp", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Exit code, standard output and standard error of a verb in this process."""

    def run(main: Callable[[Sequence[str]], None], *arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(map(str, arguments)))
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_predict_writes_what_the_api_answers(people: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    cells = rows(120, seed=5)
    for row in cells[:3]:
        row[1] = "Bonn"
    written(tmp_path / "new.csv", cells)
    ended = program(tmp_path, "predict", str(people), "new.csv", "-o", "out.csv", "--keep", "age")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "120 rows in out.csv")
    ages, cities = (sum(row[column] == "" for row in cells) for column in (0, 1))
    assert ended.stderr.splitlines() == [
        f"nnexp: column 'age': {ages} missing values filled in as in training",
        f"nnexp: column 'city': {cities} missing values filled in as in training",
        "nnexp: column 'city': 3 cells of categories that training did not have, such as 'Bonn': "
        "none of its categories",
    ]
    assert "accuracy" in ended.stdout
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    frame = pandas.DataFrame(cells, columns=HEADER).drop(columns="label")
    frame["age"] = pandas.to_numeric(frame["age"])
    frame["score"] = pandas.to_numeric(frame["score"])
    run = nnexp.load(people)
    expected = run.predict_proba(frame[["score", "joined", "city", "age"]])
    for place, name in enumerate(CLASSES):
        column = np.array([float(row[f"probability {name}"]) for row in found], np.float32)
        assert column.tolist() == expected[:, place].tolist()
    assert [row["prediction"] for row in found] == run.predict(frame).tolist()


def test_predictions_go_to_standard_output(people: Path, tmp_path: Path, told: Told) -> None:
    data = written(tmp_path / "new.csv", [row[:4] for row in rows(3)], HEADER[:4])
    code, out, _ = told(predict_file.main, people, data)
    assert code == 0
    assert [line.partition(",")[0] for line in out.splitlines()[:1]] == ["prediction"]
    assert len(out.splitlines()) == 4  # and no metrics without labels


def test_options_say_how_a_file_is_written(people: Path, tmp_path: Path, told: Told) -> None:
    path = tmp_path / "new.txt"
    lines = ["# made by hand", *("~".join(row) for row in [list(HEADER), *rows(5)])]
    path.write_text("\n".join(lines), encoding="utf-16")
    given = ("dataset.separator=~", "dataset.encoding=utf-16", "dataset.comment=#")
    code, out, err = told(evaluate_file.main, people, path, *given, "--json")
    assert (code, json.loads(out)["rows"]) == (0, 5), err
    code, _, err = told(evaluate_file.main, people, path, "dataset.encodign=utf-16")
    assert code == 1
    assert "did you mean 'encoding'?" in err


def test_evaluate_gives_the_metrics_of_the_run(people: Path, tmp_path: Path) -> None:
    cells, result = rows(300), read_result(people)
    with np.load(people / "predictions.npz") as file:
        test_rows = file["rows"].tolist()
    written(tmp_path / "test.csv", [cells[row] for row in test_rows])
    ended = program(tmp_path, "evaluate", str(people), "test.csv", "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["rows"] == len(test_rows)
    for name in ("loss", "acc", "clipped_loss", "brier"):
        assert found[name] == pytest.approx(result.metrics[f"test/{name}"], abs=1e-6)


def test_evaluate_needs_labels(people: Path, tmp_path: Path, told: Told) -> None:
    data = written(tmp_path / "new.csv", [row[:4] for row in rows(3)], HEADER[:4])
    code, out, err = told(evaluate_file.main, people, data)
    assert (code, out) == (1, "")
    assert err == f"nnexp: {data}: has no column 'label' of labels; --target names another one\n"
    strange = written(data, [[*row[:4], "perhaps"] for row in rows(3)])
    code, out, err = told(evaluate_file.main, people, strange)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].endswith("no row has a label that is a class of the network")


@pytest.mark.parametrize(
    ("column", "name", "cell", "problem"),
    [
        (3, "scores", "", "lacks column 'score' (did you mean 'scores'?)"),
        (3, None, "", "lacks column 'score'"),
        (0, "age", "old", "line 3, column 'age': 'old' is not a number"),
        (
            2,
            "joined",
            "soon",
            "line 3, column 'joined': 'soon' is not a date as in training (2024-12-31)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    people: Path, tmp_path: Path, told: Told, column: int, name: str | None, cell: str, problem: str
) -> None:
    cells, names = rows(4), list(HEADER)
    if name is None:
        names.pop(column)
        for row in cells:
            row.pop(column)
    else:
        names[column] = name
        cells[1][column] = cell or cells[1][column]
    data = written(tmp_path / "new.csv", cells, tuple(names))
    code, out, err = told(predict_file.main, people, data, "-o", tmp_path / "out.csv")
    start = f"{data}: " if problem.startswith(("lacks", "line")) else ""
    assert (code, out, err) == (1, "", f"nnexp: {start}{problem}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_a_sweep_predicts_by_its_best_run_or_all(people: Path, tmp_path: Path, told: Told) -> None:
    for number in ("0", "1"):
        shutil.copytree(people, tmp_path / "sweep" / number)
    (tmp_path / "sweep" / "multirun.yaml").touch()
    data = written(tmp_path / "new.csv", rows(3))
    code, out, err = told(predict_file.main, tmp_path / "sweep", data)
    assert code == 0
    assert "the best of 2 by validation accuracy" in err.splitlines()[0]
    assert out.startswith("prediction,probability no,")
    code, out, err = told(predict_file.main, tmp_path / "sweep", data, "--all")
    assert code == 0
    assert out.splitlines()[0] == ",".join(
        f"{number}/{column}"
        for number in ("0", "1")
        for column in ("prediction", "probability no", "probability yes")
    )
    assert "0/accuracy" in err
    assert "1/accuracy" in err


def test_rerun_trains_the_recorded_config(people: Path, tmp_path: Path) -> None:
    ended = program(tmp_path, "rerun", str(people), "hydra.run.dir=" + str(tmp_path / "again"))
    assert ended.returncode == 0, ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("compare      nnexp compare ")
    assert last.endswith("/again")
    weights = [
        load_checkpoint(folder / "checkpoints" / "last.pt")["model"]
        for folder in (people, tmp_path / "again")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    recorded = read_recorded(tmp_path / "again")
    assert recorded.pins == []
    assert "dataset=people" in recorded.overrides


def test_defaults_that_have_changed_since_are_pinned(people: Path, tmp_path: Path) -> None:
    shutil.copytree(people / ".hydra", tmp_path / ".hydra")
    path = tmp_path / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("  amsgrad: false", "  amsgrad: true"))
    assert read_recorded(tmp_path).pins == ["optimizer.amsgrad=true"]


def test_an_override_replaces_what_was_recorded() -> None:
    from nnexp.cli.rerun import Recorded, _arguments, _dropped_lines

    recorded = Recorded(
        ["model=deep", "optimizer=adam", "optimizer.lr=0.1", "seed=3"], ["optimizer.eps=1.0"],
        None, None,
    )  # fmt: skip
    assert _arguments(recorded, ["seed=4"]) == [
        "model=deep", "optimizer=adam", "optimizer.lr=0.1", "optimizer.eps=1.0", "seed=4",
    ]  # fmt: skip
    assert _arguments(recorded, ["optimizer=sgd"]) == ["model=deep", "seed=3", "optimizer=sgd"]
    assert list(_dropped_lines(recorded, ["optimizer=sgd"])) == [
        "optimizer.lr=0.1 is left out: it was meant for another optimizer"
    ]


def test_export_writes_a_model_and_an_example(people: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    ended = program(tmp_path, "export", str(people), "model.onnx")
    assert ended.returncode == 0, ended.stderr
    network, example = ended.stdout.splitlines()
    assert network.startswith("network  model.onnx, within ")
    assert example == "example  model_onnx_example.py"
    cells = rows(3)
    inputs = {
        "numeric": np.array([[float(row[0] or "nan"), float(row[3] or "nan")] for row in cells]),
        "dates": np.array([[np.datetime64(row[2], "s").astype(float)] for row in cells]),
        "categories": np.array([[row[1]] for row in cells], dtype=object),
    }
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, inputs)
    network = load_network(people / "checkpoints" / "best.pt")
    expected = network.probabilities_of(table_of(cells)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_export_refuses(people: Path, tmp_path: Path, told: Told) -> None:
    code, out, err = told(export_network.main, people, tmp_path / "model.pb")
    assert (code, out, err) == (
        1,
        "",
        f"nnexp: {tmp_path / 'model.pb'}: must end in .onnx or .pt2\n",
    )
    code, out, err = told(export_network.main, people, "m.pt2", "--tolerance", "0")
    assert code == 2
    assert "argument --tolerance: 0: must be a number above 0" in err
