"""Exported networks: the same probabilities without nnexp, gaps and strange texts included."""

from __future__ import annotations

import ast
import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Once
from prediction_cases import CLASSES, an_encoder, trained
from torch import nn

from nnexp.data.encoder import Column, Encoder
from nnexp.errors import DataError, NnexpError
from nnexp.prediction.example_script import example_script
from nnexp.prediction.export import METADATA, check_target, example_path, export
from nnexp.prediction.exported import ExportedNetwork, Signature, drawn_table
from nnexp.prediction.predictors import Predictor, choose
from nnexp.runs.trained_network import TrainedNetwork, Treatment

SUFFIXES = (".pt2", ".onnx")


@pytest.fixture(scope="session")
def people(once: Once) -> Path:
    return once("people", trained)


def a_network(module: nn.Module, width: int = 2, **changes: Any) -> TrainedNetwork:
    names = tuple(f"x{i}" for i in range(width))
    zeros = torch.zeros(width, dtype=torch.float64)
    fields = {"shift": zeros + 0.5, "scale": zeros + 2.0, **changes}
    return TrainedNetwork(module.eval(), CLASSES, names, **fields)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exports_agree_with_the_network(people: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        onnxruntime = pytest.importorskip("onnxruntime")
    predictor = choose(people).predictors[0]
    path = tmp_path / f"model{suffix}"
    assert export(predictor, path) <= 1e-6
    script = tmp_path / f"model_{suffix[1:]}_example.py"
    assert {file.name for file in tmp_path.iterdir()} == {path.name, script.name}

    table = drawn_table(predictor.networks[0], 300, seed=99)
    expected, _ = predictor.outputs(table, Treatment())
    if suffix == ".onnx":
        session = onnxruntime.InferenceSession(path.read_bytes())
        kinds = {one.name: (one.type, one.shape[1]) for one in session.get_inputs()}
        assert kinds == {
            "numeric": ("tensor(double)", 2),
            "dates": ("tensor(double)", 1),
            "categories": ("tensor(string)", 1),
        }
        signature = Signature.of(predictor.networks[0])
        (found,) = session.run(["probabilities"], signature.arrays(table))
        metadata = session.get_modelmeta().custom_metadata_map[METADATA]
    else:
        extra = {METADATA: ""}
        program = torch.export.load(path, extra_files=extra)
        found = program.module()(*Signature.of(predictor.networks[0]).tensors(table)).detach()
        metadata = extra[METADATA]
    np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=0, atol=1e-6)
    described = json.loads(metadata)
    assert described["classes"] == list(CLASSES)
    assert described["inputs"]["categories"] == {"city": ["Lima", "Oslo", "Rome"]}

    shown = runpy.run_path(str(script))["probabilities"]
    assert shown.shape == (2, 2)
    np.testing.assert_allclose(shown.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_module_computes_the_very_features(people: Path, seed: int) -> None:
    network = choose(people).predictors[0].networks[0]
    module = ExportedNetwork([network]).eval()
    seen: list[torch.Tensor] = []
    network.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    table = drawn_table(network, 64, seed)
    module(*Signature.of(network).tensors(table))
    network.probabilities_of(table)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-6)
    dates = [i for i, name in enumerate(network.feature_names) if name.startswith("joined ")]
    others = [i for i in range(len(network.feature_names)) if i not in dates]
    assert torch.equal(seen[0][:, others], seen[1][:, others])  # sines may round differently


def test_what_must_not_be_missing_gives_no_answer() -> None:
    encoder = Encoder((Column("x0", "numeric"), Column("x1", "numeric")), impute_numeric="error")
    fill = torch.zeros(2, dtype=torch.float64)
    network = a_network(nn.Linear(2, 2), encoder=encoder, fill=fill)
    found = ExportedNetwork([network])(torch.tensor([[1.0, math.nan], [1.0, 2.0]]).double())
    assert found.isnan().all(1).tolist() == [True, False]


def test_modules_of_users_in_evaluation_mode(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(), nn.Linear(8, 2)
    )
    module[1].running_mean += 0.3
    members = tuple(a_network(one) for one in (module, nn.Linear(2, 2)))
    assert export(Predictor("ensemble", members), tmp_path / "model.pt2") <= 1e-6


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if x.sum() > 0 else self.inner(-x)


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    predictor = Predictor("run", (a_network(Branching()),))
    with pytest.raises(NnexpError) as caught:
        export(predictor, tmp_path / "model.pt2")
    assert str(caught.value).startswith("torch.export cannot export the network: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor("run", (a_network(nn.Linear(2, 2)),))
    monkeypatch.setattr(
        Predictor, "outputs", lambda self, table, treatment: (torch.ones(table.num_rows, 2), None)
    )
    with pytest.raises(DataError, match=r"not written, .* differ by up to .*, more than 1e-06"):
        export(predictor, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_targets_are_not_destroyed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    example_path(path).write_text("mine")
    for target, problem in [
        (path, "is there already; --force replaces it"),
        (tmp_path / "model.pb", "must end in .onnx or .pt2"),
        (tmp_path / "no" / "model.pt2", "there is no folder"),
    ]:
        with pytest.raises(DataError, match=problem):
            check_target(target, force=False)
    check_target(path, force=True)


def test_names_cannot_break_the_example() -> None:
    nasty = '"""\n; import os; os.abort()\\'
    columns = (
        Column(nasty, "numeric"), Column("c" + nasty, "categorical", categories=(nasty, "b")),
    )  # fmt: skip
    signature = Signature({"numeric": columns[:1], "categories": columns[1:]}, (), (nasty, "no"))
    for suffix in SUFFIXES:
        text = example_script(f"it's {nasty}{suffix}", signature)
        tree = ast.parse(text)
        assert [type(node).__name__ for node in tree.body].count("Import") <= 2
        classes = next(n for n in tree.body if ast.unparse(n).startswith("CLASSES"))
        assert ast.literal_eval(classes.value) == [nasty, "no"]
        head = [line for line in text.split("\n") if line.startswith(("#", '"""'))]
        assert not any("\\" in line for line in head)


def test_drawn_rows_have_all_that_can_come(people: Path) -> None:
    network = choose(people).predictors[0].networks[0]
    table = drawn_table(network, 200, 0)
    treatment = Treatment()
    network.features_of(table, treatment)
    assert set(treatment.filled) == {"age", "city", "joined", "score"}
    assert set(treatment.unseen.counts) == {"city"}
    assert network.encoder == an_encoder()
