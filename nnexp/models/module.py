"""One trained network as a plain ``torch.nn.Module``: to look at, to export, to use elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.registry import component

_NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Step(nn.Module):
    """The threshold: 1 above 0, else 0; the gradient passes straight through where |z| < 1."""

    def forward(self, z: Tensor) -> Tensor:
        """Any shape to the same shape."""
        straight = z.clamp(-1, 1)
        return straight + ((z > 0).to(z.dtype) - straight).detach()


class FunctionLayer(nn.Module):
    """An activation that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, z: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return self._function(z)

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self._function, "__name__", "")


class Skip(nn.Module):
    """A hidden layer whose input is added to its output."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[B, H] to [B, H]."""
        return x + self.layer(x)  # type: ignore[no-any-return]


def as_module(
    structure: Structure,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    dropout: float = 0.0,
) -> nn.Module:
    """The network of ``structure``: features [B, D] to logits [B, C].

    Args:
        tensors: parameters and statistics by their names in ``parameter_layout`` and
            ``statistics_layout``, without the run axis; None leaves torch's own initial weights.
        dropout: rate after every hidden layer, in training mode.
    """
    with torch.random.fork_rng(devices=[]):  # torch's own initial weights draw from the global one
        module = _build(structure, dropout)
    if tensors is not None:
        own = module.state_dict()
        for name in own:
            if not name.endswith("num_batches_tracked"):
                own[name] = tensors[name.replace(".layer.", ".")]
        module.load_state_dict(own)
    return module


def _build(structure: Structure, dropout: float) -> nn.Module:
    layers = []
    for i, (inputs, width) in enumerate(
        zip(structure.widths, structure.hidden, strict=False),
    ):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["linear"] = nn.Linear(inputs, width, bias=structure.bias)
        if structure.norm != "none":
            parts["norm"] = _NORMS[structure.norm](width)
        parts["activation"] = component("activation", structure.activation).module()
        if dropout:
            parts["dropout"] = nn.Dropout(dropout)
        layer = nn.Sequential(parts)
        layers.append(Skip(layer) if structure.skips(i) else layer)
    output = nn.Linear(structure.widths[-2], structure.num_classes, bias=structure.bias)
    return nn.Sequential(OrderedDict(hidden=nn.Sequential(*layers), output=output))


def named_tensors(structure: Structure, params: Tensor, stats: Tensor) -> dict[str, Tensor]:
    """One run's flat rows [P] and [S] as tensors by name, copied."""
    views = parameter_layout(structure).views(params[None])
    views |= statistics_layout(structure).views(stats[None])
    return {name: view[0].detach().clone() for name, view in views.items()}
