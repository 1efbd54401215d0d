"""Networks of DataFrames with text predict files with the same columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from prediction_cases import rows, written

import nnexp
from nnexp.errors import DataError
from nnexp.prediction.files import blocks_of
from nnexp.prediction.predictors import choose


def test_a_run_on_a_dataframe_predicts_a_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    cells = [[row[3], row[1] or "Bonn", row[4]] for row in rows(200)]
    frame = pandas.DataFrame(cells, columns=["score", "city", "label"])
    frame["score"] = pandas.to_numeric(frame["score"])
    run = nnexp.run(
        "baseline=none", "model=linear", data=frame, target="label", folder=tmp_path / "run",
        trainer__epochs=2, trainer__pictures=False,
    )  # fmt: skip
    network = choose(tmp_path / "run").predictors[0].networks[0]
    data = written(tmp_path / "new.csv", cells, ("score", "city", "label"))
    (block,) = blocks_of(data, network, {}, ())
    expected = run.predict_proba(frame.drop(columns="label"))
    assert network.probabilities_of(block).numpy().tolist() == expected.tolist()
    written(data, [["0.5", ""]], ("score", "city"))
    (block,) = blocks_of(data, network, {}, ())
    with pytest.raises(DataError, match="column 'city': no value, and the network was trained"):
        network.probabilities_of(block)
