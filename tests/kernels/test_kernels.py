"""Kernels against the torch code that does the same.

Without a GPU Triton's interpreter runs them (see conftest.py), which rounds as the device does but
for the exponential and the logarithm; with one the device does.

Axes: R runs, M rows of the buffers, D inputs, C classes, N rows of the table, P numbers a run.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cuda_cases import most_of_the_gpu  # noqa: F401
from engine_cases import (
    adagrad,
    adam,
    adamw,
    make_config,
    make_run,
    make_table,
    one_thread,  # noqa: F401
    rmsprop,
    sgd,
    train,
)
from optimizer_cases import CONFIGS, name_of
from torch import Tensor

import nnexp.kernels
from nnexp.config.schema import Optimizer
from nnexp.data.on_device import Floats
from nnexp.engine import Group
from nnexp.models import cross_entropy
from nnexp.models.cross_entropy import TrainingLoss
from nnexp.models.layout import Structure
from nnexp.optim import Update, backends, make_updates, passes
from nnexp.optim.backends import OnePass

pytest.importorskip("triton")

from nnexp.kernels import launch
from nnexp.kernels.gather import gather_pixels
from nnexp.kernels.updates import sgd as sgd_kernel

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(
    params=[
        pytest.param(
            "cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="the device is tested"),
        ),
        pytest.param("cuda", marks=[pytest.mark.cuda, needs_gpu]),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


# ── gather ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("columns", [1, 3, 64, 300])
def test_gathered_pixels_are_numpys(device: torch.device, columns: int) -> None:
    """Bit for bit, each run with its own shift and scale."""
    runs, rows, table_rows = 3, 37, 11
    draw = np.random.default_rng(1)
    table = draw.integers(256, size=(table_rows, columns), dtype=np.uint8)
    index = draw.integers(table_rows, size=runs * rows)
    shift = 255 * draw.random((runs, columns))
    scale = 10.0 ** draw.uniform(-6, 6, (runs, columns))
    out = torch.full((runs, rows, columns), torch.nan, device=device)
    gather_pixels(*(torch.from_numpy(a).to(device) for a in (table, index, shift, scale)), out)
    picked = table[index].reshape(out.shape)
    wanted = np.multiply(
        picked - shift[:, None], scale[:, None], dtype=np.float64, casting="same_kind"
    ).astype(np.float32)
    assert np.array_equal(out.cpu().numpy(), wanted)
    assert torch.equal(
        out.cpu(),
        torch.stack([
            ((torch.from_numpy(picked[r]).double() - torch.from_numpy(shift[r]))
             * torch.from_numpy(scale[r])).float()
            for r in range(runs)
        ]),
    )  # fmt: skip


# ── optimizers ────────────────────────────────────────────────────────────────────────────────

NUMBERS, STEPS, EPOCH = 1100, 4, 2  # P, two blocks of a kernel; steps; steps an epoch


def cousin(config: Optimizer) -> Optimizer:
    """The same passes with other numbers throughout."""
    values = dict(vars(config))
    values["lr"] *= 2
    values["weight_decay"] *= 3
    for name, factor in [("momentum", 0.5), ("dampening", 0.5), ("alpha", 0.9), ("eps", 10.0)]:
        if name in values:
            values[name] *= factor
    for name in ("initial_accumulator_value", "lr_decay"):
        if name in values:
            values[name] += 0.1
    if "betas" in values:
        values["betas"] = [0.8 * beta for beta in values["betas"]]
    changed = type(config)(**values)
    assert passes(changed) == passes(config)
    return changed


def optimise(
    configs: list[Optimizer],
    device: torch.device,
    as_index: Callable[[int], int | Tensor] = int,
    rows: slice = slice(None),
) -> tuple[Update, dict[str, Tensor]]:
    """Some steps of the runs in ``rows`` of the buffers: parameters and state of the last one."""
    stream = torch.Generator().manual_seed(6)
    params = torch.randn(3, NUMBERS, generator=stream).to(device)
    grads = torch.randn(STEPS, 3, NUMBERS, generator=stream).to(device)
    buffer = torch.zeros_like(params)
    ((_, optimizer),) = make_updates(configs, params[rows], buffer[rows])
    rates = torch.tensor([[c.lr for c in configs]], dtype=torch.float64)
    rates = rates * torch.linspace(1, 0.5, STEPS, dtype=torch.float64)[:, None]
    for step in range(STEPS):
        if step % EPOCH == 0:
            optimizer.prepare(step, rates[step : step + EPOCH])
        buffer.copy_(grads[step])
        optimizer.step(as_index(step % EPOCH))
    untouched = torch.ones(3, dtype=torch.bool)
    untouched[rows] = False
    first = torch.randn(3, NUMBERS, generator=torch.Generator().manual_seed(6))
    assert torch.equal(params[untouched.to(device)].cpu(), first[untouched])
    assert not torch.isclose(params[rows].cpu(), first[rows], rtol=1e-6).all(1).any()
    return optimizer, {"params": params[rows], **optimizer.state}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether optimizers and losses made from now on are kernels."""

    def choose_them(used: bool) -> None:
        monkeypatch.setattr(backends, "available", lambda device: used)
        monkeypatch.setattr(cross_entropy, "available", lambda device: used)

    monkeypatch.setattr(backends, "_LONG_ROW", NUMBERS + 1)
    return choose_them


def is_kernel(optimizer: Update) -> bool:
    return isinstance(optimizer, OnePass)


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_optimizers_equal_the_passes(
    config: Optimizer, device: torch.device, kernels: Callable[[bool], None]
) -> None:
    """Two runs with hyperparameters of their own, rows of larger buffers.

    The tolerance: torch fuses some products and sums, a kernel rounds each.
    """
    configs = [config, cousin(config)]
    kernels(False)
    passed, wanted = optimise(configs, device, rows=slice(1, 3))
    kernels(True)
    optimizer, found = optimise(configs, device, rows=slice(1, 3))
    assert is_kernel(optimizer)
    assert not is_kernel(passed)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=2e-6, atol=1e-6, msg=name)


ONE_EACH = [
    sgd(0.1, momentum=0.9, nesterov=True),
    adagrad(0.1, lr_decay=0.05),
    adam(0.01, amsgrad=True, weight_decay=0.1),
    adamw(0.01, weight_decay=0.1),
    rmsprop(0.01, momentum=0.9, centered=True),
]
one_each = pytest.mark.parametrize("config", ONE_EACH, ids=name_of)


@one_each
def test_company_and_the_kind_of_index_change_no_bit(
    config: Optimizer, device: torch.device, kernels: Callable[[bool], None]
) -> None:
    kernels(True)
    together = optimise([cousin(config), config, cousin(config)], device)[1]

    def on_device(index: int) -> Tensor:
        return torch.tensor([index], device=device)

    alone = optimise([config], device, on_device, rows=slice(1, 2))[1]
    for name, value in alone.items():
        assert torch.equal(value[0], together[name][1]), name


@one_each
def test_without_eps_numbers_without_gradient_stay(
    config: Optimizer, device: torch.device, kernels: Callable[[bool], None]
) -> None:
    """The padding of flat rows; and what is not a number is passed on."""
    kernels(True)
    values = {**vars(config), "weight_decay": 0.0}
    if "eps" in values:
        values["eps"] = 0.0
    params, grads = torch.ones(1, 64, device=device), torch.zeros(1, 64, device=device)
    ((_, optimizer),) = make_updates([type(config)(**values)], params, grads)
    assert is_kernel(optimizer)
    optimizer.prepare(0, torch.full((2, 1), config.lr, dtype=torch.float64))
    for step in range(2):
        grads[0, 32:48] = torch.nan
        grads[0, 48:] = 1.0
        optimizer.step(step)
    assert (params[0, :32] == 1).all()
    assert params[0, 32:48].isnan().all()
    assert (params[0, 48:] < 1).all()


# ── loss ──────────────────────────────────────────────────────────────────────────────────────


def losses_of(
    logits: Tensor, labels: Tensor, smoothing: list[float], rows: int, device: torch.device
) -> tuple[Tensor, ...]:
    """What TrainingLoss gives, on the CPU."""
    training_loss = TrainingLoss(torch.tensor(smoothing, device=device))
    return tuple(t.cpu() for t in training_loss(logits.to(device), labels.to(device), rows))


@pytest.mark.parametrize("smoothing", [[0.0, 0.0], [0.0, 0.3]], ids=["plain", "smooth"])
@pytest.mark.parametrize(
    ("classes", "height", "rows"), [(2, 1, 1), (10, 96, 70), (100, 37, 37), (300, 20, 19)]
)
def test_training_loss_is_cross_entropy(
    classes: int,
    height: int,
    rows: int,
    smoothing: list[float],
    device: torch.device,
    kernels: Callable[[bool], None],
) -> None:
    """Of torch in float64; 300 classes are met in two turns. Padding may hold anything."""
    kernels(True)
    stream = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(2, classes, height, generator=stream)
    labels = torch.randint(classes, (2, 1, height), generator=stream)
    logits[:, :, rows:] = torch.nan
    grad, losses, correct = losses_of(logits, labels, smoothing, rows, device)
    assert losses.shape == correct.shape == (2, rows)
    assert correct.dtype == torch.bool
    for run, share in enumerate(smoothing):
        exact = logits[run, :, :rows].T.double().requires_grad_()
        wanted = labels[run, 0, :rows]
        each = F.cross_entropy(exact, wanted, label_smoothing=share, reduction="none")
        each.mean().backward()
        assert exact.grad is not None
        torch.testing.assert_close(losses[run].double(), each.detach(), rtol=2e-6, atol=1e-6)
        slope = rows * grad[run, :, :rows].T.double()
        torch.testing.assert_close(slope, rows * exact.grad, rtol=1e-5, atol=1e-6)
        assert torch.equal(correct[run], logits[run, :, :rows].argmax(0) == wanted)
    assert not grad[:, :, rows:].any()


@pytest.mark.parametrize("pair", [(1, 2), (5, 290)], ids=["one turn", "two turns"])
def test_the_first_of_equals_is_the_answer(
    pair: tuple[int, int], device: torch.device, kernels: Callable[[bool], None]
) -> None:
    kernels(True)
    logits = torch.zeros(1, 300, 3)
    logits[0, list(pair), :] = 9.0
    labels = torch.tensor([[[pair[0], pair[1], 0]]])
    correct = losses_of(logits, labels, [0.0], 3, device)[2]
    assert correct.tolist() == [[True, False, False]]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, which interprets
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_what_is_not_finite_is_as_in_the_torch_code(
    share: float, device: torch.device, kernels: Callable[[bool], None]
) -> None:
    """NaN and infinity in single logits, a class of probability zero, nothing but minus infinity.

    A row whose loss is a number has the same answer too.
    """
    logits = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))
    logits[:, 3, 0] = torch.nan
    logits[:, 3, 1] = torch.inf
    logits[:, 3, 2] = -torch.inf
    logits[:, :, 3] = -torch.inf
    logits[:, 0, 4] = -torch.inf
    logits[:, 2, 5] = 1e30
    labels = torch.zeros(2, 1, 8, dtype=torch.int64)
    ends = []
    for used in (False, True):
        kernels(used)
        ends.append(losses_of(logits, labels, [0.0, share], 8, device))
    (grad, losses, correct), (grad_found, losses_found, rights_found) = ends
    torch.testing.assert_close(losses_found, losses, equal_nan=True, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(grad_found, grad, equal_nan=True, rtol=1e-5, atol=1e-7)
    assert losses.isnan()[0].tolist() == [True, True, False, True, *[False] * 4]
    real = ~losses.isnan()
    assert torch.equal(rights_found[real], correct[real])


def test_company_changes_no_bit_of_the_loss(
    device: torch.device, kernels: Callable[[bool], None]
) -> None:
    kernels(True)
    stream = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 10, 64, generator=stream)
    labels = torch.randint(10, (3, 1, 64), generator=stream)
    together = losses_of(logits, labels, [0.0, 0.0, 0.2], 50, device)
    for run, smoothing in enumerate([0.0, 0.0, 0.2]):
        only = slice(run, run + 1)
        alone = losses_of(logits[only], labels[only], [smoothing], 50, device)
        for single, beside in zip(alone, together, strict=True):
            assert torch.equal(single[0], beside[run])


# ── whole training ────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(torch.cuda.is_available(), reason="the engine's own tests train there")
def test_training_with_kernels_gives_the_same_numbers(kernels: Callable[[bool], None]) -> None:
    """A group of several optimizers, one run with smoothed labels, a last batch that is smaller."""
    structure, table = Structure(8, (10, 7), 4), make_table(420, 8, 4)
    configs = [
        make_config(structure, config, seed=seed, epochs=2, batch_size=64)
        for seed, config in enumerate(ONE_EACH)
    ]
    configs[1].trainer.label_smoothing = 0.1
    ends = []
    for used in (False, True):
        kernels(used)
        runs = [make_run(config, table, 150, 80) for config in configs]
        group = Group(runs, Floats(table.x), table.y, structure)
        ends.append((train(group), group.states))
    (records, states), (records_found, states_found) = ends
    for epoch, found in zip(records, records_found, strict=True):
        assert [e.train_score for e in found] == [e.train_score for e in epoch]
        losses = [e.train_loss for e in epoch]
        assert [e.train_loss for e in found] == pytest.approx(losses, rel=1e-6)
    for state, other in zip(states, states_found, strict=True):
        torch.testing.assert_close(other.params, state.params, rtol=1e-5, atol=1e-6)


# ── launching ─────────────────────────────────────────────────────────────────────────────────


def test_tensors_must_be_contiguous(device: torch.device) -> None:
    params, across = torch.zeros(4, 64, device=device), torch.zeros(64, 4, device=device)
    table, index = torch.zeros(1, 1, 4, 1, device=device), torch.zeros(1, device=device).long()
    with pytest.raises(ValueError, match="tensor 1 of _sgd must be contiguous"):
        sgd_kernel(params, across.T, None, table, index, None, None, nesterov=False)
    with pytest.raises(ValueError, match="contiguous and on c"):
        launch(test_tensors_must_be_contiguous, 1, [params, params.to("meta")])


def test_kernels_are_for_cuda() -> None:
    assert not nnexp.kernels.available(torch.device("cpu"))


def test_where_triton_fails_torch_code_runs(caplog: pytest.LogCaptureFixture) -> None:
    """As without a C compiler. There is no 100th device."""
    with caplog.at_level(logging.WARNING):
        assert not nnexp.kernels.available(torch.device("cuda:99"))
    assert "Triton does not work on cuda:99, so training is slower: " in caplog.text


def test_running_out_of_memory_says_nothing_about_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(device: torch.device) -> bool:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(nnexp.kernels, "_one_works", full)
    with pytest.raises(torch.OutOfMemoryError):
        nnexp.kernels.available(torch.device("cuda:98"))


def test_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    """For compute capability 9.0, every kernel, its accesses as wide as there are: 128 bits."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).parents[1] / "helpers" / "kernel_compilation.py"
    done = subprocess.run(
        [sys.executable, str(script), "90"], env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ["_gather_pixels", "_sgd", "_sgd", "_adagrad", "_adam", "_adam", "_rmsprop", "_rmsprop"]
    names += ["_cross_entropy"] * 2 + ["_group_minima"]
    assert done.stdout.splitlines() == [f"{name} 128" for name in names]


# ── on the device alone ───────────────────────────────────────────────────────────────────────


@pytest.mark.cuda
@needs_gpu
def test_kernels_work_on_this_device() -> None:
    assert nnexp.kernels.available(torch.device("cuda"))
    params = torch.zeros(1, 64, device="cuda")
    ((_, optimizer),) = make_updates([adam()], params, params.clone())
    assert is_kernel(optimizer)


@pytest.mark.cuda
@needs_gpu
def test_one_captured_step_serves_every_step() -> None:
    """The step's number is read on the device, the table where it was in the epoch before."""
    config, counts = adam(0.01), torch.zeros(1, dtype=torch.int64, device="cuda")
    ends = []
    for captured in (False, True):
        params = torch.ones(2, 2048, device="cuda")
        grads = torch.zeros_like(params)
        ((_, optimizer),) = make_updates([config, cousin(config)], params, grads)
        rates = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        graph = torch.cuda.CUDAGraph()
        stream = torch.Generator(device="cuda").manual_seed(7)
        for step in range(6):
            if step % 3 == 0:
                optimizer.prepare(step, rates[step : step + 3])
            counts.fill_(step % 3)
            grads.normal_(generator=stream)
            if not captured or step == 0:
                optimizer.step(counts)
            elif step == 1:
                with torch.cuda.graph(graph):
                    optimizer.step(counts)
            if captured and step > 0:
                graph.replay()
        ends.append(params)
    assert torch.equal(*ends)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.usefixtures("most_of_the_gpu")
def test_places_beyond_32_bits() -> None:
    """2^31 parameters and more in one buffer, and as many pixels in a table."""
    if torch.cuda.mem_get_info()[0] < 32 * 2**30:
        pytest.skip("less than 32 GiB of device memory are free")
    runs, numbers = 3, 2**30 - 64
    params, grads = torch.zeros(2, runs, numbers, device="cuda").unbind()
    grads[2, -1], grads[2, 0], grads[0, 5] = 3.0, 5.0, 7.0
    ((_, optimizer),) = make_updates([sgd(1.0)] * runs, params, grads)
    optimizer.prepare(0, torch.ones(1, runs, dtype=torch.float64))
    optimizer.step(0)
    assert (params[2, -1], params[2, 0], params[0, 5]) == (-3, -5, -7)
    assert [row.abs().sum() for row in params] == [7, 0, 8]
    del params, grads, optimizer
    table = torch.zeros(2**31 // 784 + 10, 784, dtype=torch.uint8, device="cuda")
    table[-1] = 9
    index = torch.tensor([len(table) - 1, 0], device="cuda")
    one = torch.ones(1, 784, dtype=torch.float64, device="cuda")
    out = torch.full((1, 2, 784), torch.nan, device="cuda")
    gather_pixels(table, index, one, one, out)
    assert (out[0, 0] == 8).all()
    assert (out[0, 1] == -1).all()
