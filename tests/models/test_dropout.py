"""Dropout masks: the hash they are made of, their statistics, and training with them.

Seeds are fixed, so every statistic has one value. The bounds are those that fair coins would keep
in all but about one of 16,000 trials (4 standard deviations), two-sided: too even fails as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from engine_cases import Reference, one_thread  # noqa: F401
from torch import Tensor
from torch.nn import functional as F

from nnexp.models.cross_entropy import TrainingLoss
from nnexp.models.init import initial_statistics
from nnexp.models.layers import Dropout
from nnexp.models.layout import Structure, parameter_layout
from nnexp.models.mlp import MLP
from nnexp.models.module import named_tensors
from nnexp.rng import stream_seed

CPU = torch.device("cpu")
ROWS, WIDTH = 64, 128


def lowbias32(x: int) -> int:
    """Chris Wellons, hash-prospector, 2018: in plain integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def hashed_mask(seed: int, rate: float, step: int, size: int) -> list[bool]:
    """Which places are kept, by the definition: half a hash is at least rate 2^16."""
    key = stream_seed(seed, "dropout")
    first = lowbias32((key ^ step) & 0xFFFFFFFF)
    second = lowbias32(((key >> 32) + (step >> 32)) & 0xFFFFFFFF)
    halves: list[int] = []
    for word in range(-(-size // 2)):
        x = (lowbias32(word ^ first) + second) * 0x9E3779B1 & 0xFFFFFFFF
        x ^= x >> 16
        halves += [x & 0xFFFF, x >> 16]
    # As signed numbers, so that the threshold is rate 2^16 - 2^15.
    signed = [h - 2**16 if h >= 2**15 else h for h in halves[:size]]
    return [h >= round(rate * 2**16) - 2**15 for h in signed]


@pytest.mark.parametrize(
    ("seed", "rate", "step"),
    [(0, 0.5, 0), (0, 0.5, 1), (1, 0.5, 0), (3, 0.1, 12345), (12345, 0.9, 2**32 - 1),
     (12345, 0.3, 2**32), (2**40 + 1, 0.25, 2**33 + 5)],
)  # fmt: skip
def test_masks_are_the_stated_hash(seed: int, rate: float, step: int) -> None:
    """Steps that need more than 32 bits too. A row holds the units of all layers."""
    masks = Dropout([seed], [rate], [33, 8], CPU).masks(step, 9)
    rows = torch.cat(masks, 2)[0]
    assert (rows > 0).flatten().tolist() == hashed_mask(seed, rate, step, 9 * 41)


def test_masks_stay_as_they_are() -> None:
    """Pinned: another mask for the same seed would change everybody's results."""
    kept = Dropout([0], [0.5], [16], CPU).masks(0, 4)[0][0] > 0
    rows = ["".join("x" if place else "." for place in row) for row in kept.tolist()]
    assert rows == [
        "x...xx.x.x.xxx.x",
        "x.xxx.xxxxxxxxx.",
        "x.x..x..xx.x.x.x",
        ".xx.....x.x.xxxx",
    ]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.2, 0.5, 0.8, 0.95, 0.999])
def test_rate_and_scale(rate: float) -> None:
    """Of 2 million places; the expectation of a kept unit is exactly what went in."""
    dropout = Dropout([4], [rate], [WIDTH], CPU)
    masks = torch.stack([dropout.masks(step, ROWS)[0] for step in range(250)])
    kept = 1 - round(rate * 65536) / 65536  # a rate is a multiple of 1 / 65536
    scale = torch.tensor(1 / kept, dtype=torch.float32)
    assert scale.item() == pytest.approx(1 / (1 - rate), rel=0.01)
    assert set(masks.unique().tolist()) <= {0.0, scale.item()}
    dropped = (masks == 0).double().mean().item()
    assert abs(dropped - rate) <= 4 * math.sqrt(rate * (1 - rate) / masks.numel())


def test_a_rate_of_almost_one_drops_almost_all() -> None:
    (mask,) = Dropout([4], [1 - 1e-12], [WIDTH], CPU).masks(0, ROWS)
    assert mask.count_nonzero() <= 2  # a rate is a multiple of 1 / 65536, and below 1


def test_company_and_order_of_calls_change_nothing() -> None:
    seeds, rates = [7, 3, 3, 0], [0.5, 0.0, 0.5, 0.1]
    together = Dropout(seeds, rates, [5, WIDTH], CPU)
    for step in (5, 0, 5):
        _, masks = together.masks(step, ROWS)
        for run, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
            alone = Dropout([seed], [rate], [5, WIDTH], CPU)
            alone.masks(3, 5)
            assert torch.equal(masks[run], alone.masks(step, ROWS)[1][0])
        assert torch.equal(masks[1], torch.ones(ROWS, WIDTH))  # rate 0 beside 0.5


def test_rows_of_padding_do_not_shift_the_mask() -> None:
    dropout = Dropout([7], [0.5], [10, 7], CPU)
    for padded, bare in zip(dropout.masks(2, 32), dropout.masks(2, 17), strict=True):
        assert torch.equal(padded[:, :17], bare)


def test_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    Dropout([0], [0.5], [WIDTH], CPU).masks(0, ROWS)
    assert torch.equal(torch.get_rng_state(), before)


# ── statistics ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=[0.5, 0.1])
def drops(request: pytest.FixtureRequest) -> Tensor:
    """Dropped places minus the rate, in standard deviations: [runs, steps, layers, rows, width]."""
    rate = request.param
    dropout = Dropout([0, 1, 2], [rate] * 3, [WIDTH] * 3, CPU)
    kept = torch.stack([
        torch.stack([mask > 0 for mask in dropout.masks(step, ROWS)], 1)
        for step in range(64)
    ], 1)  # fmt: skip
    return ((~kept).float() - rate) / math.sqrt(rate * (1 - rate))


@pytest.mark.parametrize("axis", range(5), ids=["runs", "steps", "layers", "rows", "units"])
def test_every_slice_has_its_share(drops: Tensor, axis: int) -> None:
    """Chi-square of the slices along each axis."""
    others = [a for a in range(5) if a != axis]
    sums = drops.sum(others, dtype=torch.float64) / math.sqrt(drops.numel() / drops.shape[axis])
    degrees = len(sums)
    chi_square = sums.square().sum().item()
    # Wilson and Hilferty 1931: the cube root is close to normal.
    z = ((chi_square / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))
    assert abs(z) < 4


@pytest.mark.parametrize("axes", [(1, 3), (1, 4), (2, 4), (3, 4), (0, 3)], ids=str)
def test_every_pair_of_slices_has_its_share(drops: Tensor, axes: tuple[int, int]) -> None:
    """Chi-square of the tables of two axes: a unit at a step, a row at a step, ..."""
    others = [a for a in range(5) if a not in axes]
    sums = drops.sum(others, dtype=torch.float64)
    sums /= math.sqrt(drops.numel() / sums.numel())
    z = (sums.square().sum().item() - sums.numel()) / math.sqrt(2 * sums.numel())
    assert abs(z) < 4.5  # a little wider: chi-square leans to the right


NEIGHBOURS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "runs": lambda d: (d[:-1], d[1:]),
    "steps": lambda d: (d[:, :-1], d[:, 1:]),
    "steps apart by 32": lambda d: (d[:, :-32], d[:, 32:]),
    "layers": lambda d: (d[:, :, :-1], d[:, :, 1:]),
    "first and last layer": lambda d: (d[:, :, :-2], d[:, :, 2:]),
    "layer and step": lambda d: (d[:, :-1, 1:], d[:, 1:, :-1]),
    "rows": lambda d: (d[..., :-1, :], d[..., 1:, :]),
    "rows apart by 32": lambda d: (d[..., :-32, :], d[..., 32:, :]),
    "units": lambda d: (d[..., :-1], d[..., 1:]),
    "units apart by 64": lambda d: (d[..., :-64], d[..., 64:]),
    "mirrored units": lambda d: (d[..., :64], d.flip(-1)[..., :64]),
    "three steps": lambda d: (d[:, :-2], d[:, 1:-1], d[:, 2:]),
    "a square of rows and units": lambda d: (
        d[..., :-1, :-1], d[..., 1:, :-1], d[..., :-1, 1:], d[..., 1:, 1:],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_are_independent(drops: Tensor, name: str) -> None:
    """The mean product over all such neighbours, about 1.5 million."""
    product = math.prod(NEIGHBOURS[name](drops))
    assert isinstance(product, Tensor)
    # Products of independent numbers of variance 1 are uncorrelated, with variance 1.
    z = product.sum(dtype=torch.float64).item() / math.sqrt(product.numel())
    assert abs(z) < 4


def test_no_mask_comes_twice() -> None:
    """Small masks of 256 places over 2000 steps, 4 layers and 2 runs."""
    dropout = Dropout([0, 1], [0.5, 0.5], [32] * 4, CPU)
    seen = {
        bytes(mask.flatten().to(torch.uint8).tolist())
        for step in range(2000)
        for layer in dropout.masks(step, 8)
        for mask in layer > 0
    }
    assert len(seen) == 2000 * 4 * 2


# ── training with masks ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu", "step"])
def test_network_multiplies_by_the_masks(activation: str, norm: str) -> None:
    """Losses and gradients of runs with rates 0.5, 0 and 0.2 against torch modules and masks."""
    structure = Structure(6, (10, 10, 7), 3, activation, norm, residual=True)
    layout = parameter_layout(structure)
    stream = torch.Generator().manual_seed(6)
    params = torch.randn(3, layout.size, generator=stream) / 3
    stats = torch.stack([initial_statistics(structure)] * 3)
    x = torch.randn(3, 32, 6, generator=stream)
    labels = torch.randint(3, (3, 1, 32), generator=stream)
    rates, step, rows = [0.5, 0.0, 0.2], 9, 17
    dropout = Dropout([0, 1, 2], rates, structure.hidden, CPU)
    mlp = MLP(structure, params, stats.clone(), dropout)
    grad, losses, _ = TrainingLoss(torch.zeros(3))(mlp.forward(x, rows, step), labels, rows)
    mlp.backward(grad)
    grads = layout.views(mlp.grads)
    masks = [mask[:, :rows] for mask in dropout.masks(step, 32)]
    for run in range(3):
        tensors = named_tensors(structure, params[run], stats[run])
        net = Reference(structure, {name: t.double() for name, t in tensors.items()})
        logits = net(x[run, :rows].double(), [mask[run].double() for mask in masks])
        each = F.cross_entropy(logits, labels[run, 0, :rows], reduction="none")
        each.mean().backward()
        torch.testing.assert_close(losses[run].double(), each.detach(), rtol=1e-5, atol=1e-5)
        for name, wanted in net.named(structure, "grads").items():
            torch.testing.assert_close(
                grads[name][run].double(), wanted, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: n + m
            )


def test_evaluation_does_not_drop() -> None:
    structure = Structure(6, (10, 10), 3, residual=True)
    params = torch.randn(
        1, parameter_layout(structure).size, generator=torch.Generator().manual_seed(0)
    )
    x = torch.randn(1, 32, 6, generator=torch.Generator().manual_seed(1))
    none = torch.zeros(1, 0)
    dropping = MLP(structure, params, none, Dropout([0], [0.5], structure.hidden, CPU))
    assert torch.equal(dropping.forward(x, 32), MLP(structure, params, none).forward(x, 32))
    assert not torch.equal(dropping.forward(x, 32, 0), dropping.forward(x, 32, 1))
