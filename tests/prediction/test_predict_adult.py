"""Predict, evaluate and export on adult: missing values, categories, test rows of its own."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Once

import nnexp
from nnexp.cli import evaluate_file, export_network, predict_file
from nnexp.data.readers.frames import table_of_frame
from nnexp.prediction.exported import MISSING, UNSEEN, Signature
from nnexp.runs.checkpoints import load_network
from nnexp.runs.predictions import read_predictions

pytestmark = pytest.mark.shared_data

NAMES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)  # fmt: skip
TRAIN, TEST = 4000, 1500


def read(path: Path, count: int) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == 14]
    return cells[:count]


def write(path: Path, rows: Sequence[Sequence[str]], names: Sequence[str] = NAMES) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def adult(once: Once, shared_data: Path) -> Path:
    """A folder with a run and its files."""

    def fill(folder: Path) -> None:
        source = shared_data / "adult"
        write(folder / "train.csv", read(source / "adult.data", TRAIN))
        write(folder / "test.csv", read(source / "adult.test", TEST))
        nnexp.run(
            "dataset=csv", f"dataset.path={folder / 'train.csv'}",
            f"dataset.test_path={folder / 'test.csv'}", "dataset.target=income",
            "dataset.target_strip=.", "model=deep", "model.norm=batch", "baseline=none",
            "trainer.epochs=3", "trainer.pictures=false", folder=folder / "run",
        )  # fmt: skip

    return once("adult_run", fill)


def main(verb: Any, *arguments: object) -> None:
    verb.main(list(map(str, arguments)))


def probabilities(path: Path, classes: Sequence[str]) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array(
        [[float(row[f"probability {name}"]) for name in classes] for row in rows], np.float32
    )


def test_command_api_onnx_and_pt2_agree(adult: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    onnxruntime = pytest.importorskip("onnxruntime")
    run = nnexp.load(adult / "run")
    main(predict_file, adult / "run", adult / "test.csv", "-o", tmp_path / "out.csv")
    by_command = probabilities(tmp_path / "out.csv", run.classes)
    recorded = read_predictions(adult / "run").probabilities
    np.testing.assert_allclose(by_command, recorded, rtol=0, atol=1e-6)

    frame = pandas.read_csv(adult / "test.csv", na_values=["?"])
    shuffled = frame[[*reversed(NAMES[:-1])]]
    by_api = run.predict_proba(shuffled)
    assert by_api.tolist() == by_command.tolist()

    for name in ("model.onnx", "model.pt2"):
        main(export_network, adult / "run", tmp_path / name)
    network = load_network(adult / "run" / "checkpoints" / "best.pt")
    signature = Signature.of(network)
    table = table_of_frame(frame)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (by_onnx,) = session.run(None, signature.arrays(table))
    np.testing.assert_allclose(by_onnx, by_command, rtol=0, atol=1e-6)
    module = torch.export.load(tmp_path / "model.pt2").module()
    by_pt2 = module(*signature.tensors(table)).detach().numpy()
    np.testing.assert_allclose(by_pt2, by_command, rtol=0, atol=1e-6)


def test_evaluate_gives_the_recorded_metrics(
    adult: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(evaluate_file, adult / "run", adult / "test.csv", "--json")
    found = json.loads(capsys.readouterr().out)
    metrics = nnexp.load(adult / "run").metrics
    assert found["rows"] == TEST  # labels such as "<=50K." included
    for name in ("loss", "acc", "brier"):
        assert found[name] == pytest.approx(metrics[f"test/{name}"], abs=1e-6)


def test_files_that_differ_have_the_stated_outcome(
    adult: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (adult / "test.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    rows = rows[:200]
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"

    def told(cells: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[int, str]:
        code = 0
        try:
            main(predict_file, adult / "run", write(new, cells, names), "-o", out, "--force")
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, capsys.readouterr().err.replace("nnexp: ", "")

    classes = nnexp.load(adult / "run").classes
    assert told(rows, NAMES)[0] == 0
    expected = probabilities(out, classes)

    assert told([row[:-1] for row in rows], NAMES[:-1]) == (0, "")  # unlabelled
    assert probabilities(out, classes).tolist() == expected.tolist()

    code, err = told([["x", *reversed(row)] for row in rows], ["note", *reversed(NAMES)])
    assert (code, err) == (0, "")  # another order, a further column
    assert probabilities(out, classes).tolist() == expected.tolist()

    code, err = told([row[1:] for row in rows], NAMES[1:])
    assert (code, err.strip()) == (1, f"{new}: lacks column 'age'")
    renamed = [name.replace("hours-per-week", "hours_per_week") for name in NAMES]
    code, err = told(rows, renamed)
    problem = "lacks column 'hours-per-week' (did you mean 'hours_per_week'?)"
    assert (code, err.strip()) == (1, f"{new}: {problem}")

    rows[7][0] = "young"
    code, err = told(rows, NAMES)
    assert (code, err.strip()) == (1, f"{new}: line 9, column 'age': 'young' is not a number")

    rows[7][0] = "25"
    rows[7][13] = "Atlantis"
    code, err = told(rows, NAMES)
    assert code == 0
    assert (
        "column 'native-country': 1 cell of categories that training did not have, such as " in err
    )
    assert "'Atlantis'" in err
    network = load_network(adult / "run" / "checkpoints" / "best.pt")
    country = Signature.of(network).groups["categories"][-1]
    vocabulary = Signature.of(network).vocabulary(country)
    assert vocabulary.get("Atlantis", UNSEEN) == UNSEEN
    assert vocabulary["?"] == vocabulary[""] == MISSING
