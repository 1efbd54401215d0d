"""``trainer.class_weights`` and ``dataset.weight``, from what is said to the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import nnexp
from nnexp.config.schema import BundledConfig, CSVConfig, TrainerConfig
from nnexp.data import load
from nnexp.data.class_weights import class_weights
from nnexp.errors import ConfigError, DataError


def test_balanced_is_that_of_scikit_learn() -> None:
    dataset = load(BundledConfig(name="wine", source="wine"))
    found = class_weights(dataset, TrainerConfig(balance_classes=True))
    labels = dataset.y[dataset.train].numpy()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert found is not None
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-15)
    given = class_weights(dataset, TrainerConfig(class_weights={"class_1": 3}))
    assert given is not None
    assert given.tolist() == [1, 3, 1]
    assert class_weights(dataset, TrainerConfig()) is None
    with pytest.raises(
        ConfigError, match=r"wine has no class class_11 \(did you mean 'class_1'\?\)"
    ):
        class_weights(dataset, TrainerConfig(class_weights={"class_11": 2.0}))


def table(path: Path, cell: str = "2") -> Path:
    rows = [f"{i * i % 17},{i % 3},{'yes' if i % 5 == 0 else 'no'},{1 + i % 2}" for i in range(40)]
    rows[7] = rows[7].rpartition(",")[0] + f",{cell}"
    path.write_text("a,b,label,w\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_column_of_weights(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv")
    dataset = load(CSVConfig(path=str(path), target="label", weight="w"))
    assert dataset.weights is not None
    assert dataset.weights.tolist() == [2.0 if i == 7 else 1 + i % 2 for i in range(40)]
    assert dataset.feature_names == ("a", "b")
    assert dataset.card is not None
    told = {finding.name: finding.role for finding in dataset.card.findings}
    assert told["w"] == "weight"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("-1", r"t.csv: line 9, column 'w': dataset.weight: '-1' is no weight, a number from 0 on"),
        ("", r"dataset.weight: '' is no weight"),
        ("heavy", r"dataset.weight: 'heavy' is not a number"),
    ],
)
def test_weights_that_are_none(cell: str, message: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", cell)
    with pytest.raises(DataError, match=message):
        load(CSVConfig(path=str(path), target="label", weight="w"))


def test_training_rows_without_weight_are_refused(tmp_path: Path) -> None:
    rows = [f"{i * i % 17},{'yes' if i % 5 == 0 else 'no'},{int(i >= 30)},{i}" for i in range(40)]
    (tmp_path / "t.csv").write_text("a,label,w,day\n" + "\n".join(rows) + "\n", encoding="utf-8")
    config = CSVConfig(path=str(tmp_path / "t.csv"), target="label", weight="w", time="day",
                       val_fraction=0.25, test_fraction=0.25)  # fmt: skip
    with pytest.raises(DataError, match=r"t: dataset.weight is 0 in all training rows"):
        load(config)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["trainer.class_weights={a: 0}"], "trainer.class_weights={'a': 0.0}: a: 0 is no number"),
        (["trainer.class_weights={a: 2}", "trainer.balance_classes=true"],
         "trainer.balance_classes=true weighs the classes"),
        (["dataset=diabetes", "trainer.balance_classes=true"],
         "trainer.balance_classes=true: goes with classification, the task is regression"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be(settings: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(nnexp.ConfigError) as caught:
        nnexp.run("dataset=iris", *settings, folder=tmp_path)
    assert line in str(caught.value)


def test_weights_shift_what_is_predicted(tmp_path: Path) -> None:
    """Noise of a rare class: by weights the rare class is predicted as often as the other."""
    stream = np.random.default_rng(4)
    x, y = stream.normal(size=(600, 3)), (stream.random(600) < 0.1).astype(int)
    settings: dict[str, Any] = {"baseline": "none", "model": "linear", "trainer__epochs": 40,
                                "optimizer__lr": 0.02, "trainer__select": "last"}  # fmt: skip
    plain = nnexp.run(data=(x, y), **settings, folder=tmp_path / "plain")
    balanced = nnexp.run(
        data=(x, y), trainer__balance_classes=True, **settings, folder=tmp_path / "balanced"
    )
    given = nnexp.run(
        data=(x, y), trainer__class_weights={1: 9.0}, **settings, folder=tmp_path / "given"
    )
    assert plain.predict_proba(x)[:, 1].mean() == pytest.approx(0.1, abs=0.05)
    for run in (balanced, given):
        assert run.predict_proba(x)[:, 1].mean() == pytest.approx(0.5, abs=0.1)
