"""An epoch on CUDA without a GPU: tensors that say where they are and hold no values.

Whoever brings a tensor of the CPU to one of CUDA gets an error, and so does whoever asks for a
value. This needs a torch that was built for CUDA; it does not need a device.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from engine_cases import adagrad, adam, adamw, make_config, rmsprop, sgd
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from nnexp.config.schema import NORMS, Optimizer
from nnexp.data.on_device import Features, Floats, Pixels
from nnexp.device import Precision
from nnexp.engine import Group, Run
from nnexp.engine.batches import chunks
from nnexp.engine.cuda_graphs import Replayed, Work
from nnexp.engine.group import logits_of
from nnexp.engine.step import Assembly
from nnexp.models.layout import Structure

pytestmark = pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="this torch was built without CUDA"
)

OPTIMIZERS = {
    "momentum": sgd(0.1, momentum=0.9, dampening=0.1, weight_decay=1e-3),
    "nesterov": sgd(0.1, momentum=0.9, nesterov=True),
    "adagrad": adagrad(0.05, lr_decay=0.01),
    "amsgrad": adam(0.01, amsgrad=True, weight_decay=1e-3),
    "adamw": adamw(0.01, weight_decay=0.1),
    "rmsprop": rmsprop(0.003, momentum=0.5, centered=True),
}


class Again(Replayed):
    """Replays by calling."""

    def capture(self, work: Work) -> Work:
        return work


@pytest.fixture
def no_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fake tensors, and torch's passes: a kernel has to have numbers."""
    for module in ("nnexp.kernels", "nnexp.models.cross_entropy", "nnexp.optim.backends"):
        monkeypatch.setattr(f"{module}.available", lambda device: False)
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield


@pytest.mark.usefixtures("no_values")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("kind", ["floats", "pixels"])
def test_an_epoch_stays_on_the_device(
    optimizer: Optimizer,
    norm: str,
    dtype: torch.dtype,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    structure = Structure(8, (10, 10), 4, "gelu", norm, residual=True)
    options = {"dropout": 0.2, "label_smoothing": 0.1, "grad_clip": 1.0, "batch_size": 16}
    configs = [make_config(structure, optimizer, seed=seed, **options) for seed in range(3)]
    rows = torch.arange(90, device="cuda")
    y = torch.zeros(90, dtype=torch.int64, device="cuda")
    features: Features = Floats(torch.empty(90, 8, device="cuda"))
    if kind == "pixels":
        scaling = torch.ones(3, 8, dtype=torch.float64, device="cuda")
        x = torch.empty(90, 8, dtype=torch.uint8, device="cuda")
        features = Pixels(x, scaling, scaling).of([0, 1, 2])
    runs = [Run(config, rows[:50], rows[50:]) for config in configs]
    group = Group(runs, features, y, structure, precision=Precision(dtype))
    with monkeypatch.context() as patch:  # whether any run smooths its labels is asked once
        patch.setattr(FakeTensor, "__bool__", lambda tensor: True, raising=False)
        assembly = Assembly(configs, group.states, features, structure, dtype)
    assembly.prepare(0, torch.full((4, 3), 0.1, dtype=torch.float64))
    loop = Again(assembly)
    for part in chunks(rows[:50].expand(3, -1), y, 16, structure):
        for steps, index in features.windows(part.rows):
            labels = part.labels[steps]
            losses, correct = loop.run(index, labels, part.size, part.first, part.first)
            assert (losses.device.type, losses.dtype) == ("cuda", torch.float32)
            assert correct.shape == losses.shape == (3, len(index) * part.size)
    validated = logits_of(assembly.net, features, rows[50:].expand(3, -1))
    assembly.keep_best([0, 2])
    predicted = group.predict([0, 2], rows[50:].expand(2, -1))
    assert (validated.device.type, validated.shape) == ("cuda", (3, 4, 40))
    assert (predicted.device.type, predicted.shape) == ("cuda", (2, 40, 4))
