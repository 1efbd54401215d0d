"""Every optimizer against torch.optim, a known minimum, and itself in other company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from engine_cases import (
    adagrad,
    adam,
    adamw,
    one_thread,  # noqa: F401
    rmsprop,
    sgd,
    torch_optimizer,
)
from optimizer_cases import CONFIGS, DECAYED, PLAIN, name_of
from torch import Tensor

from nnexp.config.schema import Optimizer
from nnexp.optim import backends, make_updates, passes
from nnexp.optim.backends import Fused

SIZE, STEPS, EPOCH = 96, 50, 10  # numbers a run, steps, steps an epoch


@pytest.fixture(params=["passes", "fused"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test holds for both ways to update, and for any number of rows updated at once."""
    monkeypatch.setattr(backends, "_LONG_ROW", 0 if request.param == "fused" else SIZE + 1)
    return str(request.param)


def test_the_way_follows_from_a_runs_own_size(way: str) -> None:
    params = first_params(1)
    ((_, optimizer),) = make_updates([adam()], params, params.clone())
    assert isinstance(optimizer, Fused) == (way == "fused")


@pytest.mark.parametrize("most", [1, 2, 5])
def test_rows_that_stay_in_cache(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting runs of one kind into several optimizers changes no bit."""
    configs = [adam(0.1), adam(0.1), adam(0.2), adam(0.2, betas=[0.5, 0.9]), adam(0.1)]
    grads, ends = gradients(runs=len(configs)), []
    for number in (most, len(configs)):
        monkeypatch.setattr(backends, "_CACHED_NUMBERS", number * SIZE)
        params = first_params(len(configs))
        made = make_updates(configs, params, params.clone())
        assert [rows.stop - rows.start for rows, _ in made][:-1] == [number] * (len(made) - 1)
        optimise(configs, params, grads)
        ends.append(params)
    assert torch.equal(*ends)


every_config = pytest.mark.parametrize("config", CONFIGS, ids=name_of)


def gradients(steps: int = STEPS, runs: int = 2) -> Tensor:
    """[S, R, P]: drifting, with zeros and sizes from 1e-4 to 1e2."""
    stream = torch.Generator().manual_seed(11)
    noise = torch.randn(steps, runs, SIZE, generator=stream)
    drift = torch.randn(runs, SIZE, generator=stream)
    sizes = torch.logspace(-4, 2, SIZE)
    grads = (noise + drift) * sizes
    grads[:, :, ::7] *= torch.rand(steps, runs, len(range(0, SIZE, 7)), generator=stream) > 0.5
    return grads


def rates_of(configs: Sequence[Optimizer], steps: int = STEPS) -> Tensor:
    """[S, R] float64: a learning rate that changes at every step."""
    shape = 1 + 0.5 * torch.sin(torch.arange(steps, dtype=torch.float64))
    return shape[:, None] * torch.tensor([c.lr for c in configs], dtype=torch.float64)


def first_params(runs: int) -> Tensor:
    return torch.randn(runs, SIZE, generator=torch.Generator().manual_seed(12))


def on_device(index: int) -> Tensor:
    return torch.tensor([index])


def optimise(
    configs: Sequence[Optimizer],
    params: Tensor,
    grads: Tensor,
    as_index: Callable[[int], int | Tensor] = int,
) -> list[dict[str, Tensor]]:
    """Change ``params`` [R, P] by all steps, an epoch at a time; the states of the runs."""
    buffer = torch.zeros_like(params)
    optimizers = make_updates(configs, params, buffer)
    rates = rates_of(configs, len(grads))
    for first in range(0, len(grads), EPOCH):
        steps = slice(first, first + EPOCH)
        for rows, optimizer in optimizers:
            optimizer.prepare(first, rates[steps, rows])
        for index, grad in enumerate(grads[steps]):
            buffer.copy_(grad)
            for _, optimizer in optimizers:
                optimizer.step(as_index(index))
    return [
        {name: state[row] for name, state in optimizer.state.items()}
        for rows, optimizer in optimizers
        for row in range(rows.stop - rows.start)
    ]


@every_config
def test_equals_torch_optim(config: Optimizer) -> None:
    """Parameters and state after 50 steps on the same gradients, torch computing in float64.

    The tolerance is float32 rounding: a number moves by up to 50 lr, each step rounded.
    """
    grads = gradients()
    params = first_params(2)
    exact = [torch.nn.Parameter(row.double()) for row in params]
    states = optimise([config, config], params, grads)
    for run, parameter in enumerate(exact):
        oracle = torch_optimizer(config, [parameter])
        for step, rate in enumerate(rates_of([config])[:, 0].tolist()):
            parameter.grad = grads[step, run].double()
            oracle.param_groups[0]["lr"] = rate
            oracle.step()
        torch.testing.assert_close(
            params[run].double(),
            parameter.detach(),
            rtol=2e-5,
            atol=2e-6,
            msg=lambda m: f"{m} params",
        )
        kept = oracle.state[parameter]
        for name, value in states[run].items():
            wanted = kept[name]
            assert isinstance(wanted, Tensor)
            scale = wanted.abs().clamp_min(1e-12)
            assert (
                (value.double() - wanted).abs() / (scale + wanted.abs().max() * 1e-5)
            ).max() < 2e-4, name


@every_config
def test_float32_torch_is_no_closer(config: Optimizer) -> None:
    """Rounding as torch's own: no farther from float64 than three times torch in float32."""
    grads = gradients()
    params = first_params(1)
    start = params[0].clone()
    optimise([config], params, grads[:, :1])
    ends = {}
    for dtype in (torch.float32, torch.float64):
        parameter = torch.nn.Parameter(start.to(dtype))
        oracle = torch_optimizer(config, [parameter])
        for step, rate in enumerate(rates_of([config])[:, 0].tolist()):
            parameter.grad = grads[step, 0].to(dtype)
            oracle.param_groups[0]["lr"] = rate
            oracle.step()
        ends[dtype] = parameter.detach().double()
    exact = ends[torch.float64]
    ours, theirs = (params[0] - exact).norm(), (ends[torch.float32] - exact).norm()
    assert ours <= 3 * theirs + 1e-7 * exact.norm()


def test_runs_of_mixed_optimizers_each_equal_themselves_alone() -> None:
    """All of the table in one group, sorted as the engine does: bit for bit, state included."""
    configs = sorted(CONFIGS * 2, key=passes)
    # The second of two like configs has other hyperparameters.
    configs = [type(c)(**{**vars(c), "lr": c.lr * (1 + i % 3)}) for i, c in enumerate(configs)]
    stream = torch.Generator().manual_seed(13)
    grads = torch.randn(2 * EPOCH, len(configs), SIZE, generator=stream)
    params = torch.randn(len(configs), SIZE, generator=stream)
    start = params.clone()
    states = optimise(configs, params, grads)
    for i, config in enumerate(configs):
        alone = start[i : i + 1].clone()
        (state,) = optimise([config], alone, grads[:, i : i + 1])
        assert torch.equal(params[i], alone[0]), name_of(config)
        assert state.keys() == states[i].keys()
        assert all(torch.equal(state[name], states[i][name]) for name in state), name_of(config)


@pytest.mark.parametrize(
    "pair",
    [
        (adam(0.01, betas=[0.9, 0.999]), adam(0.1, betas=[0.5, 0.9], eps=1e-3)),
        (adamw(0.01, weight_decay=0.1), adamw(0.02, weight_decay=0.3)),
        (sgd(0.1, momentum=0.9), sgd(0.2, momentum=0.5, dampening=0.5)),
        (adagrad(0.1, lr_decay=0.1), adagrad(0.2, initial_accumulator_value=0.1)),
        (rmsprop(0.01, alpha=0.9), rmsprop(0.1, alpha=0.99, eps=0.1)),
    ],
    ids=lambda pair: pair[0].name,
)
def test_hyperparameters_of_one_group(pair: tuple[Optimizer, Optimizer]) -> None:
    """Runs that share passes are updated by one optimizer, each with its own numbers."""
    assert passes(pair[0]) == passes(pair[1])
    params, buffer = first_params(2), torch.zeros(2, SIZE)
    assert len(make_updates(pair, params, buffer)) == 1
    grads = gradients()
    optimise(pair, params, grads)
    for run, config in enumerate(pair):
        alone = first_params(2)[run : run + 1].clone()
        optimise([config], alone, grads[:, run : run + 1])
        assert torch.equal(params[run], alone[0])
        assert not torch.allclose(params[run], params[1 - run])


def test_epochs_of_any_length_are_the_same_steps() -> None:
    """Going on at step 20 is what 50 steps in one stretch are (bias corrections, lr_decay)."""
    for config in (adam(), adagrad(lr_decay=0.1), sgd(momentum=0.9, dampening=0.5), adamw()):
        ends = []
        for bounds in ([0, 50], [0, 20, 21, 50]):
            params, buffer = first_params(1), torch.zeros(1, SIZE)
            ((_, optimizer),) = make_updates([config], params, buffer)
            for first, stop in zip(bounds, bounds[1:], strict=False):  # noqa: RUF007
                optimizer.prepare(first, rates_of([config])[first:stop])
                for step in range(first, stop):
                    buffer.copy_(gradients()[step, :1])
                    optimizer.step(step - first)
            ends.append(params)
        assert torch.equal(*ends), config.name


@every_config
def test_the_index_of_a_step_may_lie_in_a_tensor(config: Optimizer) -> None:
    """Bit for bit what plain numbers give, parameters and state."""
    configs = [config, type(config)(**{**vars(config), "lr": 2 * config.lr})]
    ends = []
    for as_index in (int, on_device):
        params = first_params(2)
        states = optimise(configs, params, gradients(), as_index)
        ends.append([params, *(value for state in states for value in state.values())])
    for plain, tensor in zip(*ends, strict=True):
        assert torch.equal(plain, tensor)
    assert not torch.equal(ends[0][0], first_params(2))


@pytest.mark.parametrize("config", PLAIN[:5] + DECAYED[-9:], ids=name_of)
def test_epochs_of_one_length_find_their_table_where_it_was(
    config: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph captured in one epoch reads it in the next, at the same address."""
    monkeypatch.setattr(backends, "_LONG_ROW", SIZE + 1)
    params = first_params(1)
    ((_, optimizer),) = make_updates([config], params, params.clone())
    rates = rates_of([config])
    optimizer.prepare(0, rates[:10])
    table = optimizer._table
    assert table is not None
    before = table.clone()
    optimizer.prepare(10, rates[10:20])
    assert optimizer._table is table
    assert not torch.equal(table, before)
    optimizer.prepare(20, rates[20:25])
    assert optimizer._table is not table


@pytest.mark.parametrize("config", [adam(eps=0.0), adagrad(eps=0.0), rmsprop(eps=0.0)], ids=name_of)
def test_without_eps_numbers_without_gradient_stay(config: Optimizer) -> None:
    """The padding of flat rows is such: torch's 0 / 0 there would reach the clipped norm."""
    params, grads = first_params(1), gradients(runs=1)
    grads[:, :, SIZE // 2 :] = 0
    start = params.clone()
    optimise([config], params, grads)
    assert torch.equal(params[:, SIZE // 2 :], start[:, SIZE // 2 :])
    assert params.isfinite().all()
    assert not torch.isclose(params, start)[:, 1 : SIZE // 2].any()


# ── known minima ──────────────────────────────────────────────────────────────────────────────


def minimise(config: Optimizer, function: Any, start: list[float], steps: int) -> Tensor:
    params, grads = torch.zeros(1, 32), torch.zeros(1, 32)
    point = params[0, : len(start)]
    point.copy_(torch.tensor(start))
    ((_, optimizer),) = make_updates([config], params, grads)
    # The rate falls in a straight line, so that the last steps settle.
    fall = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1, None]
    optimizer.prepare(0, config.lr * fall)
    for step in range(steps):
        grads.zero_()
        grads[0, : len(start)] = function(point)
        optimizer.step(step)
    return point.clone()


def quadratic(point: Tensor) -> Tensor:
    """Gradient of half (x - 3)^2 + 10 half (y + 2)^2, whose minimum is (3, -2)."""
    return torch.stack([point[0] - 3, 10 * (point[1] + 2)])


def rosenbrock(point: Tensor) -> Tensor:
    """Gradient of (1 - x)^2 + 100 (y - x^2)^2, whose minimum is (1, 1) in a bent valley."""
    x, y = point
    return torch.stack([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


@pytest.mark.parametrize(
    ("config", "lr"),
    [(sgd(), 0.1), (sgd(momentum=0.9), 0.02), (sgd(momentum=0.9, nesterov=True), 0.02),
     (sgd(momentum=0.9, dampening=0.5), 0.03), (adagrad(), 1.0), (adam(), 0.1),
     (adam(amsgrad=True), 0.1), (adamw(weight_decay=0.0), 0.1), (rmsprop(), 0.05),
     (rmsprop(momentum=0.5), 0.02), (rmsprop(centered=True), 0.03)],
    ids=lambda value: name_of(value) if isinstance(value, Optimizer) else str(value),
)  # fmt: skip
def test_finds_the_minimum_of_a_quadratic(config: Optimizer, lr: float) -> None:
    config = type(config)(**{**vars(config), "lr": lr})
    found = minimise(config, quadratic, [-1.0, 1.0], 500)
    torch.testing.assert_close(found, torch.tensor([3.0, -2.0]), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("config", "lr"),
    [(sgd(momentum=0.95), 0.0005), (sgd(momentum=0.95, nesterov=True), 0.0005),
     (adagrad(), 2.0), (adam(), 0.02), (adamw(weight_decay=0.0), 0.02), (rmsprop(), 0.005)],
    ids=lambda value: name_of(value) if isinstance(value, Optimizer) else str(value),
)  # fmt: skip
def test_follows_rosenbrocks_valley(config: Optimizer, lr: float) -> None:
    config = type(config)(**{**vars(config), "lr": lr})
    found = minimise(config, rosenbrock, [-1.0, 1.0], 4000)
    torch.testing.assert_close(found, torch.ones(2), rtol=0, atol=0.05)
