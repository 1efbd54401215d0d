"""Networks of DataFrames that were written as arrays, as they once were, still predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prediction_cases import rows, written

import nnexp
from nnexp.data.sources.arrays import Arrays, content_of
from nnexp.data.sources.frames import Columns
from nnexp.errors import DataError
from nnexp.prediction.files import blocks_of
from nnexp.prediction.predictors import choose


def test_a_run_on_a_dataframe_predicts_a_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    cells = [[row[3], row[1] or "Bonn", row[4]] for row in rows(200)]
    frame = pandas.DataFrame(cells, columns=["score", "city", "label"])
    frame["score"] = pandas.to_numeric(frame["score"])
    cities = tuple(sorted(set(frame["city"])))
    encoded = [[score, *(city == one for one in cities)] for score, city, _ in frame.to_numpy()]
    columns = Columns(("score", "city"), (None, cities))
    arrays = Arrays(np.array(encoded, float), np.array(frame["label"], str), columns)
    (tmp_path / "data-0.npz").write_bytes(content_of(arrays))
    run = nnexp.run(
        "baseline=none", "model=linear", "dataset=arrays", dataset__path=tmp_path / "data-0.npz",
        trainer__epochs=2, trainer__pictures=False, folder=tmp_path / "run",
    )  # fmt: skip
    assert run.feature_names == ("score", *(f"city={city}" for city in cities))
    assert run.classes.tolist() == sorted(set(frame["label"]))
    network = choose(tmp_path / "run").predictors[0].networks[0]
    data = written(tmp_path / "new.csv", cells, ("score", "city", "label"))
    (block,) = blocks_of(data, network, {}, ())
    expected = run.predict_proba(frame.drop(columns="label"))
    assert network.probabilities_of(block).numpy().tolist() == expected.tolist()
    np.testing.assert_array_equal(run.predict_proba(np.array(encoded, float)), expected)
    assert run.predict(frame[["city", "score"]]).tolist() == run.predict(frame).tolist()
    with pytest.raises(DataError, match="X: row 0, column 'city': no value, and the network was"):
        run.predict(frame.assign(city=None))
    written(data, [["0.5", ""]], ("score", "city"))
    (block,) = blocks_of(data, network, {}, ())
    with pytest.raises(DataError, match="column 'city': no value, and the network was trained"):
        network.probabilities_of(block)
