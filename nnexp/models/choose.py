"""From a config, or a checkpoint, to the network that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnexp.config.schema import Config
from nnexp.models.protocol import Network
from nnexp.models.structure import Structure


def network_of(config: Config, num_features: int, num_classes: int) -> Network:
    """The network that a config means for data of so many features and classes."""
    model = config.model
    return Structure(
        num_features,
        tuple(model.hidden),
        num_classes,
        activation=model.activation,
        norm=model.norm,
        residual=model.residual,
        bias=model.bias,
    )


def network_from(saved: Mapping[str, Any]) -> Network:
    """The network whose ``Network.saved`` a checkpoint has."""
    return Structure.from_saved(saved)
