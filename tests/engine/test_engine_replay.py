"""Captured and replayed steps: on the CPU with a stand-in for capturing, on CUDA with graphs.

The stand-in does what a graph does, the same work again and again, with nothing from the host but
what lies in tensors.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from cuda_cases import no_waiting
from engine_cases import (
    NothingFromTheHost,
    ReplayedGroup,
    adagrad,
    adam,
    adamw,
    make_config,
    make_run,
    make_table,
    nine_runs,
    one_thread,  # noqa: F401
    rmsprop,
    same_bits,
    sgd,
    told,
    train,
)
from torch import Tensor

from nnexp.config.schema import NORMS, Config, Cosine
from nnexp.data.on_device import Floats
from nnexp.device import Precision
from nnexp.engine import Group, Run
from nnexp.engine.cuda_graphs import STEPS_OF_A_GRAPH, Graphs, Replayed, Work
from nnexp.models import cross_entropy
from nnexp.models.cross_entropy import likeliest
from nnexp.models.layout import Structure

TABLE = make_table(420, 8, 4)
SMALL = Structure(8, (10, 7), 4)
OPTIMIZERS = {
    "sgd": sgd(0.1),
    "momentum": sgd(0.1, momentum=0.9, dampening=0.1, weight_decay=1e-3),
    "nesterov": sgd(0.1, momentum=0.9, nesterov=True),
    "adagrad": adagrad(0.05, lr_decay=0.01),
    "adam": adam(0.01),
    "amsgrad": adam(0.01, amsgrad=True, weight_decay=1e-3),
    "adamw": adamw(0.01, weight_decay=0.1),
    "rmsprop": rmsprop(0.003, momentum=0.5, centered=True),
}


def pair(configs: list[Config], structure: Structure) -> tuple[Group, ReplayedGroup]:
    """The same group, step by step and replayed."""
    runs = [make_run(config, TABLE, 67, 40) for config in configs]
    groups = [kind(runs, Floats(TABLE.x), TABLE.y, structure) for kind in (Group, ReplayedGroup)]
    return groups[0], groups[1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replayed_steps_have_the_same_bits(name: str) -> None:
    """With a schedule, dropout and a last batch of another size."""
    configs = [
        make_config(
            SMALL, replace(OPTIMIZERS[name], lr=lr), Cosine(name="cosine", warmup_epochs=1),
            seed=seed, dropout=0.2, epochs=4,
        )
        for seed, lr in enumerate((0.01, 0.02, 0.05))
    ]  # fmt: skip
    plain, replayed = pair(configs, SMALL)
    assert [told(r) for r in train(replayed)] == [told(r) for r in train(plain)]
    for mine, theirs in zip(replayed.states, plain.states, strict=True):
        assert same_bits(mine.params, theirs.params)
        assert all(same_bits(mine.optimizer[n], theirs.optimizer[n]) for n in theirs.optimizer)
        assert same_bits(mine.best_params, theirs.best_params)


@pytest.mark.parametrize("norm", NORMS)
def test_those_that_have_ended_change_nothing_for_the_others(norm: str) -> None:
    """Runs of nine lengths, one of which diverges, in buffers that are made anew at half."""
    structure = Structure(8, (10, 10), 4, "tanh", norm, residual=True)
    plain, replayed = pair(nine_runs(structure, batch_size=17), structure)
    assert [told(r) for r in train(replayed)] == [told(r) for r in train(plain)]
    for mine, theirs in zip(replayed.states, plain.states, strict=True):
        assert (mine.status, mine.epoch, mine.step) == (theirs.status, theirs.epoch, theirs.step)
        assert same_bits(mine.params, theirs.params)
        assert same_bits(mine.stats, theirs.stats)
    assert replayed.sizes[0] == 9
    assert all(after <= before // 2 for before, after in pairwise(replayed.sizes))


class Forgetful(Replayed):
    """Keeps nothing of what is captured, as a graph does not."""

    def capture(self, work: Work) -> Work:
        return int


def test_a_loop_goes_when_nobody_holds_it() -> None:
    """With its graphs and buffers, before new ones are made, and not when the garbage collector
    comes by, which may be while another graph is captured."""
    group, _ = pair([make_config(SMALL, adam())], SMALL)
    next(group.train())
    loop = Forgetful(group._assembly)
    rows, labels = torch.zeros(20, 16, dtype=torch.int64), torch.zeros(20, 1, 1, 16).long()
    gc.disable()
    try:
        loop.run(rows, labels, 16, 0, 0)
        gone = weakref.ref(loop)
        del loop
        assert gone() is None
    finally:
        gc.enable()


def test_a_step_is_captured_once() -> None:
    """67 rows in batches of 2 are 33 whole ones and a last one of a single row.

    The first step of either size is called; then the 33 are one of 16, one of 16, no rest, and in
    later epochs a rest of one.
    """
    assert STEPS_OF_A_GRAPH == 16
    _, replayed = pair([make_config(SMALL, adam(), batch_size=2, epochs=3)], SMALL)
    train(replayed)
    assert replayed.recorder.captured == 3  # 16 steps, one step, the one of the smaller batch
    assert replayed.recorder.replayed == 2 + 2 * 3 + 2


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_step_asks_the_host_for_nothing(
    name: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value would have to be waited for, and a graph would keep the one of its first step."""
    # Where there is a shortcut on the CPU that looks at values, CUDA goes the long way.
    monkeypatch.setattr(
        cross_entropy,
        "_right",
        lambda logits, logp, likelihood, labels: likeliest(logits) == labels,
    )
    structure = Structure(8, (10, 10), 4, "tanh", norm, residual=True)
    options = {"dropout": 0.2, "label_smoothing": 0.1, "grad_clip": 1.0, "batch_size": 4}
    configs = [make_config(structure, OPTIMIZERS[name], seed=seed, **options) for seed in range(3)]
    _, replayed = pair(configs, structure)
    watch = NothingFromTheHost()

    def watched(work: Work) -> Work:
        def again() -> None:
            with watch:
                work()

        return again

    replayed.recorder = watched
    train(replayed)
    assert watch.calls > 1000
    with pytest.raises(AssertionError, match="_local_scalar_dense"), watch:
        torch.ones(()).item()


# ── CUDA ──────────────────────────────────────────────────────────────────────────────────────

cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def on_cuda(configs: list[Config], structure: Structure, **options: object) -> Group:
    runs = [make_run(config, TABLE, 67, 40) for config in configs]
    runs = [Run(run.config, run.train.cuda(), run.val.cuda()) for run in runs]
    return Group(runs, Floats(TABLE.x.cuda()), TABLE.y.cuda(), structure, **options)


@cuda
@needs_cuda
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_graphs_give_the_same_bits_as_steps(name: str, norm: str, dtype: torch.dtype) -> None:
    structure = Structure(8, (10, 10), 4, "tanh", norm, residual=True)
    found = []
    for graphs in (True, False):
        configs = [
            make_config(
                structure, OPTIMIZERS[name], seed=seed, epochs=3 + seed, batch_size=4,
                dropout=0.2, grad_clip=1.0, cuda_graphs=graphs,
            )
            for seed in range(3)
        ]  # fmt: skip
        group = on_cuda(configs, structure, precision=Precision(dtype))
        found.append(([told(r) for r in train(group)], [s.params for s in group.states]))
    assert found[0][0] == found[1][0]
    assert all(same_bits(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


@cuda
@needs_cuda
def test_graphs_survive_runs_that_end() -> None:
    """Of nine lengths, one diverging: captured anew at half, a quarter, ... of the runs."""
    found = []
    for graphs in (True, False):
        configs = nine_runs(SMALL, batch_size=17)
        for config in configs:
            config.trainer.cuda_graphs = graphs
        group = on_cuda(configs, SMALL)
        found.append([told(r) for r in train(group)])
    assert found[0] == found[1]


@cuda
@needs_cuda
def test_the_host_does_not_wait_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Graphs.run

    def watched(*arguments: object) -> tuple[Tensor, Tensor]:
        with no_waiting():
            return run(*arguments)

    monkeypatch.setattr(Graphs, "run", watched)
    configs = [make_config(SMALL, adam(), seed=s, dropout=0.2, batch_size=4) for s in range(3)]
    records = train(on_cuda(configs, SMALL))
    assert [len(of_run) for of_run in records] == [3, 3, 3]
