"""A regression in the engine: against a plain torch loop, in other company, by further metrics."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from engine_cases import (
    NothingFromTheHost,
    Reference,
    ReplayedGroup,
    adam,
    adamw,
    make_config,
    make_table,
    one_thread,  # noqa: F401
    same_bits,
    sgd,
    told,
    torch_optimizer,
    train,
)
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

import nnexp
from nnexp.config.schema import Config
from nnexp.data.on_device import Floats
from nnexp.data.targets import TargetScaling
from nnexp.engine import Group, Run
from nnexp.engine.cuda_graphs import Work
from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.layout import Structure
from nnexp.models.losses import Loss, PerSampleLoss
from nnexp.models.module import named_tensors
from nnexp.models.regression_losses import (
    AbsoluteError,
    Huber,
    Quantile,
    SquaredError,
    TrainingErrorLoss,
)
from nnexp.rng import generator

ROWS, FEATURES = 420, 8
STREAM = torch.Generator().manual_seed(11)
X = torch.randn(ROWS, FEATURES, generator=STREAM)
# Far from 0 and wide, as prices: in float32 alone the standardised target would lose its last bits.
Y = 250_000 + 90_000 * (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * torch.randn(ROWS, generator=STREAM))
Y = Y.double()


def quantile_loss(errors: Tensor, q: float) -> Tensor:
    """Of errors that are prediction minus target."""
    return torch.maximum((1 - q) * errors, -q * errors)


LOSSES: list[tuple[Loss, Callable[[Tensor, Tensor], Tensor]]] = [
    (SquaredError("squared_error"), F.mse_loss),
    (AbsoluteError("absolute_error"), F.l1_loss),
    (Huber("huber", delta=0.3), lambda p, t: F.huber_loss(p, t, delta=0.3)),
    (Quantile("quantile", q=0.9), lambda p, t: quantile_loss(p - t, 0.9).mean()),
]


def regression(config: Config, loss: Loss) -> Config:
    return dataclasses.replace(config, task="regression", loss=loss, dataset=NoTask(name="none"))


@dataclasses.dataclass
class NoTask(nnexp.Dataset):
    """A data set that leaves the task to the run."""

    own_task = None

    def load(self) -> None:
        raise NotImplementedError


def run_of(config: Config, train_rows: int = 67, val_rows: int = 40) -> Run:
    stream = torch.Generator().manual_seed(1000 + config.seed)
    rows = torch.randperm(ROWS, generator=stream)
    mine = rows[:train_rows]
    scaling = TargetScaling(Y[mine].mean().item(), Y[mine].std(correction=0).item())
    return Run(config, mine, rows[train_rows : train_rows + val_rows], scaling)


def group_of(configs: list[Config], structure: Structure, **sizes: int) -> Group:
    return Group([run_of(config, **sizes) for config in configs], Floats(X), Y, structure)


# ── the losses ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("loss", "expected"), LOSSES, ids=lambda part: getattr(part, "name", ""))
def test_losses_are_those_of_torch(
    loss: Loss, expected: Callable[[Tensor, Tensor], Tensor]
) -> None:
    outputs = torch.randn(2, 1, 9, dtype=torch.float32)
    targets = torch.randn(2, 1, 9)
    targets[0, 0, 0] = outputs[0, 0, 0]  # an error of 0
    grad, losses, squares = TrainingErrorLoss([loss, loss], outputs)(outputs, targets, 7)
    for run in range(2):
        own = outputs[run, 0, :7].clone().requires_grad_()
        value = expected(own, targets[run, 0, :7])
        value.backward()
        assert losses[run].mean().item() == pytest.approx(value.item(), rel=1e-6)
        if run == 1:  # with no error of 0, where torch halves or not as it likes
            torch.testing.assert_close(grad[run, 0, :7], own.grad)
    assert not grad[:, :, 7:].any()
    assert torch.equal(squares, ((outputs - targets)[:, 0, :7]) ** 2)
    same = PerSampleLoss([loss, loss], outputs)(outputs, targets, 7)
    torch.testing.assert_close(same[1], losses)
    torch.testing.assert_close(same[0][1], grad[1])
    assert torch.equal(same[2], squares)


# ── against a plain torch loop ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("loss", "criterion"), LOSSES, ids=lambda p: getattr(p, "name", ""))
def test_whole_training_equals_a_plain_torch_loop(
    loss: Loss, criterion: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """In float64, on the standardised target; errors are put back into the target's unit."""
    structure = Structure(FEATURES, (16, 12), 1, "tanh")
    optimizer = adam(0.01, weight_decay=1e-3)
    config = make_config(structure, optimizer, seed=3, epochs=6, batch_size=15, grad_clip=1.0)
    group = group_of([regression(config, loss)], structure)
    (records,) = train(group)
    (run,) = group.runs
    assert run.target is not None
    target = (Y - run.target.mean) / run.target.std
    flat = initial_parameters(structure, config.model, config.seed)
    tensors = named_tensors(structure, flat, initial_statistics(structure))
    net = Reference(structure, {name: t.double() for name, t in tensors.items()})
    theirs = torch_optimizer(config.optimizer, net.parameters())
    for epoch, record in enumerate(records, start=1):
        drawn = torch.randperm(len(run.train), generator=generator(3, "order", epoch))
        losses, errors = [], []
        for rows in torch.split(run.train[drawn], 15):
            predicted = net(X[rows].double())[:, 0]
            value = criterion(predicted, target[rows])
            theirs.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            theirs.step()
            losses.append(value.item() * len(rows))
            errors.append((predicted.detach() - target[rows]) ** 2)
        assert record.train_loss == pytest.approx(sum(losses) / len(run.train), rel=3e-6)
        trained = torch.cat(errors).mean().sqrt().item() * run.target.std
        assert record.train_score == pytest.approx(trained, rel=3e-6)
        with torch.no_grad():
            said = net(X[run.val].double())[:, 0]
        in_units = said * run.target.std + run.target.mean
        rmse = F.mse_loss(in_units, Y[run.val]).sqrt().item()
        assert record.val_score == pytest.approx(rmse, rel=3e-6)
        assert record.val_loss == pytest.approx((rmse / run.target.std) ** 2, rel=6e-6)
    assert records[-1].train_loss < records[0].train_loss
    said = group.predict([0], run.val[None], best=False)[0, :, 0]
    torch.testing.assert_close(said.double(), net(X[run.val].double())[:, 0].detach(), atol=1e-5,
                               rtol=1e-5)  # fmt: skip


# ── company ───────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class LogCosh(Loss):
    task = "regression"

    def per_sample(self, logits: Tensor, labels: Tensor, hyper: object) -> Tensor:
        return torch.cosh(logits - labels).log()


@pytest.mark.parametrize(
    "kind",
    [lambda i: SquaredError("s"), lambda i: Huber("h", delta=0.1 + i), lambda i: LogCosh("l")],
    ids=["squared_error", "huber", "by autograd"],
)
@pytest.mark.parametrize(
    ("hidden", "batch_size", "train_rows", "val_rows"),
    [((), 16, 50, 40), ((1,), 7, 30, 40), ((33,), 50, 101, 3), ((10, 7), 17, 35, 300),
     ((64, 32), 1, 12, 40)],
    ids=str,
)  # fmt: skip
def test_company_changes_nothing(
    kind: Callable[[int], Loss],
    hidden: tuple[int, ...],
    batch_size: int,
    train_rows: int,
    val_rows: int,
) -> None:
    """A single output is a product of a matrix and a vector, and each run has its own target."""
    structure = Structure(FEATURES, hidden, 1)
    some = {"dropout": 0.2} if hidden else {}
    made = [
        make_config(structure, adam(), seed=0, epochs=3, batch_size=batch_size),
        make_config(structure, sgd(1e6), seed=1, epochs=4, batch_size=batch_size),  # diverges
        make_config(structure, adamw(), seed=2, epochs=2, batch_size=batch_size, **some),
        make_config(structure, sgd(0.05), seed=3, epochs=4, batch_size=batch_size, grad_clip=0.1),
    ]
    configs = [regression(config, kind(i)) for i, config in enumerate(made)]
    sizes = {"train_rows": train_rows, "val_rows": val_rows}
    for order in itertools.islice(itertools.permutations(range(4)), 0, None, 11):
        together = group_of([configs[i] for i in order], structure, **sizes)
        records = train(together)
        for place, i in enumerate(order):
            alone = group_of([configs[i]], structure, **sizes)
            (expected,) = train(alone)
            assert told(records[place]) == told(expected), f"run {i}"
            assert same_bits(together.states[place].params, alone.states[0].params), f"run {i}"
            rows = alone.runs[0].val[None]
            said = together.predict([place], rows)
            assert same_bits(said, alone.predict([0], rows))


@pytest.mark.parametrize("loss", [loss for loss, _ in LOSSES], ids=lambda loss: loss.name)
def test_replayed_steps_have_the_same_bits_and_ask_the_host_for_nothing(loss: Loss) -> None:
    structure = Structure(FEATURES, (10, 7), 1)
    made = [make_config(structure, adam(), seed=seed, epochs=3, batch_size=4) for seed in range(3)]
    runs = [run_of(regression(config, loss)) for config in made]
    plain, replayed = (
        kind(runs, Floats(X), Y, structure) for kind in (Group, ReplayedGroup)
    )  # fmt: skip
    watch = NothingFromTheHost()

    def watched(work: Work) -> Work:
        def again() -> None:
            with watch:
                work()

        return again

    assert isinstance(replayed, ReplayedGroup)
    expected = [told(records) for records in train(plain)]
    assert [told(records) for records in train(replayed)] == expected
    again = ReplayedGroup(runs, Floats(X), Y, structure)
    again.recorder = watched
    train(again)
    assert watch.calls > 300


cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@cuda
@needs_cuda
@pytest.mark.parametrize("loss", [loss for loss, _ in LOSSES], ids=lambda loss: loss.name)
def test_cuda_trains_as_the_cpu_does(loss: Loss) -> None:
    structure = Structure(FEATURES, (10, 7), 1, "tanh")
    made = [make_config(structure, sgd(0.01), seed=seed, epochs=3) for seed in range(3)]
    runs = [run_of(regression(config, loss)) for config in made]
    there = [dataclasses.replace(r, train=r.train.cuda(), val=r.val.cuda()) for r in runs]
    expected = train(Group(runs, Floats(X), Y, structure))
    found = train(Group(there, Floats(X.cuda()), Y.cuda(), structure))
    for records, wanted in zip(found, expected, strict=True):
        for mine, theirs in zip(records, wanted, strict=True):
            assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert mine.val_score == pytest.approx(theirs.val_score, rel=1e-4)


# ── the epoch that is kept ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("select", "sign"), [("metric", 1), ("rmse", 1), ("mae", 1), ("r2", -1)])
def test_the_kept_epoch_of_a_regression(select: str, sign: int) -> None:
    structure = Structure(FEATURES, (32,), 1)
    config = make_config(structure, adam(0.05), epochs=12, select=select)
    group = group_of([regression(config, AbsoluteError("a"))], structure)
    (run,) = group.runs
    assert run.target is not None
    kept = []
    for (record,) in group.train():
        said = group.predict([0], run.val[None], best=False)[0, :, 0]
        errors = run.target.restored(said.double().numpy()) - Y[run.val].numpy()
        by = {"mae": np.abs(errors).mean(), "r2": 1 - (errors**2).mean() / Y[run.val].numpy().var()}
        value = by.get(select, math.sqrt((errors**2).mean()))
        if select in by:
            assert record.val_metric == pytest.approx(value, rel=1e-6)
        else:
            assert record.val_metric is None
            assert record.val_score == pytest.approx(value, rel=1e-6)
        kept.append((sign * value, -record.epoch))
    assert group.states[0].best_epoch == -min(kept)[1]


def test_the_epoch_of_the_highest_area_under_the_curve() -> None:
    """Of a classification, by a metric of scikit-learn, in company of runs that select otherwise;
    epochs without evaluation have none."""
    table = make_table(ROWS, FEATURES, 2, noise=2.0)
    structure = Structure(FEATURES, (16,), 2)
    selects = ("roc_auc", "accuracy", "roc_auc", "loss")
    configs = [
        make_config(structure, adam(0.03), seed=i // 2, epochs=7, eval_every=2, select=select)
        for i, select in enumerate(selects)
    ]
    rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(5))
    runs = [Run(config, rows[:120], rows[120:300]) for config in configs]
    group = Group(runs, Floats(table.x), table.y, structure)
    areas: list[list[tuple[float, int]]] = [[] for _ in runs]
    for records in group.train():
        for record in records:
            if selects[record.run] != "roc_auc" or record.val_loss is None:
                assert record.val_metric is None
                continue
            logits = group.predict([record.run], runs[0].val[None], best=False)[0]
            area = roc_auc_score(table.y[runs[0].val], logits.softmax(1)[:, 1])
            assert record.val_metric == pytest.approx(area, abs=1e-12)
            areas[record.run].append((record.val_metric, record.epoch))
    for i, found in enumerate(areas):
        if found:
            assert group.states[i].best_epoch == max(found)[1]
    alone = Group(runs[2:3], Floats(table.x), table.y, structure)
    train(alone)
    assert alone.states[0].best_epoch == group.states[2].best_epoch
    assert alone.states[0].best_score == group.states[2].best_score
