"""A trained network and what users pass to it: answers by hand, one clear line for nonsense."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import torch
from idx_files import NAMES, draw, idx, packed
from torch import nn

from nnexp.errors import DataError
from nnexp.runs.checkpoints import TrainedNetwork, load_network

X, Y = "row {}, column 'width'", "row {}, column 'height'"


def a_network(**changes: Any) -> TrainedNetwork:
    """Logits (z, -z) where z = (width - 1) * 2 - (height - 3) * 4."""
    module = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        module[0].bias.zero_()
    parts = {
        "module": module.eval(),
        "class_names": ("wide", "tall"),
        "feature_names": ("width", "height"),
        "shift": torch.tensor([1.0, 3.0], dtype=torch.float64),
        "scale": torch.tensor([2.0, 4.0], dtype=torch.float64),
    }
    return TrainedNetwork(**{**parts, **changes})


GOOD = [[2, 3], [1, 3.5], [1.25, 3.125]]


@pytest.mark.parametrize(
    "rows",
    [
        GOOD,
        tuple(map(tuple, GOOD)),
        np.array(GOOD),
        np.array(GOOD, dtype=np.float16),
        np.array(GOOD)[::-1][::-1],
        np.ma.masked_invalid(GOOD),  # nothing in it is masked
        torch.tensor(GOOD),
        torch.tensor(GOOD, dtype=torch.bfloat16),
        torch.tensor(GOOD, requires_grad=True),
        [np.array(row) for row in GOOD],
        list(torch.tensor(GOOD)),
        [[Fraction(2), 3], [np.True_, 3.5], [1.25, Fraction(25, 8)]],
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_rows_of_many_kinds(rows: Any) -> None:
    found = a_network().probabilities(rows)
    expected = [1 / (1 + math.exp(-2 * z)) for z in (2.0, -2.0, 0.0)]
    assert found[:, 0].tolist() == pytest.approx(expected, rel=1e-6)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 3, rel=1e-6)
    assert a_network().predict(rows) == ["wide", "tall", "wide"]  # the first of equals


def test_no_rows_have_no_predictions() -> None:
    assert a_network().predict(np.empty((0, 2))) == []
    assert a_network().probabilities(torch.empty(0, 2)).shape == (0, 2)


def test_booleans_and_integers_are_numbers() -> None:
    network = a_network()
    expected = network.probabilities([[1.0, 0.0]])
    for rows in ([[True, False]], np.array([[1, 0]], dtype=np.uint8), torch.tensor([[1, 0]])):
        assert torch.equal(network.probabilities(rows), expected)


_SHAPE = "features must be [B, 2], a row of 2 numbers for each example, got "


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[2, 3], [math.nan, 3]], f"{X.format(1)}: nan is not a finite number"),
        (torch.tensor([[2, -math.inf]]), f"{Y.format(0)}: -inf is not a finite number"),
        (np.array([[2, "3"]], dtype=object), f"{Y.format(0)}: '3' is no real number"),
        ([[2, 3], ["1", 3]], f"{X.format(1)}: '1' is no real number"),
        ([[2, "a\nb"]], f"{Y.format(0)}: 'a\\nb' is no real number"),
        ([[None, 3]], f"{X.format(0)}: None is no real number"),
        ([[2, Decimal(3)]], f"{Y.format(0)}: Decimal('3') is no real number"),
        ([[2, 3j]], f"{Y.format(0)}: 3j is no real number"),
        (np.array([["2020-01-01"] * 2], dtype="M8[D]"), f"{X.format(0)}: datetime.date(2020, 1, 1)"
         " is no real number"),
        ([[2, 10**400]], f"{Y.format(0)}: 1{'0' * 79}... is too large"),
        (torch.ones(1, 2, dtype=torch.complex64), "features must be real numbers, got "
         "torch.complex64"),
        # Finite as they are, infinite as the network sees them.
        ([[2, 3], [2, 1e300]], f"{Y.format(1)}: 1e+300 is too large for the network, which computes"
         " in float32"),
        ([[2, 1e38]], f"{Y.format(0)}: 1e+38 is too large for the network, which computes in "
         "float32"),
        # torch would broadcast all of these.
        ([[55]], f"{_SHAPE}[1, 1]"),
        ([[2, 3, 4]], f"{_SHAPE}[1, 3]"),
        ([2, 3], f"{_SHAPE}[2]; a single row is [row]"),
        ([1, 2, 3], f"{_SHAPE}[3]"),
        (["2", "3"], f"{_SHAPE}[2]; a single row is [row]"),
        ([], f"{_SHAPE}[0]"),
        ([[]], f"{_SHAPE}[1, 0]"),
        (np.zeros((4, 1, 2)), f"{_SHAPE}[4, 1, 2]"),
        (np.empty((0, 3)), f"{_SHAPE}[0, 3]"),
        (5.0, "features must be a tensor, an array or a list of rows, got float"),
        ({"width": 2}, "features must be a tensor, an array or a list of rows, got dict"),
        ((row for row in GOOD), "features must be a tensor, an array or a list of rows, got "
         "generator"),
        (torch.eye(2).to_sparse(), "features must be a dense tensor, an array or a list of rows"),
        (torch.ones(1, 2, device="meta"), "features must be a dense tensor, an array or a list of "
         "rows"),
        (np.ma.masked_array([[2, 3], [4, 5]], [[0, 0], [0, 1]]), "features must be numbers: the "
         "value at [1, 1] is masked"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(rows: Any, message: str) -> None:
    for use in (a_network().predict, a_network().probabilities):
        with pytest.raises(DataError) as caught:
            use(rows)
        assert str(caught.value) == message


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"^features must be a table of numbers: [^\n]*$"):
        a_network().predict([[2, 3], [1]])


def test_columns_that_have_names_are_the_networks() -> None:
    pandas = pytest.importorskip("pandas")
    network = a_network()
    frame = pandas.DataFrame({"width": [2.0, 1.0], "height": [3.0, 3.5]}, index=[7, 9])
    assert network.predict(frame) == ["wide", "tall"]
    start = "the table's columns are not the network's features: "
    for other, problem in [
        (frame[["height", "width"]], "its columns are in another order"),
        (frame[["height"]], "it lacks column 'width'"),
        (frame.assign(depth=1), "it has other columns too"),
        (pandas.DataFrame(frame.to_numpy(), columns=[1, 2]), "it lacks column 'width'"),
        (pandas.DataFrame(frame.to_numpy(), columns=["0", "1"]), "it lacks column 'width'"),
    ]:
        with pytest.raises(DataError) as caught:
            network.predict(other)
        assert str(caught.value).startswith(start + problem + "; ")
    with pytest.raises(DataError, match="row 1, column 'height': <NA> is no real number"):
        network.predict(frame.astype("Float64").replace(3.5, pandas.NA))


def test_columns_without_names_are_taken_in_order() -> None:
    """Unless the network's features are called as pandas numbers them."""
    pandas = pytest.importorskip("pandas")
    network = a_network()
    frame = pandas.DataFrame([[2.0, 3.0], [1.0, 3.5]])
    assert network.predict(frame) == network.predict(frame.to_numpy())
    with pytest.raises(DataError, match=r"features must be \[B, 2\], .* got \[2, 3\]"):
        network.predict(frame.assign(more=1).set_axis(range(3), axis=1))
    numbered = a_network(feature_names=("0", "1"))
    assert numbered.predict(frame) == network.predict(frame)
    for names, problem in [(("1", "0"), "in another order"), (("1", "2"), "it lacks column '2'")]:
        with pytest.raises(DataError, match=problem):
            a_network(feature_names=names).predict(frame)


# ── networks that have no answer ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_weights_that_are_not_finite(value: float, activation: type[nn.Module]) -> None:
    """The tanh of infinity is 1, and would make a class of it."""
    module = nn.Sequential(nn.Linear(2, 2), activation(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        module[0].bias[1] = value
    with pytest.raises(DataError, match=r"^the network's 0\.bias is not finite: its training div"):
        a_network(module=module).predict(GOOD)


def test_statistics_that_are_not_finite() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    module[0].running_var[0] = math.inf  # its outputs would be those of 0
    with pytest.raises(DataError, match=r"^the network's 0\.running_var is not finite"):
        a_network(module=module).predict(GOOD)


def test_outputs_that_are_not_finite() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        module[0].weight.fill_(10.0)
    network = a_network(module=module)
    assert len(network.predict([[1e30, 3]])) == 1
    with pytest.raises(DataError, match=r"^row 1: the network's outputs are not finite"):
        network.predict([[2, 3], [1e38, 3]])


def test_training_mode_is_refused() -> None:
    """There batch norm makes a row's outputs hang on the other rows."""
    network = a_network(module=nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval())
    network.module[0].train()
    with pytest.raises(DataError, match=r"training mode.*call network\.module\.eval\(\) first"):
        network.predict(GOOD)
    network.module.eval()
    assert len(network.predict(GOOD)) == 3


def test_a_module_of_another_precision() -> None:
    """That somebody has converted: bfloat16 has float32's range, float16 has not."""
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        network = a_network()
        network.module.to(dtype)
        assert network.predict(GOOD) == ["wide", "tall", "wide"]
    with pytest.raises(DataError, match=r"'width': 40000 is too large .* computes in float16"):
        network.predict([[40_000, 3]])


# ── the real thing ────────────────────────────────────────────────────────────────────────────


def trained(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", "nnexp", *overrides, "baseline=none", "trainer.pictures=false",
         "hydra.run.dir=run"],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_the_last_weights_of_a_run_that_diverged(tmp_path: Path) -> None:
    done = trained(tmp_path, "dataset=iris", "optimizer=sgd", "optimizer.lr=1e30")
    assert done.returncode == 1
    network = load_network(tmp_path / "run" / "checkpoints" / "last.pt")
    with pytest.raises(DataError, match="is not finite: its training diverged"):
        network.predict([[5.0, 3.0, 1.0, 0.2]])


def test_a_network_of_images_takes_pixels_as_they_are(tmp_path: Path) -> None:
    """Of a grey image scaled to [0, 1] it would see one that is all black."""
    pixels, labels = draw(60, 3, 4)
    content = dict.fromkeys(("train_images", "test_images"), idx(pixels))
    content |= dict.fromkeys(("train_labels", "test_labels"), idx(labels))
    for key, name in NAMES.items():
        (tmp_path / name).write_bytes(packed(content[key]))
    unchecked = [f"dataset.{key}.{hash_}=null" for key in NAMES
                 for hash_ in ("sha256", "sha256_unpacked")]  # fmt: skip
    done = trained(tmp_path, "dataset=mnist", "dataset.root=.", *unchecked, "model.hidden=[8]",
                   "trainer.epochs=1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    network = load_network(tmp_path / "run" / "checkpoints" / "best.pt")
    rows = pixels.reshape(60, 12)
    assert network.predict(rows) == network.predict(rows.astype(float).tolist())
    rest = "is not a valid pixel value (integers 0 to 255)"
    for value, shown in [(0.5, "0.5"), (-1.0, "-1"), (256.0, "256")]:
        wrong = rows.astype(float)
        wrong[3, 5] = value
        with pytest.raises(DataError) as caught:
            network.predict(wrong)
        assert str(caught.value) == f"row 3, column 'pixel_1_1': {shown} {rest}"
    with pytest.raises(DataError, match=r"got \[60, 3, 4\]$"):
        network.predict(pixels)
