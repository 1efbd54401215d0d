"""Components of other packages: what the registry refuses, and what they may be."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import programs
import pytest
import torch
from torch import Tensor, nn

import nnexp
from nnexp import registry
from nnexp.cli.train import imports_of
from nnexp.config.schema import Adam, BundledConfig, ForestConfig, tunable_keys
from nnexp.data import load
from nnexp.errors import ConfigError, DataError
from nnexp.models.losses import CrossEntropy, PerSampleLoss
from nnexp.models.module_network import MODULE_FACTORIES, module_network


@pytest.fixture(autouse=True)
def registered_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = {kind: dict(known) for kind, known in registry._registered.items()}
    factories = dict(MODULE_FACTORIES)
    yield
    for kind, known in registry._registered.items():
        known.clear()
        known.update(kept[kind])
    MODULE_FACTORIES.clear()
    MODULE_FACTORIES.update(factories)
    registry._version += 1


# ── the registry ──────────────────────────────────────────────────────────────────────────────


def test_a_name_is_taken_once() -> None:
    nnexp.activation("mine")(torch.sin)
    nnexp.activation("mine")(torch.sin)  # a notebook's cell runs again
    with pytest.raises(ConfigError, match=r"activation mine: registered by .*sin and by .*cos"):
        nnexp.activation("mine")(torch.cos)


@pytest.mark.parametrize("name", ["", "Lion", "my-lion", "2nd", "a b"])
def test_names_that_cannot_be_typed(name: str) -> None:
    with pytest.raises(ConfigError, match="a name is lower-case letters"):
        nnexp.activation(name)(torch.sin)


def test_an_optimizer_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"optimizer a: .* must derive from nnexp\.Optimizer"):
        nnexp.optimizer("a")(dict)  # type: ignore[type-var]

    class Bare(nnexp.Optimizer):
        def update(self, params: Tensor, grads: Tensor, state: Any, hyper: Any) -> None: ...

    with pytest.raises(ConfigError, match="must be a dataclass; put @dataclass below @optimizer"):
        nnexp.optimizer("a")(Bare)

    @dataclass
    class Idle(nnexp.Optimizer):
        lr: float = 0.1

    with pytest.raises(ConfigError, match=r"must define update\(\)"):
        nnexp.optimizer("a")(Idle)


def test_a_general_method_that_would_not_be_used() -> None:
    """An ``update`` beside passes that are inherited would silently train something else."""

    @dataclass
    class Mine(Adam):
        def update(self, params: Tensor, grads: Tensor, state: Any, hyper: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"derives from Adam, whose batched\(\) is used in place"):
        nnexp.optimizer("mine")(Mine)

    @dataclass
    class Trees(ForestConfig):
        def estimator(self, seed: int, **settings: Any) -> Any: ...

    with pytest.raises(ConfigError, match=r"derives from ForestConfig, whose learner\(\) is used"):
        nnexp.baseline("trees")(Trees)


def test_one_that_is_not_registered() -> None:
    with pytest.raises(ConfigError, match=r"optimizer adm: not registered \(did you mean 'adam'"):
        registry.component("optimizer", "adm")


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["imports=[a]"], ["a"]),
        (["seed=1", "imports=a"], ["a"]),
        (["+imports=[a, 'b.c']"], ["a", "b.c"]),
        (["imports=[a],[b]"], ["a", "b"]),
        (["imports=[]"], []),
        (["optimizer=sgd"], []),
    ],
)
def test_imports_of_a_command_line(arguments: list[str], modules: list[str]) -> None:
    assert imports_of(arguments) == modules


def test_a_module_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_parts.py").write_text("x = 1\ny = 1 / 0\n")
    (tmp_path / "needy_parts.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"raises ZeroDivisionError: .* \(broken_parts.py:2\)"):
        registry.import_components(["broken_parts"])
    with pytest.raises(ConfigError, match="needy_parts needs a_package_that_is_not_there"):
        registry.import_components(["needy_parts"])
    with pytest.raises(ConfigError, match="there is no module absent_parts"):
        registry.import_components(["absent_parts"])
    assert "NNEXP_IMPORTS" not in os.environ  # nor do later processes look for it


def test_the_current_folder_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's path lacks it. A user's statistics.py there must not stand for Python's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    registry.import_components()
    assert str(tmp_path) not in sys.path
    registry.import_components(["json"])
    assert sys.path.index(str(tmp_path)) == len(sys.path) - 1


# ── optimizers, losses ────────────────────────────────────────────────────────────────────────


def test_a_classifier_with_an_optimizer_that_has_its_own_lr() -> None:
    @nnexp.optimizer("plain")
    @dataclass
    class Plain(nnexp.Optimizer):
        lr: float = nnexp.field(0.5, gt=0)

        def update(self, params: Tensor, grads: Tensor, state: Any, hyper: Any) -> None:
            params.sub_(grads * hyper.lr)

    x, y = np.array([[0.0], [1.0], [2.0], [3.0]] * 5), np.array([0, 0, 1, 1] * 5)
    settings: dict[str, Any] = {"hidden": (), "epochs": 30, "random_state": 1}
    mine = nnexp.Classifier(optimizer="plain", **settings).fit(x, y)
    sgd = nnexp.Classifier(
        optimizer="sgd", lr=0.5, optimizer_options={"momentum": 0.0}, **settings
    ).fit(x, y)
    np.testing.assert_allclose(mine.predict_proba(x), sgd.predict_proba(x), atol=1e-5)


@dataclass
class Generalised(nnexp.Loss):
    """Zhang and Sabuncu 2018: its power rounds differently at the end of a buffer."""

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
        p = logits.softmax(2).gather(2, labels.unsqueeze(2)).squeeze(2)
        return (1 - p**0.7) / 0.7


@pytest.mark.parametrize(("rows", "classes"), [(1, 10), (4, 10), (8, 100), (12, 10), (32, 3)])
def test_a_loss_has_the_same_bits_solo_and_batched(rows: int, classes: int) -> None:
    stream = torch.Generator().manual_seed(rows)
    for runs in (13, 29):
        logits = torch.randn(runs, classes, rows + 3, generator=stream)
        labels = torch.randint(classes, (runs, 1, rows + 3), generator=stream)
        losses = [Generalised("generalised") for _ in range(runs)]
        together = PerSampleLoss(losses, logits)(logits, labels, rows)
        for run in range(runs):
            own = slice(run, run + 1)
            alone = PerSampleLoss(losses[own], logits)(logits[own], labels[own], rows)
            for theirs, mine in zip(together, alone, strict=True):
                assert torch.equal(theirs[run], mine[0])


def test_a_loss_is_that_of_torch() -> None:
    logits, labels = torch.randn(2, 4, 6), torch.randint(4, (2, 1, 6))
    grad, losses, correct = PerSampleLoss([CrossEntropy("a"), CrossEntropy("a")], logits)(
        logits, labels, 5
    )
    z = logits[:, :, :5].clone().requires_grad_()
    expected = nn.functional.cross_entropy(z, labels[:, 0, :5], reduction="none")
    torch.testing.assert_close(losses, expected)
    (slope,) = torch.autograd.grad(expected.mean(1).sum(), z)
    torch.testing.assert_close(grad[:, :, :5], slope)
    assert not grad[:, :, 5:].any()
    assert torch.equal(correct, logits[:, :, :5].argmax(1) == labels[:, 0, :5])


@dataclass
class Choosy(nnexp.Loss):
    gamma: float = 1.0
    alpha: Optional[float] = None  # noqa: UP045
    weights: tuple[float, ...] = (1.0,)
    reduction: str = "mean"


def test_losses_that_cannot_share_a_group() -> None:
    plain = Choosy("choosy").batch_key()
    assert Choosy("choosy", gamma=2.0).batch_key() == plain
    for other in (
        Choosy("choosy", alpha=2.0),
        Choosy("choosy", weights=(1.0, 2.0)),
        Choosy("choosy", reduction="sum"),
    ):
        assert other.batch_key() != plain


def test_a_loss_derived_from_cross_entropy_is_used(tmp_path: Path) -> None:
    @nnexp.loss("tripled")
    @dataclass
    class Tripled(CrossEntropy):
        def per_sample(self, logits: Tensor, labels: Tensor, hyper: Any) -> Tensor:
            return 3 * super().per_sample(logits, labels, hyper)

    fast: dict[str, Any] = {"dataset": "iris", "model": "linear", "optimizer__lr": 0.0,
                            "trainer__epochs": 1, "baseline": "none"}  # fmt: skip
    plain = nnexp.run(**fast, folder=tmp_path / "plain").metrics["train/loss"]
    tripled = nnexp.run(**fast, loss="tripled", folder=tmp_path / "tripled").metrics["train/loss"]
    assert tripled == pytest.approx(3 * plain, rel=1e-6)


# ── models, scalers ───────────────────────────────────────────────────────────────────────────


class Linear(nn.Module):
    def __init__(self, features: int, outputs: int, buffer: Tensor, persistent: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(features, outputs)
        self.register_buffer("mask", buffer, persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_buffer_that_would_not_be_saved() -> None:
    @nnexp.model("drawn")
    def drawn(num_features: int, num_outputs: int) -> nn.Module:
        return Linear(num_features, num_outputs, torch.randn(3), persistent=False)

    with pytest.raises(ConfigError, match="model=drawn: the buffer mask is random, and would not"):
        module_network("drawn", {}, 4, 3)

    @nnexp.model("fixed")
    def fixed(num_features: int, num_outputs: int) -> nn.Module:
        return Linear(num_features, num_outputs, torch.arange(3.0), persistent=False)

    assert module_network("fixed", {}, 4, 3).parameters.num_elements == 4 * 3 + 3


def test_a_mask_of_infinities_predicts(tmp_path: Path) -> None:
    @nnexp.model("masked")
    def masked(num_features: int, num_outputs: int) -> nn.Module:
        return Linear(num_features, num_outputs, torch.full((3,), -torch.inf), persistent=True)

    run = nnexp.run(
        model="masked", dataset="iris", trainer__epochs=2, baseline="none", folder=tmp_path / "run"
    )
    assert run.predict_proba(np.ones((2, 4))).shape == (2, 3)


class Colour(enum.Enum):
    RED = 1


def test_a_hyperparameter_that_no_checkpoint_can_hold() -> None:
    MODULE_FACTORIES["coloured"] = lambda features, outputs, colour: nn.Linear(features, outputs)
    with pytest.raises(ConfigError, match=r"model\.colour must be a number, text, .* not a Colour"):
        module_network("coloured", {"colour": Colour.RED}, 4, 3)


def test_a_union_of_types_hurts_nobody() -> None:
    @nnexp.model("union")
    def union(num_features: int, num_outputs: int, width: int | str = 8) -> nn.Module:
        return nn.Linear(num_features, num_outputs)

    assert "model.width" in tunable_keys()


def test_a_column_without_spread(caplog: pytest.LogCaptureFixture) -> None:
    @nnexp.scaler("halves")
    def halves(rows: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        spread = np.ones(rows.shape[1])
        spread[1] = 0
        return rows.mean(0), spread

    load(BundledConfig(name="iris", source="iris", scaling="halves"))
    assert "finds no spread in 'sepal width (cm)', which is shifted and not scaled" in caplog.text

    @nnexp.scaler("backwards")
    def backwards(rows: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        return rows.mean(0), -np.ones(rows.shape[1])

    with pytest.raises(DataError, match=r"divides column 'sepal length \(cm\)' by -1; it must be"):
        load(BundledConfig(name="iris", source="iris", scaling="backwards"))


# ── whole programs ────────────────────────────────────────────────────────────────────────────


def test_imports_of_a_config_file_reach_the_workers(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "import nnexp, torch\n@nnexp.activation('wave')\ndef wave(z):\n    return torch.sin(z)\n"
    )
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nimports: [parts]\nmodel: {activation: wave}\n"
    )
    done = programs.run(
        [
            sys.executable, "-m", "nnexp", "-m", "--config-dir", "conf", "+experiment=mine",
            "dataset=iris", "trainer.epochs=1", "trainer.pictures=false", "baseline=none",
            "seed=0,1", "report.enabled=false",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("multirun/*/*/*/checkpoints/best.pt"))) == 2
