"""Weights of classes and of rows: against a plain torch loop, and in other company."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from engine_cases import (
    Reference,
    ReplayedGroup,
    adam,
    make_config,
    make_run,
    make_table,
    one_thread,  # noqa: F401
    same_bits,
    sgd,
    told,
    torch_optimizer,
    train,
)
from torch import Tensor
from torch.nn import functional as F

from nnexp.data.on_device import Floats
from nnexp.engine import Group, Run
from nnexp.engine.objective import Objective
from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.layout import Structure
from nnexp.models.module import named_tensors
from nnexp.rng import generator

TABLE = make_table(300, 8, 3)
STRUCTURE = Structure(8, (12,), 3, "tanh")
CLASSES = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
ROWS = torch.rand(300, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
ROWS[::7] = 0.0


def run_with(class_weights: Tensor | None, **options: object) -> Run:
    run = make_run(make_config(STRUCTURE, **options), TABLE, 67, 40)
    return dataclasses.replace(run, class_weights=class_weights)


def group_of(runs: list[Run], weights: Tensor | None) -> Group:
    return Group(runs, Floats(TABLE.x), TABLE.y, STRUCTURE, weights=weights)


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_whole_training_equals_a_plain_torch_loop(of_rows: bool, smoothing: float) -> None:
    """The loss of a batch is the weighted mean, as torch's cross-entropy has it with weights."""
    run = run_with(CLASSES, optimizer=adam(0.01), seed=3, epochs=5, batch_size=15,
                   label_smoothing=smoothing)  # fmt: skip
    group = group_of([run], ROWS if of_rows else None)
    (records,) = train(group)
    config = run.config
    flat = initial_parameters(STRUCTURE, config.model, config.seed)
    tensors = named_tensors(STRUCTURE, flat, initial_statistics(STRUCTURE))
    net = Reference(STRUCTURE, {name: t.double() for name, t in tensors.items()})
    optimizer = torch_optimizer(config.optimizer, net.parameters())
    for epoch, record in enumerate(records, start=1):
        drawn = torch.randperm(67, generator=generator(3, "order", epoch))
        losses, right = [], []
        for rows in torch.split(run.train[drawn], 15):
            logits, y = net(TABLE.x[rows].double()), TABLE.y[rows]
            each = F.cross_entropy(logits, y, label_smoothing=smoothing, reduction="none")
            weights = CLASSES[y] * (ROWS[rows] if of_rows else 1.0)
            value = (weights * each).sum() / weights.sum()
            if not of_rows and not smoothing:
                torch.testing.assert_close(value, F.cross_entropy(logits, y, weight=CLASSES))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item() * len(rows))
            right.append((logits.argmax(1) == y).double())
        assert record.train_loss == pytest.approx(sum(losses) / 67, rel=3e-6)
        assert record.train_score == torch.cat(right).mean().item()
        with torch.no_grad():
            on_val = F.cross_entropy(net(TABLE.x[run.val].double()), TABLE.y[run.val])
        assert record.val_loss == pytest.approx(on_val.item(), rel=3e-6)  # without weights


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("batch_size", [1, 16, 67])
def test_company_changes_nothing(of_rows: bool, batch_size: int) -> None:
    """Weighted runs beside others, whose numbers are those without any weights."""
    shared = {"epochs": 3, "batch_size": batch_size}
    runs = [
        run_with(CLASSES, optimizer=adam(), seed=0, **shared),
        run_with(None, optimizer=adam(), seed=1, **shared),
        run_with(CLASSES.flip(0), optimizer=sgd(), seed=2, **shared),
    ]
    weights = ROWS if of_rows else None
    together = group_of(runs, weights)
    records = train(together)
    for i, run in enumerate(runs):
        alone = group_of([run], weights)
        (expected,) = train(alone)
        assert told(records[i]) == told(expected)
        assert same_bits(together.states[i].params, alone.states[0].params)
    plain = Group([runs[1]], Floats(TABLE.x), TABLE.y, STRUCTURE)
    train(plain)
    assert same_bits(together.states[1].params, plain.states[0].params) != of_rows


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_as_the_cpu_does() -> None:
    runs = [run_with(CLASSES, optimizer=sgd(0.05), seed=seed, epochs=3) for seed in range(3)]
    there = [
        dataclasses.replace(run, train=run.train.cuda(), val=run.val.cuda()) for run in runs
    ]  # fmt: skip
    expected = train(group_of(runs, ROWS))
    found = train(
        Group(there, Floats(TABLE.x.cuda()), TABLE.y.cuda(), STRUCTURE, weights=ROWS.cuda())
    )
    for records, wanted in zip(found, expected, strict=True):
        losses = [[record.train_loss for record in of_one] for of_one in (records, wanted)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_replayed_steps_have_the_same_bits() -> None:
    runs = [run_with(CLASSES, seed=seed, epochs=3, batch_size=4) for seed in range(3)]
    groups = [
        kind(runs, Floats(TABLE.x), TABLE.y, STRUCTURE, weights=ROWS)
        for kind in (Group, ReplayedGroup)
    ]
    stepwise, replayed = ([told(records) for records in train(group)] for group in groups)
    assert stepwise == replayed


def test_a_batch_without_weight_moves_nothing() -> None:
    rows = torch.arange(6).view(1, 1, 6)
    nothing = Objective([run_with(None)], TABLE.y, torch.zeros(300, dtype=torch.float64))
    assert not nothing.batches(rows, 4)[:, :, 1].any()
    some = Objective([run_with(CLASSES)], TABLE.y, ROWS).batches(rows, 4)
    assert some[0, 0, 1, :4].mean().item() == pytest.approx(1, rel=1e-6)
    assert some[0, 0, 0].tolist() == TABLE.y[:6].tolist()
