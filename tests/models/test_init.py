"""Initial weights against torch.nn's own modules and torch.nn.init."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from engine_cases import make_config, one_thread  # noqa: F401
from torch import Generator, Tensor, nn

from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.rng import generator, stream_seed

SMALL = Structure(6, (10, 7), 3)
WIDE = Structure(300, (400,), 10)


def tensors_of(structure: Structure, seed: int = 0, **options: object) -> dict[str, Tensor]:
    """By name, without the run axis."""
    flat = initial_parameters(structure, make_config(structure, **options).model, seed)
    assert flat.dtype == torch.float32
    assert flat.shape == (parameter_layout(structure).size,)
    return {name: view[0] for name, view in parameter_layout(structure).views(flat[None]).items()}


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("bias", [True, False])
def test_default_is_what_torch_linear_draws(seed: int, bias: bool) -> None:
    """Bit for bit the parameters of nn.Linear layers made from the same random numbers."""
    structure = Structure(6, (10, 7), 3, bias=bias)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init"))
        layers = [nn.Linear(6, 10, bias), nn.Linear(10, 7, bias), nn.Linear(7, 3, bias)]
    drawn = tensors_of(structure, seed)
    for name, layer in zip(("hidden.0.linear", "hidden.1.linear", "output"), layers, strict=True):
        assert torch.equal(drawn[f"{name}.weight"], layer.weight)
        assert not bias or torch.equal(drawn[f"{name}.bias"], layer.bias)


def torch_call(
    init: str, distribution: str, activation: str
) -> Callable[[Tensor, Generator], Tensor]:
    """torch.nn.init's for one weight."""
    gain = "relu" if activation in ("elu", "gelu", "silu") else activation
    gain = "linear" if activation == "step" else gain
    return {
        ("kaiming", "uniform"): lambda w, g: nn.init.kaiming_uniform_(
            w, a=0.01, nonlinearity=gain, generator=g
        ),
        ("kaiming", "normal"): lambda w, g: nn.init.kaiming_normal_(
            w, a=0.01, nonlinearity=gain, generator=g
        ),
        ("xavier", "uniform"): lambda w, g: nn.init.xavier_uniform_(w, generator=g),
        ("xavier", "normal"): lambda w, g: nn.init.xavier_normal_(w, generator=g),
        ("orthogonal", "uniform"): lambda w, g: nn.init.orthogonal_(w, generator=g),
        ("normal", "uniform"): lambda w, g: nn.init.normal_(w, std=0.3, generator=g),
    }[init, distribution]


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu", "selu", "gelu", "step"])
@pytest.mark.parametrize(
    ("init", "distribution"),
    [("kaiming", "uniform"), ("kaiming", "normal"), ("xavier", "uniform"), ("xavier", "normal"),
     ("orthogonal", "uniform"), ("normal", "uniform")],
)  # fmt: skip
def test_same_numbers_as_torch_init(init: str, distribution: str, activation: str) -> None:
    """The same calls on the same stream, layer by layer; biases zero."""
    structure = Structure(6, (10, 7), 3, activation, norm="batch")
    options = {"init": init, "init_distribution": distribution, "init_std": 0.3}
    drawn = tensors_of(structure, 5, **options)
    stream = generator(5, "init")
    draw = torch_call(init, distribution, activation)
    for name, tensor in drawn.items():
        if name.endswith("norm.weight"):
            assert torch.equal(tensor, torch.ones_like(tensor))
        elif name.endswith("weight"):
            assert torch.equal(tensor, draw(torch.empty_like(tensor), stream)), name
        else:
            assert not tensor.any(), name


SQRT2, LEAKY = math.sqrt(2), math.sqrt(2 / (1 + 0.01**2))
GAINS = {
    "step": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": SQRT2, "leaky_relu": LEAKY,
    "elu": SQRT2, "selu": 3 / 4, "gelu": SQRT2, "silu": SQRT2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("init", "distribution", "activation", "std"),
    [
        ("default", "uniform", "relu", 1 / math.sqrt(3 * 300)),
        ("default", "normal", "tanh", 1 / math.sqrt(3 * 300)),  # the option is not for it
        ("xavier", "uniform", "relu", math.sqrt(2 / 700)),  # Glorot and Bengio 2010, eq. 16
        ("xavier", "normal", "relu", math.sqrt(2 / 700)),
        ("normal", "uniform", "relu", 0.07),
        ("orthogonal", "uniform", "relu", 1 / math.sqrt(400)),
        *[("kaiming", "uniform", name, gain / math.sqrt(300)) for name, gain in GAINS.items()],
        *[("kaiming", "normal", name, gain / math.sqrt(300)) for name, gain in GAINS.items()],
    ],
)  # fmt: skip
def test_moments_and_bounds(init: str, distribution: str, activation: str, std: float) -> None:
    """Of the 120,000 weights of a layer 300-400, from the formulas."""
    structure = Structure(300, (400,), 10, activation)
    options = {"init": init, "init_distribution": distribution, "init_std": 0.07}
    weight = tensors_of(structure, **options)["hidden.0.linear.weight"].double()
    count = weight.numel()
    assert abs(weight.mean()) < 4 * std / math.sqrt(count)
    assert weight.std() == pytest.approx(std, rel=4 / math.sqrt(2 * count))
    if init == "orthogonal":
        torch.testing.assert_close(weight.T @ weight, torch.eye(300).double(), atol=1e-5, rtol=0)
    elif init == "default" or (init in ("kaiming", "xavier") and distribution == "uniform"):
        bound = std * math.sqrt(3)
        assert 0.999 * bound < weight.abs().max() <= bound * (1 + 1e-6)
        # Kurtosis tells a uniform from a normal distribution: 1.8 against 3.
        assert (weight**4).mean() / std**4 == pytest.approx(1.8, abs=0.03)
    else:
        assert (weight**4).mean() / std**4 == pytest.approx(3.0, abs=0.1)


def test_default_biases_are_uniform_within_one_over_root_of_inputs() -> None:
    bias = tensors_of(WIDE)["hidden.0.linear.bias"]
    bound = 1 / math.sqrt(300)
    assert 0.95 * bound < bias.abs().max() <= bound
    assert abs(bias.mean()) < 4 * bound / math.sqrt(3 * 400)


def test_seed_alone_decides() -> None:
    """The same seed twice, another seed, and a seed between two others that were drawn before."""
    model = make_config(SMALL).model
    first = initial_parameters(SMALL, model, 0)
    other = initial_parameters(SMALL, model, 1)
    assert torch.equal(first, initial_parameters(SMALL, model, 0))
    assert not torch.isclose(first, other)[first != 0].any()


def test_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    for init in ("default", "kaiming", "xavier", "orthogonal", "normal"):
        tensors_of(SMALL, init=init)
    assert torch.equal(torch.get_rng_state(), before)


def test_padding_is_zero() -> None:
    layout = parameter_layout(SMALL)
    flat = initial_parameters(SMALL, make_config(SMALL).model, 0)
    inside = torch.zeros(layout.size, dtype=torch.bool)
    for slot in layout.slots.values():
        inside[slot.start : slot.stop] = True
    assert flat[inside].all()
    assert not flat[~inside].any()
    assert not inside.all()


def test_statistics_start_as_those_of_torch() -> None:
    structure = Structure(6, (10, 7), 3, norm="batch")
    stats = statistics_layout(structure).views(initial_statistics(structure)[None])
    for layer, width in enumerate((10, 7)):
        norm = nn.BatchNorm1d(width)
        assert torch.equal(stats[f"hidden.{layer}.norm.running_mean"][0], norm.running_mean)
        assert torch.equal(stats[f"hidden.{layer}.norm.running_var"][0], norm.running_var)
    assert initial_statistics(SMALL).numel() == 0
