"""The training loop: against a plain torch loop, against itself in other company, and over time."""

from __future__ import annotations

import copy
import itertools
import math
import random
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from engine_cases import (
    Table,
    adagrad,
    adam,
    adamw,
    ignore_sequential_lr,
    make_config,
    make_run,
    make_table,
    nine_runs,
    one_thread,  # noqa: F401
    plain_loop,
    rmsprop,
    same_bits,
    sgd,
    told,
    train,
)

from nnexp import engine
from nnexp.config.schema import ACTIVATIONS, NORMS, Config, Cosine, Exponential, StepDecay
from nnexp.data.on_device import Floats
from nnexp.device import Precision
from nnexp.engine import Epoch, Group, Run, RunState
from nnexp.errors import ConfigError
from nnexp.models.cross_entropy import cross_entropy
from nnexp.models.layout import Structure, parameter_layout
from nnexp.models.module import named_tensors

TABLE = make_table(420, 8, 4)
SMALL = Structure(8, (10, 7), 4)


def group_of(
    configs: list[Config], structure: Structure, train_rows: int = 67, val_rows: int = 40,
    table: Table = TABLE, **options: object,
) -> Group:  # fmt: skip
    """A group of runs, each on rows that its seed draws."""
    runs = [make_run(config, table, train_rows, val_rows) for config in configs]
    return Group(runs, Floats(table.x), table.y, structure, **options)


# ── against a plain torch loop ────────────────────────────────────────────────────────────────

WARM = {"warmup_epochs": 1.5, "warmup_start_factor": 0.1}
WHOLE_RUNS = {
    "plain sgd, linear model": (Structure(8, (), 4), sgd(0.1), None, {}),
    "sgd, nesterov, cosine with warm-up, clipped": (
        Structure(8, (16, 16), 4, "tanh"), sgd(0.2, momentum=0.9, nesterov=True, weight_decay=1e-3),
        Cosine(name="cosine", eta_min=1e-3, **WARM), {"grad_clip": 0.7},
    ),
    "adam, batch norm, dropout, smoothing": (
        # The gradient of a bias before batch norm is 0 but for rounding; eps keeps Adam from
        # making steps of it.
        Structure(8, (10, 7), 4, norm="batch"), adam(0.01, eps=1e-3), None,
        {"dropout": 0.3, "label_smoothing": 0.1, "init": "kaiming"},
    ),
    "adamw, layer norm, residual, exponential": (
        Structure(8, (12, 12, 12), 4, "gelu", "layer", residual=True), adamw(0.01, amsgrad=True),
        Exponential(name="exponential", gamma=0.7), {"dropout": 0.1, "drop_last": True},
    ),
    "adagrad, step with warm-up, no bias": (
        Structure(8, (33,), 4, "silu", bias=False),
        adagrad(0.05, lr_decay=0.01, initial_accumulator_value=0.1),
        StepDecay(name="step", step_size=2, gamma=0.3, **WARM), {"init": "xavier"},
    ),
    "rmsprop, smoothing, clipped, one batch": (
        Structure(8, (20, 5), 4, "elu"), rmsprop(0.003, momentum=0.5, centered=True), None,
        {"batch_size": 100, "label_smoothing": 0.2, "grad_clip": 2.0, "init": "orthogonal"},
    ),
    "sgd, dampening, selu, batches of one": (
        Structure(8, (9,), 4, "selu"), sgd(0.01, momentum=0.5, dampening=0.3), None,
        {"batch_size": 1, "epochs": 2, "init": "normal", "init_std": 0.2},
    ),
    "everything at once": (
        Structure(8, (16, 16), 4, "leaky_relu", "batch", residual=True),
        adam(0.01, betas=[0.8, 0.99], weight_decay=1e-3), Cosine(name="cosine", **WARM),
        {"dropout": 0.2, "label_smoothing": 0.1, "grad_clip": 1.0, "drop_last": True},
    ),
}  # fmt: skip


@ignore_sequential_lr
@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_whole_training_equals_a_plain_torch_loop(name: str) -> None:
    """Six epochs of four batches and a remainder: every loss, the weights, the statistics.

    The plain loop computes in float64, so that the difference is the engine's rounding alone.
    """
    structure, optimizer, scheduler, options = WHOLE_RUNS[name]
    options = {"epochs": 6, "batch_size": 15, **options}
    config = make_config(structure, optimizer, scheduler, seed=3, **options)
    group = group_of([config], structure)
    (records,) = train(group)
    expected, net = plain_loop(group.runs[0], TABLE, structure)
    assert len(records) == len(expected) == options["epochs"]
    for record, wanted in zip(records, expected, strict=True):
        assert record.train_loss == pytest.approx(wanted.train_loss, rel=2e-6)
        assert record.val_loss == pytest.approx(wanted.val_loss, rel=2e-6)
        assert (record.train_score, record.val_score) == pytest.approx(
            (wanted.train_score, wanted.val_score), abs=1e-9
        )
        assert record.lr == pytest.approx(wanted.lr, rel=1e-12)
    state = group.states[0]
    final = named_tensors(structure, state.params, state.stats)
    for what in ("params", "stats"):
        for key, wanted in net.named(structure, what).items():
            torch.testing.assert_close(final[key].double(), wanted, rtol=1e-5, atol=1e-5)
    first = records[0].train_loss
    assert records[-1].train_loss < first


def test_plain_loop_in_float32_is_no_closer() -> None:
    """The engine is off the exact result by about as much as torch's own float32 is."""
    structure, optimizer, scheduler, options = WHOLE_RUNS["adam, batch norm, dropout, smoothing"]
    config = make_config(structure, optimizer, scheduler, epochs=6, batch_size=15, **options)
    group = group_of([config], structure)
    train(group)
    state = group.states[0]
    final = named_tensors(structure, state.params, state.stats)
    _, exact = plain_loop(group.runs[0], TABLE, structure)
    _, single = plain_loop(group.runs[0], TABLE, structure, torch.float32)
    wanted = exact.named(structure, "params")
    theirs = single.named(structure, "params")
    for name, value in wanted.items():
        error = (final[name] - value).norm()
        assert error <= 5 * (theirs[name] - value).norm() + 1e-5 * value.norm(), name


# ── company changes nothing ───────────────────────────────────────────────────────────────────


def assert_same_in_all_company(configs: list[Config], structure: Structure, **sizes: int) -> None:
    """Each run of the group against itself alone, bit for bit, and against itself elsewhere."""
    together = group_of(configs, structure, **sizes)
    records = train(together)
    backwards = group_of(configs[::-1], structure, **sizes)
    reversed_records = train(backwards)[::-1]
    pair = group_of(configs[:2], structure, **sizes)
    pair_records = train(pair)
    for i, config in enumerate(configs):
        alone = group_of([config], structure, **sizes)
        (expected,) = train(alone)
        others = [(together, records, i), (backwards, reversed_records, i)]
        others += [(pair, pair_records, i)] * (i < 2)
        for group, heard, place in others:
            row = len(configs) - 1 - i if group is backwards else place
            assert told(heard[place]) == told(expected), f"run {i}"
            assert_same_state(group.states[row], alone.states[0], f"run {i}")


def assert_same_state(state: RunState, expected: RunState, what: str = "") -> None:
    for field in fields(RunState):
        ours, theirs = getattr(state, field.name), getattr(expected, field.name)
        if isinstance(theirs, torch.Tensor):
            assert same_bits(ours, theirs), f"{what} {field.name}"
        elif field.name == "optimizer":
            assert ours.keys() == theirs.keys()
            assert all(same_bits(ours[name], theirs[name]) for name in theirs), what
        else:
            assert ours == theirs, f"{what} {field.name}"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_company_changes_nothing(activation: str, norm: str) -> None:
    """Alone, in a pair, in nine, first or last, while others diverge, stop or finish."""
    structure = Structure(8, (10, 10, 7), 4, activation, norm, residual=True)
    configs = nine_runs(structure, batch_size=17)
    assert_same_in_all_company(configs, structure, train_rows=50)


@pytest.mark.parametrize(
    ("hidden", "features", "classes", "batch_size", "rows", "val_rows"),
    [
        ((), 8, 4, 16, 50, 40),
        ((), 1, 2, 17, 50, 40),
        ((1,), 8, 3, 16, 50, 40),  # products of a matrix and a vector
        ((1, 1), 1, 2, 7, 30, 40),
        ((5,), 1, 26, 32, 50, 300),  # validation in chunks of 256 rows and a rest
        ((33,), 13, 7, 50, 101, 3),
        ((100,), 30, 10, 32, 77, 40),
        ((10, 7), 2, 2, 17, 35, 40),  # a last batch of one row
        ((64, 32), 64, 10, 1, 12, 40),  # batches of one row
        ((48, 31), 65, 16, 128, 99, 40),  # one batch
        ((128, 128), 20, 10, 64, 150, 257),
        ((300,), 100, 5, 20, 60, 40),
    ],
    ids=str,
)
def test_company_changes_nothing_at_any_size(
    hidden: tuple[int, ...], features: int, classes: int, batch_size: int, rows: int, val_rows: int
) -> None:
    """Widths and batches that fill no vector: lanes and routines must not follow the company."""
    structure = Structure(features, hidden, classes)
    table = make_table(420, features, classes)
    configs = nine_runs(structure, batch_size=batch_size)
    assert_same_in_all_company(configs, structure, train_rows=rows, val_rows=val_rows, table=table)


def test_dropping_the_last_batch_beside_others() -> None:
    configs = nine_runs(SMALL, batch_size=32, drop_last=True)
    assert_same_in_all_company(configs, SMALL, train_rows=70)


def test_two_threads_repeat_themselves() -> None:
    """A run alone has the same bits each time; in company it is the same to rounding."""
    structure = Structure(300, (200, 100), 10)
    table = make_table(420, 300, 10)
    configs = [make_config(structure, sgd(), seed=s, batch_size=64) for s in range(3)]
    alone = [group_of(configs[:1], structure, 200, 100, table, num_threads=2) for _ in range(2)]
    first, again = (told(train(group)[0]) for group in alone)
    assert first == again
    assert_same_state(*(group.states[0] for group in alone))
    together = group_of(configs, structure, 200, 100, table, num_threads=2)
    train(together)
    torch.testing.assert_close(
        together.states[0].params, alone[0].states[0].params, rtol=1e-4, atol=1e-5
    )


def test_what_the_nine_runs_do() -> None:
    """The company above is as mixed as it claims."""
    group = group_of(nine_runs(SMALL, batch_size=17), SMALL, train_rows=50)
    records = train(group)
    assert [s.status for s in group.states] == ["completed", "diverged"] + ["completed"] * 7
    assert [len(r) for r in records][:7] == [4, len(records[1]), 2, 3, 1, 3, 3]
    assert len(records[1]) < 4
    assert len({told(r)[0] for r in records}) == 9


# ── fates ─────────────────────────────────────────────────────────────────────────────────────


def test_records_count_what_was_done() -> None:
    config = make_config(
        SMALL, adam(), Exponential(name="e", gamma=0.5), epochs=5, batch_size=16, eval_every=2
    )
    (records,) = train(group_of([config], SMALL, train_rows=67))
    assert [r.epoch for r in records] == [1, 2, 3, 4, 5]
    assert [r.step for r in records] == [5, 10, 15, 20, 25]
    assert [r.val_loss is None for r in records] == [True, False, True, False, False]
    assert [r.val_score is None for r in records] == [True, False, True, False, False]
    assert [r.lr for r in records] == pytest.approx([0.01 * 0.5**e for e in range(5)])
    assert all(a.seconds < b.seconds for a, b in pairwise(records))
    dropped = replace(config, trainer=replace(config.trainer, drop_last=True))
    (records,) = train(group_of([dropped], SMALL, train_rows=67))
    assert [r.step for r in records] == [4, 8, 12, 16, 20]
    with pytest.raises(ConfigError, match="drop_last=true: leaves no batch of 9 training samples"):
        group_of([dropped], SMALL, train_rows=9)


@pytest.mark.parametrize("eval_every", [1, 3])
@pytest.mark.parametrize("metric", ["val/loss", "val/acc", "train/loss"])
@pytest.mark.parametrize(
    ("patience", "min_delta"), [(1, 0.0), (3, 0.0), (2, 0.01), (4, 0.02), (1, 0.3)]
)
def test_early_stopping(metric: str, patience: int, min_delta: float, eval_every: int) -> None:
    """The epoch follows from the metric's curve: patience evaluations without improvement."""
    options = {"epochs": 40, "batch_size": 16, "eval_every": eval_every}
    structure = Structure(8, (32,), 4)
    whole = make_config(structure, adam(0.02), **options)
    (curve,) = train(group_of([whole], structure))
    evaluated = [r for r in curve if r.val_loss is not None]
    scores = {
        "val/loss": [-r.val_loss for r in evaluated],
        "val/acc": [r.val_score for r in evaluated],
        "train/loss": [-r.train_loss for r in evaluated],
    }[metric]
    best, since, expected = -math.inf, 0, 40
    for record, score in zip(evaluated, scores, strict=True):
        since = 0 if score > best + min_delta else since + 1
        best = score if since == 0 else best
        if since == patience:
            expected = record.epoch
            break
    assert expected < 40 or metric == "train/loss"  # else there is nothing to see
    stopping = make_config(
        structure, adam(0.02), metric=metric, patience=patience, min_delta=min_delta, **options
    )
    group = group_of([stopping], structure)
    (records,) = train(group)
    assert len(records) == expected
    assert told(records) == told(curve[:expected])
    assert group.states[0].status == "completed"


@pytest.mark.parametrize("eval_every", [1, 3])
def test_the_best_epoch_is_kept(eval_every: int) -> None:
    """With its weights and statistics, whatever training does afterwards."""
    structure = Structure(8, (32,), 4, norm="batch")
    options = {"epochs": 20, "eval_every": eval_every, "select": "loss"}
    config = make_config(structure, adam(0.02), **options)
    group = group_of([config], structure)
    (records,) = train(group)
    state = group.states[0]
    losses = {r.epoch: r.val_loss for r in records if r.val_loss is not None}
    assert state.best_epoch == min(losses, key=losses.__getitem__)
    assert state.best_score == losses[state.best_epoch]
    assert state.best_epoch < 20
    lowest = math.inf
    for record in records:
        improved = record.val_loss is not None and record.val_loss < lowest
        assert record.is_best == improved
        lowest = record.val_loss if improved else lowest

    run = group.runs[0]
    for best, wanted in ((True, losses[state.best_epoch]), (False, losses[20])):
        logits = group.predict([0], run.val[None], best=best)[0]
        assert logits.shape == (40, 4)
        found = cross_entropy(logits.T[None], TABLE.y[run.val][None])[0].double().mean()
        assert found.item() == wanted


def test_predict_beside_others_and_before_training() -> None:
    """Each run predicts by its own weights; without a best epoch by those it has."""
    configs = [make_config(SMALL, adam(), seed=seed) for seed in range(3)]
    group = group_of(configs, SMALL)
    rows = torch.arange(300)
    before = group.predict([1], rows[None])
    train(group)
    for i, config in enumerate(configs):
        alone = group_of([config], SMALL)
        assert torch.equal(alone.predict([0], rows[None]), before) == (i == 1)
        train(alone)
        assert torch.equal(alone.predict([0], rows[None]), group.predict([i], rows[None]))


def test_divergence_is_one_runs_own() -> None:
    """It is named and set aside at once; what it had found before is kept."""
    sound = [make_config(SMALL, adam(), seed=seed, epochs=5) for seed in (0, 1)]
    ramp = Cosine(name="cosine", warmup_epochs=4.0, warmup_start_factor=1e-9)
    broken = make_config(SMALL, sgd(1e9), ramp, seed=2, epochs=5)
    group = group_of([sound[0], broken, sound[1]], SMALL)
    records = train(group)
    assert [s.status for s in group.states] == ["completed", "diverged", "completed"]
    last = records[1][-1]
    assert not (math.isfinite(last.train_loss) and math.isfinite(last.val_loss))
    assert all(math.isfinite(r.train_loss + r.val_loss) for r in records[1][:-1])
    assert group.states[1].epoch == last.epoch < 5
    for i, config in ((0, sound[0]), (2, sound[1])):
        alone = group_of([config], SMALL)
        assert told(records[i]) == told(train(alone)[0])
        assert_same_state(group.states[i], alone.states[0])


@pytest.mark.parametrize("grad_clip", [None, 1.0])
def test_an_infinite_gradient_beside_a_clipped_run(grad_clip: float | None) -> None:
    """The norm overflows: clipping of another run must not turn this one's numbers into NaN."""
    structure = Structure(8, (17, 17), 4, residual=True)
    wild = make_config(structure, adagrad(1e6), seed=1, epochs=4, grad_clip=grad_clip)
    tame = make_config(structure, adagrad(), seed=0, epochs=4, grad_clip=0.5, label_smoothing=0.1)
    beside = group_of([wild, tame], structure)
    records = train(beside)
    alone = group_of([wild], structure)
    assert told(records[0]) == told(train(alone)[0])
    assert_same_state(beside.states[0], alone.states[0])


def test_rows_of_others_do_not_touch_a_run() -> None:
    """Rows of the table that a run does not have may hold anything, the first row too."""
    config = make_config(SMALL, adam(), batch_size=17)
    wanted = told(train(group_of([config], SMALL))[0])
    run = make_run(config, TABLE, 67, 40)
    others = torch.ones(len(TABLE.y), dtype=torch.bool)
    others[0] = True
    others[torch.cat([run.train, run.val])] = False
    assert others[0]  # what a padding of zeros would read
    x = torch.where(others[:, None], torch.nan, TABLE.x)
    assert told(train(Group([run], Floats(x), TABLE.y, SMALL))[0]) == wanted


def test_a_validation_loss_that_is_not_finite_is_divergence() -> None:
    """Here from a row of nonsense, the training loss being sound."""
    config = make_config(SMALL, adam())
    run = make_run(config, TABLE, 67, 40)
    x = TABLE.x.clone()
    x[run.val[3]] = torch.inf
    group = Group([run], Floats(x), TABLE.y, SMALL)
    ((record,),) = train(group)
    assert math.isfinite(record.train_loss)
    assert not math.isfinite(record.val_loss)
    assert not record.is_best
    assert (group.states[0].status, group.states[0].best_epoch) == ("diverged", None)


def test_batch_norm_refuses_a_batch_of_one_row() -> None:
    """In one line that names the options, before anything is trained."""
    structure = Structure(8, (10,), 4, norm="batch")
    config = make_config(structure, batch_size=16)
    with pytest.raises(ConfigError, match=r"^trainer\.batch_size=16: 65 training samples end in a"):
        group_of([config], structure, train_rows=65)
    dropping = make_config(structure, batch_size=16, drop_last=True)
    (records,) = train(group_of([dropping], structure, train_rows=65))
    assert records[-1].step == 12
    with pytest.raises(ConfigError, match=r"^trainer\.batch_size=1: 67 training samples"):
        group_of([make_config(structure, batch_size=1, drop_last=True)], structure)


# ── going on ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pause", [1, 3, 5])
def test_going_on_from_states_is_training_on(pause: int) -> None:
    """Bit for bit, with runs that have stopped, diverged or finished before and after the pause."""
    structure = Structure(8, (10, 7), 4, norm="batch")
    ramp = Cosine(name="cosine", warmup_epochs=2.0)
    configs = [
        make_config(structure, adam(0.03, amsgrad=True), ramp, seed=0, epochs=6, dropout=0.2),
        make_config(structure, sgd(momentum=0.9, dampening=0.5), seed=1, epochs=6),
        make_config(structure, adagrad(0.2, lr_decay=0.1), seed=2, epochs=4, grad_clip=0.5),
        make_config(structure, rmsprop(0.05, momentum=0.5, centered=True), seed=3, epochs=6,
                    patience=2, min_delta=0.01),
        make_config(structure, sgd(1e8), seed=4, epochs=6),
    ]  # fmt: skip
    through = group_of(configs, structure)
    whole = train(through)

    begun = group_of(configs, structure)
    epochs = begun.train()
    for _ in range(pause):
        next(epochs)
    states = copy.deepcopy(begun.states)
    kept = copy.deepcopy(states)
    resumed = group_of(configs, structure, states=states)
    rest = train(resumed)
    for i, state in enumerate(resumed.states):
        assert told(rest[i]) == told(whole[i][pause:])
        assert_same_state(state, through.states[i], f"run {i}")
        assert_same_state(states[i], kept[i], "what was given")
    # The group that was only looked at goes on undisturbed.
    for _ in epochs:
        pass
    for i, state in enumerate(begun.states):
        assert_same_state(state, through.states[i], f"run {i}")


def test_states_must_be_of_one_epoch() -> None:
    configs = [make_config(SMALL, seed=seed) for seed in (0, 1)]
    group = group_of(configs, SMALL)
    next(group.train())
    fresh = group_of(configs, SMALL)
    with pytest.raises(ValueError, match="same number of epochs"):
        group_of(configs, SMALL, states=[group.states[0], fresh.states[1]])


def test_states_hold_optimizers_as_torch_names_them() -> None:
    config = make_config(SMALL, adam(amsgrad=True))
    group = group_of([config], SMALL)
    train(group)
    size = parameter_layout(SMALL).size
    assert {name: tuple(t.shape) for name, t in group.states[0].optimizer.items()} == {
        "exp_avg": (size,), "exp_avg_sq": (size,), "max_exp_avg_sq": (size,),
    }  # fmt: skip
    assert (group.states[0].epoch, group.states[0].step) == (3, 15)


# ── randomness ────────────────────────────────────────────────────────────────────────────────


def test_same_seed_twice_and_no_global_generator() -> None:
    """The same bits whatever the global generators hold, and these stay as they are."""
    config = make_config(SMALL, seed=0, dropout=0.3)
    torch.manual_seed(1)
    first = group_of([config], SMALL)
    told_first = told(train(first)[0])
    torch.manual_seed(2)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    second = group_of([config], SMALL)
    assert told(train(second)[0]) == told_first
    assert_same_state(second.states[0], first.states[0])
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_every_stream_follows_the_seed() -> None:
    """Another seed changes the weights, the order of rows and the masks, each by itself."""
    base = make_config(SMALL, sgd(), seed=0, dropout=0.5, epochs=1)
    rows = make_run(base, TABLE, 67, 40)
    other = replace(base, seed=1)
    features = Floats(TABLE.x)
    initial = [
        Group([Run(c, rows.train, rows.val)], features, TABLE.y, SMALL) for c in (base, other)
    ]
    start = copy.deepcopy(initial[0].states)
    ends = {}
    for name, config in (("same", base), ("again", base), ("other", other)):
        run = Run(config, rows.train, rows.val)
        group = Group([run], features, TABLE.y, SMALL, states=start)
        train(group)
        ends[name] = group.states[0].params
    assert not torch.equal(initial[0].states[0].params, initial[1].states[0].params)
    assert torch.equal(ends["same"], ends["again"])
    assert not torch.equal(ends["same"], ends["other"])


def test_golden_curve() -> None:
    """Pinned: a refactoring keeps every loss of this short run."""
    structure = Structure(8, (16, 16), 4, norm="batch", residual=True, bias=False)
    config = make_config(
        structure, adam(0.01), Cosine(name="cosine", warmup_epochs=1.0), seed=0, epochs=8,
        batch_size=16, dropout=0.1, label_smoothing=0.05, grad_clip=1.0,
    )  # fmt: skip
    (records,) = train(group_of([config], structure))
    losses = [
        1.6018183,
        1.2782719,
        0.9805633,
        0.9409629,
        0.8072099,
        0.7522350,
        0.7286581,
        0.8117082,
    ]
    assert [r.train_loss for r in records] == pytest.approx(losses, rel=1e-6)
    losses = [
        1.3781842,
        1.1977359,
        1.0234767,
        0.9046871,
        0.8271612,
        0.8009510,
        0.8102662,
        0.8109603,
    ]
    assert [r.val_loss for r in records] == pytest.approx(losses, rel=1e-6)


# ── bfloat16 ──────────────────────────────────────────────────────────────────────────────────


def test_training_in_bfloat16() -> None:
    """The curve of float32 to a few percent; what is kept is float32."""
    structure = Structure(8, (32, 32), 4, norm="layer")
    config = make_config(structure, adam(0.01), epochs=6, dropout=0.1)
    curves = {}
    for dtype in (torch.float32, torch.bfloat16):
        group = group_of([config], structure, precision=Precision(dtype))
        curves[dtype] = [r.train_loss for r in train(group)[0]]
        state = group.states[0]
        tensors = [state.params, state.stats, state.best_params, *state.optimizer.values()]
        assert {t.dtype for t in tensors} == {torch.float32}
    assert curves[torch.bfloat16] == pytest.approx(curves[torch.float32], rel=0.03)
    assert curves[torch.bfloat16] != curves[torch.float32]


# ── CUDA ──────────────────────────────────────────────────────────────────────────────────────

cuda = pytest.mark.cuda
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def on_cuda(configs: list[Config], structure: Structure, **options: object) -> Group:
    table = Table(TABLE.x.cuda(), TABLE.y.cuda())
    runs = [make_run(config, TABLE, 67, 40) for config in configs]
    runs = [Run(run.config, run.train.cuda(), run.val.cuda()) for run in runs]
    return Group(runs, Floats(table.x), table.y, structure, **options)


# How far apart the losses of two trainings may be that differ in rounding alone, relatively. In the
# first test below they are 1e-7 apart.
ROUNDING = 1e-5


def steady(norm: str) -> tuple[Config, Structure]:
    """A run that does not multiply what rounding changes.

    The gradient of a bias before batch norm is 0 but for rounding, and with Adam's usual eps of
    1e-8 it makes steps as large as any other, on each device others. Training does not see that,
    as batch norm takes the bias out again, but its running mean does: losses of validation were
    2e-3 apart.
    """
    structure = Structure(8, (10, 7), 4, "tanh", norm)
    return make_config(structure, adam(eps=1e-3), epochs=3, dropout=0.2, grad_clip=1.0), structure


def off_by_a_bit(table: Table, seed: int) -> Table:
    """Features that differ in their last bits, as sums do that are added up in another order."""
    stream = torch.Generator().manual_seed(seed)
    bits = torch.randint(-1, 2, table.x.shape, generator=stream)
    return Table(table.x * (1 + bits * torch.finfo(torch.float32).eps), table.y)


def losses_of(records: list[Epoch], *, validated: bool) -> list[float]:
    return [r.train_loss for r in records] + [r.val_loss for r in records if validated]


@pytest.mark.parametrize("norm", NORMS)
def test_rounding_moves_losses_far_less_than_cuda_may(norm: str) -> None:
    """So that the tolerance is no guess: here the runs of the tests on CUDA round otherwise."""
    one, structure = steady(norm)
    of_nine = Structure(8, (10, 10), 4, "tanh", norm, residual=True)
    nine = [config for config in nine_runs(of_nine, batch_size=17) if config.optimizer.lr < 1]

    def losses(table: Table) -> list[float]:
        (records,) = train(group_of([one], structure, table=table))
        others = train(group_of(nine, of_nine, table=table))
        found = [losses_of(records, validated=True)]
        found += [losses_of(records, validated=False) for records in others]
        return [loss for of_run in found for loss in of_run]

    expected = losses(TABLE)
    for seed in range(5):
        moved = [
            abs(found / wanted - 1)
            for found, wanted in zip(losses(off_by_a_bit(TABLE, seed)), expected, strict=True)
        ]
        assert 0 < max(moved) < ROUNDING / 20


@cuda
@needs_cuda
@pytest.mark.parametrize("norm", NORMS)
def test_cuda_trains_as_the_cpu_does(norm: str) -> None:
    config, structure = steady(norm)
    (expected,) = train(group_of([config], structure))
    (records,) = train(on_cuda([config], structure))
    for record, wanted in zip(records, expected, strict=True):
        assert record.train_loss == pytest.approx(wanted.train_loss, rel=ROUNDING)
        assert record.val_loss == pytest.approx(wanted.val_loss, rel=ROUNDING)


@cuda
@needs_cuda
@pytest.mark.parametrize("norm", NORMS)
def test_cuda_company_changes_nothing_beyond_rounding(norm: str) -> None:
    """But for the run whose learning rate of 1e6 multiplies whatever rounding has changed."""
    structure = Structure(8, (10, 10), 4, "tanh", norm, residual=True)
    configs = nine_runs(structure, batch_size=17)
    records = train(on_cuda(configs, structure))
    steady_ones = [i for i, config in enumerate(configs) if config.optimizer.lr < 1]
    assert len(steady_ones) == 8
    for i in steady_ones:
        (expected,) = train(on_cuda([configs[i]], structure))
        assert [r.epoch for r in records[i]] == [r.epoch for r in expected]
        losses, wanted = ([r.train_loss for r in run] for run in (records[i], expected))
        assert losses == pytest.approx(wanted, rel=ROUNDING)


@cuda
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cuda_same_seed_twice(dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this CUDA device has no bfloat16")
    structure = Structure(8, (64, 64), 4, norm="batch")
    configs = [make_config(structure, adam(), seed=s, dropout=0.2, epochs=4) for s in range(3)]
    groups = [on_cuda(configs, structure, precision=Precision(dtype)) for _ in range(2)]
    first, second = (train(group) for group in groups)
    for i in range(3):
        assert told(first[i]) == told(second[i])
        assert same_bits(groups[0].states[i].params, groups[1].states[i].params)


@cuda
@needs_cuda
def test_cuda_goes_on_from_states_of_the_cpu() -> None:
    config = make_config(SMALL, adam(), epochs=4, dropout=0.2)
    through = on_cuda([config], SMALL)
    (whole,) = train(through)
    begun = on_cuda([config], SMALL)
    epochs = begun.train()
    for _ in range(2):
        next(epochs)
    states = [state.to(torch.device("cpu")) for state in begun.states]
    resumed = on_cuda([config], SMALL, states=states)
    assert told(train(resumed)[0]) == told(whole[2:])
    assert resumed.states[0].best_params.device.type == "cuda"
    assert resumed.predict([0], resumed.runs[0].val[None]).device.type == "cuda"


def test_means_hang_neither_on_threads_nor_on_company() -> None:
    """With two threads torch would cut a sum of more than 32,768 numbers to a single one."""
    losses = torch.rand(3, 60_001, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        together, _ = engine.mean_loss_and_score(losses, losses > 0.5)
        for run in range(3):
            alone, right = engine.mean_loss_and_score(
                losses[run : run + 1], losses[run : run + 1] > 0.5
            )
            assert torch.equal(alone[0], together[run])
            assert right.item() == (losses[run] > 0.5).sum().item() / 60_001
    finally:
        torch.set_num_threads(before)


def test_seconds_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes a second further at every look, and an hour between two epochs."""
    now = itertools.count(0.0)
    lost = [0.0]
    monkeypatch.setattr(engine.group.time, "perf_counter", lambda: next(now) + lost[0])
    seconds = []
    for (record,) in group_of([make_config(SMALL, adam(), epochs=4)], SMALL).train():
        seconds.append(record.seconds)
        lost[0] += 3600.0
    assert seconds == [1.0, 2.0, 3.0, 4.0]


def test_a_run_that_leaves_gives_its_place_back() -> None:
    """Of runs that have ended, nothing but their own rows is held."""
    configs = [make_config(SMALL, adam(), seed=seed, epochs=1 + seed) for seed in range(4)]
    group = group_of(configs, SMALL)
    train(group)
    for state in group.states:
        for held in (state.params, state.stats, *state.optimizer.values()):
            assert held.untyped_storage().nbytes() <= 4 * held.numel()
