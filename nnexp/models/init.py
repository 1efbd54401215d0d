"""Random initial weights, by torch.nn.init, each run from its own stream."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nnexp.config.schema import ModelConfig
from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.registry import component
from nnexp.rng import generator


def initial_parameters(structure: Structure, model: ModelConfig, seed: int) -> Tensor:
    """A run's first parameters as a flat row [P], float32 on the CPU, padding zero.

    ``default`` is what ``torch.nn.Linear`` draws: weights and biases uniform within
    1 / sqrt(inputs). All others set biases to zero. ``kaiming`` keeps the variance of the forward
    pass with the gain of the activation (He et al. 2015), ``xavier`` balances forward and backward
    (Glorot and Bengio 2010, gain 1), ``orthogonal`` is Saxe et al. 2014 (gain 1), ``normal`` has
    standard deviation ``init_std``. Norms start as the identity.
    """
    layout = parameter_layout(structure)
    flat = torch.zeros(1, layout.size)
    stream = generator(seed, "init")
    for name, tensor in layout.views(flat).items():
        if name.endswith("norm.weight"):
            tensor.fill_(1.0)
        elif name.endswith("weight"):
            _draw_weight(tensor[0], structure, model, stream)
        elif model.init == "default" and not name.endswith("norm.bias"):
            inputs = layout.slots[name.replace("bias", "weight")].shape[1]
            bound = 1 / math.sqrt(inputs)
            nn.init.uniform_(tensor[0], -bound, bound, generator=stream)
    return flat[0]


def _draw_weight(
    weight: Tensor, structure: Structure, model: ModelConfig, stream: torch.Generator
) -> None:
    uniform = model.init_distribution == "uniform"
    match model.init:
        case "default":
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=stream)
        case "kaiming":
            draw = nn.init.kaiming_uniform_ if uniform else nn.init.kaiming_normal_
            name = component("activation", structure.activation).gain
            draw(weight, a=0.01, nonlinearity=name, generator=stream)
        case "xavier":
            glorot = nn.init.xavier_uniform_ if uniform else nn.init.xavier_normal_
            glorot(weight, generator=stream)
        case "orthogonal":
            nn.init.orthogonal_(weight, generator=stream)
        case "normal":
            nn.init.normal_(weight, std=model.init_std, generator=stream)


def initial_statistics(structure: Structure) -> Tensor:
    """A run's first statistics as a flat row [S]: means 0, variances 1, as torch's batch norm."""
    layout = statistics_layout(structure)
    flat = torch.zeros(1, layout.size)
    for name, tensor in layout.views(flat).items():
        if name.endswith("running_var"):
            tensor.fill_(1.0)
    return flat[0]
