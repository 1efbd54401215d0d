"""Networks with a run axis against the same networks of torch.nn modules and autograd.

The references compute in float64, so that what is measured is the engine's own rounding.
"""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from engine_cases import ACTIVATIONS, Reference, make_config, one_thread  # noqa: F401
from torch import Tensor, nn
from torch.nn import functional as F

from nnexp.config import schema
from nnexp.models import activations
from nnexp.models.cross_entropy import TrainingLoss, cross_entropy
from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.models.mlp import MLP
from nnexp.models.module import as_module, named_tensors

ROWS = 17  # padded to 32 with these hidden layers
STRUCTURES = [
    Structure(6, (10, 10, 7), 3, activation, norm, residual, bias)
    for activation, norm, residual, bias in product(
        schema.ACTIVATIONS, schema.NORMS, (False, True), (True, False)
    )
]


def name_of(structure: Structure) -> str:
    words = [structure.activation, structure.norm]
    words += ["residual"] * structure.residual + ["no_bias"] * (not structure.bias)
    return "-".join(words)


every_structure = pytest.mark.parametrize("structure", STRUCTURES, ids=name_of)


def random_networks(structure: Structure, runs: int = 3) -> tuple[Tensor, Tensor]:
    """Parameters [R, P] with every number drawn, biases and norms too, and statistics [R, S]."""
    stream = torch.Generator().manual_seed(1)
    params = torch.zeros(runs, parameter_layout(structure).size)
    for name, tensor in parameter_layout(structure).views(params).items():
        width = tensor.shape[-1] if tensor.dim() == 3 else 4
        tensor.copy_(torch.randn(tensor.shape, generator=stream) / width**0.5)
        if name.endswith("norm.weight"):
            tensor.add_(1.0)
    stats = torch.stack([initial_statistics(structure)] * runs)
    for name, tensor in statistics_layout(structure).views(stats).items():
        drawn = torch.randn(tensor.shape, generator=stream)
        tensor.copy_(drawn.exp() if name.endswith("var") else drawn)
    return params, stats


def batch(structure: Structure, runs: int = 3, seed: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Features [R, M, D] whose padding rows are wild, labels [R, B], a gradient [R, B, C]."""
    stream = torch.Generator().manual_seed(seed)
    height = structure.padded_rows(ROWS)
    assert height > ROWS
    x = torch.randn(runs, height, structure.num_features, generator=stream)
    x[:, ROWS:] *= 100
    labels = torch.randint(structure.num_classes, (runs, ROWS), generator=stream)
    grad = torch.randn(runs, ROWS, structure.num_classes, generator=stream)
    return x, labels, grad


def references(structure: Structure, params: Tensor, stats: Tensor) -> list[Reference]:
    return [
        Reference(structure, {n: t.double() for n, t in named_tensors(structure, p, s).items()})
        for p, s in zip(params, stats, strict=True)
    ]


def assert_near(actual: Tensor, expected: Tensor, what: str) -> None:
    """Equal to float32 rounding, measured on the scale of the whole tensor."""
    error = (actual.double() - expected.double()).abs().max()
    assert error <= 1e-5 * (expected.abs().max() + 1), f"{what}: off by {error:.2e}"


@every_structure
def test_training_pass_equals_torch_modules(structure: Structure) -> None:
    """Logits and all gradients, with rows of padding that must not count."""
    params, stats = random_networks(structure)
    nets = references(structure, params, stats)
    mlp = MLP(structure, params.clone(), stats.clone())
    x, _, grad = batch(structure)
    padded = torch.zeros(3, x.shape[1], structure.num_classes)
    padded[:, :ROWS] = grad

    logits = mlp.forward(x, ROWS, step=0).mT
    mlp.backward(padded.mT)

    grads = parameter_layout(structure).views(mlp.grads)
    for run, net in enumerate(nets):
        expected = net.train()(x[run, :ROWS].double())
        assert_near(logits[run, :ROWS], expected.detach(), "logits")
        expected.backward(grad[run].double())
        for name, wanted in net.named(structure, "grads").items():
            assert_near(grads[name][run], wanted, name)
    assert torch.equal(mlp.params, params)


@every_structure
def test_evaluation_equals_torch_modules(structure: Structure) -> None:
    params, stats = random_networks(structure)
    mlp = MLP(structure, params, stats.clone())
    x, _, _ = batch(structure)
    logits = mlp.forward(x, ROWS).mT
    for run, net in enumerate(references(structure, params, stats)):
        expected = net.eval()(x[run, :ROWS].double()).detach()
        assert_near(logits[run, :ROWS], expected, "logits")
    assert torch.equal(mlp.stats, stats)  # evaluation learns nothing


@every_structure
def test_as_module_is_the_same_network(structure: Structure) -> None:
    """Logits, gradients and state of the torch module against those of the run axis."""
    params, stats = random_networks(structure, runs=1)
    tensors = named_tensors(structure, params[0], stats[0])
    x, _, grad = batch(structure, runs=1)
    padded = torch.zeros(1, x.shape[1], structure.num_classes)
    padded[:, :ROWS] = grad
    mlp = MLP(structure, params, stats.clone())
    module = as_module(structure, tensors)

    evaluated = module.eval()(x[0, :ROWS])
    assert_near(mlp.forward(x, ROWS).mT[0, :ROWS], evaluated.detach(), "evaluation")
    logits = module.train()(x[0, :ROWS])
    assert_near(mlp.forward(x, ROWS, step=0).mT[0, :ROWS], logits.detach(), "training")

    logits.backward(grad[0])
    mlp.backward(padded.mT)
    grads = parameter_layout(structure).views(mlp.grads)
    for name, parameter in module.named_parameters():
        name = name.replace(".layer.", ".")
        assert_near(grads[name][0], parameter.grad, name)

    own = as_module(structure, tensors).state_dict()
    loaded = {name.replace(".layer.", "."): value for name, value in own.items()}
    counters = {name for name in loaded if name.endswith("num_batches_tracked")}
    assert loaded.keys() - counters == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert sum(p.numel() for p in module.parameters()) == parameter_layout(structure).num_elements


def test_linear_model() -> None:
    """No hidden layer at all: logits are x W^T + b, gradients the outer products."""
    structure = Structure(5, (), 4)
    params, stats = random_networks(structure, runs=2)
    mlp = MLP(structure, params, stats)
    x = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    grad = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(1))
    views = parameter_layout(structure).views(params)
    weight, bias = views["output.weight"], views["output.bias"]
    assert_near(mlp.forward(x, 8).mT, x @ weight.mT + bias[:, None], "logits")
    mlp.backward(grad.mT)
    grads = parameter_layout(structure).views(mlp.grads)
    assert_near(grads["output.weight"], grad.mT @ x, "weight")
    assert_near(grads["output.bias"], grad.sum(1), "bias")
    assert_near(as_module(structure, named_tensors(structure, params[0], stats[0]))(x[0]).detach(),
                x[0] @ weight[0].T + bias[0], "module")  # fmt: skip


def test_running_statistics_follow_the_batches() -> None:
    """After batches of several sizes, as torch.nn.BatchNorm1d keeps them."""
    structure = Structure(6, (10, 7), 3, norm="batch")
    params, stats = random_networks(structure)
    nets = references(structure, params, stats)
    mlp = MLP(structure, params, stats)
    for step, rows in enumerate((17, 32, 2, 5, 17)):
        x = torch.randn(
            3, structure.padded_rows(rows), 6, generator=torch.Generator().manual_seed(step)
        )
        mlp.forward(x, rows, step)
        for run, net in enumerate(nets):
            net.train()(x[run, :rows].double())
    kept = statistics_layout(structure).views(mlp.stats)
    x, _, _ = batch(structure)
    logits = mlp.forward(x, ROWS).mT
    for run, net in enumerate(nets):
        for name, wanted in net.named(structure, "stats").items():
            assert_near(kept[name][run], wanted, name)
        assert_near(logits[run, :ROWS], net.eval()(x[run, :ROWS].double()).detach(), "logits")


def test_runs_do_not_mix() -> None:
    """A run with infinite weights leaves the others as they are, bit for bit."""
    structure = Structure(6, (10, 10, 7), 3, norm="batch", residual=True)
    params, stats = random_networks(structure)
    x, _, _ = batch(structure)
    grad = torch.ones(3, 3, x.shape[1])
    passes = []
    for broken in (False, True):
        mlp = MLP(structure, params.clone(), stats.clone())
        if broken:
            mlp.params[1] = torch.inf
        logits = mlp.forward(x, ROWS, step=0).clone()
        mlp.backward(grad)
        passes.append((logits, mlp.grads, mlp.stats))
    for sound, beside in zip(*passes, strict=True):
        assert torch.equal(sound[::2], beside[::2])
        assert not torch.equal(sound[1], beside[1])


# ── activations ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", schema.ACTIVATIONS)
def test_activation_and_derivative(name: str) -> None:
    """From -30 to 30 and at 0, +-1, in place where the activation allows it."""
    z = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([0.0, -1.0, 1.0, -1e-6, 1e-6])])
    activation = activations.ACTIVATIONS[name]
    exact = z.double().requires_grad_()
    expected = ACTIVATIONS[name](exact)
    grad = torch.linspace(0.5, 2, len(z))
    expected.backward(grad.double())

    sums = z.clone()
    out = torch.empty_like(z) if activation.saves_input else sums
    activation.forward(sums, out)
    actual = grad.clone()
    activation.backward(actual, sums if activation.saves_input else out)
    torch.testing.assert_close(out.double(), expected.detach(), rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(actual.double(), exact.grad, rtol=3e-6, atol=1e-6)


def test_every_activation_of_the_schema_is_built() -> None:
    assert set(activations.ACTIVATIONS) == set(schema.ACTIVATIONS)


def test_step_passes_gradients_straight_through() -> None:
    """Worked by hand: 0 or 1 forward; the gradient where |z| < 1, as Hubara et al. 2016, eq. 4."""
    z = torch.tensor([-3.0, -1.0, -0.999, -0.5, 0.0, 0.5, 0.999, 1.0, 3.0])
    out, grad = torch.empty_like(z), torch.full_like(z, 2.5)
    activations.ACTIVATIONS["step"].forward(z, out)
    activations.ACTIVATIONS["step"].backward(grad, z)
    assert out.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert grad.tolist() == [0, 0, 2.5, 2.5, 2.5, 2.5, 2.5, 0, 0]


# ── loss ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("smoothing", [(0.0, 0.0, 0.0), (0.0, 0.1, 0.5)])
def test_training_loss_is_torchs_cross_entropy(smoothing: tuple[float, ...]) -> None:
    """Values, gradients and answers of runs with their own label smoothing, and padding rows."""
    stream = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(3, 5, 20, generator=stream)
    labels = torch.randint(5, (3, 1, 20), generator=stream)
    before = logits.clone()
    grad, losses, correct = TrainingLoss(torch.tensor(smoothing))(logits, labels, 17)
    for run, eps in enumerate(smoothing):
        exact = logits[run, :, :17].T.double().requires_grad_()
        wanted = labels[run, 0, :17]
        each = F.cross_entropy(exact, wanted, label_smoothing=eps, reduction="none")
        each.mean().backward()
        assert_near(losses[run], each.detach(), "losses")
        assert_near(17 * grad[run, :, :17].T, 17 * exact.grad, "gradient")
        assert torch.equal(correct[run], logits[run, :, :17].argmax(0) == wanted)
    assert not grad[:, :, 17:].any()
    assert torch.equal(logits, before)


def test_smoothing_of_one_run_leaves_the_others_alone() -> None:
    """Bit for bit, also where a class has probability zero."""
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    logits[0, 2, 1] = -torch.inf
    labels = torch.zeros(2, 1, 4, dtype=torch.int64)
    beside = TrainingLoss(torch.tensor([0.0, 0.1]))(logits, labels, 4)
    alone = TrainingLoss(torch.tensor([0.0]))(logits[:1], labels[:1], 4)
    for together, single in zip(beside, alone, strict=True):
        assert torch.equal(together[0], single[0])
    assert beside[1].isfinite()[0].all()


@pytest.mark.parametrize("spoilt", [None, "tie", "nan"])
def test_the_first_of_equals_is_the_answer_in_any_company(spoilt: str | None) -> None:
    """Two classes that lead together, and beside them a run that has none, one that has another."""
    stream = torch.Generator().manual_seed(5)
    logits = torch.randn(3, 4, 6, generator=stream)
    labels = torch.randint(4, (3, 1, 6), generator=stream)
    logits[0, 1:3, 0] = 9.0  # a tie of classes 1 and 2
    labels[0, 0, 0] = 2
    logits[1, 1:3, 0] = 9.0
    labels[1, 0, 0] = 1
    if spoilt is not None:
        logits[2, :, 3] = torch.nan if spoilt == "nan" else 1.0
    _, _, correct = TrainingLoss(torch.zeros(3))(logits, labels, 6)
    wanted = logits[:2].argmax(1) == labels[:2, 0]
    assert torch.equal(correct[:2], wanted)
    assert not correct[0, 0]
    assert correct[1, 0]
    alone = TrainingLoss(torch.zeros(1))(logits[2:], labels[2:], 6)[2]
    assert torch.equal(correct[2:], alone)


def test_evaluation_loss() -> None:
    stream = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 4, 11, generator=stream)
    labels = torch.randint(4, (2, 11), generator=stream)
    losses, correct = cross_entropy(logits, labels)
    for run in range(2):
        expected = F.cross_entropy(logits[run].T, labels[run], reduction="none")
        torch.testing.assert_close(losses[run], expected)
        assert correct[run].tolist() == (logits[run].argmax(0) == labels[run]).tolist()
    # The first of equally likely classes is the answer.
    _, ties = cross_entropy(torch.zeros(1, 3, 2), torch.tensor([[0, 1]]))
    assert ties.tolist() == [[True, False]]
    # ln 4 nats of four equally likely classes.
    even, _ = cross_entropy(torch.zeros(1, 4, 1), torch.zeros(1, 1, dtype=torch.int64))
    assert even.item() == pytest.approx(1.3862943611)


# ── bfloat16 ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("norm", schema.NORMS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "step"])
def test_bfloat16_products(activation: str, norm: str) -> None:
    """Close to float32 (bfloat16 keeps 8 bits, so some percent), parameters in float32."""
    structure = Structure(20, (64, 64), 5, activation, norm, residual=True)
    params = torch.stack([
        initial_parameters(structure, make_config(structure, init="kaiming").model, seed)
        for seed in range(2)
    ])  # fmt: skip
    stats = torch.stack([initial_statistics(structure)] * 2)
    stream = torch.Generator().manual_seed(5)
    x = torch.randn(2, 64, 20, generator=stream)
    labels = torch.randint(5, (2, 1, 64), generator=stream)
    loss = TrainingLoss(torch.zeros(2))
    grads = {}
    for dtype in (torch.float32, torch.bfloat16):
        mlp = MLP(structure, params.clone(), stats.clone(), dtype=dtype)
        logits = mlp.forward(x, 64, step=0)
        assert logits.dtype == torch.float32
        mlp.backward(loss(logits, labels, 64)[0])
        assert mlp.grads.dtype == mlp.params.dtype == mlp.stats.dtype == torch.float32
        assert torch.equal(mlp.params, params)
        grads[dtype] = mlp.grads
    error = (grads[torch.bfloat16] - grads[torch.float32]).norm(dim=1)
    relative = error / grads[torch.float32].norm(dim=1)
    # A step turns where its sum is within rounding of 0: there a unit's whole output changes.
    assert 1e-4 < relative.max() < (0.15 if activation == "step" else 0.04)


def test_bfloat16_takes_over_changed_parameters() -> None:
    structure = Structure(4, (32,), 3)
    params = initial_parameters(structure, make_config(structure).model, 0)[None]
    mlp = MLP(structure, params, torch.zeros(1, 0), dtype=torch.bfloat16)
    x = torch.randn(1, 8, 4, generator=torch.Generator().manual_seed(0))
    before = mlp.forward(x, 8).clone()
    params.mul_(2)
    assert torch.equal(mlp.forward(x, 8), before)
    mlp.refresh()
    fresh = MLP(structure, params.clone(), torch.zeros(1, 0), dtype=torch.bfloat16)
    assert torch.equal(mlp.forward(x, 8), fresh.forward(x, 8))


# ── structure ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hidden", "rows", "padded"),
    [
        ((), 17, 17),
        ((32,), 17, 17),
        ((128, 64), 1, 1),
        ((10, 7), 17, 32),  # 7 units: 32 rows fill whole vectors
        ((10,), 17, 32),  # 10 units: 16 rows do
        ((100,), 17, 24),  # 100 units: 8 rows do
        ((33,), 32, 32),
        ((1,), 33, 64),
    ],
)
def test_padded_rows(hidden: tuple[int, ...], rows: int, padded: int) -> None:
    assert Structure(5, hidden, 3).padded_rows(rows) == padded
    assert all(padded * width % 32 == 0 for width in hidden)


def test_flat_buffers_start_tensors_on_cache_lines() -> None:
    structure = Structure(13, (10, 7), 3, norm="batch")
    for layout in (parameter_layout(structure), statistics_layout(structure)):
        slots = list(layout.slots.values())
        assert all(slot.start % 16 == 0 for slot in slots)
        assert all(a.stop <= b.start for a, b in pairwise(slots))
        assert layout.size % 32 == 0
        assert layout.size >= slots[-1].stop
    # 13*10+10 + 2*10 + 10*7+7 + 2*7 + 7*3+3, and mean and variance of 10 and 7 units.
    assert parameter_layout(structure).num_elements == 275
    assert statistics_layout(structure).num_elements == 34


def test_flops_per_row() -> None:
    # Three products (forward, weights' gradient, inputs' gradient) of 2 operations a weight.
    assert Structure(64, (32,), 10).flops_per_row() == 6 * (64 * 32 + 32 * 10)


@pytest.mark.parametrize(
    ("hidden", "residual", "skipping"),
    [((8, 8, 8), True, [False, True, True]), ((8, 4, 4), True, [False, False, True]),
     ((8, 8), False, [False, False])],
)  # fmt: skip
def test_residual_layers(hidden: tuple[int, ...], residual: bool, skipping: list[bool]) -> None:
    structure = Structure(8, hidden, 3, residual=residual)
    assert [structure.skips(layer) for layer in range(len(hidden))] == skipping


def test_as_module_names_layers_and_drops() -> None:
    structure = Structure(4, (8, 8), 3, norm="layer", residual=True)
    module = as_module(structure, dropout=0.3)
    assert [type(m) for m in module.modules() if not list(m.children())] == [
        nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout,
        nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout,
        nn.Linear,
    ]  # fmt: skip
    assert {m.p for m in module.modules() if isinstance(m, nn.Dropout)} == {0.3}
