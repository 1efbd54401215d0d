"""Modules of many kinds for the tests of networks that are any ``torch.nn.Module``, and a plain
loop that trains them. Importing this registers them.

Axes: R runs, N rows, B rows of a batch, D inputs, C outputs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from engine_cases import Table, make_config, torch_optimizer, torch_scheduler
from torch import Tensor, nn
from torch.nn import functional as F

from nnexp.config.schema import Config
from nnexp.engine import Run
from nnexp.models.layers import LayeredDropout
from nnexp.models.layout import Structure
from nnexp.models.module_calls import seeded
from nnexp.models.module_network import MODULE_FACTORIES, ModuleNetwork, module_network
from nnexp.rng import generator

ACTS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Blocks(nn.Module):
    """Layers by their names: ``linear``, ``conv``, ``batch``, ``layer``, ``dropout``, ..."""

    def __init__(
        self, features: int, outputs: int, width: int, layers: list[str], p: float
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        size = features
        for name in layers:
            if name == "linear":
                parts.append(nn.Linear(size, width))
                size = width
            elif name == "residual":
                parts.append(Residual(nn.Sequential(nn.Linear(size, size), nn.Tanh())))
            elif name == "conv":
                conv = nn.Conv1d(1, 3, 3, padding=1)
                parts += [nn.Unflatten(1, (1, size)), conv, nn.GELU(), nn.Flatten()]
                size *= 3
            elif name == "batch":
                parts.append(nn.BatchNorm1d(size))
            elif name == "layer":
                parts.append(nn.LayerNorm(size))
            elif name == "dropout":
                parts.append(nn.Dropout(p))
            else:
                parts.append(ACTS[name]())
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Tied(nn.Module):
    """Two layers with one weight, a frozen scale, and a buffer that is replaced in training."""

    def __init__(self, features: int, outputs: int, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(features, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.rand(width) + 0.5, requires_grad=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int32))
        self.register_buffer("seen", torch.zeros(3, dtype=torch.bool))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.inputs(x))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
            self.steps += 1
            self.seen[0] = True
        h = (h - self.mean) * self.scale
        return self.head(torch.tanh(self.second(torch.tanh(self.first(h)))))


class Attention(nn.Module):
    """Features as tokens, one layer of self-attention, dropout on its weights."""

    def __init__(self, features: int, outputs: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(features, width) / 2)
        self.qkv = nn.Linear(width, 3 * width)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = x.unsqueeze(2) * self.tokens
        q, k, v = self.qkv(h).chunk(3, -1)
        weights = self.drop((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))
        return self.head(self.drop(h + weights @ v).mean(1))


class Mixed(nn.Module):
    """What else a module may call: embeddings, a recurrent cell, group norm, gates, statistics."""

    def __init__(self, features: int, outputs: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, width)
        self.cell = nn.Linear(width + 1, width)
        self.norm = nn.GroupNorm(1, width)
        self.slope = nn.PReLU()
        self.gate = nn.Linear(width, width)
        self.head = nn.Linear(width + 3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        bins = (2 * x).round().clamp(-3, 2).long() + 3
        h = self.embedding(bins).sum(1)
        for feature in x[:, :3].split(1, 1):
            h = torch.tanh(self.cell(torch.cat([h, feature], 1)))
        h = self.slope(self.norm(h)) * self.gate(h).softmax(1)
        scale = (x.square().mean(1, keepdim=True) + 1e-3).rsqrt()
        found = [h, scale, torch.logsumexp(x, 1, keepdim=True), x.amax(1, keepdim=True)]
        return self.head(torch.cat(found, 1))


class Recurrent(nn.Module):
    """With a cell that torch.func.vmap calls run by run."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(1, 8)
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        for feature in x.split(1, 1):
            h = self.cell(feature, h)
        return self.head(h)


class Convolutional(nn.Module):
    """Pictures: convolutions, batch norm, dropout of channels."""

    def __init__(self, features: int, outputs: int, channels: int) -> None:
        super().__init__()
        side = round(features**0.5)
        self.body = nn.Sequential(
            nn.Unflatten(1, (1, side, side)),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.2),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Noisy(nn.Module):
    """Draws random numbers that no layer of dropout draws."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, 8)
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(torch.relu(self.first(x)), 0.3, self.training)
        return self.head(h + 0.1 * torch.randn_like(h) if self.training else h)


class Branching(nn.Module):
    """What it does depends on the data."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, 8)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = torch.relu(h) if h.mean().item() > 0 else torch.tanh(h)
        return self.head(self.drop(h))


MODULE_FACTORIES |= {
    "blocks": Blocks,
    "tied": Tied,
    "attention": Attention,
    "convolutional": Convolutional,
    "mixed": Mixed,
    "recurrent": Recurrent,
    "noisy": Noisy,
    "branching": Branching,
}


def blocks(features: int, outputs: int, width: int, *layers: str, p: float = 0.3) -> ModuleNetwork:
    return module_network(
        "blocks", {"width": width, "layers": [*layers], "p": p}, features, outputs
    )


@dataclass
class AnyConfig:
    """A model's config: its name, and nothing that an MLP has."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


def module_config(network: ModuleNetwork, *arguments: Any, **options: Any) -> Config:
    """As ``make_config``, for a module."""
    config = make_config(Structure(1, (), 2), *arguments, **options)
    config.model = AnyConfig(network.name)  # type: ignore[assignment]
    return config


def plain_training(run: Run, table: Table, network: ModuleNetwork) -> tuple[list[float], nn.Module]:
    """Train a module as a torch user would; the mean loss of each epoch, and the module.

    It shares with the engine the initial weights, the order of rows and the masks of dropout.
    """
    config, trainer = run.config, run.config.trainer
    with seeded(config.seed, "init"):
        net = network.make()
    count = len(run.train)
    starts = list(range(0, count, trainer.batch_size))
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch_optimizer(config.optimizer, trained)
    scheduler = torch_scheduler(config.scheduler, optimizer, len(starts), trainer.epochs)
    step, epochs = 0, []
    for epoch in range(1, trainer.epochs + 1):
        order = run.train[torch.randperm(count, generator=generator(config.seed, "order", epoch))]
        losses = []
        net.train()
        for start in starts:
            rows = order[start : start + trainer.batch_size]
            with masked(net, config.seed, step, table.x[rows]) as own:
                logits = own(table.x[rows])
            each = F.cross_entropy(
                logits, table.y[rows], label_smoothing=trainer.label_smoothing, reduction="none"
            )
            optimizer.zero_grad()
            each.mean().backward()
            if trainer.grad_clip is not None:
                nn.utils.clip_grad_norm_(trained, trainer.grad_clip)
            optimizer.step()
            scheduler.step()
            step += 1
            losses.append(each.detach())
        epochs.append(torch.cat(losses).mean().item())
    return epochs, net.eval()


class masked:
    """Inside, the module's layers of dropout multiply with the run's own masks of a step."""

    def __init__(self, net: nn.Module, seed: int, step: int, batch: Tensor) -> None:
        self._net, self._about = net, (seed, step, batch)

    def __enter__(self) -> nn.Module:
        seed, step, batch = self._about
        layers = [m for m in self._net.modules() if isinstance(m, nn.Dropout)]
        calls: list[tuple[tuple[int, ...], float]] = []
        masks: list[Tensor] = []

        def note(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
            calls.append((tuple(inputs[0].shape), layer.p))
            return inputs[0]

        def multiply(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return inputs[0] * masks.pop(0)

        if layers:
            handles = [layer.register_forward_pre_hook(note) for layer in layers]
            copy.deepcopy(self._net)(batch)
            for handle in handles:
                handle.remove()
            drawn = LayeredDropout([seed], calls, len(batch), torch.device("cpu")).draw(step)
            masks += [mask[0] for mask in drawn]
        self._handles = [layer.register_forward_hook(multiply) for layer in layers]
        return self._net

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
