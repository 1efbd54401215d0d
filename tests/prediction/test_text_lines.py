"""Networks that read text predict a file line by line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import nnexp
from nnexp.errors import NnexpError
from nnexp.prediction.export import export
from nnexp.prediction.files import blocks_of
from nnexp.prediction.predictors import choose
from nnexp.runs.trained_network import Treatment


def test_lines_are_predicted_as_by_the_network(tmp_path: Path) -> None:
    draw = random.Random(0)
    for name, letters in (("low.txt", "abcd"), ("high.txt", "wxyz")):
        lines = ["".join(draw.choices(letters, k=12)) for _ in range(60)]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    nnexp.run(
        "dataset=text", f"dataset.paths=[{tmp_path / 'low.txt'},{tmp_path / 'high.txt'}]",
        "baseline=none", "model=linear", "optimizer.lr=0.1", folder=tmp_path / "run",
        trainer__epochs=5, trainer__pictures=False,
    )  # fmt: skip
    predictor = choose(tmp_path / "run").predictors[0]
    network = predictor.networks[0]
    (tmp_path / "new.txt").write_text("abcab\n\n  zzwx \n", encoding="utf-8")
    (block,) = blocks_of(tmp_path / "new.txt", network, {}, ())
    assert block.place(1) == f"{tmp_path / 'new.txt'}: line 3"
    found, _ = predictor.outputs(block, Treatment())
    assert found.tolist() == network.probabilities(["abcab", "zzwx"]).tolist()
    assert [network.class_names[i] for i in found.argmax(1)] == ["low", "high"]
    with pytest.raises(NnexpError, match="the network reads lines of text, which is not exported"):
        export(predictor, tmp_path / "model.pt2")
