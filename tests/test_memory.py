"""How much memory a run is said to take, against what groups on the CPU allocate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_cases import (
    ReplayedGroup,
    adagrad,
    adam,
    adamw,
    make_config,
    make_run,
    make_table,
    one_thread,  # noqa: F401
    rmsprop,
    sgd,
)
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnexp.config.schema import Optimizer
from nnexp.data.on_device import Floats
from nnexp.device import Precision
from nnexp.engine import Group
from nnexp.memory import needs_of
from nnexp.models.layout import Structure
from nnexp.optim import make_updates


class Allocated(TorchDispatchMode):
    """Counts the bytes of all tensors that operations inside make, and that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._living[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._living = {
            key: (reference, size)
            for key, (reference, size) in self._living.items()
            if not reference.expired()
        }
        self.most = max(self.most, sum(size for _, size in self._living.values()))
        return made


WIDE = Structure(64, (512, 512), 10)
DEEP = Structure(64, (128, 128), 10)


@pytest.mark.parametrize("kind", [Group, ReplayedGroup])
@pytest.mark.parametrize("num_runs", [1, 3])
@pytest.mark.parametrize(
    ("structure", "optimizer", "rows", "options"),
    [
        (WIDE, sgd(), 600, {}),
        (WIDE, sgd(momentum=0.9), 600, {}),
        (WIDE, adagrad(), 600, {}),
        (WIDE, adamw(amsgrad=True), 600, {}),
        (WIDE, rmsprop(momentum=0.9, centered=True), 600, {}),
        (DEEP, adam(), 1500, {"batch_size": 1024}),
        (DEEP, adam(), 1500, {"batch_size": 1024, "drop_last": True}),
        (DEEP, adam(), 1500, {"batch_size": 1024, "dropout": 0.5}),
        (DEEP, adam(), 1500, {"batch_size": 1024, "precision": "bfloat16"}),
        (Structure(64, (128, 128), 10, norm="batch"), adam(), 1500, {"batch_size": 1024}),
        (Structure(64, (128, 128), 10, "gelu", "layer", True), adam(), 1500, {"batch_size": 1024}),
        (Structure(784, (32,), 10), adam(), 600, {}),
        (Structure(4, (4,), 2), sgd(), 60_000, {"batch_size": 500}),
    ],
)  # fmt: skip
def test_a_run_takes_what_it_is_said_to_take(
    structure: Structure,
    optimizer: Optimizer,
    rows: int,
    options: dict[str, Any],
    num_runs: int,
    kind: type[Group],
) -> None:
    """From a little less to a quarter more: not all pieces are at their height at once. Replayed
    steps keep what CUDA keeps."""
    table = make_table(rows + 800, structure.num_features, structure.num_classes)
    runs = [
        make_run(
            make_config(structure, optimizer, seed=seed, epochs=2, **options),
            table,
            rows,
            400,
        )
        for seed in range(num_runs)
    ]
    half = options.get("precision") == "bfloat16"
    with Allocated() as allocated:
        group = kind(
            runs,
            Floats(table.x),
            table.y,
            structure,
            precision=Precision(torch.bfloat16 if half else torch.float32),
        )
        for records in group.train():
            done = [r.run for r in records if group.states[r.run].status != "running"]
            if done:
                group.predict(done, torch.arange(400).repeat(len(done), 1))
            for run in done:
                group.states[run].forget()
    told, on_cuda = (
        needs_of(runs[0].config, structure, device, rows, 400, 400) for device in ("cpu", "cuda")
    )
    total = told.total
    if kind is ReplayedGroup:  # but for the rows that the run is made with, which are not new here
        total += on_cuda.order - told.order - 8 * rows
    assert 0.95 < total * num_runs / allocated.most < 1.3


@pytest.mark.parametrize(
    "optimizer",
    [sgd(), sgd(momentum=0.5, nesterov=True), adagrad(), adam(), adam(amsgrad=True), adamw(),
     adamw(amsgrad=True), rmsprop(), rmsprop(centered=True), rmsprop(momentum=0.5),
     rmsprop(momentum=0.5, centered=True)],
)  # fmt: skip
def test_what_optimizers_keep(optimizer: Optimizer) -> None:
    ((_, made),) = make_updates([optimizer], torch.ones(1, 32), torch.ones(1, 32))
    assert len(optimizer.state_names()) == len(made.state)


def test_a_larger_run_takes_more() -> None:
    """More of what it is larger in, and of nothing else."""

    def needs(structure: Structure = DEEP, num_train: int = 1000, **options: Any) -> Any:
        config = make_config(structure, **options)
        return needs_of(config, structure, "cuda:1", num_train, 200, 100)

    assert needs(WIDE).weights > needs().weights
    assert needs(batch_size=512).batch > needs().batch
    assert needs(batch_size=512).evaluation == needs().evaluation
    assert needs(num_train=5000).order > needs().order
    assert needs(precision="bfloat16").batch < needs().batch
    assert needs(precision="tf32") == needs()
