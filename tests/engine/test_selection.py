"""Which epoch of a run is kept: by accuracy, by loss, or the last; whatever ends the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from engine_cases import (
    Table,
    adam,
    make_config,
    make_run,
    make_table,
    one_thread,  # noqa: F401
    same_bits,
    sgd,
    told,
    train,
)
from torch import Tensor

from nnexp.config.schema import Config, Cosine
from nnexp.data.on_device import Floats
from nnexp.engine import Epoch, Group, RunState
from nnexp.models.layout import Structure

TABLE = make_table(420, 8, 4)
STRUCTURE = Structure(8, (32,), 4, norm="batch")
RULES = ("accuracy", "loss", "last")
NAN, INF = math.nan, math.inf


def group_of(configs: Sequence[Config], table: Table = TABLE) -> Group:
    runs = [make_run(config, table, 67, 40) for config in configs]
    return Group(runs, Floats(table.x), table.y, STRUCTURE)


# ── by numbers made by hand ───────────────────────────────────────────────────────────────────

Numbers = Sequence[tuple[float | None, float | None]]  # validation loss and accuracy of each epoch


def judged(numbers: Numbers, *, train_loss: float = 0.5, **options: object) -> RunState:
    """The state of a run after these epochs, or as many of them as it trains."""
    config = make_config(STRUCTURE, **{"epochs": len(numbers), **options})
    state = RunState(torch.zeros(1), torch.zeros(1))
    for number, (loss, acc) in enumerate(numbers, start=1):
        diverges = number == len(numbers)
        epoch = Epoch(0, number, number, train_loss if diverges else 0.5, 0.8, loss, acc, 0.1, 1.0)
        record = state.judge(epoch, config)
        assert record == replace(epoch, is_best=state.best_epoch == number)
        state.epoch = number
        if state.status != "running":
            break
    return state


CURVES: Numbers = [(0.9, 0.5), (0.3, 0.7), (0.5, 0.8), (0.4, 0.9), (0.6, 0.85), (0.8, 0.6)]
TIED: Numbers = [(0.5, 0.8), (0.2, 0.8), (0.3, 0.9), (0.2, 0.7), (0.4, 0.9), (0.4, 0.6)]


@pytest.mark.parametrize(
    ("numbers", "select", "kept"),
    [
        (CURVES, "accuracy", 4),
        (CURVES, "loss", 2),
        (CURVES, "last", 6),
        (TIED, "accuracy", 5),
        (TIED, "loss", 4),
        (TIED, "last", 6),
        ([(0.5, 0.0), (0.6, 0.0)], "accuracy", 2),  # an accuracy of 0 is one, and is tied
        # Without an evaluation there are no weights known to be sound, and no metrics of the epoch.
        ([(None, None), (0.5, 0.8), (None, None), (0.6, 0.7)], "accuracy", 2),
        ([(None, None), (0.5, 0.8), (None, None), (0.6, 0.7)], "last", 4),
    ],
)
def test_the_epoch_that_is_kept(numbers: Numbers, select: str, kept: int) -> None:
    state = judged(numbers, select=select)
    assert (state.status, state.best_epoch) == ("completed", kept)


@pytest.mark.parametrize(("select", "kept"), [("accuracy", 1), ("loss", 2), ("last", 3)])
@pytest.mark.parametrize(
    ("train_loss", "val"),
    [(0.5, (NAN, 0.99)), (0.5, (INF, 0.99)), (NAN, (0.01, 0.99)), (INF, (0.01, 0.99)),
     (NAN, (None, None))],
)  # fmt: skip
def test_the_epoch_that_diverged_is_never_kept(
    train_loss: float, val: tuple[float | None, float | None], select: str, kept: int
) -> None:
    """Though its accuracy be the highest, its validation loss the lowest, or it the last."""
    sound = [(0.5, 0.9), (0.3, 0.7), (0.6, 0.8)]
    state = judged([*sound, val], train_loss=train_loss, epochs=9, select=select)
    assert (state.status, state.best_epoch) == ("diverged", kept)
    state = judged([val], train_loss=train_loss, epochs=9, select=select)
    assert (state.status, state.best_epoch) == ("diverged", None)


@pytest.mark.parametrize(
    ("metric", "min_delta", "ended"),
    # Two evaluations after the least loss, at 2; after the highest accuracy, at 4; after the last
    # improvement by more than .15, from .7 to .9 at 4; by more than .25, from .5 to .8 at 3.
    [("val/loss", 0.0, 4), ("val/acc", 0.0, 6), ("val/acc", 0.15, 6), ("val/acc", 0.25, 5)],
)
@pytest.mark.parametrize("select", RULES)
def test_early_stopping_goes_by_its_own_metric(
    metric: str, min_delta: float, ended: int, select: str
) -> None:
    numbers = [*CURVES, (0.1, 0.99)]
    state = judged(
        numbers, select=select, metric=metric, patience=2, min_delta=min_delta, epochs=50
    )
    assert (state.status, state.epoch) == ("completed", ended)
    until = numbers[:ended]
    losses, accs = ([pair[i] for pair in until] for i in (0, 1))
    kept = {
        "loss": 1 + losses.index(min(losses)), "accuracy": 1 + accs.index(max(accs)), "last": ended,
    }  # fmt: skip
    assert state.best_epoch == kept[select]


def test_a_required_training_loss_ends_the_run_at_its_last_epoch() -> None:
    state = judged(CURVES, select="last", require_train_loss=0.6, epochs=50)
    assert (state.status, state.epoch, state.best_epoch) == ("completed", 1, 1)


# ── by training ───────────────────────────────────────────────────────────────────────────────


def kept_of(group: Group) -> tuple[list[list[Epoch]], list[dict[int, Tensor]]]:
    """The records of each run, and its parameters after every epoch."""
    records: list[list[Epoch]] = [[] for _ in group.runs]
    weights: list[dict[int, Tensor]] = [{} for _ in group.runs]
    for epoch in group.train():
        for record in epoch:
            records[record.run].append(record)
            weights[record.run][record.epoch] = group.states[record.run].params.clone()
    return records, weights


def mixed(**options: object) -> list[Config]:
    """Runs of all three rules that train alike, and others beside them."""
    alike = {"epochs": 12, **options}
    configs = [make_config(STRUCTURE, adam(0.02), select=select, **alike) for select in RULES]
    cosine = Cosine(name="cosine")
    configs += [
        make_config(STRUCTURE, adam(0.02), seed=1, select="last", **{**alike, "epochs": 5}),
        make_config(STRUCTURE, sgd(0.1), cosine, seed=2, patience=1, select="last", **alike),
        make_config(STRUCTURE, sgd(0.1), cosine, seed=2, patience=1, select="accuracy", **alike),
    ]
    return configs


@pytest.mark.parametrize("eval_every", [1, 3])
def test_weights_and_metrics_are_those_of_the_epoch(eval_every: int) -> None:
    """And which rule it is changes nothing of the training itself."""
    configs = mixed(eval_every=eval_every)
    group = group_of(configs)
    records, weights = kept_of(group)
    for i, config in enumerate(configs):
        evaluated = [r for r in records[i] if r.val_loss is not None]
        losses = [r.val_loss for r in evaluated]
        accs = [r.val_score for r in evaluated]
        last = len(evaluated) - 1
        wanted = {
            "accuracy": last - accs[::-1].index(max(accs)),
            "loss": last - losses[::-1].index(min(losses)),
            "last": last,
        }[config.trainer.select]
        state = group.states[i]
        assert state.best_epoch == evaluated[wanted].epoch
        assert [r.epoch for r in records[i] if r.is_best][-1] == state.best_epoch
        assert state.best is not None
        assert same_bits(state.best[0], weights[i][state.best_epoch])
        assert [*weights[i]] == list(range(1, state.epoch + 1))
    assert [replace(r, run=0, is_best=False, seconds=0) for r in records[0]] == [
        replace(r, run=0, is_best=False, seconds=0) for r in records[1]
    ]
    if eval_every == 1:  # else there is nothing to see
        assert len({state.best_epoch for state in group.states[:3]}) == 3
        assert group.states[4].epoch < 12
    assert group.states[3].epoch == 5
    assert group.states[4].best_epoch == group.states[4].epoch


def test_company_of_other_rules_changes_nothing() -> None:
    configs = mixed()
    together = group_of(configs)
    records = train(together)
    for i, config in enumerate(configs):
        alone = group_of([config])
        assert told(records[i]) == told(train(alone)[0])
        mine, theirs = together.states[i], alone.states[0]
        assert (mine.best_epoch, mine.best_score) == (theirs.best_epoch, theirs.best_score)
        for ours, other in zip(
            (*mine.best, mine.params), (*theirs.best, theirs.params), strict=True
        ):
            assert same_bits(ours, other)


def test_going_on_remembers_the_best() -> None:
    """From the states between two epochs, among them of a tie."""
    configs = mixed()
    whole = group_of(configs)
    train(whole)
    begun = group_of(configs)
    epochs = begun.train()
    for _ in range(4):
        next(epochs)
    states = [replace(state) for state in begun.states]
    runs = [make_run(config, TABLE, 67, 40) for config in configs]
    resumed = Group(runs, Floats(TABLE.x), TABLE.y, STRUCTURE, states=states)
    train(resumed)
    for mine, theirs in zip(resumed.states, whole.states, strict=True):
        assert (mine.best_epoch, mine.best_score) == (theirs.best_epoch, theirs.best_score)
        assert same_bits(mine.best[0], theirs.best[0])


@pytest.mark.parametrize("select", RULES)
def test_a_run_that_diverges_keeps_weights_from_before(select: str) -> None:
    """Beside one that does not, in buffers that they share."""
    poisoned = make_config(STRUCTURE, adam(0.02), epochs=6, select=select)
    sound = make_config(STRUCTURE, adam(), seed=1, epochs=6, select="last")
    group = group_of([poisoned, sound])
    best: list[Tensor] = []
    for records in group.train():
        if records[0].run == 0 and records[0].is_best:
            best.append(group.states[0].params.clone())
        if records[0].epoch == 4:
            group.states[0].params.fill_(math.nan)
    state, other = group.states
    assert (state.status, state.epoch) == ("diverged", 5)
    assert (other.status, other.best_epoch) == ("completed", 6)
    assert state.best is not None
    assert same_bits(state.best[0], best[-1])
    assert state.best[0].isfinite().all()
    assert (state.best_epoch == 4) == (select == "last" or len(best) == 4)
