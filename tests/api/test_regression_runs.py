"""Regressions from the command line and from Python, from data to predictions."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from programs import run as run_program
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import nnexp
from nnexp.runs.checkpoints import load_network
from nnexp.runs.predictions import read_predictions
from nnexp.runs.record import read_metrics, read_result

STREAM = np.random.default_rng(5)
ROWS = 240
PLACES = np.array(["north", "south", "east"])


def houses() -> pd.DataFrame:
    """Prices that size and place explain but for a tenth."""
    size, place = STREAM.uniform(40, 200, ROWS), STREAM.integers(0, 3, ROWS)
    price = 50_000 + 2_500 * size * (1 + 0.2 * place) + 15_000 * STREAM.normal(size=ROWS)
    return pd.DataFrame({"size": size.round(1), "place": PLACES[place], "price": price.round()})


FRAME = houses()


def program(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run_program([sys.executable, "-m", "nnexp", *arguments], cwd=cwd, capture_output=True,
                       text=True, check=False)  # fmt: skip


FAST = ["trainer.epochs=40", "optimizer.lr=0.01", "baseline=none", "model=shallow"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, and beside it the table with prices as people write them."""
    folder = tmp_path_factory.mktemp("houses")
    written = FRAME.assign(price=[f"${price:,.0f}" for price in FRAME.price])
    written.to_csv(folder / "houses.csv", index=False)
    done = program(
        "dataset=csv", f"dataset.path={folder}/houses.csv", "dataset.target=price",
        "task=regression", *FAST, "metrics=[median_absolute_error]", "hydra.run.dir=run",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 features, regression;" in done.stdout
    table = " ".join(done.stdout.split())
    for column in ("val rmse", "test rmse", "MAE", "R²"):
        assert column in table
    return folder / "run"


def test_what_a_run_leaves(trained: Path) -> None:
    result = read_result(trained)
    assert result.task == "regression"
    assert (result.dataset.num_classes, result.dataset.class_names) == (None, None)
    predictions = read_predictions(trained)
    predicted, right = predictions.predicted, predictions.labels
    assert np.array_equal(right, FRAME.price.to_numpy()[predictions.rows])
    metrics = result.metrics
    expected = {
        "test/rmse": root_mean_squared_error(right, predicted),
        "test/mae": mean_absolute_error(right, predicted),
        "test/r2": r2_score(right, predicted),
        "test/median_absolute_error": np.median(np.abs(right - predicted)),
    }
    assert {key: metrics[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert metrics["test/r2"] is not None
    assert metrics["test/r2"] > 0.95
    lines = read_metrics(trained)
    best = lines[(result.best_epoch or 0) - 1]
    assert (
        best["val/rmse"]
        == metrics["val/rmse"]
        == min(float(line["val/rmse"] or 0) for line in lines)
    )
    saved = torch.load(trained / "checkpoints" / "best.pt", weights_only=True)
    train = np.setdiff1d(np.arange(ROWS), predictions.rows)
    mean, std = saved["target"]["mean"], saved["target"]["std"]
    assert (mean, std) == pytest.approx(
        (FRAME.price[train].mean(), FRAME.price[train].std()), rel=0.05
    )
    scaled = (metrics["test/rmse"] or 0) / std
    assert metrics["test/loss"] == pytest.approx(scaled**2)
    assert result.config["loss"] == {"name": "squared_error"}
    assert result.config["trainer"]["select"] == "rmse"


def test_predict_and_evaluate(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    shown = FRAME.head(50).assign(price=[f"${p:,.0f}" for p in FRAME.price.head(50)])
    shown.loc[3, "price"] = ""
    shown[["place", "price", "size"]].to_csv(table, index=False)
    done = program("predict", str(trained), str(table), "-o", str(tmp_path / "out.csv"))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["prediction"]
    predicted = np.array([float(row["prediction"]) for row in rows])
    known = np.arange(50) != 3
    right = FRAME.price.head(50).to_numpy()[known]
    assert r2_score(right, predicted[known]) > 0.95
    done = program("evaluate", str(trained), str(table), "--json")
    assert done.returncode == 0, done.stderr
    assert "1 rows have no value of the target and do not count" in done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 49
    assert found["rmse"] == pytest.approx(root_mean_squared_error(right, predicted[known]))
    assert found["median_absolute_error"] == pytest.approx(
        np.median(np.abs(right - predicted[known]))
    )
    network = load_network(trained / "checkpoints" / "best.pt")
    raw = np.column_stack(
        [
            FRAME.head(50)["size"],
            *(FRAME.head(50).place == name for name in ("east", "north", "south")),
        ]
    )
    order = [network.feature_names.index(f"place={name}") for name in ("east", "north", "south")]
    features = np.empty((50, 4))
    features[:, network.feature_names.index("size")] = raw[:, 0]
    features[:, order] = raw[:, 1:]
    np.testing.assert_allclose(network.quantities(features), predicted, rtol=1e-6)


def test_export(trained: Path, tmp_path: Path) -> None:
    done = program("export", str(trained), str(tmp_path / "net.pt2"))
    assert done.returncode == 0, done.stderr
    assert "predictions, in standard deviations of the target" in done.stdout
    module = torch.export.load(tmp_path / "net.pt2").module()
    numeric = torch.tensor([[100.0], [150.0]], dtype=torch.float64)
    found = module(numeric, torch.tensor([[0], [1]]))
    run = nnexp.load(trained)
    categories = ["east", "north"]
    frame = pd.DataFrame({"size": [100.0, 150.0], "place": categories})
    np.testing.assert_allclose(found.detach().numpy()[:, 0], run.predict(frame), rtol=1e-6)
    example = (tmp_path / "net_pt2_example.py").read_text()
    assert "CLASSES" not in example
    assert "prediction = network(" in example


@pytest.mark.parametrize("kind", ["arrays", "frame"])
def test_from_python(kind: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"trainer__epochs": 25, "baseline": "none", "optimizer__lr": 0.01}
    features = FRAME[["size"]] if kind == "frame" else FRAME[["size"]].to_numpy()
    run = nnexp.run(data=(features, FRAME.price.to_numpy()), task="regression", **settings,
                    folder=tmp_path)  # fmt: skip
    assert run.metrics["test/r2"] > 0.7
    predicted = run.predict(features)
    assert predicted.dtype == np.float64
    assert r2_score(FRAME.price, predicted) > 0.7


def test_a_sweep_trains_regressions_together(tmp_path: Path) -> None:
    """Runs on several splits, each with a target of its own scaling, and the same numbers alone."""
    swept = nnexp.sweep(
        "dataset=diabetes", "seed=range(3)", "optimizer.lr=0.001,0.01", "loss=huber",
        "trainer.epochs=5", "baseline=none", "report.enabled=false", folder=tmp_path / "sweep",
    )  # fmt: skip
    assert len(swept) == 6
    for run in swept:
        assert read_result(run.folder).group_size > 1
    one = swept[4]
    alone = nnexp.run(
        "dataset=diabetes", f"seed={one.seed}", f"optimizer.lr={one.config['optimizer']['lr']}",
        "loss=huber", "trainer.epochs=5", "baseline=none", folder=tmp_path / "alone",
    )  # fmt: skip
    assert alone.metrics == one.metrics
    predicted = [read_predictions(run.folder).probabilities for run in (one, alone)]
    assert np.array_equal(*predicted)


def test_a_sweep_ends_in_a_report_by_rmse(tmp_path: Path) -> None:
    done = program("-m", "dataset=diabetes", "seed=range(3)", "model=linear,shallow",
                   "optimizer.lr=0.01", "baseline=[knn,constant]", "baseline.knn.metric=euclidean",
                   "trainer.epochs=8", "report.reference=constant",
                   "hydra.sweep.dir=sweep", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    assert "selected on each split by validation RMSE, beats mean of the target on diabetes" in text
    assert "accuracy" not in text
    summary = json.loads((tmp_path / "sweep" / "report" / "summary.json").read_text("utf-8"))
    assert summary["metric"]["name"] == "rmse"
    assert summary["metric"]["greater_is_better"] is False
    rmse = {run.seed: run.metrics["test/rmse"] for run in nnexp.load(tmp_path / "sweep")}
    assert len(rmse) == 3
    listed = json.loads(program("list", str(tmp_path), "--json").stdout)
    (entry,) = listed
    assert entry["metric"] == "rmse"
    assert 40 < entry["val/rmse"] < 80
    shown = " ".join(program("compare", str(tmp_path / "sweep")).stdout.split())
    assert "val/rmse" in shown
    assert "KNN test/rmse" in shown
    best = nnexp.load(tmp_path / "sweep").best()
    assert best.metrics["val/rmse"] == min(
        run.metrics["val/rmse"] for run in nnexp.load(tmp_path / "sweep")
    )
    again = program("report", str(tmp_path / "sweep"), "--metric", "rmse", "--reference", "knn")
    assert again.returncode == 0, again.stderr
    by_points = program("report", str(tmp_path / "sweep"), "--equivalence", "0.5")
    assert "--equivalence is in points of per cent, which RMSE is not told in" in by_points.stderr
    done = program("verify", str(tmp_path / "sweep"), "--runs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "val/rmse" in repr(best)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("1,2\n3,x\n5,6\n", "line 3, column 'y': task=regression: 'x' is not a number"),
        ("1,2\n3,\n5,6\n", "line 3, column 'y': the target is missing ('')"),
        ("1,2\n3,2\n5,2\n", "target 'y' is 2 in all rows: there is nothing to predict"),
    ],
)
def test_targets_that_cannot_be(cells: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + cells + "7,1\n8,9\n" * (0 if "nothing" in message else 5))
    done = program("dataset=csv", f"dataset.path={path}", "dataset.target=y", "task=regression")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "t.csv" in line][-1:]
    assert message in line


def test_what_is_no_regression(tmp_path: Path) -> None:
    x = np.arange(20.0)[:, None]
    with pytest.raises(nnexp.DataError, match=r"data: y: row 0: 0\.5 is a quantity, not a class; "
                       "task=regression predicts a quantity"):  # fmt: skip
        nnexp.run(data=(x, np.arange(20) + 0.5), folder=tmp_path)
    with pytest.raises(nnexp.DataError, match="data: y: holds text; task=regression needs numbers"):
        nnexp.run(data=(x, ["a", "b"] * 10), task="regression", folder=tmp_path)
    assert not math.isnan(x[0, 0])
