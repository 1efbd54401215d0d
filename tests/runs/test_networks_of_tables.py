"""Networks with the preprocessing of a table: in a checkpoint and back, on cells as they come."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Once
from prediction_cases import CLASSES, HEADER, a_source, an_encoder, rows, table_of, trained

from nnexp.config.dataset_schema import DrawnDatasetConfig
from nnexp.data import split
from nnexp.data.blocks import rows_of
from nnexp.errors import DataError
from nnexp.runs.checkpoints import load_checkpoint, load_network, save_checkpoint
from nnexp.runs.predictions import read_predictions
from nnexp.runs.trained_network import ROWS_AT_ONCE, TrainedNetwork, Treatment


@pytest.fixture(scope="session")
def people(once: Once) -> Path:
    return once("people", trained)


def network_of(people: Path) -> TrainedNetwork:
    return load_network(people / "checkpoints" / "best.pt")


def a_dataset() -> Any:
    return split(a_source(), DrawnDatasetConfig(name="people"))


def test_a_checkpoint_has_the_encoder_and_what_fills_in_missing_values(people: Path) -> None:
    dataset = a_dataset()
    for name in ("best.pt", "last.pt"):
        network = load_network(people / "checkpoints" / name)
        assert network.encoder == an_encoder()
        assert torch.equal(network.fill, dataset.fill)
        assert network.class_names == CLASSES
    content = load_checkpoint(people / "checkpoints" / "best.pt")
    assert content["encoder"] == an_encoder().to_json()


def test_features_have_the_bits_of_training(people: Path) -> None:
    dataset, network = a_dataset(), network_of(people)
    features = network.features_of(table_of(rows(300)), Treatment())
    scaled = ((features - network.shift) * network.scale).float()
    assert torch.equal(scaled, dataset.x)


def test_probabilities_are_those_of_the_run(people: Path) -> None:
    recorded = read_predictions(people)
    cells = rows(300)
    table = table_of([cells[row] for row in recorded.rows.tolist()])
    found = network_of(people).probabilities_of(table).numpy()
    np.testing.assert_allclose(found, recorded.probabilities, rtol=0, atol=1e-6)


def test_missing_values_and_new_categories_are_treated_and_counted(people: Path) -> None:
    network = network_of(people)
    typical = f"{network.fill[0].item()!r}"
    cells = [
        ["", "Rome", "2015-05-01", "0.5", "yes"],
        ["40", "", "2015-05-01", "", "yes"],
        ["40", "Bonn", "2015-05-01", "0.5", "yes"],
    ]
    treatment = Treatment()
    features = network.features_of(table_of(cells), treatment)
    names = list(network.feature_names)
    assert features[0, names.index("age")] == float(typical)
    assert features[0, names.index("age missing")] == 1
    assert features[1, names.index("score")] == network.fill[names.index("score")]
    cities = [names.index(f"city={city}") for city in ("Lima", "Oslo", "Rome")]
    assert torch.equal(features[1, cities], network.fill[cities])
    assert features[1, cities].sum() == 1
    assert features[2, cities].tolist() == [0, 0, 0]
    assert treatment.filled == {"age": 1, "score": 1, "city": 1}
    assert treatment.unseen.counts == {"city": 1}
    assert treatment.lines()[-1] == (
        "column 'city': 1 cell of categories that training did not have, such as 'Bonn': none of "
        "its categories"
    )


def test_columns_go_by_name(people: Path) -> None:
    network = network_of(people)
    table = table_of(rows(50))
    expected = network.probabilities_of(table)
    order = [3, 1, 4, 0, 2]
    other = dataclasses.replace(
        table,
        names=(*(HEADER[i] for i in order), "more"),
        columns=[*(table.columns[i] for i in order), table.columns[0]],
    )
    assert torch.equal(network.probabilities_of(other), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("age", "city", "date", "score", "label")},
         "t: lacks column 'joined'"),
        ({"names": ("age", "city", "joined", "scores", "label")},
         "t: lacks column 'score' (did you mean 'scores'?)"),
    ],
)  # fmt: skip
def test_a_column_that_is_lacking_is_named(
    people: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        network_of(people).probabilities_of(dataclasses.replace(table_of(rows(3)), **changes))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        (0, "old", "t: line 3, column 'age': 'old' is not a number"),
        (0, "1e300", "t: line 3, column 'age': 1e+300 is too large for the network, which computes "
         "in float32"),
        (3, "inf", "t: line 3, column 'score': 'inf' is not a number"),
        (2, "soon", "t: line 3, column 'joined': 'soon' is not a date as in training (2024-12-31)"),
    ],
)  # fmt: skip
def test_a_cell_that_does_not_fit_is_named(
    people: Path, column: int, cell: str, message: str
) -> None:
    cells = rows(3)
    cells[1][column] = cell
    with pytest.raises(DataError) as caught:
        network_of(people).probabilities_of(table_of(cells))
    assert str(caught.value) == message


def test_blocks_have_the_bits_of_the_whole(people: Path) -> None:
    network = network_of(people)
    table = table_of(rows(ROWS_AT_ONCE + 700))
    whole = network.probabilities_of(table)
    parts = [
        network.probabilities_of(rows_of(table, start, start + ROWS_AT_ONCE))
        for start in (0, ROWS_AT_ONCE)
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_a_network_of_arrays_takes_a_table_with_its_features() -> None:
    module = torch.nn.Linear(2, 2).eval()
    zeros, ones = (torch.full((2,), v, dtype=torch.float64) for v in (0.0, 1.0))
    network = TrainedNetwork(module, ("a", "b"), ("width", "height"), zeros, ones)
    expected = network.probabilities([[1.0, 2.0], [3.0, 4.5]])
    table = table_of([["2", "1"], ["4.5", "3"]], ("height", "width"))
    assert torch.equal(network.probabilities_of(table), expected)
    message = "^t: line 2, column 'width': no value, and the network was trained without such$"
    with pytest.raises(DataError, match=message):
        network.probabilities_of(table_of([["2", ""]], ("height", "width")))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(encoder=7), "TypeError"),
        (lambda c: c.update(encoder={"columns": []}), "KeyError: 'target_number'"),
        (lambda c: c["encoder"]["columns"][0].update(kind="picture"), "ValueError: kind picture"),
        (lambda c: c["encoder"]["columns"][1].update(categories=["Rome"]),
         "ValueError: the encoder's features are not the network's"),
        (lambda c: c["encoder"]["columns"][2]["dates"].update(order="dym"),
         "ValueError: order dym"),
        (lambda c: c["encoder"]["columns"][2]["dates"].update(origin=math.nan),
         "ValueError: origin nan"),
        (lambda c: c["encoder"]["columns"][0]["number_format"].update(decimal=""),
         "ValueError: decimal "),
        (lambda c: c.pop("encoder"), "ValueError: an encoder and what fills in missing values go "
         "together"),
        (lambda c: c.update(fill=c["fill"][:-1]), "ValueError: fill is not one number a feature"),
        (lambda c: c.update(fill=c["fill"] * math.nan), "ValueError: fill is not of finite numbers "
         "in float64"),
        (lambda c: c.update(scale=c["scale"].float()), "ValueError: scale is not of finite numbers "
         "in float64"),
    ],
)  # fmt: skip
def test_a_damaged_description_is_one_clear_error(
    people: Path, tmp_path: Path, change: Any, reason: str
) -> None:
    content = load_checkpoint(people / "checkpoints" / "best.pt")
    change(content)
    save_checkpoint(tmp_path / "best.pt", content)
    with pytest.raises(DataError) as caught:
        load_network(tmp_path / "best.pt")
    start = f"{tmp_path / 'best.pt'}: its preprocessing is not as nnexp writes it ({reason}"
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_from_before_still_loads(people: Path, tmp_path: Path) -> None:
    content = load_checkpoint(people / "checkpoints" / "best.pt")
    for key in ("encoder", "fill", "pixels"):
        del content[key]
    save_checkpoint(tmp_path / "best.pt", content)
    network = load_network(tmp_path / "best.pt")
    assert (network.encoder, network.fill, network.pixels) == (None, None, False)
    assert len(network.predict(np.zeros((3, len(network.feature_names))))) == 3
