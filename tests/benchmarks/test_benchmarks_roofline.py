"""The roofline's arithmetic, against sums made by hand, and tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from chip import measure_rates
from cuda_rows.results import Goal, equal_losses
from cuda_rows.training import ROWS
from learners.epochs import Contender, Progress, measure, time_training
from learners.torch_compiled import Step
from learners.torch_loops import network
from learners.work import LEARNING_RATE, Work
from roofline import Rates, floor, neighbors, num_parameters, training_step
from tables import table

sys.path.pop()  # a file there has the name of NVIDIA's package

RATES = Rates(copy=2e12, launch=1e-6, float32=5e13, tf32=4e14, bfloat16=8e14, int8=None)


def test_a_step_of_a_known_network() -> None:
    demand = training_step((784, 128, 10), 128, 1)
    forward = 2 * 128 * (784 * 128 + 128 * 10)
    weights = forward  # gradients of weights are as many products
    inputs = 2 * 128 * 128 * 10  # of the second layer's inputs alone
    assert demand.operations == forward + weights + inputs == 52_363_264
    assert num_parameters((784, 128, 10)) == 101_770
    # Parameters and two moments read and written; features, classes and row numbers read.
    assert demand.bytes == 6 * 4 * 101_770 + 128 * 784 * 4 + 128 * 16 == 2_845_936
    assert demand.chain == 7  # gather, 2 forward, loss, 1 + 1 backward, Adam
    assert demand.precisions == ("float32",)


def test_runs_multiply_all_but_the_chain() -> None:
    one, many = (training_step((64, 32, 10), 32, runs) for runs in (1, 4096))
    assert many.operations == 4096 * one.operations
    assert many.bytes == 4096 * one.bytes
    assert many.chain == one.chain


def test_pixels_of_one_byte_are_read_as_such() -> None:
    floats, pixels = (training_step((784, 10), 5, 1, feature_bytes=size) for size in (4, 1))
    assert floats.bytes - pixels.bytes == 5 * 784 * 3


def test_operations_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    work = Work("", (20, 16, 12, 5), 8, 8, 1)
    module = network(work, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(8, 20)).sum().backward()
    assert training_step(work.widths, 8, 1).operations == counter.get_total_flops()


@pytest.mark.parametrize(
    ("widths", "batch", "runs", "precision", "bound", "seconds"),
    [
        ((784, 128, 10), 128, 1, "float32", "chain", 7e-6),
        ((784, 128, 10), 128, 64, "tf32", "bytes", 64 * 2_845_936 / 2e12),
        ((784, 128, 10), 128, 64, "bfloat16", "bytes", 64 * 2_845_936 / 2e12),
        ((64, 32, 10), 4096, 1024, "float32", "flops", 1024 * 4096 * 10_112 / 5e13),
    ],
)
def test_what_bounds(
    widths: tuple[int, ...], batch: int, runs: int, precision: str, bound: str, seconds: float
) -> None:
    found = floor(training_step(widths, batch, runs, precision=precision), RATES)
    assert found.bound == bound
    assert found.seconds == pytest.approx(seconds)


def test_neighbours() -> None:
    demand = neighbors(10_000, 60_000, 784, 16, precisions=("bfloat16", "int8"))
    assert demand.operations == 2 * 10_000 * 60_000 * 784
    assert demand.bytes == 70_000 * 784 + 10_000 * 16 * 16
    found = floor(demand, RATES)  # the fastest of the rates that were measured
    assert found.bound == "flops"
    assert found.operations == pytest.approx(demand.operations / 8e14)


def test_a_rate_that_was_not_measured() -> None:
    demand = neighbors(10, 10, 10, 1, precisions=("int8",))
    with pytest.raises(ValueError, match="no rate of matrix products in int8"):
        floor(demand, RATES)


def test_rates_of_this_machine_are_numbers() -> None:
    rates = measure_rates(torch.device("cpu"), quick=True)
    assert 1e6 < rates.copy < 1e14
    assert 1e-9 < rates.launch < 1e-1
    assert 1e6 < rates.of("float32", "bfloat16") < 1e15


def test_goals_of_the_issue() -> None:
    goals = {row.name: [str(goal) for goal in row.goals] for row in ROWS}
    assert goals == {
        "one": ["at most 25 us/step", "at most 0.15 s"],
        "fused": ["at most 0.7 s", "at least 100 times eager torch"],
        "many": ["at most 250 us/step"],
        "large": ["at least 400 TFLOP/s"],
        "accuracy": [],
    }
    assert Goal("s", 0.7).is_met(0.7)
    assert not Goal("s", 0.7).is_met(0.71)
    assert Goal("TFLOP/s", 400, at_least=True).is_met(401)
    assert not Goal("TFLOP/s", 400, at_least=True).is_met(399)


def test_the_compiled_step_is_adams() -> None:
    work = Work("", (6, 5, 3), 8, 8, 1)
    stream = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 6, generator=stream), torch.randint(3, (8,), generator=stream)
    for runs in (1, 2):
        step = Step(work, x, y, runs)
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        step.start(3)
        modules = [network(work, torch.device("cpu")) for _ in range(runs)]
        optimizers = [torch.optim.Adam(m.parameters(), lr=LEARNING_RATE) for m in modules]
        for run, module in enumerate(modules):
            for own, parameter in zip(step.params, module.parameters(), strict=True):
                parameter.data.copy_(own[run] if runs > 1 else own)
        rows = torch.arange(8).expand(runs, 8) if runs > 1 else torch.arange(8)
        expected = torch.zeros(runs)
        for _ in range(3):
            compiled(rows)
            for run, (module, optimizer) in enumerate(zip(modules, optimizers, strict=True)):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(module(x), y)
                loss.backward()
                optimizer.step()
                expected[run] += loss.detach()
        torch.testing.assert_close(step.total.reshape(-1), expected)
        for run, module in enumerate(modules):
            for own, parameter in zip(step.params, module.parameters(), strict=True):
                torch.testing.assert_close(own[run] if runs > 1 else own, parameter.data)
        right = [float((m(x).argmax(1) == y).float().mean()) for m in modules]
        assert step.accuracies(x, y) == pytest.approx(right)


class Rising:
    """Losses that are the seeds, an accuracy that rises by a tenth an epoch."""

    def __init__(self) -> None:
        self.trained: list[tuple[int, ...]] = []

    def train(self, seeds, eval_every):  # type: ignore[no-untyped-def]
        self.trained.append(tuple(seeds))
        for epoch in range(1, 11):
            due = epoch % eval_every == 0
            yield Progress([float(s) for s in seeds], [epoch / 10 for _ in seeds] if due else None)


def test_a_training_ends_at_its_target() -> None:
    assert len(time_training(Rising(), [0], 1, target=0.45).epochs) == 5
    assert len(time_training(Rising(), [0], 2, target=0.45).epochs) == 6
    assert len(time_training(Rising(), [0], 1).epochs) == 10


def test_who_trains_fewer_together_is_charged_for_all() -> None:
    learner = Rising()
    measured = measure(Contender("", lambda: learner, 2), runs=8, eval_every=10, repetitions=3)
    assert learner.trained == [(0, 1), (0, 1), (2, 3), (4, 5)]  # the first warms up
    assert measured.losses == [0, 1, 2, 3, 4, 5]
    assert measured.accuracies == [1.0] * 6
    assert measured.num_epochs == [10, 10, 10]
    alone = measure(Contender("", Rising, 8), runs=8, eval_every=10, repetitions=3)
    assert len(alone.losses) == 24
    assert measured.epoch <= measured.median


def test_equal_losses() -> None:
    assert equal_losses([1.0, 1.1], [1.04, 1.06], 0.0)  # within 5 standard errors
    assert equal_losses([1.04], [1.0], 0.05)
    assert not equal_losses([1.06], [1.0], 0.05)
    assert not equal_losses([float("nan")], [1.0], 0.05)


def test_tables() -> None:
    lines = [{"a": "1", "bc": "22222"}, {"a": "333"}]
    assert table(lines).splitlines() == ["a    bc", "---  -----", "1    22222", "333"]
    assert table(lines, markdown=True).splitlines() == [
        "| a | bc |", "|---|---|", "| 1 | 22222 |", "| 333 |  |",
    ]  # fmt: skip
