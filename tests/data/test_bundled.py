"""scikit-learn's files read directly, against scikit-learn's own loaders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from nnexp.config.schema import BUNDLED, BundledConfig
from nnexp.data import load, load_source
from nnexp.data.sources import builtin

SIZES = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, 0),  # a regression
}


def of_scikit_learn(name: str) -> Any:
    return datasets.load_diabetes(scaled=False) if name == "diabetes" else LOADERS[name]()


LOADERS = {name: getattr(datasets, f"load_{name}") for name in SIZES}


@pytest.mark.parametrize("name", BUNDLED)
def test_equal_to_scikit_learn(name: str) -> None:
    source = load_source(BundledConfig(name="mine", source=name))
    bunch = of_scikit_learn(name)
    assert np.array_equal(source.x, bunch.data)
    assert np.array_equal(source.y, bunch.target)
    assert source.task == ("regression" if name == "diabetes" else "classification")
    assert source.class_names == tuple(map(str, bunch.get("target_names", ())))
    assert source.feature_names == tuple(bunch.feature_names)
    assert source.name == "mine"
    assert (*source.x.shape, len(source.class_names)) == SIZES[name]


@pytest.mark.parametrize("name", BUNDLED)
def test_scikit_learn_is_asked_where_its_files_are_not_as_expected(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = load_source(BundledConfig(name="mine", source=name))
    monkeypatch.setattr(builtin, "_folder", lambda: tmp_path)
    asked = []
    original = builtin._ask_sklearn
    monkeypatch.setattr(builtin, "_ask_sklearn", lambda name: asked.append(name) or original(name))
    assert load_source(BundledConfig(name="mine", source=name)).fingerprint == expected.fingerprint
    for content in (b"", b"\x1f\x8b damaged", b"3,2,a,b\n1,2,0\n"):
        (tmp_path / builtin._FILES[name]).write_bytes(content)
        again = load_source(BundledConfig(name="mine", source=name))
        assert again.fingerprint == expected.fingerprint
    assert asked == [name] * 4


def test_fingerprints_never_change() -> None:
    """Old results name their data by these."""
    found = {
        name: load_source(BundledConfig(name="x", source=name)).fingerprint for name in BUNDLED
    }
    assert {name: value[:16] for name, value in found.items()} == {
        "digits": "869178b4371180e2",
        "iris": "fee9e2558629a8e3",
        "wine": "cf819cc93fae5ebf",
        "breast_cancer": "755c6aedd090d136",
        "diabetes": "a35f9cd1110d09a5",
    }


def test_pixels_of_digits_lie_between_0_and_1() -> None:
    dataset = load(BundledConfig(name="digits", source="digits", scaling="none"))
    assert dataset.image_shape == (8, 8)
    assert (dataset.x.min().item(), dataset.x.max().item()) == (0.0, 1.0)
    assert np.array_equal(dataset.x.numpy() * 16, datasets.load_digits().data)


def test_scikit_learn_is_not_imported() -> None:
    """Its import costs a second of every run."""
    script = (
        "import sys\n"
        "from nnexp.config.schema import BundledConfig\n"
        "from nnexp.data import load\n"
        "load(BundledConfig(name='digits', source='digits'))\n"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'rich'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")
